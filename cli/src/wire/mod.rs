//! The wire of MCP over streamable HTTP, for commands that pass on the bytes of messages unchanged.
//!
//! A message is read through borrowed parts ([`envelope`]) and never serialized again, so that unknown members and large
//! numbers keep their meaning. Both wires are supported. That of 2025-11-25 and before has MCP sessions, and that of 2026-07-28
//! has headers for each message. Only [`http`] sends requests, and it authorizes each by a call of the session.

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
