//! Conditions that hold in every state. A step that breaks a law notes it in the next state.

use std::sync::Arc;

use tokenkeeper_actors::law::flight::FlightEffect;
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::profile::Reuse;
use tokenkeeper_actors::values::FlightId;
use tokenkeeper_actors::values::record::Record;

use crate::bounds::Bounds;
use crate::server::{Presentation, Request, Rt};
use crate::state::{Seat, State, is_commit};

/// The laws that are checked in every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Law {
    /// Law 1: a flight waits for the answer of at most one token request per lineage. The request of a flight that has
    /// presented a token over does not count once the flight that it has overtaken commits.
    OneSpend,
    /// Law 2: no flight presents a token without the claim, and two live flights hold the claim of one epoch only
    /// after a loss.
    OneClaim,
    /// Law 3: a token that the store knows to be spent or dead is never presented again. A flight whose request's
    /// time-out has passed may commit between the mark and the send of a flight that presents its token over.
    NoKnowingReplay,
    /// A mark with its count is durable before each presentation (laws 4 and 10).
    MarkedFirst,
    /// Law 10: one presentation of each token where a reuse ends more than the lineage. Elsewhere a flight presents a
    /// token at most twice, the second time after the answer was lost.
    Presentations,
    /// Law 10: a token that another flight has presented is presented again only when that flight can commit nothing
    /// more, or its request's own time-out has passed.
    ReplayInTime,
    /// Law 10: a presentation gives the server cause to revoke a lineage only if no flight may yet commit the token's
    /// successor, or the time-out of the request that brought it had passed. Where a reuse ends more than the lineage
    /// there is no cause at all. A request whose answer is lost, and which the server processes late, may revoke a
    /// lineage.
    Unrevoked,
    /// Law 10: only a definite answer or a login ends a doubt. The record counts every presentation of its token, and
    /// no flight gives up a token whose reuse ends only the lineage.
    DoubtStays,
    /// Law 12: a result of an older epoch is never stored.
    Epochs,
    /// Law 12: epoch, revision and number only grow.
    Growth,
    /// Law 9: no grant is ended while its token works. A loser never deletes a winner's tokens.
    WinnersStay,
    /// Without a crash or a lost answer, the store ends up with the token that works (laws 4 and 5). A flight that
    /// saves nothing until its request's time-out has passed, and whose claim another flight has taken, may lose its
    /// token too.
    NothingLost,
    /// The contract of the flight. It lands exactly once.
    LandsOnce,
    /// Nothing hangs. Where nothing more can happen, every flight has landed and no claim is left behind.
    NothingHangs,
}

impl Law {
    /// All of them.
    pub const ALL: [Law; 14] = [
        Law::OneSpend,
        Law::OneClaim,
        Law::NoKnowingReplay,
        Law::MarkedFirst,
        Law::Presentations,
        Law::ReplayInTime,
        Law::Unrevoked,
        Law::DoubtStays,
        Law::Epochs,
        Law::Growth,
        Law::WinnersStay,
        Law::NothingLost,
        Law::LandsOnce,
        Law::NothingHangs,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Law::OneSpend => "one token request under way per lineage",
            Law::OneClaim => "one live claim per epoch, and no spending without it",
            Law::NoKnowingReplay => "no presentation of a token known to be spent or dead",
            Law::MarkedFirst => "marked, with the right count, before it is presented",
            Law::Presentations => "no more presentations than the profile allows",
            Law::ReplayInTime => "no presentation by another flight while the last one may matter",
            Law::Unrevoked => "no revocation while the successor's owner may commit in time",
            Law::DoubtStays => "no doubt ends without a definite answer",
            Law::Epochs => "no result of an older epoch is stored",
            Law::Growth => "epoch, revision and number grow",
            Law::WinnersStay => "no grant is ended whose token works",
            Law::NothingLost => "no token lost without a crash or a lost answer",
            Law::LandsOnce => "each flight lands once",
            Law::NothingHangs => "nothing hangs, no claim is left behind",
        }
    }
}

impl State {
    /// Notes a broken law. Only the first one counts.
    pub(crate) fn breaks(&mut self, law: Law) {
        self.broken = self.broken.or(Some(law));
    }

    /// Checks a presentation, immediately before its first byte leaves. `before` is the number of earlier
    /// presentations of the token, and `latest` is the latest one.
    pub(crate) fn check_presentation(
        &mut self,
        request: &Request,
        before: u8,
        latest: Option<Presentation>,
        reuse: Reuse,
    ) {
        let epoch = self.seats().find(|(_, seat)| seat.flight.id() == request.by).and_then(|(_, seat)| seat.claim);
        if epoch.is_none() {
            self.breaks(Law::OneClaim);
        }
        let repeats = latest.filter(|latest| latest.by == request.by);
        let again = latest.is_some() && reuse == Reuse::EndsMore;
        if again || repeats.is_some_and(|latest| latest.count > 1 || !latest.lost) {
            self.breaks(Law::Presentations);
        }
        if self.comes_too_late(request) {
            return;
        }
        let counts = |other: &Request| other.awaited && !self.comes_too_late(other);
        if self.wire.iter().any(|other| other.rt.lineage == request.rt.lineage && counts(other)) {
            self.breaks(Law::OneSpend);
        }
        if self.is_known_to_be_over(request.rt) {
            self.breaks(Law::NoKnowingReplay);
        }
        // A login may have been installed since the flight's last read. The mark was durable then.
        let record = &self.store.record;
        let mark = record.held().and_then(|held| held.mark.as_ref());
        let marked = mark.is_some_and(|mark| mark.flight == request.by && mark.presentations > u32::from(before));
        if Some(record.epoch) == epoch && !marked {
            self.breaks(Law::MarkedFirst);
        }
        if let Some(latest) = latest
            && latest.by != request.by
            && latest.ends > self.elapsed()
            && self.may_commit(latest.by)
        {
            self.breaks(Law::ReplayInTime);
        }
    }

    fn is_known_to_be_over(&self, rt: Rt) -> bool {
        self.server.presented.iter().any(|presented| presented.rt == rt && presented.over)
    }

    /// Whether a request presents a token over a flight that has committed since, after its own time-out. The commit
    /// may come between the mark and the send, and it ends the mark.
    fn comes_too_late(&self, request: &Request) -> bool {
        request.overtakes && self.is_known_to_be_over(request.rt)
    }

    /// Whether a flight may still commit its result.
    pub(crate) fn may_commit(&self, flight: FlightId) -> bool {
        let alive = self.seats().any(|(_, seat)| seat.flight.id() == flight && seat.may_commit());
        alive || self.late.iter().any(|late| late.flight == flight && is_commit(&late.effect))
    }

    /// Checks a revocation that `request` caused. `owner` is the flight that received the successor of the request's
    /// token.
    pub(crate) fn check_revocation(&mut self, request: &Request, owner: Option<FlightId>, reuse: Reuse) {
        let unsaved = request.awaited && owner.is_some_and(|owner| self.may_commit(owner));
        if reuse == Reuse::EndsMore || unsaved && !request.overtakes {
            self.breaks(Law::Unrevoked);
        }
        let lineage = &mut Arc::make_mut(&mut self.server).lineages[request.rt.lineage];
        lineage.overtaken = request.awaited && request.overtakes && owner.is_some();
    }

    /// Checks a claim that was just granted to `flight`. Returns whether another flight also believes to hold it.
    /// `lost` is true if claims may have been lost.
    pub(crate) fn check_claims(&mut self, flight: FlightId, lost: bool) -> bool {
        let claim = |seat: &Seat| seat.claim;
        let ours = self.seats().find(|(_, seat)| seat.flight.id() == flight).and_then(|(_, seat)| claim(seat));
        let others =
            self.seats().any(|(_, seat)| seat.flight.id() != flight && claim(seat).is_some() && claim(seat) == ours);
        if others && !lost {
            self.breaks(Law::OneClaim);
        }
        others
    }

    /// Checks a write that was applied.
    pub(crate) fn check_write(&mut self, before: &Record, after: &Record, change: &Change) {
        let number =
            |record: &Record| record.grant().and_then(|grant| grant.access.as_ref()).map(|access| access.number);
        let grew = after.epoch >= before.epoch
            && after.revision > before.revision
            && after.number >= before.number
            && (after.epoch > before.epoch || number(after) >= number(before));
        let belongs = after.held().and_then(|held| Rt::of(held.credential.token()));
        let lineage = usize::try_from(after.epoch.number()).unwrap_or(0).checked_sub(1);
        let superseded = belongs.is_some_and(|rt| Some(rt.lineage) != lineage);
        let skipped = after.epoch > before.epoch && !matches!(change, Change::Install(_) | Change::Clear { .. });
        if !grew {
            self.breaks(Law::Growth);
        }
        let ended = before.held().and_then(|held| Rt::of(held.credential.token()));
        let worked = ended.is_some_and(|rt| self.server.current(rt.lineage) == Some(rt));
        if matches!(change, Change::End { .. }) && worked {
            self.breaks(Law::WinnersStay);
        }
        if superseded || skipped {
            self.breaks(Law::Epochs);
        }
        let counted = after.held().and_then(|held| held.mark.as_ref()).map_or(0, |mark| mark.presentations);
        if belongs.is_some_and(|rt| counted < u32::from(self.server.times(rt))) {
            self.breaks(Law::DoubtStays);
        }
    }

    /// Checks a state in which only faults and external events can happen.
    pub(crate) fn check_rest(&mut self, bounds: &Bounds) {
        let crashed = self.left.crashes < bounds.crashes;
        let hangs = self.seats().any(|(_, seat)| !seat.landed || seat.claim.is_some());
        let leaks = self.store.holders().any(|(_, flight)| !self.is_unheard_of(flight, crashed));
        if hangs || leaks {
            self.breaks(Law::NothingHangs);
        }
        let lineage = usize::try_from(self.store.record.epoch.number()).unwrap_or(0).saturating_sub(1);
        let stored = self.store.record.held().and_then(|held| Rt::of(held.credential.token()));
        let overtaken = self.server.lineages.get(lineage).is_some_and(|lineage| lineage.overtaken);
        let spotless = !crashed && self.left.lost_answers == bounds.lost_answers && !overtaken;
        if spotless && (stored.is_none() || stored != self.server.current(lineage)) {
            self.breaks(Law::NothingLost);
        }
    }

    /// Whether a claim's holder has crashed, or never learnt of the grant. Its lease has to expire.
    fn is_unheard_of(&self, flight: FlightId, crashed: bool) -> bool {
        let late = |effect: &FlightEffect| matches!(effect, FlightEffect::Claim { .. });
        let gone = self.seats().all(|(_, seat)| seat.flight.id() != flight);
        (crashed && gone) || self.late.iter().any(|other| other.flight == flight && late(&other.effect))
    }
}
