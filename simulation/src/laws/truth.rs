//! The history of each identity and of each flight, kept for the checks.

use std::collections::{BTreeMap, BTreeSet};

use tokenkeeper_actors::values::record::{Content, MarkState, Record, Refresh};
use tokenkeeper_actors::values::{AttemptId, Epoch, FlightId, Reason};

use crate::Millis;
use crate::process::Pid;

/// The history of the world as a whole.
#[derive(Debug)]
pub(crate) struct Truth {
    /// For each identity, the states of its record, each with its start.
    states: Vec<Vec<(Millis, State)>>,
    flights: BTreeMap<FlightId, (Pid, u64)>,
    /// The epochs that an actor logged out of while their refresh token was marked, as (identity, epoch, process).
    pub(crate) closed_marked: BTreeSet<(usize, Epoch, usize)>,
    /// Flights that ended their claim. They promised no further commit.
    pub(crate) claim_ended: BTreeSet<FlightId>,
    /// Flights that were aborted. Facts that only they knew are lost.
    pub(crate) aborted: BTreeSet<FlightId>,
    /// Login attempts whose machines exist.
    attempts: BTreeSet<AttemptId>,
    /// The revisions, for each identity, in which a prompt ended because its redeemer had died.
    pub(crate) stale_ends: BTreeSet<(usize, u64)>,
    /// Flights whose machines no longer exist.
    over: BTreeSet<FlightId>,
    /// Flights that ended their claim as settled.
    pub(crate) released: BTreeSet<FlightId>,
    /// The epochs of identities in which a refresh token was stored in the place of another one.
    pub(crate) rotated: BTreeSet<(usize, Epoch)>,
}

/// A record's state from a caller's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) login_required: Option<Reason>,
    pub(crate) marked: bool,
    /// The grant has ended, whether it is parked or not.
    pub(crate) ended: bool,
    /// The refresh token was noted as spent.
    pub(crate) spent: bool,
    pub(crate) epoch: u64,
}

impl State {
    pub(crate) fn of(record: Option<&Record>) -> Self {
        let Some(record) = record else {
            return Self {
                login_required: Some(Reason::NeverSignedIn),
                marked: false,
                ended: false,
                spent: false,
                epoch: 0,
            };
        };
        let login_required = match &record.content {
            Content::Vacant => Some(Reason::NeverSignedIn),
            Content::Tombstone => Some(Reason::LoggedOut),
            Content::Grant(grant) => match (grant.parked, &grant.refresh) {
                (Some(parked), _) => Some(parked.reason()),
                (None, Refresh::None) => Some(Reason::NotRefreshable),
                (None, Refresh::Ended(_)) => Some(Reason::GrantEnded),
                (None, Refresh::Held(_)) => None,
            },
        };
        let mark = record.held().and_then(|held| held.mark.as_ref());
        let (marked, spent) = (mark.is_some(), mark.is_some_and(|mark| mark.state == MarkState::Spent));
        let ended = record.grant().is_some_and(|grant| matches!(grant.refresh, Refresh::Ended(_)));
        Self { login_required, marked, ended, spent, epoch: record.epoch.number() }
    }
}

impl Truth {
    pub(crate) fn new(identities: usize) -> Self {
        Self {
            states: vec![vec![(0, State::of(None))]; identities],
            flights: BTreeMap::new(),
            closed_marked: BTreeSet::new(),
            claim_ended: BTreeSet::new(),
            aborted: BTreeSet::new(),
            attempts: BTreeSet::new(),
            stale_ends: BTreeSet::new(),
            over: BTreeSet::new(),
            released: BTreeSet::new(),
            rotated: BTreeSet::new(),
        }
    }

    pub(crate) fn record_is(&mut self, identity: usize, t: Millis, record: Option<&Record>) {
        let state = State::of(record);
        if self.states[identity].last().is_none_or(|(_, last)| *last != state) {
            self.states[identity].push((t, state));
        }
    }

    /// Whether the record has been in a state that satisfies `wanted` at any time since `since`.
    pub(crate) fn was(&self, identity: usize, since: Millis, wanted: impl Fn(&State) -> bool) -> bool {
        let states = &self.states[identity];
        let until = |place: usize| states.get(place + 1).map_or(Millis::MAX, |(next, _)| *next);
        (0..states.len()).any(|place| until(place) >= since && wanted(&states[place].1))
    }

    pub(crate) fn flight_begun(&mut self, flight: FlightId, pid: Pid, step: u64) {
        self.flights.insert(flight, (pid, step));
    }

    /// The process of a flight, and the step in which it began.
    pub(crate) fn flight(&self, flight: FlightId) -> Option<(Pid, u64)> {
        self.flights.get(&flight).copied()
    }

    pub(crate) fn flight_over(&mut self, flight: FlightId) {
        self.over.insert(flight);
    }

    pub(crate) fn attempt_begun(&mut self, attempt: AttemptId) {
        self.attempts.insert(attempt);
    }

    pub(crate) fn attempt_over(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
    }

    /// Whether the machine may still take a step that holds claims under this id.
    pub(crate) fn holder_lives(&self, holder: FlightId) -> bool {
        self.lives(holder) || self.attempts.contains(&AttemptId(holder.0))
    }

    /// Whether a flight's machine may still take a step.
    pub(crate) fn lives(&self, flight: FlightId) -> bool {
        self.flights.contains_key(&flight) && !self.over.contains(&flight)
    }
}
