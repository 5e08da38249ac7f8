//! The wire of MCP over streamable HTTP, for commands that pass messages on as the bytes that they are.
//!
//! A message is looked at through borrowed parts ([`envelope`]) and never written anew, so that unknown members and large
//! numbers keep their meaning. Both wires are spoken. That of 2025-11-25 and before has sessions, that of 2026-07-28 has
//! headers for each message. [`http`] is the only place that sends, and it authorizes each request by the session's own
//! calls.

pub(crate) mod cookies;
pub(crate) mod elicitation;
pub(crate) mod envelope;
pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod session;
pub(crate) mod sse;
pub(crate) mod tools;
pub(crate) mod unanswered;

/// The longest message, event and body, in bytes.
pub(crate) const MAX_MESSAGE: usize = 32 << 20;
