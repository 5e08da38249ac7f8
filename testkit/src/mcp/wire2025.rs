//! The wire of 2025-11-25 and its predecessors, with sessions.

use std::sync::Arc;

use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::answer::{self, Answer, empty, with};
use super::call::{self, Call};
use super::events::{EventForm, EventLog, send};
use super::message::{Message, Received};
use super::resource;
use super::session::{McpSession, Standing};
use super::settings::Cut;
use super::state::Shared;
use super::wire::{REVISIONS_2025, only, server_info};
use crate::hostile::Admission;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Answers a request whose token is good.
pub(super) async fn serve(shared: &Arc<Shared>, received: Received, admission: Admission) -> Answer {
    let has_sessions = shared.settings().has_sessions;
    if received.operation == "initialize" {
        return initialize(shared, received.message.as_ref());
    }
    if received.head.method != Method::POST && !has_sessions {
        return only("POST");
    }
    let session = match has_sessions.then(|| session(shared, &received)).transpose() {
        Ok(session) => session,
        Err(refusal) => return *refusal,
    };
    match (&received.head.method, session) {
        (&Method::POST, session) => post(shared, received, admission, session).await,
        (&Method::GET, Some(session)) => get(shared, &received, session),
        (&Method::DELETE, Some(session)) => {
            shared.close_session(&session);
            empty(204)
        }
        _ => only("GET, POST, DELETE"),
    }
}

async fn post(shared: &Arc<Shared>, received: Received, admission: Admission, session: Option<String>) -> Answer {
    let message = received.message.as_ref();
    let request = message.filter(|message| message.method.is_some()).and_then(|message| message.id.clone());
    let Some(id) = request else {
        if let (Some(session), "notifications/cancelled") = (&session, &*received.operation) {
            let cancelled = message.map_or(&Value::Null, |message| &message.params["requestId"]);
            shared.with_session(session, |session| session.cancel(cancelled));
        }
        return empty(202);
    };
    let call = Call { received, id, admission, is_2026: false };
    let Some(session) = session else {
        if call.streams(shared) {
            return call::stream(shared, call);
        }
        let log = EventLog::new(0, false);
        call.work(shared, &log).await;
        return call::json_answer(&log);
    };
    answer_in(shared, call, session).await
}

/// Answers a request of a session.
async fn answer_in(shared: &Arc<Shared>, call: Call, session: String) -> Answer {
    let settings = shared.settings();
    let form = EventForm { has_ids: settings.has_event_ids, retry: settings.retry };
    let (streams, cut, id) = (call.streams(shared), shared.next_cut(&call.received), call.id.to_string());
    let opened = shared.with_session(&session, |session| (session.open_answer(form.has_ids), session.cancelled()));
    // The resource has just forgotten its sessions.
    let Some((log, mut cancelled)) = opened else { return unknown(shared) };
    let work = call.work(shared, &log);
    let work = Box::pin(async move {
        tokio::select! {
            () = work => {}
            // Without a sender the session has ended, and this with it.
            Ok(_) = cancelled.wait_for(|cancelled| cancelled.contains(&id)) => {}
        }
    });
    if !streams {
        work.await;
        shared.with_session(&session, |session| session.close_answer(log.number()));
        return call::json_answer(&log);
    }
    let reader = log.read_from(0);
    shared.with_session(&session, |session| session.run(work));
    stream(shared, session, log, form, cut, reader)
}

/// Opens the standing stream, or resumes a stream.
fn get(shared: &Arc<Shared>, received: &Received, session: String) -> Answer {
    let settings = shared.settings();
    if !received.accepts("text/event-stream") {
        return empty(406);
    }
    let form = EventForm { has_ids: settings.has_event_ids, retry: settings.retry };
    let found = match received.header("last-event-id") {
        None if !settings.has_standing_streams => return only("POST, DELETE"),
        None => shared.with_session(&session, |session| {
            let log = session.standing();
            let from = log.len();
            if form.has_ids {
                log.push_empty();
            }
            Some((log, from))
        }),
        Some(event) => {
            let found = shared.with_session(&session, |session| session.after(event));
            shared.count(|counts| counts.resumed += u64::from(matches!(found, Some(Some(_)))));
            found
        }
    };
    match found {
        None => unknown(shared),
        Some(None) => answer::error(400, None, -32000, "unknown Last-Event-ID", None),
        Some(Some((log, from))) => {
            let reader = log.read_from(from);
            stream(shared, session, log, form, None, reader)
        }
    }
}

/// Sends the events of a session's stream.
fn stream(
    shared: &Arc<Shared>,
    session: String,
    log: Arc<EventLog>,
    form: EventForm,
    cut: Option<Cut>,
    reader: super::events::EventReader,
) -> Answer {
    let shared = Arc::clone(shared);
    let standing = (log.number() == 0).then(|| Standing::new(&shared, None));
    answer::events(|out| async move {
        let _standing = standing;
        if send(reader, form, cut, out).await && log.number() != 0 {
            shared.with_session(&session, |session| session.close_answer(log.number()));
        }
    })
}

fn initialize(shared: &Shared, message: Option<&Message>) -> Answer {
    let Some(message) = message else { return empty(400) };
    let asked = message.params["protocolVersion"].as_str().unwrap_or_default();
    let revision = REVISIONS_2025.into_iter().find(|known| *known == asked).unwrap_or(REVISIONS_2025[0]);
    let result = json!({
        "protocolVersion": revision,
        "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": server_info(),
    });
    let answer = answer::json(200, &json!({ "jsonrpc": "2.0", "id": message.id, "result": result }));
    let settings = shared.settings();
    if !settings.has_sessions {
        return answer;
    }
    with(answer, SESSION, shared.open_session(McpSession::new()))
}

/// The session of a request.
fn session(shared: &Shared, received: &Received) -> Result<String, Box<Answer>> {
    match received.header(SESSION.as_str()) {
        None => Err(Box::new(answer::error(400, None, -32000, "Mcp-Session-Id is missing", None))),
        Some(id) if shared.with_session(id, |_| ()).is_some() => Ok(id.to_owned()),
        Some(_) => Err(Box::new(unknown(shared))),
    }
}

/// The answer to an unknown session.
fn unknown(shared: &Shared) -> Answer {
    match shared.settings().unknown_session_status {
        status @ (401 | 403) => resource::refusal(shared, status, &resource::invalid_token(shared)),
        status => answer::error(status, None, -32001, "unknown session", None),
    }
}
