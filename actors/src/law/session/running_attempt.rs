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
    /// What it is doing.
    pub stage: AttemptStage,
    /// The answer that it completes; `None` if it asks a person.
    pub completes: Option<LoginKey>,
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
        /// Whether a caller has it, and shows it.
        is_shown: bool,
    },
    /// Another process asks.
    Elsewhere,
    /// An answer is being redeemed.
    Arriving,
    /// It has concluded, and saves its login.
    Keeping,
}

impl RunningAttempt {
    /// The answer to a caller that waits for something to show; `None` if there is nothing yet.
    pub(super) fn progress(&mut self) -> Option<LoginProgress> {
        let attempt = self.id;
        match &mut self.stage {
            AttemptStage::Offered { key, offer, is_shown } => {
                let is_first = !std::mem::replace(is_shown, true);
                Some(LoginProgress::Offered { attempt, key: *key, offer: offer.clone(), is_first })
            }
            AttemptStage::Elsewhere => Some(LoginProgress::Elsewhere { attempt }),
            AttemptStage::Preparing | AttemptStage::Arriving | AttemptStage::Keeping => None,
        }
    }
}
