//! The state that all connections of a resource share.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::counts::{McpCounts, ReceivedRequest};
use super::message::Received;
use super::session::{McpSession, Sessions};
use super::settings::{Cut, HoldAt, Instead, McpSettings};
use crate::hostile::{Gate, Verifier};

/// The most requests that are logged.
const LOGGED: usize = 100_000;

/// The state of one resource.
pub(super) struct Shared {
    /// `http://127.0.0.1:…`, without a trailing slash.
    pub(super) origin: String,
    /// The canonical URI, which tokens are for.
    pub(super) uri: String,
    pub(super) verifier: Verifier,
    pub(super) counts: watch::Sender<McpCounts>,
    state: Mutex<State>,
}

/// The state behind the lock, which is never held over an await.
pub(super) struct State {
    /// Shared with the requests that read them.
    pub(super) settings: Arc<McpSettings>,
    pub(super) gates: Vec<(HoldAt, String, Gate)>,
    /// The replacements for the answers of next requests.
    pub(super) instead: Entries<Instead>,
    /// How the answers of next requests are cut.
    pub(super) cuts: Entries<Cut>,
    pub(super) log: Vec<ReceivedRequest>,
    pub(super) sessions: Sessions,
}

/// Entries for the next requests of operations.
pub(super) struct Entries<T>(VecDeque<Entry<T>>);

struct Entry<T> {
    operation: String,
    /// How many requests still use it, at least one.
    times: usize,
    value: T,
}

impl<T> Entries<T> {
    pub(super) fn push(&mut self, operation: &str, times: usize, value: T) {
        if times > 0 {
            self.0.push_back(Entry { operation: operation.to_owned(), times, value });
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<T: Clone> Entries<T> {
    /// Uses the first entry for this request.
    fn take(&mut self, received: &Received) -> Option<T> {
        let place = self.0.iter().position(|entry| received.is(&entry.operation))?;
        let entry = self.0.get_mut(place)?;
        let value = entry.value.clone();
        entry.times -= 1;
        if entry.times == 0 {
            self.0.remove(place);
        }
        Some(value)
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl Shared {
    pub(super) fn new(verifier: Verifier, address: SocketAddr, settings: McpSettings) -> Self {
        let origin = format!("http://{address}");
        let uri = format!("{origin}/mcp");
        verifier.add_resource(&uri);
        let state = State {
            settings: Arc::new(settings),
            gates: Vec::new(),
            instead: Entries::default(),
            cuts: Entries::default(),
            log: Vec::new(),
            sessions: Sessions::default(),
        };
        Self { origin, uri, verifier, counts: watch::Sender::default(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between two statements, so a panic of another thread does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> Arc<McpSettings> {
        Arc::clone(&self.state().settings)
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut McpCounts)) {
        self.counts.send_modify(count);
    }

    pub(super) fn log(&self, request: ReceivedRequest) {
        let mut state = self.state();
        if state.log.len() < LOGGED {
            state.log.push(request);
        }
    }

    /// Waits at the gate for this request, if there is one.
    pub(super) async fn pass(&self, at: HoldAt, received: &Received) {
        let held = |(place, operation, _): &&(HoldAt, String, Gate)| *place == at && received.is(operation);
        let gate = self.state().gates.iter().find(held).map(|(_, _, gate)| gate.clone());
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }

    /// Opens a session, and returns its identifier.
    pub(super) fn open_session(&self, session: McpSession) -> String {
        let port = self.origin.rsplit(':').next().unwrap_or_default();
        let mut state = self.state();
        // Servers on other ports have other sessions.
        let id = format!("session-{port}-{}", self.counts.borrow().sessions_opened);
        state.sessions.by_id.insert(id.clone(), session);
        self.count(|counts| {
            counts.sessions_opened += 1;
            counts.sessions += 1;
        });
        id
    }

    pub(super) fn close_session(&self, id: &str) {
        // Its calls count their end, after the lock is released.
        let closed = self.state().sessions.by_id.remove(id);
        if closed.is_some() {
            self.count(|counts| counts.sessions -= 1);
        }
    }

    pub(super) fn with_session<T>(&self, id: &str, with: impl FnOnce(&mut McpSession) -> T) -> Option<T> {
        self.state().sessions.by_id.get_mut(id).map(with)
    }

    /// How the answer to this request is cut.
    pub(super) fn next_cut(&self, received: &Received) -> Option<Cut> {
        self.state().cuts.take(received)
    }

    /// The replacement for the answer to this request.
    pub(super) fn instead_of(&self, received: &Received) -> Option<Instead> {
        self.state().instead.take(received)
    }
}
