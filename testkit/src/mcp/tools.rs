//! The tools.

use std::time::Duration;

use serde_json::{Value, json};

use super::call::Call;
use super::events::EventLog;
use super::settings::HoldAt;
use super::state::Shared;
use crate::hostile::clock::pause;

/// Each tool with its one argument and the argument's type.
const TOOLS: [(&str, Option<(&str, &str)>); 8] = [
    ("echo", Some(("text", "string"))),
    ("slow", Some(("milliseconds", "integer"))),
    ("progress", Some(("steps", "integer"))),
    ("large", Some(("bytes", "integer"))),
    ("whoami", None),
    ("restricted", None),
    ("routed", Some(("region", "string"))),
    ("fail", None),
];

/// The maximum length of the text of `large`.
const MAX_LARGE: u64 = 64 << 20;

/// A call in execution.
struct Running<'a> {
    shared: &'a Shared,
    is_done: bool,
}

/// The result of `tools/list`.
pub(super) fn list(is_2026: bool) -> Value {
    let tools = TOOLS.map(|(name, argument)| {
        let mut schema = json!({ "type": "object" });
        if let Some((argument, kind)) = argument {
            schema["properties"] = json!({ argument: { "type": kind } });
        }
        if name == "routed" {
            schema["properties"]["region"]["x-mcp-header"] = "Region".into();
        }
        json!({ "name": name, "description": "A tool for tests.", "inputSchema": schema })
    });
    if is_2026 { json!({ "tools": tools, "ttlMs": 0, "cacheScope": "private" }) } else { json!({ "tools": tools }) }
}

/// The argument of a tool that a header repeats, and that header (`x-mcp-header`).
pub(super) fn header_argument(tool: &str) -> Option<(&'static str, &'static str)> {
    (tool == "routed").then_some(("region", "mcp-param-region"))
}

/// Executes a call. Returns its result, or the code and text of a JSON-RPC error.
pub(super) async fn call(shared: &Shared, call: &Call, log: &EventLog) -> Result<Value, (i64, &'static str)> {
    let (name, params) = (call.received.tool().unwrap_or_default(), call.received.params());
    if !TOOLS.iter().any(|(known, _)| *known == name) {
        return Err((-32602, "unknown tool"));
    }
    let mut running = Running::begin(shared, name);
    shared.pass(HoldAt::InTool, &call.received).await;
    let argument = |name: &str| &params["arguments"][name];
    let number = |name: &str| argument(name).as_u64().unwrap_or_default();
    let result = match name {
        "echo" => text(argument("text").as_str().unwrap_or_default()),
        "routed" => text(argument("region").as_str().unwrap_or_default()),
        "large" => text(&"x".repeat(usize::try_from(number("bytes").min(MAX_LARGE)).unwrap_or_default())),
        "slow" => {
            pause(Duration::from_millis(number("milliseconds"))).await;
            text("done")
        }
        "progress" => {
            let (token, steps) = (&params["_meta"]["progressToken"], number("steps"));
            // Without a token the client wants no notifications.
            for step in (1..=steps).filter(|_| !token.is_null()) {
                let params = json!({ "progressToken": token, "progress": step, "total": steps });
                log.push(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }));
            }
            text("done")
        }
        "whoami" => {
            let (admission, chain) = (&call.admission, call.admission.chain.map(|chain| chain.0));
            let me = json!({ "chain": chain, "ordinal": admission.ordinal, "scope": admission.scope });
            let mut result = text(&me.to_string());
            result["structuredContent"] = me;
            result
        }
        "fail" => {
            let mut result = text("failed, as it always does");
            result["isError"] = true.into();
            result
        }
        _ => text("done"),
    };
    running.is_done = true;
    Ok(result)
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": false })
}

impl<'a> Running<'a> {
    fn begin(shared: &'a Shared, tool: &str) -> Self {
        shared.count(|counts| {
            *counts.executed.entry(tool.to_owned()).or_default() += 1;
            counts.running += 1;
            counts.most_running = counts.most_running.max(counts.running);
        });
        Self { shared, is_done: false }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.count(|counts| {
            counts.running -= 1;
            counts.aborted += u64::from(!self.is_done);
        });
    }
}
