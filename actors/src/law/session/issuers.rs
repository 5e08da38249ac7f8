//! The issuers that the resource lists. A grant whose issuer is no longer listed is parked (law 13).

use std::time::Duration;

use super::SessionEffect;
use super::machine::{Output, Session};
use crate::law::ledger::Change;
use crate::values::record::{Issuer, Parked, View};
use crate::values::{ElapsedTime, Epoch, Now, Reason};

/// How long after the first list without the bound issuer a second such list is believed. One wrong metadata document
/// must not end a session for good.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// The pause between two attempts to park the grant.
const PARK_PAUSE: Duration = Duration::from_secs(30);

/// The effect of the resource's list of issuers on a session.
#[derive(Clone, Debug, Default)]
pub(super) struct ListedIssuers {
    unlisted: Option<Unlisted>,
    /// A list that came before the first read.
    deferred: Option<Vec<Issuer>>,
}

/// An epoch whose issuer the resource no longer lists. Its leases are not served, even before the store has parked its grant.
#[derive(Clone, Copy, Debug)]
struct Unlisted {
    epoch: Epoch,
    /// When a list first lacked the issuer.
    since: ElapsedTime,
    /// When to try next to park the grant; `None` until a later list lacks its issuer, too.
    park_at: Option<ElapsedTime>,
}

impl ListedIssuers {
    /// The epoch that the previous actor did not serve.
    pub(super) fn inherited(unlisted: Option<Epoch>, now: ElapsedTime) -> Self {
        Self { unlisted: unlisted.map(|epoch| Unlisted { epoch, since: now, park_at: None }), deferred: None }
    }

    /// The epoch whose issuer is no longer listed.
    pub(super) fn unlisted(&self) -> Option<Epoch> {
        self.unlisted.map(|unlisted| unlisted.epoch)
    }

    /// Whether the resource no longer lists the issuer of this epoch.
    pub(super) fn block(&self, epoch: Epoch) -> bool {
        self.unlisted() == Some(epoch)
    }

    /// When to try next to park the grant.
    pub(super) fn wake(&self) -> Option<ElapsedTime> {
        self.unlisted.and_then(|unlisted| unlisted.park_at)
    }

    /// The record has been read. The epoch stays blocked until the record itself is closed, or has another epoch.
    pub(super) fn record_seen(&mut self, view: &View) {
        self.unlisted = self.unlisted.filter(|unlisted| unlisted.epoch == view.epoch() && view.closed().is_none());
    }

    /// The list that came before the first read.
    pub(super) fn take_deferred(&mut self) -> Option<Vec<Issuer>> {
        self.deferred.take()
    }
}

impl Session {
    /// The resource lists these issuers now. The bound issuer is kept while it is listed. Once it is not listed, no
    /// lease is served. If a later list lacks it, too, the grant is parked until a login is accepted, or its issuer is
    /// listed again. An empty list is ignored.
    pub(super) fn issuers_listed(&mut self, issuers: Vec<Issuer>, now: Now, out: &mut Output) {
        if issuers.is_empty() {
            return;
        }
        let Some(view) = self.knowledge.stored_view() else {
            self.issuers.deferred = Some(issuers);
            return;
        };
        let (epoch, parked) = (view.epoch(), view.closed());
        let Some(bound) = view.issuer.as_ref() else { return };
        let is_listed = issuers.contains(bound);
        match (parked, self.issuers.unlisted) {
            // The grant was parked for this reason, and its issuer is listed again.
            (Some(Reason::IssuerChanged), _) if is_listed => {
                let op = self.next_op();
                let unpark = Change::Unpark { epoch, why: Parked::IssuerChanged };
                out.effects.push(SessionEffect::Change(op, Box::new(unpark)));
            }
            // The grant is closed already, and this list does not open it.
            (Some(_), _) => {}
            // An earlier list without the issuer was wrong.
            (None, _) if is_listed => {
                self.issuers.unlisted = None;
                self.serve_waiters(now, out);
            }
            // The first list without the issuer. Nothing is served, and a later list decides whether the grant is parked.
            (None, None) => {
                self.issuers.unlisted = Some(Unlisted { epoch, since: now.elapsed(), park_at: None });
                self.serve_waiters(now, out);
            }
            // A further list without the issuer.
            (None, Some(unlisted)) => {
                if unlisted.park_at.is_none() && now.elapsed().since(unlisted.since) >= SECOND_LOOK {
                    self.issuers.unlisted = Some(Unlisted { park_at: Some(now.elapsed()), ..unlisted });
                    self.time_out_parking(now, out);
                }
            }
        }
    }

    /// Parks the grant in the store, if that is due.
    pub(super) fn time_out_parking(&mut self, now: Now, out: &mut Output) {
        let is_due = |unlisted: &Unlisted| unlisted.park_at.is_some_and(|at| at <= now.elapsed());
        let Some(unlisted) = self.issuers.unlisted.filter(is_due) else { return };
        let op = self.next_op();
        self.issuers.unlisted = Some(Unlisted { park_at: Some(now.elapsed().after(PARK_PAUSE)), ..unlisted });
        let park = Change::Park { epoch: unlisted.epoch, why: Parked::IssuerChanged };
        out.effects.push(SessionEffect::Change(op, Box::new(park)));
    }
}
