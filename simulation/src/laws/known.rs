//! What an identity's sessions in one process have been told, and have promised. It outlives the actors, as what was
//! promised must.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey};
use tokenkeeper_actors::values::record::{Issuer, View};
use tokenkeeper_actors::values::{ElapsedTime, Epoch, Generation, Lease, Reason, Version};

use crate::Millis;

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Refused generations, and the step in which the refusal was answered.
    pub(crate) refused: Vec<(Generation, u64)>,
    /// Epochs that were logged out of, and the step in which that was answered.
    pub(crate) logged_out: Vec<(Epoch, u64)>,
    /// The epoch that a logout under way is to end.
    pub(crate) logging_out: Option<Epoch>,
    /// An epoch whose logout was answered as not durable: the process owes its tombstone.
    pub(crate) owed: Option<Epoch>,
    /// Troubles met so far in this process, and when last.
    pub(crate) met: BTreeMap<Reason, Millis>,
    /// The newest view that the present incarnation was given.
    pub(crate) version: Option<Version>,
    /// The lease that the present incarnation must have.
    pub(crate) lease: Option<Lease>,
    /// The epoch whose issuer the resource no longer lists, as far as this incarnation was told.
    pub(crate) barred: Option<Epoch>,
    /// The issuer of that view's grant.
    pub(crate) issuer: Option<Issuer>,
    /// A view came too late for the present incarnation to make use of it, or perhaps not.
    pub(crate) heard_late: bool,
    /// The issuers it was told of before it had read.
    pub(crate) listed: Option<Vec<Issuer>>,
    /// An epoch that was parked, as this process was told: nothing of it is served.
    pub(crate) parked: Option<Epoch>,
    /// The last failed landing: when, and the least pause it calls for.
    pub(crate) failed: Option<(ElapsedTime, Duration)>,
    pub(crate) failures: u32,
    /// Until when the issuer is to be left alone, as the present incarnation was told.
    pub(crate) throttled: Option<ElapsedTime>,
    /// For each server, until when it asked to be left alone, and when it did.
    pub(crate) owed_rest: BTreeMap<u8, (ElapsedTime, Millis)>,
    /// For each operation and challenge, the generation refused last, where that was noted.
    pub(crate) chain: BTreeMap<(OperationKey, ChallengeKey), Generation>,
    /// Operations and challenges for which refreshing was said not to help.
    pub(crate) futile: BTreeSet<(OperationKey, ChallengeKey)>,
    pub(crate) stopping: bool,
}

impl Known {
    /// A new incarnation knows only what the slot holds.
    pub(crate) fn reborn(&mut self) {
        self.version = None;
        self.lease = None;
        (self.issuer, self.listed) = (None, None);
        self.heard_late = false;
        self.throttled = None;
        self.logging_out = None;
    }

    pub(crate) fn meet(&mut self, reason: Reason, t: Millis) {
        self.met.insert(reason, t);
    }

    pub(crate) fn throttled(&mut self, until: ElapsedTime) {
        self.throttled = self.throttled.max(Some(until));
    }

    /// A view was handed to the session.
    pub(crate) fn saw(&mut self, view: &View) {
        if self.version.is_some_and(|version| version > view.version) {
            return;
        }
        if self.version.is_none_or(|version| version.epoch < view.version.epoch) {
            // Another login or logout ends what was before, and a backoff with it.
            (self.failed, self.failures) = (None, 0);
        }
        self.version = Some(view.version);
        self.issuer = view.issuer.clone();
        let listed = self.listed.take();
        if listed.is_some_and(|listed| view.issuer.as_ref().is_some_and(|issuer| !listed.contains(issuer))) {
            self.barred = Some(view.epoch());
        }
        let newer =
            |lease: &Lease| self.lease.as_ref().is_none_or(|known| !known.generation().supersedes(&lease.generation()));
        match &view.lease {
            Some(lease) if newer(lease) => self.lease = Some(lease.clone()),
            Some(_) => {}
            None => {
                if let tokenkeeper_actors::values::record::Renewal::LoginRequired(reason) = view.renewal
                    && view.issuer.is_some()
                    && matches!(reason, Reason::ClientRejected | Reason::IssuerChanged | Reason::SubjectChanged)
                {
                    self.parked = Some(view.epoch());
                }
                self.lease = None;
            }
        }
    }

    /// Whether a generation may not be handed out to somebody who asked in `step`.
    pub(crate) fn refuses(&self, generation: &Generation, step: u64) -> Option<Generation> {
        let barred = |(refused, answered): &&(Generation, u64)| {
            *answered < step && (refused == generation || refused.supersedes(generation))
        };
        self.refused.iter().find(barred).map(|(refused, _)| *refused)
    }
}
