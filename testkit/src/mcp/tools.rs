//! The tools.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::error_message;
use super::message::{Message, Received};
use super::settings::HoldAt;
use super::state::Shared;
use crate::hostile::Admission;
use crate::hostile::clock::pause;

/// Each tool with its one argument and the argument's type.
const TOOLS: [(&str, Option<(&str, &str)>); 7] = [
    ("echo", Some(("text", "string"))),
    ("slow", Some(("milliseconds", "integer"))),
    ("progress", Some(("steps", "integer"))),
    ("large", Some(("bytes", "integer"))),
    ("whoami", None),
    ("restricted", None),
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
pub(super) fn list() -> Value {
    let tools = TOOLS.map(|(name, argument)| {
        let mut schema = json!({ "type": "object" });
        if let Some((argument, kind)) = argument {
            schema["properties"] = json!({ argument: { "type": kind } });
        }
        json!({ "name": name, "description": "A tool for tests.", "inputSchema": schema })
    });
    json!({ "tools": tools })
}

/// Executes a call. Returns its result, or a JSON-RPC error as a message.
pub(super) async fn call(
    shared: &Shared,
    received: &Received,
    message: &Message,
    admission: &Admission,
) -> Result<Value, Value> {
    let name = received.tool().unwrap_or_default();
    if !TOOLS.iter().any(|(known, _)| *known == name) {
        return Err(error_message(message.id.as_ref(), -32602, "unknown tool", None));
    }
    let mut running = Running::begin(shared, name);
    shared.pass(HoldAt::InTool, received).await;
    let argument = |name: &str| &message.params["arguments"][name];
    let result = match name {
        "echo" => text(argument("text").as_str().unwrap_or_default()),
        "large" => {
            let length = argument("bytes").as_u64().unwrap_or_default().min(MAX_LARGE);
            text(&"x".repeat(usize::try_from(length).unwrap_or_default()))
        }
        "whoami" => {
            let chain = admission.chain.map(|chain| chain.0);
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
        "slow" => {
            pause(Duration::from_millis(argument("milliseconds").as_u64().unwrap_or_default())).await;
            text("done")
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
