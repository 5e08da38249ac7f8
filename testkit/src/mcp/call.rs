//! The execution of requests, and the form of their answers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{self, Answer, Work, error_message};
use super::events::{EventForm, EventLog, send};
use super::message::Received;
use super::settings::AnswerForm;
use super::state::Shared;
use super::tools;
use crate::hostile::Admission;

/// A request that is to be executed.
pub(super) struct Call {
    pub(super) received: Received,
    pub(super) id: Value,
    pub(super) admission: Admission,
    pub(super) is_2026: bool,
}

/// Ends a log when its request is answered or aborted.
struct Writer(Arc<EventLog>);

impl Call {
    /// Whether the answer is a stream of events.
    pub(super) fn streams(&self, shared: &Shared) -> bool {
        shared.settings().answers == AnswerForm::Sse || self.received.tool() == Some("progress")
    }

    /// Executes the request. Its answer is the last event of the log.
    pub(super) fn work(self, shared: &Arc<Shared>, log: &Arc<EventLog>) -> Work {
        let (shared, writer) = (Arc::clone(shared), Writer(Arc::clone(log)));
        Box::pin(async move {
            let answer = match self.execute(&shared, &writer.0).await {
                Ok(mut result) => {
                    if self.is_2026 {
                        result["resultType"] = "complete".into();
                    }
                    json!({ "jsonrpc": "2.0", "id": self.id, "result": result })
                }
                Err((code, text)) => error_message(Some(&self.id), code, text, None),
            };
            writer.0.push(&answer);
        })
    }

    /// Whether both wires have this method.
    pub(super) fn is_known(method: &str) -> bool {
        ["ping", "tools/call", "tools/list"].contains(&method)
    }

    async fn execute(&self, shared: &Shared, log: &EventLog) -> Result<Value, (i64, &'static str)> {
        match &*self.received.operation {
            "tools/call" => tools::call(shared, self, log).await,
            "tools/list" => Ok(tools::list(self.is_2026)),
            "ping" => Ok(json!({})),
            _ => Err((-32601, "unknown method")),
        }
    }
}

/// The answer of a request as JSON. Without one, because the request was cancelled, 202.
pub(super) fn json_answer(log: &EventLog) -> Answer {
    let text = log.last().filter(|text| !text.is_empty());
    text.map_or_else(|| answer::empty(202), |text| answer::json_text(200, text.to_string()))
}

/// Answers by events of a stream that lives as long as its answer.
pub(super) fn stream(shared: &Arc<Shared>, call: Call) -> Answer {
    let form = EventForm { has_ids: false, retry: shared.settings().retry };
    let (cut, log) = (shared.next_cut(&call.received), EventLog::new(0, false));
    let (reader, work) = (log.read_from(0), call.work(shared, &log));
    answer::events(|out| async move {
        let sending = send(reader, form, cut, out);
        if cut.is_some() {
            // The request is executed, although its answer is lost.
            work.await;
            sending.await;
        } else {
            tokio::join!(work, sending);
        }
    })
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end();
    }
}
