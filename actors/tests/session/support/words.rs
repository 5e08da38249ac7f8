//! Effects in a few words each, so that a test can name all of them in order.

use std::fmt;

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::session::{RefusalAnswer, SessionEffect};
use tokenkeeper_actors::values::{Cause, TokenError};

/// The effects of one event, in words. They are compared as a whole, for example `assert_eq!(story.asks(1), ["1 gets
/// 1.1"])`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Told(pub(crate) Vec<String>);

impl Told {
    /// The effects without the notes of failures, which [`Story::notes`](super::Story::notes) has.
    pub(crate) fn of(effects: &[SessionEffect]) -> Self {
        let noted = |effect: &&SessionEffect| matches!(effect, SessionEffect::Note(..));
        Self(effects.iter().filter(|effect| !noted(effect)).map(word).collect())
    }

    /// Leaves out publications, for stories that are not about them.
    pub(crate) fn quietly(mut self) -> Self {
        self.0.retain(|word| word != "publish");
        self
    }

    /// How many of the effects begin like this.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        self.0.iter().filter(|word| word.starts_with(beginning)).count()
    }

    /// The number of effects whose words contain `text`.
    pub(crate) fn mentions(&self, text: &str) -> usize {
        self.0.iter().filter(|word| word.contains(text)).count()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const N: usize> PartialEq<[&str; N]> for Told {
    fn eq(&self, other: &[&str; N]) -> bool {
        self.0 == other
    }
}

fn word(effect: &SessionEffect) -> String {
    match effect {
        SessionEffect::Publish(_) => "publish".to_owned(),
        SessionEffect::Answer(waiter, Ok(lease)) => format!("{} gets {}", waiter.0, lease.generation()),
        SessionEffect::Answer(waiter, Err(error)) => format!("{} is told {}", waiter.0, said(error)),
        SessionEffect::AnswerRefusal(reply, RefusalAnswer::Noted) => format!("refusal {} noted", reply.0),
        SessionEffect::AnswerRefusal(reply, RefusalAnswer::Superseded) => format!("refusal {} superseded", reply.0),
        SessionEffect::AnswerRefusal(reply, RefusalAnswer::Unknown) => format!("refusal {} unknown", reply.0),
        SessionEffect::AnswerRefusal(reply, RefusalAnswer::Futile(error)) => {
            format!("refusal {} futile: {}", reply.0, said(error))
        }
        SessionEffect::AnswerInstall(reply, Ok(view)) => {
            format!("login {} installed as {}", reply.0, view.version.epoch.number())
        }
        SessionEffect::AnswerInstall(reply, Err(error)) => format!("login {} failed: {error:?}", reply.0),
        SessionEffect::AnswerLogout(reply, Ok(done)) if done.has_unknown_token => {
            format!("logout {} done, a token may still live", reply.0)
        }
        SessionEffect::AnswerLogout(reply, Ok(_)) => format!("logout {} done", reply.0),
        SessionEffect::AnswerLogout(reply, Err(error)) => format!("logout {} failed: {error:?}", reply.0),
        SessionEffect::AnswerConfigure(reply, Ok(_)) => format!("configuration {} done", reply.0),
        SessionEffect::AnswerConfigure(reply, Err(error)) => format!("configuration {} failed: {error:?}", reply.0),
        SessionEffect::AnswerLogin(reply, answer) => format!("sign-in {}: {answer:?}", reply.0),
        SessionEffect::SignIn(_) => "begin sign-in".to_owned(),
        SessionEffect::TellAttempt(_, event) => format!("tell the attempt {event:?}"),
        SessionEffect::DropLogins => "drop pending logins".to_owned(),
        SessionEffect::Load(_) => "load".to_owned(),
        SessionEffect::Fly(order) => format!("fly for {}", cause(order.cause)),
        SessionEffect::TellLoggedOut(_, epoch) => format!("tell flight it is logged out of {}", epoch.number()),
        SessionEffect::Reserve(..) => "reserve".to_owned(),
        SessionEffect::Change(_, change) => match &**change {
            Change::Install(_) => "write login".to_owned(),
            Change::Clear { epoch } => format!("write tombstone of {}", epoch.number()),
            Change::Configure { epoch, .. } => format!("write plan of {}", epoch.number()),
            Change::Park { epoch, .. } => format!("park {}", epoch.number()),
            Change::Unpark { epoch, .. } => format!("unpark {}", epoch.number()),
            Change::Discard { epoch, number } => format!("discard {}.{number}", epoch.number()),
            change => format!("{change:?}"),
        },
        SessionEffect::Revoke(_) => "revoke".to_owned(),
        SessionEffect::Note(flight, failure) => format!("note {failure:?} of {flight}"),
    }
}

fn said(error: &TokenError) -> String {
    match error.retry_after() {
        None => error.reason().to_string(),
        Some(span) => format!("{}, {} ms", error.reason(), span.as_millis()),
    }
}

fn cause(cause: Cause) -> String {
    format!("{cause:?}").to_lowercase()
}
