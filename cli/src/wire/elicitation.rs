//! Login pages that the client shows (MCP 2025-11-25, "URL mode elicitation").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokenkeeper::{OfferedPrompt, Prompt};

use super::envelope::{MessageParts, member, text};
use super::message::McpMessage;

/// The code of an error whose request succeeds after the elicitations that it carries.
pub(crate) const CODE: i64 = -32042;

/// The revision that has this form of elicitation. Revision 2026-07-28 has another one.
const REVISION: &str = "2025-11-25";

/// The page of a login that is under way. `Debug` shows no part of its address. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LoginPage {
    id: String,
    prompt: OfferedPrompt,
    message: String,
    /// Whether the client has got the page.
    is_handed_out: Arc<AtomicBool>,
}

impl LoginPage {
    /// The page of this prompt. `None` if there is no randomness for its identifier.
    pub(crate) fn of(prompt: &Prompt) -> Option<Self> {
        let mut id = [0; 16];
        #[expect(clippy::disallowed_methods, reason = "randomness of the operating system, for a name")]
        getrandom::fill(&mut id).ok()?;
        let code = prompt.user_code().map(|code| format!(" Enter the code {code} there.")).unwrap_or_default();
        let message = format!("Sign in to {}.{code}", prompt.identity);
        let id = base16ct::lower::encode_string(&id);
        Some(Self { id, prompt: prompt.prompt.clone(), message, is_handed_out: Arc::default() })
    }

    /// Returns the elicitation for the client, and notes that the client has got the page.
    pub(crate) fn hand_out(&self) -> Value {
        let url = match &self.prompt {
            OfferedPrompt::Browser { url } => url.as_str(),
            OfferedPrompt::Device { url, complete, .. } => complete.as_ref().unwrap_or(url).as_str(),
            _ => "",
        };
        self.is_handed_out.store(true, Ordering::SeqCst);
        json!({ "mode": "url", "elicitationId": self.id, "url": url, "message": self.message })
    }

    /// The notification that the person has signed in. `None` if the client has not got the page.
    pub(crate) fn completed(&self) -> Option<Vec<u8>> {
        let params = json!({ "elicitationId": self.id });
        let message = json!({ "jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": params });
        self.is_handed_out.load(Ordering::SeqCst).then(|| message.to_string().into_bytes())
    }
}

/// Whether the client of this MCP session shows pages. For that, the client must have declared `elicitation.url`, and the
/// server must have chosen the revision that has it.
pub(crate) fn shows_pages(initialize: &McpMessage, answer: &MessageParts<'_>) -> bool {
    let params = MessageParts::read(&initialize.bytes).and_then(|parts| parts.raw_params());
    let path = ["capabilities", "elicitation", "url"];
    let declared = path.into_iter().try_fold(params, |object, name| object.map(|object| member(object, name)));
    let is_declared = declared.flatten().is_some_and(|value| value.get().starts_with('{'));
    let agreed = answer.result.and_then(|result| member(result, "protocolVersion")).and_then(text);
    is_declared && agreed.as_deref() == Some(REVISION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_shows_pages_if_it_says_so_in_the_revision_that_has_them() {
        let cases = [
            (r#"{"elicitation":{"form":{},"url":{}}}"#, "2025-11-25", true),
            (r#"{"elicitation":{"url":{"x":1}}}"#, "2025-11-25", true),
            (r#"{"elicitation":{"url":{}}}"#, "2025-06-18", false),
            (r#"{"elicitation":{}}"#, "2025-11-25", false),
            (r#"{"elicitation":{"url":null}}"#, "2025-11-25", false),
            (r#"{"elicitation":[]}"#, "2025-11-25", false),
            ("{}", "2025-11-25", false),
        ];
        for (capabilities, revision, expected) in cases {
            let initialize = format!(r#"{{"id":0,"method":"initialize","params":{{"capabilities":{capabilities}}}}}"#);
            let initialize = McpMessage::read(initialize.into()).unwrap();
            let answer = format!(r#"{{"id":0,"result":{{"protocolVersion":"{revision}"}}}}"#);
            let answer = MessageParts::read(answer.as_bytes()).unwrap();
            assert_eq!(shows_pages(&initialize, &answer), expected, "{capabilities} {revision}");
        }
    }
}
