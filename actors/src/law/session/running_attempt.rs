//! The login attempts that run, as their session sees them.

use super::OperationKey;
use super::login_request::LoginProgress;
use crate::values::{AttemptId, Epoch, LoginKey, LoginOffer, Scopes};

/// A login attempt that runs, as its session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAttempt {
    /// Its id.
    pub id: AttemptId,
    /// The epoch that its login is to replace.
    pub epoch: Epoch,
    /// The stage that it is in.
    pub stage: AttemptStage,
    /// Whether the attempt completes a person's answer, instead of asking a person.
    pub completes: bool,
    /// The key of the answer that the attempt completes, or of the request that it has shown. `None` before that.
    pub key: Option<LoginKey>,
    /// The scopes that the attempt was begun for.
    pub scopes: Scopes,
    /// The operation that the attempt was begun for. `None` if a person asked for the login.
    pub operation: Option<OperationKey>,
}

/// The stage of an attempt that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptStage {
    /// The request is being prepared.
    Preparing,
    /// A person is being asked.
    Offered {
        /// The key of the pending login.
        key: LoginKey,
        /// The request.
        offer: Box<LoginOffer>,
        /// Whether a caller has received the request, and shows it.
        is_shown: bool,
    },
    /// Another process asks the person.
    Elsewhere,
    /// An answer is being redeemed.
    Arriving,
    /// The attempt has concluded, and saves its login.
    Keeping,
}

/// The answer that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// A request to show, or the end of the attempt.
    Offer,
    /// The end, or a request that no caller shows yet, because this process has taken it over from one that died.
    EndOrUnshown,
    /// The end.
    End,
    /// The end, because the request has asked for it.
    Cancellation,
}

impl RunningAttempt {
    /// The answer to a caller before the end; `None` if it has to wait.
    pub(super) fn progress(&mut self, awaits: Awaits) -> Option<LoginProgress> {
        let attempt = self.id;
        match &mut self.stage {
            // These requests get nothing before the end.
            _ if matches!(awaits, Awaits::End | Awaits::Cancellation) => None,
            AttemptStage::Offered { is_shown: true, .. } if awaits == Awaits::EndOrUnshown => None,
            AttemptStage::Offered { key, offer, is_shown } => {
                let is_first = !std::mem::replace(is_shown, true);
                Some(LoginProgress::Offered { attempt, key: *key, offer: offer.clone(), is_first })
            }
            AttemptStage::Elsewhere if awaits == Awaits::Offer => Some(LoginProgress::Elsewhere { attempt }),
            _ => None,
        }
    }
}
