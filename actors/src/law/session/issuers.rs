//! The issuers that the resource lists. A grant whose issuer is no longer listed is parked (law 13).

use std::time::Duration;

use super::SessionEffect;
use super::machine::{Output, Session};
use crate::law::ledger::Change;
use crate::values::record::{Issuer, Parked, View};
use crate::values::{ElapsedTime, Epoch, Now, Reason, TokenError};

/// The pause between two attempts to park the grant.
const PARK_PAUSE: Duration = Duration::from_secs(30);

/// The effect of the resource's list of issuers on a session.
#[derive(Clone, Debug, Default)]
pub(super) struct ListedIssuers {
    unlisted: Option<Unlisted>,
    /// A list that came before the first read.
    deferred: Option<Vec<Issuer>>,
}

/// An epoch whose issuer the resource no longer lists. It is not served, even before the store has parked its grant.
#[derive(Clone, Copy, Debug)]
struct Unlisted {
    epoch: Epoch,
    /// When to try again to park the grant.
    retry_at: ElapsedTime,
}

impl ListedIssuers {
    /// The epoch that the previous actor did not serve.
    pub(super) fn inherited(unlisted: Option<Epoch>, now: ElapsedTime) -> Self {
        Self { unlisted: unlisted.map(|epoch| Unlisted { epoch, retry_at: now }), deferred: None }
    }

    /// The epoch whose issuer is no longer listed.
    pub(super) fn unlisted(&self) -> Option<Epoch> {
        self.unlisted.map(|unlisted| unlisted.epoch)
    }

    /// Whether the resource no longer lists the issuer of this epoch.
    pub(super) fn block(&self, epoch: Epoch) -> bool {
        self.unlisted() == Some(epoch)
    }

    /// When to try again to park the grant.
    pub(super) fn wake(&self) -> Option<ElapsedTime> {
        self.unlisted.map(|unlisted| unlisted.retry_at)
    }

    /// The record has been read. The epoch stays blocked until the record is closed itself, or has another epoch.
    pub(super) fn record_seen(&mut self, view: &View) {
        self.unlisted = self.unlisted.filter(|unlisted| unlisted.epoch == view.epoch() && view.closed().is_none());
    }

    /// The list that came before the first read.
    pub(super) fn take_deferred(&mut self) -> Option<Vec<Issuer>> {
        self.deferred.take()
    }
}

impl Session {
    /// The resource lists these issuers now. The bound issuer is kept while it is listed. Otherwise nothing is served
    /// any more, and the grant is parked until a login is accepted.
    pub(super) fn issuers_listed(&mut self, issuers: Vec<Issuer>, now: Now, out: &mut Output) {
        let Some(view) = self.knowledge.stored_view() else {
            self.issuers.deferred = Some(issuers);
            return;
        };
        let Some(bound) = view.issuer.as_ref().filter(|_| view.closed().is_none()) else { return };
        if issuers.contains(bound) {
            self.issuers.unlisted = None;
        } else if self.issuers.unlisted.is_none() {
            self.issuers.unlisted = Some(Unlisted { epoch: view.epoch(), retry_at: now.elapsed() });
            self.fail_waiters(TokenError::new(Reason::IssuerChanged), out);
            self.park_late(now, out);
        }
    }

    /// Parks the grant in the store, if that is due.
    pub(super) fn park_late(&mut self, now: Now, out: &mut Output) {
        let Some(unlisted) = self.issuers.unlisted.filter(|unlisted| unlisted.retry_at <= now.elapsed()) else {
            return;
        };
        let op = self.stamp();
        self.issuers.unlisted = Some(Unlisted { retry_at: now.elapsed().after(PARK_PAUSE), ..unlisted });
        let park = Change::Park { epoch: unlisted.epoch, why: Parked::IssuerChanged };
        out.effects.push(SessionEffect::Change(op, Box::new(park)));
    }
}
