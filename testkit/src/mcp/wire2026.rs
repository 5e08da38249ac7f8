//! The wire of 2026-07-28, without sessions.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::answer::{self, Answer, empty};
use super::call::{self, Call};
use super::events::{EventForm, EventLog, send};
use super::message::{Message, Received};
use super::session::{Listen, Standing, subscription};
use super::state::Shared;
use super::tools;
use super::wire::{REVISION_2026, only, server_info, supported};
use crate::hostile::Admission;

/// Answers a request whose token is good.
pub(super) async fn serve(shared: &Arc<Shared>, received: Received, admission: Admission) -> Answer {
    let (&Method::POST, Some(message)) = (&received.head.method, &received.message) else { return only("POST") };
    let Some(method) = &message.method else { return empty(202) };
    if let Err(text) = check(&received, message, method) {
        return answer::error(400, message.id.as_ref(), -32020, text, None);
    }
    let Some(id) = message.id.clone() else { return empty(202) };
    match &**method {
        "server/discover" => discover(shared, &id),
        "subscriptions/listen" => listen(shared, id, &message.params),
        method if !Call::is_known(method) => answer::error(404, Some(&id), -32601, "unknown method", None),
        _ => {
            let call = Call { received, id, admission, is_2026: true };
            if call.streams(shared) {
                return call::stream(shared, call);
            }
            let log = EventLog::new(0, false);
            call.work(shared, &log).await;
            call::json_answer(&log)
        }
    }
}

/// Checks that the headers say the same as the message (SEP-2243).
fn check(received: &Received, message: &Message, method: &str) -> Result<(), &'static str> {
    if received.header("mcp-protocol-version") != Some(REVISION_2026) {
        return Err("MCP-Protocol-Version is missing or differs from the message");
    }
    // A notification needs no metadata.
    if message.id.is_some() && received.meta("io.modelcontextprotocol/protocolVersion") != REVISION_2026 {
        return Err("the protocol version in _meta is missing or differs from the header");
    }
    if received.header("mcp-method") != Some(method) {
        return Err("Mcp-Method is missing or differs from the message");
    }
    let Some(tool) = received.tool() else { return Ok(()) };
    if decoded(received.header("mcp-name")).as_deref() != Some(tool) {
        return Err("Mcp-Name is missing or differs from the message");
    }
    match tools::header_argument(tool) {
        Some((argument, header))
            if decoded(received.header(header)).as_deref() != message.params["arguments"][argument].as_str() =>
        {
            Err("an Mcp-Param header is missing or differs from the message")
        }
        _ => Ok(()),
    }
}

/// A header's value, which may be in Base64.
fn decoded(value: Option<&str>) -> Option<String> {
    let value = value?;
    match value.strip_prefix("=?base64?").and_then(|value| value.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

fn discover(shared: &Shared, id: &Value) -> Answer {
    let result = json!({
        "resultType": "complete",
        "supportedVersions": supported(shared),
        "capabilities": { "tools": { "listChanged": true } },
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
    });
    answer::json(200, &json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// Opens a subscription. It is cancelled by closing the connection.
fn listen(shared: &Arc<Shared>, id: Value, params: &Value) -> Answer {
    let settings = shared.settings();
    if !settings.has_standing_streams {
        return answer::error(404, Some(&id), -32601, "no subscriptions", None);
    }
    let wants_tools = params["notifications"]["toolsListChanged"] == true;
    let accepted = if wants_tools { json!({ "toolsListChanged": true }) } else { json!({}) };
    let log = EventLog::new(0, false);
    log.push(&json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": subscription(&id), "notifications": accepted },
    }));
    let (reader, form) = (log.read_from(0), EventForm { has_ids: false, retry: settings.retry });
    let number = shared.state().sessions.add_listen(Listen { id, wants_tools, log });
    let standing = Standing::new(shared, Some(number));
    answer::events(|out| async move {
        let _standing = standing;
        send(reader, form, None, out).await;
    })
}
