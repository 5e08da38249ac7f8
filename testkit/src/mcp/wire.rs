//! The choice of the wire, and the rules that both have in common.

use std::sync::Arc;

use http::{Method, header};
use serde_json::{Value, json};

use super::answer::{self, Answer, empty, with};
use super::message::Received;
use super::settings::Wires;
use super::state::Shared;
use super::{wire2025, wire2026};
use crate::hostile::Admission;

/// The revision of the wire of 2026.
pub(super) const REVISION_2026: &str = "2026-07-28";

/// The revisions that begin with `initialize`, the newest first.
pub(super) const REVISIONS_2025: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Answers a request whose token is good.
pub(super) async fn serve(shared: &Arc<Shared>, received: Received, admission: Admission) -> Answer {
    if received.head.method == Method::POST
        && let Some(refusal) = refuse_form(&received)
    {
        return refusal;
    }
    let wires = shared.settings().wires;
    let header = received.header("mcp-protocol-version");
    let asked = header.or_else(|| received.meta("io.modelcontextprotocol/protocolVersion").as_str());
    match asked {
        Some(REVISION_2026) if wires != Wires::Only2025 => wire2026::serve(shared, received, admission).await,
        None if wires == Wires::Only2026 && received.head.method != Method::POST => only("POST"),
        None if wires == Wires::Only2026 => unsupported(shared, &received, "2025-11-25"),
        None => wire2025::serve(shared, received, admission).await,
        Some(asked) if REVISIONS_2025.contains(&asked) && wires != Wires::Only2026 => {
            wire2025::serve(shared, received, admission).await
        }
        Some(asked) => unsupported(shared, &received, asked),
    }
}

pub(super) fn server_info() -> Value {
    json!({ "name": "tokenkeeper-testkit", "version": env!("CARGO_PKG_VERSION") })
}

/// The revisions that the resource speaks.
pub(super) fn supported(shared: &Shared) -> Vec<&'static str> {
    match shared.settings().wires {
        Wires::Both => std::iter::once(REVISION_2026).chain(REVISIONS_2025).collect(),
        Wires::Only2025 => REVISIONS_2025.to_vec(),
        Wires::Only2026 => vec![REVISION_2026],
    }
}

/// An answer to a method that the wire does not have.
pub(super) fn only(allowed: &str) -> Answer {
    with(empty(405), header::ALLOW, allowed)
}

/// The refusal of a POST whose form is invalid on both wires.
fn refuse_form(received: &Received) -> Option<Answer> {
    let content_type = received.header("content-type").unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Some(empty(415));
    }
    if !received.accepts("application/json") || !received.accepts("text/event-stream") {
        return Some(empty(406));
    }
    if received.message.is_none() {
        return Some(answer::error(400, None, -32700, "not one JSON-RPC message", None));
    }
    None
}

fn unsupported(shared: &Shared, received: &Received, asked: &str) -> Answer {
    let id = received.message.as_ref().and_then(|message| message.id.as_ref());
    if shared.settings().wires == Wires::Only2025 {
        // A server of that time knows neither the code nor the data of the newer error.
        return answer::error(400, None, -32000, "Unsupported protocol version", None);
    }
    let data = json!({ "supported": supported(shared), "requested": asked });
    answer::error(400, id, -32022, "Unsupported protocol version", Some(data))
}
