//! Numbers for the pending items, in the digest of the story.

use super::Item;
use crate::rng::join;

impl Item {
    /// A number for the item in the digest of the story.
    pub(super) fn code(self) -> u64 {
        let (kind, part) = match self {
            Item::Stimulus(index) => (1, index as u64),
            Item::Extra(index) => (23, index as u64),
            Item::Birth(pid, identity) => (2, (pid.process as u64) << 8 | identity as u64),
            Item::Mail(actor) => (3, u64::from(actor.incarnation)),
            Item::ActorTick(_, tick) => (4, u64::from(tick)),
            Item::Continue(_, flight) => (5, flight.0 as u64),
            Item::FlightTick(_, flight, _) => (6, flight.0 as u64),
            Item::Permit(_, flight, _) => (7, flight.0 as u64),
            Item::StoreEffect(op) => (8, op),
            Item::StoreDone(op) => (9, op),
            Item::Check(request) => (10, request as u64),
            Item::Send(request) => (11, request as u64),
            Item::Arrive(request) => (12, request as u64),
            Item::Evidence(request) => (13, request as u64),
            Item::Revoke(rt) => (14, rt as u64),
            Item::Caller(caller, turn) => (15, (caller as u64) << 32 | u64::from(turn)),
            Item::Restart(process, life) => (16, (process as u64) << 32 | u64::from(life)),
            Item::Wake(host) => (17, host as u64),
            Item::Exit(pid) => (18, pid.process as u64),
            Item::StoreEvent(pid, identity) => (19, (pid.process as u64) << 8 | identity as u64),
            Item::Planted(index) => (24, index as u64),
            Item::Connected(connect) => (25, connect as u64),
            Item::Attempt(_, attempt) => (26, attempt.0 as u64),
            Item::AttemptTick(_, attempt, _) => (27, attempt.0 as u64),
            Item::LocalAnswer(index) => (28, index as u64),
            Item::ExchangeArrives(index) => (29, index as u64),
            Item::Exchanged(index) => (30, index as u64),
            Item::Person(tab) => (31, tab as u64),
            Item::Cancel(index) => (32, index as u64),
            Item::Seeker(seeker, turn) => (33, (seeker as u64) << 32 | u64::from(turn)),
            Item::Heal => (20, 0),
            Item::Probe => (21, 0),
            Item::Finish => (22, 0),
        };
        join(kind, part)
    }
}
