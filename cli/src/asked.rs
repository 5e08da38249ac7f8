//! The last request to a person to sign in, as the reports show it.

use serde_json::{Value, json};
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::engine::values::record::{Prompt, PromptState};

use crate::when;

/// The request in a sentence. `None` if it is open and has expired. The journal then shows its end.
pub(crate) fn words(prompt: &Prompt, now: WallTime) -> Option<String> {
    match prompt.state {
        PromptState::Open if prompt.expires <= now => None,
        PromptState::Open => Some(format!("a person is being asked to sign in, until {}", when::stamp(prompt.expires))),
        PromptState::Answered => Some("a person has answered, and the sign-in is being completed".to_owned()),
        PromptState::Ended(end) => Some(format!("the last sign-in: {}", end.reason().advice())),
    }
}

/// The request for programs.
pub(crate) fn object(prompt: &Prompt) -> Value {
    let state = match prompt.state {
        PromptState::Open => "open",
        PromptState::Answered => "answered",
        PromptState::Ended(end) => end.reason().as_str(),
    };
    json!({ "state": state, "at": when::stamp(prompt.at.wall), "expires_at": when::stamp(prompt.expires) })
}

#[cfg(test)]
mod tests {
    use tokenkeeper::LoginKey;
    use tokenkeeper::engine::values::record::PromptEnd;
    use tokenkeeper::engine::values::{AttemptId, Moment, Revision};

    use super::*;

    #[test]
    fn each_state_of_a_request_has_words() {
        let (before, end) = (WallTime::from_millis(1_000), WallTime::from_millis(2_000));
        let at = Moment { wall: before, ..Moment::default() };
        let prompt = |state| Prompt {
            attempt: AttemptId(1),
            key: LoginKey([2; 32]),
            state,
            at,
            revision: Revision::default(),
            expires: end,
        };
        let shown = |state, now| (words(&prompt(state), now).unwrap_or_default(), object(&prompt(state)));
        let (text, json) = shown(PromptState::Open, before);
        assert_eq!(text, "a person is being asked to sign in, until 1970-01-01T00:00:02Z");
        assert_eq!(
            json,
            json!({ "state": "open", "at": "1970-01-01T00:00:01Z", "expires_at": "1970-01-01T00:00:02Z" })
        );
        assert_eq!(shown(PromptState::Open, end).0, "");
        assert_eq!(shown(PromptState::Answered, before).1["state"], "answered");
        let (text, json) = shown(PromptState::Ended(PromptEnd::TimedOut), end);
        assert!(text.starts_with("the last sign-in: ") && json["state"] == "timed_out", "{text} {json}");
    }
}
