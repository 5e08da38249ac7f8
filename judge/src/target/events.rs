//! Events at the token endpoint and the MCP server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;

/// An event and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndpointEvent {
    pub(crate) at: Duration,
    pub(crate) kind: EndpointEventKind,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointEventKind {
    /// A token request arrived.
    Request,
    /// Its refresh token was exchanged for new tokens.
    Rotated,
    /// It presented a spent refresh token.
    Replayed,
    /// The chain of refresh tokens ended.
    Revoked,
    /// It was refused for another reason.
    Refused,
    /// A fault struck.
    Fault,
    /// It was answered.
    Answer,
    /// The MCP server answered 401.
    Unauthorized,
    /// The MCP server answered 200.
    Served,
}

/// The clients' view of the token endpoint, for servers that record no events themselves.
#[derive(Debug)]
pub(crate) struct EndpointLog {
    events: Mutex<Vec<EndpointEvent>>,
    watch: Stopwatch,
}

impl EndpointLog {
    pub(super) fn new() -> Self {
        Self { events: Mutex::default(), watch: Stopwatch::start() }
    }

    /// Notes that a token request leaves.
    pub(crate) fn sent(self: &Arc<Self>) -> SentRequest {
        self.note(EndpointEventKind::Request);
        SentRequest(Arc::clone(self))
    }

    pub(super) fn clear(&self) {
        self.events().clear();
    }

    pub(super) fn all(&self) -> Vec<EndpointEvent> {
        self.events().clone()
    }

    fn note(&self, kind: EndpointEventKind) {
        let at = self.watch.read();
        self.events().push(EndpointEvent { at, kind });
    }

    fn events(&self) -> MutexGuard<'_, Vec<EndpointEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token request that has left.
pub(crate) struct SentRequest(Arc<EndpointLog>);

impl SentRequest {
    /// Notes the answer's status, or that the answer was lost.
    pub(crate) fn answered(self, status: Option<u16>) {
        match status {
            Some(200) => self.0.note(EndpointEventKind::Rotated),
            Some(_) => self.0.note(EndpointEventKind::Refused),
            None => self.0.note(EndpointEventKind::Fault),
        }
        self.0.note(EndpointEventKind::Answer);
    }
}

/// Counts time from the first token request, and drops the events before it.
pub(super) fn from_first_request(events: Vec<EndpointEvent>) -> Vec<EndpointEvent> {
    let first = events.iter().find(|event| event.kind == EndpointEventKind::Request).map(|first| first.at);
    let Some(first) = first else { return Vec::new() };
    let later = events.into_iter().filter(|event| event.at >= first);
    later.map(|event| EndpointEvent { at: event.at - first, ..event }).collect()
}
