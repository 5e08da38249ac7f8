//! The behaviour of the resource, which a test chooses.

use std::collections::BTreeMap;
use std::time::Duration;

/// The settings of an [`McpResource`](super::McpResource). Changes apply to later requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct McpSettings {
    /// The port on 127.0.0.1. Default 0, a free one. With the port of a resource that was dropped, it is that server after a
    /// restart. Changes after the start have no effect.
    pub port: u16,
    /// The revisions of MCP that are spoken. Default [`Wires::Both`].
    pub wires: Wires,
    /// The form of answers to requests. Default [`AnswerForm::Json`]. The tool `progress` always answers with events.
    pub answers: AnswerForm,
    /// Whether the wire of 2025 has sessions. Without them there is no `Mcp-Session-Id`, and GET and DELETE are answered
    /// with 405. Default true. The wire of 2026 has none.
    pub has_sessions: bool,
    /// Whether GET opens a standing stream, instead of 405. Default true.
    pub has_standing_streams: bool,
    /// Whether the events of the wire of 2025 have identifiers, by which a broken stream is resumed (`Last-Event-ID`). Answers
    /// then begin with an empty event. Default true.
    pub has_event_ids: bool,
    /// The `retry` field of the first event of each stream. Default none.
    pub retry: Option<Duration>,
    /// Whether accepted connections have `TCP_NODELAY`. Default true. Without it an event may wait for 40 ms, because the
    /// kernel waits for the acknowledgement of the one before it.
    pub has_nodelay: bool,
    /// The scopes, separated by spaces, that calls of a tool need beside those of the verifier. Default `tools:admin` for
    /// the tool `restricted`.
    pub tool_scopes: BTreeMap<String, String>,
    /// The form of challenges. Default [`ChallengeForm::Bearer`].
    pub challenge: ChallengeForm,
    /// The status of a refusal for missing scopes. Default 403.
    pub insufficient_scope_status: u16,
    /// The status for an unknown `Mcp-Session-Id`. Default 404. With 401 or 403 the answer has a challenge
    /// (`invalid_token`).
    pub unknown_session_status: u16,
}

impl Default for McpSettings {
    fn default() -> Self {
        Self {
            port: 0,
            wires: Wires::default(),
            answers: AnswerForm::default(),
            has_sessions: true,
            has_standing_streams: true,
            has_event_ids: true,
            retry: None,
            has_nodelay: true,
            tool_scopes: BTreeMap::from([("restricted".to_owned(), "tools:admin".to_owned())]),
            challenge: ChallengeForm::default(),
            insufficient_scope_status: 403,
            unknown_session_status: 404,
        }
    }
}

/// The revisions of MCP that a resource speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wires {
    /// Both of the following.
    #[default]
    Both,
    /// 2025-11-25, 2025-06-18 and 2025-03-26, which begin with `initialize`.
    Only2025,
    /// 2026-07-28, which has no sessions.
    Only2026,
}

/// The form of answers to requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerForm {
    /// One JSON document.
    #[default]
    Json,
    /// A stream of server-sent events that ends with the answer.
    Sse,
}

/// The form of challenges in answers with 401 and 403.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeForm {
    /// One header with the Bearer challenge.
    #[default]
    Bearer,
    /// No header.
    None,
    /// A header with `Negotiate`, and a second one with the Bearer challenge.
    SecondHeader,
    /// One header, in which `Basic` precedes the Bearer challenge.
    SecondInHeader,
    /// The Bearer challenge with a byte that is not ASCII, in `error_description`.
    NonAscii,
}

/// A replacement for the answer to a request. See [`McpResource::next`](super::McpResource::next).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instead {
    /// A redirect to a path of the resource's origin, or to a URL.
    Redirect {
        /// For example 307.
        status: u16,
        /// The `Location`.
        location: String,
    },
    /// A refusal with `invalid_token`, however good the token is.
    InvalidToken,
    /// This status without a body.
    Status(u16),
}

/// Where a request is held. See [`McpResource::hold`](super::McpResource::hold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HoldAt {
    /// Before its token is checked.
    BeforeCheck,
    /// After its token was checked.
    AfterCheck,
    /// In its tool, which counts as executed.
    InTool,
}

/// How a stream of events is cut that answers a request. The request is executed in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// In the middle of its first event. It had no identifier, and cannot be resumed.
    WithoutId,
    /// In the middle of the event after an identifier. On the wire of 2025 with sessions it can be resumed.
    AfterId,
    /// By a proper end after an identifier, as servers do that want to be polled (SEP-1699). It can be resumed like
    /// [`AfterId`](Self::AfterId). Where events have no identifiers, it is [`WithoutId`](Self::WithoutId).
    EndsAfterId,
}
