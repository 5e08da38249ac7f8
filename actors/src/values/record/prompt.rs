//! The prompt, a durable note that a person is asked to sign in. Through it all processes on a store agree on one prompt.

use super::super::lineage::{AttemptId, Revision};
use super::super::login::{LoginKey, LoginReason};
use super::super::time::{Moment, WallTime};

/// The request to a person that was made last in the record's epoch. A login, an import or a logout removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The attempt that made this request. If an earlier request was answered instead, it is the attempt of that request.
    pub attempt: AttemptId,
    /// The key of its pending login.
    pub key: LoginKey,
    /// The state of the request.
    pub state: PromptState,
    /// The time at which the request came into this state.
    pub at: Moment,
    /// The record's revision when the request came into this state. A caller accepts the end of a request as its own result
    /// only if that end was written after the caller had begun to wait. Revisions show that order even if the clocks of two
    /// hosts disagree.
    pub revision: Revision,
    /// The wall-clock time at which the request expires. Once the request is answered, it is the time by which the
    /// redemption must have ended.
    pub expires: WallTime,
}

impl Prompt {
    /// How the request ended after `since`; `None` if it has not ended, or had ended by `since` already.
    pub fn ended_after(&self, since: Revision) -> Option<PromptEnd> {
        match self.state {
            PromptState::Ended(end) if self.revision > since => Some(end),
            _ => None,
        }
    }
}

/// The state of a request to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromptState {
    /// The person was asked, and has not answered.
    Open,
    /// The person has answered, and the code is being presented. If neither a login nor an end is stored by
    /// [`Prompt::expires`], the process that presented the code has probably died.
    Answered,
    /// The request has ended without a login.
    Ended(PromptEnd),
}

/// How a request to a person ended without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromptEnd {
    /// The person or the server declined.
    Denied,
    /// The host or the person cancelled it.
    Cancelled,
    /// No answer came in time.
    TimedOut,
    /// It failed in another way. For example, the server refused the code or the client, or another person signed in.
    Failed,
    /// The code was presented, and its answer was lost.
    Aborted,
}

impl PromptEnd {
    /// The reason in the errors of callers that waited for a request of another attempt.
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
