//! The writes of a request to a person, and the condition of the login that follows (laws 17 and 20).

use super::{Change, Conflict, Login};
use crate::values::record::{Prompt, PromptEnd, PromptState, Record};
use crate::values::{AttemptId, Epoch, LoginKey};

/// The session that a login was begun on, and is to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunOn {
    /// The epoch in which the login began. If a login or a logout has ended it, this login is not installed.
    pub epoch: Epoch,
    /// The attempt that obtained the login.
    pub attempt: AttemptId,
    /// Whether only the subject that is signed in already may replace it. A login whose server names no subject is
    /// accepted, and so is a login at another issuer, whose subjects cannot be compared.
    pub same_subject: bool,
}

impl BegunOn {
    /// Returns whether `login` may replace `record`.
    pub(crate) fn permits(self, record: &Record, login: &Login) -> Result<(), Conflict> {
        // A subject is unique only within its issuer (OpenID Connect Core section 2).
        let of_issuer = record.grant().filter(|grant| grant.binding.issuer == login.binding.issuer);
        let known = of_issuer.and_then(|grant| grant.subject.as_ref());
        if record.epoch != self.epoch {
            Err(Conflict::Moved)
        } else if self.same_subject && known.zip(login.subject.as_ref()).is_some_and(|(known, named)| known != named) {
            Err(Conflict::OtherSubject)
        } else {
            Ok(())
        }
    }
}

/// The record after a change of its prompt.
pub(super) fn prompted(record: &Record, change: &Change) -> Result<Record, Conflict> {
    let current = record.prompt.as_ref();
    let prompt = match change {
        Change::Prompt { expected, prompt } if record.version() == *expected => {
            Prompt { state: PromptState::Open, ..(**prompt).clone() }
        }
        Change::AnswerPrompt { epoch, prompt }
            if record.epoch == *epoch && current.is_none_or(|known| !redeems_another(known, prompt.key)) =>
        {
            Prompt { state: PromptState::Answered, ..(**prompt).clone() }
        }
        Change::EndPrompt { key, end, at } => match current {
            Some(known) if known.key == *key && can_end(known.state, *end) => {
                Prompt { state: PromptState::Ended(*end), at: *at, ..known.clone() }
            }
            _ => return Err(Conflict::Moved),
        },
        _ => return Err(Conflict::Moved),
    };
    let prompt = Prompt { revision: record.revision.next(), ..prompt };
    Ok(Record { prompt: Some(prompt), ..record.clone() })
}

/// Whether a request in this state can end in this way. An answer that is being redeemed came in time.
fn can_end(state: PromptState, end: PromptEnd) -> bool {
    match state {
        PromptState::Open => true,
        PromptState::Answered => !matches!(end, PromptEnd::TimedOut | PromptEnd::Cancelled),
        PromptState::Ended(_) => false,
    }
}

/// Whether the answer to another request is being redeemed.
fn redeems_another(prompt: &Prompt, key: LoginKey) -> bool {
    prompt.state == PromptState::Answered && prompt.key != key
}
