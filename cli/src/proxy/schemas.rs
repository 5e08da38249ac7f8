//! The schemas of tools that the client calls without having listed them.

use std::sync::PoisonError;

use bytes::Bytes;
use serde_json::Value;

use super::exchange::SendState;
use super::relay::MessageRelay;
use crate::wire::envelope::{MessageParts, member, text};
use crate::wire::message::McpMessage;
use crate::wire::session::SessionHeaders;

/// The codes by which a server means that headers do not repeat a message. The second one is that of early drafts.
const MISMATCH: [i64; 2] = [-32020, -32001];

/// How many pages of a list are read.
const MAX_PAGES: usize = 32;

impl MessageRelay {
    /// Whether a call that was refused for its headers may get better ones, because the tools are listed now. The server has not
    /// executed it.
    ///
    /// A client may have the list of an earlier process. The specification lets a client of HTTP list the tools then, and send
    /// the call again (Streamable HTTP, Custom Headers from Tool Parameters).
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
            // The client gets no list, so that nothing is left out of one.
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
