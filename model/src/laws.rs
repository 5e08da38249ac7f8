//! What must hold always. A step that breaks a law says so in the state it leads to.

use tokenkeeper_actors::law::flight::FlightEffect;
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::profile::InDoubt;
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{ElapsedTime, FlightId};

use crate::bounds::Bounds;
use crate::server::{Request, Rt};
use crate::state::{Seat, State, is_commit};

/// The laws that are checked in every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Law {
    /// Law 1: at most one token request is under way per lineage.
    OneSpend,
    /// Law 2: nobody presents a token without the claim, and two live flights hold the claim of one epoch only after a
    /// loss.
    OneClaim,
    /// Law 3: a token that the store knows to be spent or dead is never presented again.
    NoKnowingReplay,
    /// Laws 4 and 10: before each presentation a mark with its count is durable.
    MarkedFirst,
    /// Law 10: at most two presentations of one token, or one where the policy is never to replay.
    Presentations,
    /// Law 10: the second presentation goes out only when whoever made the first can commit nothing more, and that
    /// request's own time-out has passed.
    ReplayInTime,
    /// Law 10: the server never has cause to revoke a lineage while the owner of the token's successor may yet commit
    /// it, nor at all where the policy is never to replay.
    Unrevoked,
    /// Law 12: what an older epoch brought is never stored.
    Epochs,
    /// Law 12: epoch, revision and number only grow.
    Growth,
    /// Law 9: no grant is ended while its token works; a loser never deletes a winner's tokens.
    WinnersStay,
    /// Laws 4 and 5: without a crash or a lost answer, the store ends up with the token that works.
    NothingLost,
    /// The contract of the flight: it lands exactly once.
    LandsOnce,
    /// Nothing hangs: where nothing more can happen, every flight has landed and no claim is left behind.
    NothingHangs,
}

impl Law {
    /// All of them.
    pub const ALL: [Law; 13] = [
        Law::OneSpend,
        Law::OneClaim,
        Law::NoKnowingReplay,
        Law::MarkedFirst,
        Law::Presentations,
        Law::ReplayInTime,
        Law::Unrevoked,
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
            Law::Presentations => "no more presentations than the policy allows",
            Law::ReplayInTime => "no second presentation while the first may matter",
            Law::Unrevoked => "no revocation while the successor's owner may commit",
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
    /// Notes that a law is broken; the first one counts.
    pub(crate) fn breaks(&mut self, law: Law) {
        self.broken = self.broken.or(Some(law));
    }

    /// Checks a presentation, immediately before its first byte leaves. `before` is how many times the token left
    /// before, `last` by whom and until when the last of those may be under way.
    pub(crate) fn check_presentation(
        &mut self,
        request: &Request,
        before: u8,
        last: Option<(FlightId, ElapsedTime)>,
        policy: InDoubt,
    ) {
        if self.wire.iter().any(|other| other.rt.lineage == request.rt.lineage) {
            self.breaks(Law::OneSpend);
        }
        let epoch = self.seats().find(|(_, seat)| seat.flight.id() == request.by).and_then(|(_, seat)| seat.claim);
        if epoch.is_none() {
            self.breaks(Law::OneClaim);
        }
        if self.server.presented.iter().any(|presented| presented.rt == request.rt && presented.over) {
            self.breaks(Law::NoKnowingReplay);
        }
        // A login may have been installed since the flight looked last; the mark was durable then.
        let record = &self.store.record;
        let mark = record.held().and_then(|held| held.mark.as_ref());
        let marked = mark.is_some_and(|mark| mark.flight == request.by && mark.presentations > u32::from(before));
        if Some(record.epoch) == epoch && !marked {
            self.breaks(Law::MarkedFirst);
        }
        let most = if policy == InDoubt::NeverReplay { 1 } else { 2 };
        if before >= most {
            self.breaks(Law::Presentations);
        }
        if let Some((by, ends)) = last
            && (self.may_commit(by) || ends > self.elapsed())
        {
            self.breaks(Law::ReplayInTime);
        }
    }

    /// Whether a flight may still commit what it brought.
    pub(crate) fn may_commit(&self, flight: FlightId) -> bool {
        let alive = self.seats().any(|(_, seat)| seat.flight.id() == flight && seat.may_commit());
        alive || self.late.iter().any(|late| late.flight == flight && is_commit(&late.effect))
    }

    /// Checks that the server's revoking a lineage was no fault of ours. `owner` was given the successor of the token
    /// that was presented once more.
    pub(crate) fn check_revocation(&mut self, owner: Option<FlightId>, policy: InDoubt) {
        if policy == InDoubt::NeverReplay || owner.is_some_and(|owner| self.may_commit(owner)) {
            self.breaks(Law::Unrevoked);
        }
    }

    /// Checks a claim that was just granted to `flight`; whether another flight believes to hold it too. `lost` says
    /// that claims may have been lost.
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
    }

    /// Checks a state in which nothing more can happen by itself.
    pub(crate) fn check_rest(&mut self, bounds: &Bounds) {
        let crashed = self.left.crashes < bounds.crashes;
        let hangs = self.seats().any(|(_, seat)| !seat.landed || seat.claim.is_some());
        let leaks = self.store.holders().any(|(_, flight)| !self.is_unheard_of(flight, crashed));
        if hangs || leaks {
            self.breaks(Law::NothingHangs);
        }
        let lineage = usize::try_from(self.store.record.epoch.number()).unwrap_or(0).saturating_sub(1);
        let stored = self.store.record.held().and_then(|held| Rt::of(held.credential.token()));
        let spotless = !crashed && self.left.lost_answers == bounds.lost_answers;
        if spotless && (stored.is_none() || stored != self.server.current(lineage)) {
            self.breaks(Law::NothingLost);
        }
    }

    /// Whether a claim's holder has crashed, or never learnt that it was granted: the lease has to run out.
    fn is_unheard_of(&self, flight: FlightId, crashed: bool) -> bool {
        let late = |effect: &FlightEffect| matches!(effect, FlightEffect::Claim { .. });
        let gone = self.seats().all(|(_, seat)| seat.flight.id() != flight);
        (crashed && gone) || self.late.iter().any(|other| other.flight == flight && late(&other.effect))
    }
}
