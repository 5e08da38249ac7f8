//! The prompt, a durable note that a person is asked to sign in. Through it all processes that share a store agree on one
//! open prompt.

use super::super::lineage::{AttemptId, Revision};
use super::super::login::{LoginKey, LoginReason};
use super::super::time::{Moment, WallTime};

/// The last request to a person in the record's epoch. A login, an import or a logout removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The login attempt that wrote the prompt. If an earlier prompt was answered instead, it is the attempt of that prompt.
    pub attempt: AttemptId,
    /// The key of the pending login, the data with which the prompt is completed.
    pub key: LoginKey,
    /// The state of the prompt.
    pub state: PromptState,
    /// The time at which the prompt came into this state.
    pub at: Moment,
    /// The record's revision when the prompt came into this state. A caller accepts the end of a prompt as its own result
    /// only if that end was written after the caller had begun to wait. Revisions show that order even if the clocks of two
    /// hosts disagree.
    pub revision: Revision,
    /// The wall-clock time at which the prompt expires. Once it is answered, this is the time by which the redemption of
    /// its code must have ended.
    pub expires: WallTime,
}

impl Prompt {
    /// How the prompt ended after `since`; `None` if it has not ended, or had ended by `since` already.
    pub fn ended_after(&self, since: Revision) -> Option<PromptEnd> {
        match self.state {
            PromptState::Ended(end) if self.revision > since => Some(end),
            _ => None,
        }
    }
}

/// The state of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromptState {
    /// The person was asked, and has not answered.
    Open,
    /// The person has answered, and the code is being presented. If neither a login nor an end is stored by
    /// [`Prompt::expires`], the process that presented the code has probably died.
    Answered,
    /// The prompt has ended without a login.
    Ended(PromptEnd),
}

/// How a prompt ended without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromptEnd {
    /// The person or the server declined.
    Denied,
    /// The host or the person cancelled the login.
    Cancelled,
    /// No answer came in time.
    TimedOut,
    /// The login failed in another way. For example, the server refused the code or the client, or another person signed in.
    Failed,
    /// The code was presented and the server's answer was lost, or the process that was to present the code died or lost the
    /// pending login.
    Aborted,
}

impl PromptEnd {
    /// The reason in the errors of callers that waited for a prompt of another attempt.
    pub const fn reason(self) -> LoginReason {
        match self {
            PromptEnd::Denied => LoginReason::Denied,
            PromptEnd::Cancelled => LoginReason::Cancelled,
            PromptEnd::TimedOut => LoginReason::TimedOut,
            PromptEnd::Failed => LoginReason::Refused,
            PromptEnd::Aborted => LoginReason::Lost,
        }
    }
}
