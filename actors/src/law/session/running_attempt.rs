//! An attempt that runs, as its session sees it.

use super::OperationKey;
use super::login_request::LoginProgress;
use crate::values::{AttemptId, Epoch, LoginKey, LoginOffer, Scopes};

/// An attempt that runs, as its session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAttempt {
    /// Its id.
    pub id: AttemptId,
    /// The epoch that its login is to replace.
    pub epoch: Epoch,
    /// The stage that it is in.
    pub stage: AttemptStage,
    /// Whether it completes an answer, rather than ask a person.
    pub completes: bool,
    /// The key of the answer that it completes, or of the request that it has shown.
    pub key: Option<LoginKey>,
    /// The scopes that it was begun for.
    pub scopes: Scopes,
    /// The operation that it was begun for.
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
    /// Another process asks.
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
