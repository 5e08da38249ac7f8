//! The sessions of the wire of 2025, and all standing streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::Work;
use super::events::{EventLog, Stop};
use super::state::Shared;
use crate::hostile::clock::start;

/// The most answers of a session that are kept for clients that resume them.
const MAX_STREAMS: usize = 1024;

/// A session. Dropping it aborts its calls and ends its streams.
pub(super) struct McpSession {
    /// The stream with the number 0, for messages that answer no request.
    standing: Arc<EventLog>,
    /// The streams that answer requests, until all of their events were sent.
    answers: BTreeMap<u64, Arc<EventLog>>,
    next_stream: u64,
    calls: JoinSet<()>,
    /// The identifiers of cancelled requests, as JSON.
    cancelled: watch::Sender<BTreeSet<String>>,
}

/// An open `subscriptions/listen` of the wire of 2026.
pub(super) struct Listen {
    pub(super) id: Value,
    pub(super) wants_tools: bool,
    pub(super) log: Arc<EventLog>,
}

/// All sessions and subscriptions.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) by_id: BTreeMap<String, McpSession>,
    listens: BTreeMap<u64, Listen>,
    next_listen: u64,
}

impl McpSession {
    pub(super) fn new() -> Self {
        Self {
            standing: EventLog::new(0, false),
            answers: BTreeMap::new(),
            next_stream: 1,
            calls: JoinSet::new(),
            cancelled: watch::Sender::default(),
        }
    }

    pub(super) fn standing(&self) -> Arc<EventLog> {
        Arc::clone(&self.standing)
    }

    /// A log for the answer to a request.
    pub(super) fn open_answer(&mut self, has_ids: bool) -> Arc<EventLog> {
        let log = EventLog::new(self.next_stream, has_ids);
        self.answers.insert(self.next_stream, Arc::clone(&log));
        self.next_stream += 1;
        if self.answers.len() > MAX_STREAMS {
            self.answers.pop_first();
        }
        log
    }

    /// Forgets an answer, because all of it was sent.
    pub(super) fn close_answer(&mut self, number: u64) {
        self.answers.remove(&number);
    }

    /// Executes a call that goes on when its client has left.
    pub(super) fn run(&mut self, work: Work) {
        while self.calls.try_join_next().is_some() {}
        start(&mut self.calls, work);
    }

    pub(super) fn cancel(&self, request: &Value) {
        self.cancelled.send_modify(|cancelled| {
            cancelled.insert(request.to_string());
        });
    }

    pub(super) fn cancelled(&self) -> watch::Receiver<BTreeSet<String>> {
        self.cancelled.subscribe()
    }

    /// The log and the position after the event with this identifier. `None` if it names no event of this session.
    pub(super) fn after(&self, event: &str) -> Option<(Arc<EventLog>, usize)> {
        let (number, position) = event.split_once('-')?;
        let (number, position): (u64, usize) = (number.parse().ok()?, position.parse().ok()?);
        let log = if number == 0 { &self.standing } else { self.answers.get(&number)? };
        (position < log.len()).then(|| (Arc::clone(log), position + 1))
    }
}

impl Drop for McpSession {
    fn drop(&mut self) {
        self.standing.end();
    }
}

impl Sessions {
    pub(super) fn add_listen(&mut self, listen: Listen) -> u64 {
        self.next_listen += 1;
        self.listens.insert(self.next_listen, listen);
        self.next_listen
    }

    pub(super) fn remove_listen(&mut self, number: u64) {
        self.listens.remove(&number);
    }

    /// Sends a notification on all standing streams. Sessions keep it for one that is opened later with `Last-Event-ID`.
    pub(super) fn notify(&self, method: &str, params: &Value) {
        let message = |params: &Value| json!({ "jsonrpc": "2.0", "method": method, "params": params });
        for session in self.by_id.values() {
            session.standing.push(&message(params));
        }
        let is_wanted = |listen: &&Listen| listen.wants_tools && method == "notifications/tools/list_changed";
        for listen in self.listens.values().filter(is_wanted) {
            let mut params = params.clone();
            params["_meta"] = subscription(&listen.id);
            listen.log.push(&message(&params));
        }
    }

    /// Stops all standing streams. Those of the wire of 2026 get their result first if they end properly.
    pub(super) fn stop_standing(&self, stop: Stop) {
        for session in self.by_id.values() {
            session.standing.stop_reader(stop);
        }
        for Listen { id, log, .. } in self.listens.values() {
            if stop == Stop::Break {
                log.stop_reader(stop);
                continue;
            }
            let result = json!({ "resultType": "complete", "_meta": subscription(id) });
            log.push(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
            log.end();
        }
    }
}

/// The metadata of messages on a subscription's stream.
pub(super) fn subscription(id: &Value) -> Value {
    json!({ "io.modelcontextprotocol/subscriptionId": id })
}

/// An open standing stream, for its gauge.
pub(super) struct Standing {
    shared: Arc<Shared>,
    /// The subscription's number, on the wire of 2026.
    listen: Option<u64>,
}

impl Standing {
    pub(super) fn new(shared: &Arc<Shared>, listen: Option<u64>) -> Self {
        shared.count(|counts| counts.standing_streams += 1);
        Self { shared: Arc::clone(shared), listen }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(number) = self.listen {
            self.shared.state().sessions.remove_listen(number);
        }
        self.shared.count(|counts| counts.standing_streams -= 1);
    }
}
