//! The knowledge of a session between two flights, and the orders that follow from it. These are the few rules of the
//! session machine that the flight protocol depends on.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Adopt, Doubt, Landing, Order, Outcome, Urgency};
use tokenkeeper_actors::values::record::{MarkView, Renewal, View};
use tokenkeeper_actors::values::{Cause, ElapsedTime, FlightId, Generation, Nonce, RenewalPlan, Version};

use crate::identity::Sink;

/// The minimum time for which a session believes that only a login helps.
const VERDICT: Duration = Duration::from_secs(100);

/// The knowledge of a session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The number of flights it may still begin.
    pub(crate) flights: u8,
    /// The number of flights it has begun.
    pub(crate) begun: u8,
    view: View,
    /// The newest token it has had.
    pub(crate) newest: Generation,
    doubt: Option<Doubt>,
    /// The flight it waits for, and whether that flight has landed with something unsaved.
    pub(crate) current: Option<(FlightId, bool)>,
    resting: Option<ElapsedTime>,
    verdict: Option<(Version, ElapsedTime)>,
}

impl Session {
    /// A session that has just read the record.
    pub(crate) fn new(flights: u8, begun: u8, view: View, now: ElapsedTime) -> Self {
        let mut session = Self {
            flights,
            begun,
            newest: Generation::default(),
            doubt: None,
            current: None,
            resting: None,
            verdict: None,
            view: View::vacant(),
        };
        session.absorb(view, now);
        session
    }

    /// Writes the distinguishing values. The session uses no other part of the record it has seen.
    pub(crate) fn put(&self, sink: &mut Sink, store: Version, now: ElapsedTime) {
        let Version { epoch, revision } = self.view.version;
        sink.plain((self.flights, self.begun, epoch));
        sink.flight_if(self.current.map(|(flight, _)| flight));
        sink.plain(self.current.is_some_and(|(_, keeping)| keeping));
        if epoch < store.epoch {
            // The session reads the record before any other action, and then none of these values count.
            return;
        }
        sink.plain(self.newest.epoch);
        sink.revision(revision);
        sink.number(self.newest.number);
        sink.plain(matches!(self.view.renewal, Renewal::Token { .. }));
        sink.flight_if(self.doubt.map(|doubt| doubt.flight));
        sink.plain(self.doubt.map(|doubt| doubt.presentations));
        sink.time_if(self.doubt.map(|doubt| doubt.seen));
        // A rest that is over makes no difference.
        sink.time_if(self.resting.filter(|until| *until > now));
        let verdict = self.verdict.filter(|(version, until)| *version == self.view.version && *until > now);
        sink.time_if(verdict.map(|(_, until)| until));
    }

    /// Takes over the store's view, unless a newer one is known already.
    pub(crate) fn absorb(&mut self, view: View, now: ElapsedTime) {
        if view.version < self.view.version {
            return;
        }
        self.doubt = match &view.renewal {
            Renewal::Token { mark: Some(mark), .. } => {
                let MarkView { flight, presentations } = *mark;
                let known = self.doubt.filter(|doubt| (doubt.flight, doubt.presentations) == (flight, presentations));
                Some(known.unwrap_or(Doubt { flight, presentations, seen: now }))
            }
            _ => None,
        };
        if view.epoch() > self.view.epoch() {
            self.current = None;
            self.resting = None;
        }
        let lease = view.lease.as_ref().map(|lease| lease.generation());
        self.newest = match lease {
            Some(lease) if view.epoch() > self.newest.epoch || lease.supersedes(&self.newest) => lease,
            _ => self.newest,
        };
        self.view = view;
    }

    /// Whether the store has a newer version.
    pub(crate) fn is_behind(&self, version: Version) -> bool {
        self.view.version < version
    }

    /// Whether the store has moved to another epoch.
    pub(crate) fn is_overtaken(&self, version: Version) -> bool {
        self.view.version.epoch < version.epoch
    }

    /// Whether it would begin a flight now, for a caller whose token was refused.
    pub(crate) fn may_fly(&self, now: ElapsedTime) -> bool {
        let resting = self.resting.is_some_and(|until| until > now);
        let verdict = self.verdict.is_some_and(|(version, until)| version == self.view.version && until > now);
        let renewable = matches!(self.view.renewal, Renewal::Token { .. });
        self.flights > 0 && self.current.is_none() && !resting && !verdict && renewable
    }

    /// Begins a flight.
    pub(crate) fn order(&mut self, flight: FlightId, margin: Duration) -> Order {
        self.flights -= 1;
        self.begun += 1;
        self.current = Some((flight, false));
        Order {
            flight,
            cause: Cause::Refusal,
            epoch: self.view.epoch(),
            adopt: Adopt::Above { floor: Some(self.newest), margin },
            issuer: self.view.issuer.clone(),
            renewal: RenewalPlan::default(),
            known: self.newest,
            nonce: Nonce(1),
            doubt: self.doubt,
            urgency: Urgency::Callers,
        }
    }

    /// A flight has landed.
    pub(crate) fn landed(&mut self, flight: FlightId, landing: &Landing, now: ElapsedTime) {
        let ours = self.current.is_some_and(|(current, _)| current == flight);
        if ours {
            self.current = landing.keeping.then_some((flight, true));
            if let Outcome::Minted(lease) = &landing.outcome
                && lease.generation().supersedes(&self.newest)
            {
                self.newest = lease.generation();
            }
        }
        if let Some(view) = &landing.view {
            self.absorb(view.as_ref().clone(), now);
        }
        if !ours {
            return;
        }
        match &landing.outcome {
            Outcome::Minted(_) | Outcome::Adopted => (self.resting, self.verdict) = (None, None),
            Outcome::Moved => {}
            Outcome::Failed(trouble) => self.resting = trouble.retry_after.map(|span| now.after(span)),
            Outcome::LoginRequired(_) => self.verdict = Some((self.view.version, now.after(VERDICT))),
        }
    }

    /// A flight that landed with something unsaved has settled it.
    pub(crate) fn settled(&mut self, flight: FlightId, view: View, now: ElapsedTime) {
        self.current.take_if(|(current, _)| *current == flight);
        self.absorb(view, now);
    }

    /// The end of the pause after a failed flight, if it has still to pass.
    pub(crate) fn rests_until(&self, store: Version, now: ElapsedTime) -> Option<ElapsedTime> {
        self.resting.filter(|until| *until > now && self.flights > 0 && !self.is_overtaken(store))
    }

    /// Whether a pause in this session still has to pass.
    pub(crate) fn rests(&self, store: Version, now: ElapsedTime) -> bool {
        if self.is_overtaken(store) {
            return false;
        }
        let resting = self.resting.is_some_and(|until| until > now);
        let verdict = self.verdict.is_some_and(|(version, until)| version == self.view.version && until > now);
        self.flights > 0 && (resting || verdict)
    }
}
