//! The state that all connections of a resource share.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    pub(super) settings: McpSettings,
    pub(super) gates: Vec<(HoldAt, String, Gate)>,
    /// What the next requests of an operation get instead of their answer.
    pub(super) instead: VecDeque<(String, Instead)>,
    /// How the next answers of an operation are cut.
    pub(super) cuts: VecDeque<(String, Cut)>,
    pub(super) log: Vec<ReceivedRequest>,
    pub(super) sessions: Sessions,
}

impl Shared {
    pub(super) fn new(verifier: Verifier, address: SocketAddr, settings: McpSettings) -> Self {
        let origin = format!("http://{address}");
        let uri = format!("{origin}/mcp");
        verifier.add_resource(&uri);
        let state = State {
            settings,
            gates: Vec::new(),
            instead: VecDeque::new(),
            cuts: VecDeque::new(),
            log: Vec::new(),
            sessions: Sessions::default(),
        };
        Self { origin, uri, verifier, counts: watch::Sender::default(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between two statements, so a panic of another thread does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> McpSettings {
        self.state().settings.clone()
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
        let mut state = self.state();
        let place = state.cuts.iter().position(|(operation, _)| received.is(operation))?;
        state.cuts.remove(place).map(|(_, cut)| cut)
    }

    /// What this request gets instead of its answer.
    pub(super) fn instead_of(&self, received: &Received) -> Option<Instead> {
        let mut state = self.state();
        let place = state.instead.iter().position(|(operation, _)| received.is(operation))?;
        state.instead.remove(place).map(|(_, instead)| instead)
    }
}
