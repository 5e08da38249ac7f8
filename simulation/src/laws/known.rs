//! The facts that the sessions of one identity in one process have received, and the promises they made. They outlive
//! the actors, because the promises do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey};
use tokenkeeper_actors::values::record::{Issuer, PromptState, Renewal, View};
use tokenkeeper_actors::values::{ElapsedTime, Epoch, Generation, Lease, Moment, Reason, Version};

use crate::Millis;

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Refused generations, each with the step in which the refusal was answered.
    pub(crate) refused: Vec<(Generation, u64)>,
    /// Epochs that were logged out of, each with the step of the answer.
    pub(crate) logged_out: Vec<(Epoch, u64)>,
    /// The epoch that the running logout ends.
    pub(crate) logging_out: Option<Epoch>,
    /// An epoch whose logout was answered as not durable. The process owes its tombstone.
    pub(crate) owed: Option<Epoch>,
    /// The troubles that this process has met so far, each with its last time.
    pub(crate) met: BTreeMap<Reason, Millis>,
    /// The version of the newest view that the present incarnation received.
    pub(crate) version: Option<Version>,
    /// The lease that the present incarnation holds.
    pub(crate) lease: Option<Lease>,
    /// The epoch whose issuer the resource no longer lists, according to the last list this incarnation received.
    pub(crate) barred: Option<Epoch>,
    /// The issuer of that view's grant.
    pub(crate) issuer: Option<Issuer>,
    /// A view arrived too late, and the present incarnation may or may not have used it.
    pub(crate) heard_late: bool,
    /// The issuers that the session received before its first read.
    pub(crate) listed: Option<Vec<Issuer>>,
    /// A parked epoch that this process knows of. No lease of it is served.
    pub(crate) parked: Option<Epoch>,
    /// The last failed landing, and the pauses after it.
    pub(crate) failed: Option<FailedLanding>,
    /// Failures of flights that callers waited for.
    pub(crate) failures: u32,
    /// Failures of flights that no caller waited for.
    pub(crate) background_failures: u32,
    /// Whether no caller has waited for the newest flight.
    pub(crate) unattended: bool,
    /// The token requests for the callers that wait, except those that a server's challenge repeated.
    pub(crate) cohort: u32,
    /// The end of the issuer's pause, as the present incarnation received it.
    pub(crate) throttled: Option<ElapsedTime>,
    /// For each server, the end of the pause it asked for, and the time of the request.
    pub(crate) owed_rest: BTreeMap<u8, (ElapsedTime, Millis)>,
    /// For each operation and challenge, the last refused generation that was noted.
    pub(crate) chain: BTreeMap<(OperationKey, ChallengeKey), Generation>,
    /// Operations and challenges that were answered as `Futile`, because a refresh does not help.
    pub(crate) futile: BTreeSet<(OperationKey, ChallengeKey)>,
    pub(crate) stopping: bool,
    /// Since when an answer is being redeemed, as the newest view says.
    pub(crate) answered: Option<Moment>,
}

/// A failed landing, and the pauses after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedLanding {
    pub(crate) at: ElapsedTime,
    /// The minimum pause before a flight that callers wait for.
    pub(crate) least: Duration,
    /// The maximum pause before a flight that callers wait for.
    pub(crate) most: Duration,
    /// The minimum pause before any other flight.
    pub(crate) background: Duration,
}

/// Whether the view is of a parked grant.
fn is_parked(view: &View) -> bool {
    let parks = [Reason::ClientRejected, Reason::IssuerChanged, Reason::SubjectChanged];
    view.issuer.is_some() && matches!(view.renewal, Renewal::LoginRequired(reason) if parks.contains(&reason))
}

impl Known {
    /// A new incarnation knows only the content of the slot.
    pub(crate) fn reborn(&mut self) {
        self.version = None;
        self.lease = None;
        (self.issuer, self.listed) = (None, None);
        self.heard_late = false;
        self.throttled = None;
        self.logging_out = None;
        self.cohort = 0;
        // A flight that runs may have had callers.
        self.unattended = false;
    }

    /// A success, or a new epoch, ends the backoff.
    pub(crate) fn recover(&mut self) {
        (self.failed, self.failures, self.background_failures, self.cohort) = (None, 0, 0, 0);
    }

    pub(crate) fn meet(&mut self, reason: Reason, t: Millis) {
        self.met.insert(reason, t);
    }

    /// A login that was served unstored will never be stored. `epoch` is the one in the store.
    pub(crate) fn forget_unstored(&mut self, epoch: Epoch) {
        self.refused.retain(|(refused, _)| refused.nonce.0 == 0 || refused.epoch <= epoch);
    }

    pub(crate) fn throttled(&mut self, until: ElapsedTime) {
        self.throttled = self.throttled.max(Some(until));
    }

    /// The session received a view.
    pub(crate) fn saw(&mut self, view: &View) {
        if self.version.is_some_and(|version| version > view.version) {
            return;
        }
        if self.version.is_none_or(|version| version.epoch < view.version.epoch) {
            // Another login or logout ends an earlier backoff.
            self.recover();
        }
        if self.parked == Some(view.epoch()) && !is_parked(view) {
            // The server accepts the client again, or the resource lists the issuer again.
            self.parked = None;
            self.barred = None;
        }
        self.version = Some(view.version);
        let answered = view.prompt.as_ref().filter(|prompt| prompt.state == PromptState::Answered);
        self.answered = answered.map(|prompt| prompt.at);
        self.issuer = view.issuer.clone();
        let listed = self.listed.take();
        if let (Some(listed), Some(issuer)) = (listed, &view.issuer) {
            self.barred = (!listed.contains(issuer)).then(|| view.epoch());
        }
        let newer =
            |lease: &Lease| self.lease.as_ref().is_none_or(|known| !known.generation().supersedes(&lease.generation()));
        match &view.lease {
            Some(lease) if newer(lease) => self.lease = Some(lease.clone()),
            Some(_) => {}
            None => {
                if is_parked(view) {
                    self.parked = Some(view.epoch());
                }
                self.lease = None;
            }
        }
    }

    /// Returns the refusal that forbids this generation to a caller that asked in `step`.
    pub(crate) fn refuses(&self, generation: &Generation, step: u64) -> Option<Generation> {
        let barred = |(refused, answered): &&(Generation, u64)| {
            *answered < step && (refused == generation || refused.supersedes(generation))
        };
        self.refused.iter().find(barred).map(|(refused, _)| *refused)
    }
}
