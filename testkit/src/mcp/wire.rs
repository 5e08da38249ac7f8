//! The wires of 2025 and 2026.

use std::sync::Arc;

use http::{HeaderName, Method, header};
use serde_json::{Value, json};

use super::answer::{self, Answer, empty, with};
use super::message::{Message, Received};
use super::state::Shared;
use super::{resource, tools};
use crate::hostile::Admission;

/// The revisions that begin with `initialize`, the newest first.
const REVISIONS_2025: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Answers a request whose token is good.
pub(super) async fn serve(shared: &Arc<Shared>, received: Received, admission: Admission) -> Answer {
    match received.head.method {
        Method::POST => post(shared, &received, &admission).await,
        Method::DELETE if shared.settings().has_sessions => match session(shared, &received) {
            Err(refusal) => *refusal,
            Ok(session) => {
                shared.state().sessions.remove(&session);
                shared.count(|counts| counts.sessions -= 1);
                empty(204)
            }
        },
        _ => with(empty(405), header::ALLOW, "POST"),
    }
}

async fn post(shared: &Arc<Shared>, received: &Received, admission: &Admission) -> Answer {
    if !received.accepts("application/json") || !received.accepts("text/event-stream") {
        return empty(406);
    }
    let Some(message) = &received.message else {
        return answer::error(400, None, -32700, "not one JSON-RPC message", None);
    };
    if received.operation == "initialize" {
        return initialize(shared, message);
    }
    if shared.settings().has_sessions
        && let Err(refusal) = session(shared, received)
    {
        return *refusal;
    }
    let Some(id) = &message.id else { return empty(202) };
    let result = match &*received.operation {
        "response" => return empty(202),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(tools::list()),
        "tools/call" => tools::call(shared, received, message, admission).await,
        _ => Err(answer::error_message(Some(id), -32601, "unknown method", None)),
    };
    let message = result.map_or_else(|error| error, |result| json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    answer::json(200, &message)
}

fn initialize(shared: &Shared, message: &Message) -> Answer {
    let asked = message.params["protocolVersion"].as_str().unwrap_or_default();
    let revision = REVISIONS_2025.into_iter().find(|known| *known == asked).unwrap_or(REVISIONS_2025[0]);
    let result = json!({
        "protocolVersion": revision,
        "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": server_info(),
    });
    let answer = answer::json(200, &json!({ "jsonrpc": "2.0", "id": message.id, "result": result }));
    if !shared.settings().has_sessions {
        return answer;
    }
    let mut id = String::new();
    shared.count(|counts| {
        id = format!("session-{}-{}", shared.uri.len(), counts.sessions_opened);
        counts.sessions_opened += 1;
        counts.sessions += 1;
    });
    shared.state().sessions.insert(id.clone(), ());
    with(answer, SESSION, id)
}

fn server_info() -> Value {
    json!({ "name": "tokenkeeper-testkit", "version": env!("CARGO_PKG_VERSION") })
}

/// The session of a request.
fn session(shared: &Shared, received: &Received) -> Result<String, Box<Answer>> {
    let Some(id) = received.header(SESSION.as_str()) else {
        return Err(Box::new(answer::error(400, None, -32000, "Mcp-Session-Id is missing", None)));
    };
    if shared.state().sessions.contains_key(id) {
        return Ok(id.to_owned());
    }
    let refusal = match shared.settings().unknown_session_status {
        status @ (401 | 403) => resource::refusal(shared, status, &resource::invalid_token(shared)),
        status => answer::error(status, None, -32001, "unknown session", None),
    };
    Err(Box::new(refusal))
}
