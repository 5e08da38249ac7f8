//! The shared store. It has one record, which the shipped ledger changes, and its claims.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenkeeper_actors::law::flight::FlightEffect;
use tokenkeeper_actors::law::ledger::{self, Change, Changed};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed};
use tokenkeeper_actors::values::record::{Record, Refresh};
use tokenkeeper_actors::values::{ElapsedTime, Epoch, FlightId};

use crate::config::{Claims, Config, Fault, REQUEST_TIMEOUT};
use crate::identity::Sink;
use crate::reading::Names;

/// The store as the port's contract describes it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) record: Record,
    held: BTreeMap<Epoch, Seat>,
    /// Holders that lost their claim, and have not ended it since.
    lost: BTreeSet<(Epoch, FlightId)>,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    by: FlightId,
    /// The expiry of the lease. `None` for a kernel lock.
    until: Option<ElapsedTime>,
}

/// The store's present behaviour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    pub(crate) config: &'a Config,
    pub(crate) now: ElapsedTime,
}

impl Manner<'_> {
    fn has(&self, fault: Fault) -> bool {
        self.config.has(fault)
    }

    fn lease(&self, at_least: Duration) -> Option<ElapsedTime> {
        match self.config.claims {
            Claims::Kernel => None,
            Claims::Leased(length) => Some(self.now.after(length.max(at_least))),
        }
    }

    fn remaining(&self, until: Option<ElapsedTime>) -> Option<Duration> {
        until.map(|until| until.since(self.now))
    }
}

impl Store {
    pub(crate) fn new(record: Record) -> Self {
        Self { record, held: BTreeMap::new(), lost: BTreeSet::new() }
    }

    /// Writes the distinguishing values.
    pub(crate) fn put(&self, sink: &mut Sink, names: &Names, matters: impl Fn(Epoch) -> bool) {
        put_record(&self.record, sink, names);
        // A claim makes no difference if its epoch is over and has no flight left.
        for (epoch, seat) in self.held.iter().filter(|(epoch, _)| matters(**epoch)) {
            sink.plain(epoch);
            sink.flight(seat.by);
            sink.time_if(seat.until);
        }
        sink.claims(self.lost.iter().copied().filter(|(epoch, _)| matters(*epoch)));
    }

    /// Whether a write would be applied now. If not, it never will be, because versions, epochs and tokens do not come
    /// back.
    pub(crate) fn would_apply(&self, effect: &FlightEffect) -> bool {
        matches!(effect, FlightEffect::Change(_, change) if ledger::apply(Some(&self.record), change).is_ok())
    }

    /// Reads, judges and writes, in one step.
    pub(crate) fn change(&mut self, change: &Change, manner: Manner<'_>) -> Changed {
        let before = self.record.clone();
        match ledger::apply(Some(&self.record), &faulty(change, &before, manner)) {
            Ok(after) => {
                if !(manner.has(Fault::MarkUnwritten) && matches!(change, Change::Mark { .. })) {
                    self.record = after.clone();
                }
                self.settle(change, after.epoch, manner);
                Changed::Applied { before: Some(Box::new(before)), after: Box::new(after) }
            }
            Err(why) => Changed::Conflict { why, current: Some(Box::new(before)) },
        }
    }

    /// A commit settles the operations that lost holders of its epoch may still have had under way. A move to another
    /// epoch settles everything before it.
    fn settle(&mut self, change: &Change, epoch: Epoch, manner: Manner<'_>) {
        let commits = matches!(change, Change::Commit(_));
        let moves = matches!(change, Change::Install(_) | Change::Clear { .. });
        if commits || moves {
            self.expire(manner.now);
            self.lost.retain(|(lost, _)| if moves { *lost == epoch } else { *lost != epoch });
        }
    }

    /// Ends the expired leases.
    fn expire(&mut self, now: ElapsedTime) {
        let lost = &mut self.lost;
        self.held.retain(|epoch, seat| {
            let over = seat.until.is_some_and(|until| until <= now);
            if over {
                lost.insert((*epoch, seat.by));
            }
            !over
        });
    }

    pub(crate) fn claim(&mut self, epoch: Epoch, by: FlightId, at_least: Duration, manner: Manner<'_>) -> ClaimAnswer {
        self.expire(manner.now);
        let mut until = manner.lease(at_least);
        if let Some(seat) = self.held.get(&epoch) {
            if seat.by == by {
                until = until.max(seat.until);
            } else if !manner.has(Fault::SharedClaim) {
                return ClaimAnswer::Contended;
            }
        }
        self.held.insert(epoch, Seat { by, until });
        self.lost.remove(&(epoch, by));
        let lost = self.lost.iter().any(|(lost, _)| *lost == epoch) && !manner.has(Fault::LostIsGone);
        let predecessor = if lost { Predecessor::MayLive } else { Predecessor::Gone };
        let (scope, remaining) = (ClaimScope::Spend(epoch), manner.remaining(until));
        ClaimAnswer::Granted(Claim { holder: by, scope, remaining, predecessor })
    }

    /// Whether the claim would be granted to `by`.
    pub(crate) fn is_free(&self, epoch: Epoch, by: FlightId, manner: Manner<'_>) -> bool {
        let over = |seat: &Seat| seat.until.is_some_and(|until| until <= manner.now);
        self.held.get(&epoch).is_none_or(|seat| seat.by == by || over(seat) || manner.has(Fault::SharedClaim))
    }

    pub(crate) fn renew(&mut self, claim: &Claim, at_least: Duration, manner: Manner<'_>) -> Renewed {
        self.expire(manner.now);
        let ClaimScope::Spend(epoch) = claim.scope else { return Renewed::Lost };
        match self.held.get_mut(&epoch) {
            Some(seat) if seat.by == claim.holder => {
                seat.until = seat.until.max(manner.lease(at_least));
                Renewed::Until(manner.remaining(seat.until))
            }
            _ => Renewed::Lost,
        }
    }

    pub(crate) fn end_claim(&mut self, claim: &Claim) {
        let ClaimScope::Spend(epoch) = claim.scope else { return };
        if self.held.get(&epoch).is_some_and(|seat| seat.by == claim.holder) {
            self.held.remove(&epoch);
        }
        self.lost.remove(&(epoch, claim.holder));
    }

    /// The holder's process died. The kernel frees its locks, and its leases last until they expire.
    pub(crate) fn died(&mut self, is_of_it: impl Fn(FlightId) -> bool, claims: Claims) {
        if claims == Claims::Kernel {
            self.held.retain(|_, seat| !is_of_it(seat.by));
        }
    }

    /// The claim is lost, and its holder does not notice.
    pub(crate) fn lose(&mut self, epoch: Epoch) {
        if let Some(seat) = self.held.remove(&epoch) {
            self.lost.insert((epoch, seat.by));
        }
    }

    /// The held claims, with their holders.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (Epoch, FlightId)> {
        self.held.iter().map(|(epoch, seat)| (*epoch, seat.by))
    }

    /// Whether any lease is held or remembered as lost.
    pub(crate) fn has_claims(&self) -> bool {
        !self.held.is_empty()
    }
}

/// Writes the values of a record that may differ between records. The bindings and the granted scopes never do.
pub(crate) fn put_record(record: &Record, sink: &mut Sink, names: &Names) {
    sink.plain(record.epoch);
    sink.revision(record.revision);
    sink.number(record.number);
    record.dead.iter().for_each(|digest| sink.rt_if(names.of(*digest)));
    let Some(grant) = record.grant() else { return };
    sink.plain((grant.parked, grant.rotated));
    sink.plain(grant.access.is_some());
    grant.access.iter().for_each(|access| sink.number(access.number));
    sink.flight_if(grant.access.as_ref().and_then(|access| access.flight));
    match &grant.refresh {
        Refresh::None => sink.plain(0),
        Refresh::Ended(_) => sink.plain(1),
        Refresh::Held(held) => sink.plain((2, held.mark.is_some())),
    }
    sink.rt_if(match &grant.refresh {
        Refresh::None => None,
        Refresh::Ended(digest) => names.of(*digest),
        Refresh::Held(held) => names.of(held.credential.digest()),
    });
    if let Some(mark) = record.held().and_then(|held| held.mark.as_ref()) {
        sink.flight(mark.flight);
        sink.plain((mark.presentations, mark.state, mark.timeout));
        sink.number(mark.number);
        sink.placed(mark.latest.elapsed);
        sink.boot(mark.latest.boot);
    }
}

/// The write that a store with the planted faults makes of this one.
fn faulty<'a>(change: &'a Change, current: &Record, manner: Manner<'_>) -> Cow<'a, Change> {
    let mut changed = change.clone();
    match &mut changed {
        Change::Mark { expected, mark } => {
            if manner.has(Fault::MarkAnywhere) {
                *expected = current.version();
            }
            if manner.has(Fault::MarkTooShort) {
                mark.timeout = REQUEST_TIMEOUT;
            }
            if manner.has(Fault::MarkBackdated) {
                mark.latest.elapsed = ElapsedTime::from_millis(mark.latest.elapsed.as_millis() / 1000 * 1000);
            }
        }
        Change::Commit(commit) if manner.has(Fault::CommitAnywhere) => {
            commit.epoch = current.epoch;
            commit.sent = current.held().map(|held| held.credential.digest());
            commit.access.number = current.number + 1;
        }
        Change::Withdraw { earlier, .. } if manner.has(Fault::WithdrawnWhole) => *earlier = None,
        Change::End { epoch, sent } if manner.has(Fault::EndAnywhere) => {
            *epoch = current.epoch;
            *sent = current.held().map_or(*sent, |held| held.credential.digest());
        }
        _ => return Cow::Borrowed(change),
    }
    Cow::Owned(changed)
}
