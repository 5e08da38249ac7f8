//! The schemas of tools that the client calls without having listed them.

use std::sync::PoisonError;

use bytes::Bytes;
use serde_json::Value;

use super::exchange::SendState;
use super::relay::MessageRelay;
use crate::wire::envelope::{MessageParts, member, text};
use crate::wire::message::McpMessage;
use crate::wire::session::SessionHeaders;

/// The error codes for headers that do not match the message. The second one is that of early drafts.
const MISMATCH: [i64; 2] = [-32020, -32001];

/// The maximum number of pages of a list that are read.
const MAX_PAGES: usize = 32;

impl MessageRelay {
    /// Lists the tools after a call was refused because of its headers. Returns whether the call may now get the right headers.
    /// The server has not executed the call.
    ///
    /// A client may call a tool that it has listed through an earlier process. The specification allows an HTTP client to list
    /// the tools then, and to send the call again (Streamable HTTP, Custom Headers from Tool Parameters).
    pub(super) async fn learns_headers(&self, call: &McpMessage, refusal: &[u8]) -> bool {
        let Some(tool) = call.tool().filter(|_| call.revision.is_some()) else { return false };
        let code = MessageParts::read(refusal).and_then(|refusal| refusal.error_code());
        if !code.is_some_and(|code| MISMATCH.contains(&code)) || self.knows(tool) {
            return false;
        }
        let Some(meta) = MessageParts::read(&call.bytes).and_then(|call| call.params().meta) else { return false };
        let mut cursor = String::new();
        for page in 0..MAX_PAGES {
            let list = format!(
                r#"{{"jsonrpc":"2.0","id":"tokenkeeper-tools-{page}","method":"tools/list","params":{{"_meta":{}{cursor}}}}}"#,
                meta.get()
            );
            let Some(list) = McpMessage::read(Bytes::from(list)) else { return false };
            let Ok(answer) = self.send(&list, &SessionHeaders::default(), &SendState::default()).await else {
                return false;
            };
            let Ok(answer) = self.answer_of(answer).await else { return false };
            // The list is not passed on to the client, so the filtered version is not needed.
            let _ = self.tools.lock().unwrap_or_else(PoisonError::into_inner).listed(&answer, &self.filter, true);
            let result = MessageParts::read(&answer).and_then(|answer| answer.result);
            match result.and_then(|result| member(result, "nextCursor")).and_then(text) {
                Some(next) if !self.knows(tool) => cursor = format!(r#","cursor":{}"#, Value::from(&*next)),
                _ => break,
            }
        }
        self.knows(tool)
    }

    fn knows(&self, tool: &str) -> bool {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).knows(tool)
    }
}
