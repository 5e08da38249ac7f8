//! One flight on a virtual clock, over a store that is one record.
//!
//! Each step takes the flight's next effect, answers it, and collects the effects of the answer. An effect of another
//! kind fails the test, and so does an effect that no step has taken before the next event. Every story therefore
//! names every effect, in order. The connections alone stand at once, unless the story answers for them. Each step
//! also checks that a repeated completion and an early tick change nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::flight::{
    Equipment, Flight, FlightEffect, FlightEvent, Op, Order, Spending, StoreTimeouts, Urgency,
};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::profile::{Profile, Profiles};
use tokenkeeper_actors::ports::observer::EffectName;
use tokenkeeper_actors::values::record::{Content, ProviderName, Record, RenewalPlan, SourceName, View};
use tokenkeeper_actors::values::{
    Cause, DpopKey, ElapsedTime, Epoch, FlightId, Generation, Jitter, Nonce, Now, WallTime,
};

use super::fixtures::{EPOCH, ME, START, above, after, before, digests, grant_of, issuer, millis, signed_in};

/// The starting point of a story.
pub(crate) struct Setup {
    pub(crate) order: Order,
    /// The profile of a plan without a provider.
    pub(crate) profile: Profile,
    /// The profiles of providers.
    pub(crate) named: Vec<(ProviderName, Profile)>,
    pub(crate) timeouts: StoreTimeouts,
    pub(crate) spending: Spending,
    pub(crate) record: Option<Record>,
    /// Whether each connection stands at once. If not, the story answers for them.
    pub(crate) connects: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let known = Generation::stored(EPOCH, 1);
        let order = Order {
            flight: ME,
            cause: Cause::Expiry,
            epoch: EPOCH,
            adopt: above(1),
            issuer: Some(issuer()),
            renewal: RenewalPlan::default(),
            known,
            nonce: Nonce(0x99),
            doubt: None,
            urgency: Urgency::Callers,
        };
        let (profile, timeouts) = (super::profile(), super::timeouts());
        let (named, spending) = (Vec::new(), Spending::SingleUse);
        Self { order, profile, named, timeouts, spending, record: Some(signed_in()), connects: true }
    }
}

/// See the [module](self).
pub(crate) struct Story {
    pub(super) flight: Flight,
    /// The stored record.
    pub(crate) record: Option<Record>,
    pub(crate) now: Now,
    pub(super) emitted: VecDeque<FlightEffect>,
    /// Every completion so far.
    told: Vec<FlightEvent>,
    pub(super) sending: Option<Op>,
    /// See [`Setup::connects`].
    connects: bool,
}

impl Story {
    /// An ordinary flight, for a token that has just expired.
    pub(crate) fn ordinary() -> Self {
        Self::begin(Setup::default())
    }

    /// A flight over the same record, whose grant has a DPoP key.
    pub(crate) fn bound() -> Self {
        let mut record = signed_in();
        grant_of(&mut record).dpop_key = Some(DpopKey::new("dk"));
        Self::over(record)
    }

    /// A flight over `record`.
    pub(crate) fn over(record: Record) -> Self {
        Self::begin(Setup { record: Some(record), ..Setup::default() })
    }

    /// The flight of `setup`, at [`START`].
    pub(crate) fn begin(setup: Setup) -> Self {
        let Setup { mut order, profile, named, timeouts, spending, mut record, connects } = setup;
        let profiles = named.into_iter().fold(Profiles::new(profile), |all, (name, profile)| all.with(name, profile));
        let sources = [(SourceName::default(), spending)].into();
        let equipment = Equipment { profiles, sources, timeouts, digests: digests() };
        order.renewal.spending = spending;
        if let Some(Record { content: Content::Grant(grant), .. }) = &mut record {
            grant.renewal.spending = spending;
        }
        let now = Now { moment: START, jitter: Jitter::default() };
        let (flight, effects) = Flight::start(order, Arc::new(equipment));
        Self { flight, record, now, emitted: effects.into(), told: Vec::new(), sending: None, connects }
    }

    /// Up to the answer to the claim.
    pub(crate) fn until_claimed(mut self) -> Self {
        self.permit();
        self.load();
        self
    }

    /// Up to the mark.
    pub(crate) fn until_marked(self) -> Self {
        let mut story = self.until_claimed();
        story.claim();
        story.load();
        story
    }

    /// Up to the token request.
    pub(crate) fn until_sent(self) -> Self {
        let mut story = self.until_marked();
        story.change(EffectName::Mark);
        story.send();
        story
    }

    /// Up to the write of the pair `at-2`, `rt-2`.
    pub(crate) fn until_saved(self) -> Self {
        let mut story = self.until_sent();
        story.answer(super::new_pair());
        story.permit_back();
        story
    }

    // --- Events.

    /// Gives the flight an event.
    pub(crate) fn tell(&mut self, event: FlightEvent) {
        self.quiet();
        self.emitted = self.flight.handle(event.clone(), self.now).into();
        self.connect_at_once();
        let completion = !matches!(event, FlightEvent::Tick | FlightEvent::LoggedOut(_) | FlightEvent::Shutdown(_));
        if completion {
            self.told.push(event);
        }
        self.check_repetitions();
    }

    /// Answers a request to connect, if the story does not do so itself.
    fn connect_at_once(&mut self) {
        let asked = self.emitted.iter().position(|effect| matches!(effect, FlightEffect::Connect(..)));
        if let Some(FlightEffect::Connect(op, _)) =
            asked.filter(|_| self.connects).and_then(|asked| self.emitted.remove(asked))
        {
            let event = FlightEvent::Connected(op, Ok(()));
            self.emitted.extend(self.flight.handle(event.clone(), self.now));
            self.told.push(event);
        }
    }

    /// Checks that a repeated completion and an early tick change nothing and have no effect.
    fn check_repetitions(&self) {
        for event in &self.told {
            self.ignores(event.clone());
        }
        if self.flight.next_wake().is_none_or(|due| due > self.now.elapsed()) {
            self.ignores(FlightEvent::Tick);
        }
    }

    /// Asserts that `event` would change nothing and have no effect.
    pub(crate) fn ignores(&self, event: FlightEvent) {
        self.ignores_at(event, self.now);
    }

    fn ignores_at(&self, event: FlightEvent, now: Now) {
        let mut twin = self.flight.clone();
        let effects = twin.handle(event.clone(), now);
        assert!(effects.is_empty(), "{event:?} should have no effect, and has {effects:?}");
        assert_eq!(format!("{twin:?}"), format!("{:?}", self.flight), "{event:?} should change nothing");
    }

    /// Lets `span` pass on both clocks, without an event.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now.moment = after(self.now.moment, span);
    }

    /// Steps the wall clock, forwards or back.
    pub(crate) fn step_wall(&mut self, millis: i64) {
        let wall = self.now.moment.wall.as_millis().checked_add_signed(millis).expect("a wall time");
        self.now.moment.wall = WallTime::from_millis(wall);
    }

    /// Draws this jitter from now on.
    pub(crate) fn jitter(&mut self, numerator: u16) {
        self.now.jitter = Jitter::new(numerator);
    }

    /// Asserts that the flight wants to be woken `span` from now, and that a tick a millisecond sooner changes nothing.
    /// Then lets the time pass and ticks.
    pub(crate) fn wake_after(&mut self, span: Duration) {
        self.wakes_in(span);
        if span > Duration::ZERO {
            let early = before(after(self.now.moment, span), millis(1));
            self.ignores_at(FlightEvent::Tick, Now { moment: early, ..self.now });
        }
        self.pass(span);
        self.tell(FlightEvent::Tick);
    }

    /// Ticks now, due or not.
    pub(crate) fn tick(&mut self) {
        self.tell(FlightEvent::Tick);
    }

    /// The process stops, and does not wait.
    pub(crate) fn shutdown(&mut self) {
        self.shutdown_within(Duration::ZERO);
    }

    /// The process stops, and waits for the flight for `patience`.
    pub(crate) fn shutdown_within(&mut self, patience: Duration) {
        self.tell(FlightEvent::Shutdown(self.now.elapsed().after(patience)));
    }

    pub(crate) fn logout(&mut self, epoch: Epoch) {
        self.tell(FlightEvent::LoggedOut(epoch));
    }

    // --- Writes of others to the store.

    /// Another process's write, which must apply.
    pub(crate) fn meanwhile(&mut self, change: Change) {
        self.record = Some(super::changed(self.record.as_ref(), &change));
    }

    /// Another process's write that changes only the revision.
    pub(crate) fn somebody_writes(&mut self) {
        let sent = super::rt("rt-1").digest();
        self.meanwhile(Change::Withdraw { epoch: EPOCH, flight: super::SIBLING, sent, earlier: None, park: None });
    }

    /// A sibling refreshes.
    pub(crate) fn sibling_refreshes(&mut self, access: &str, refresh: &str) {
        let record = self.record.as_ref().expect("a record");
        self.record = Some(super::refreshed_by_sibling(record, access, refresh, self.now.moment));
    }

    /// The identity is logged out elsewhere.
    pub(crate) fn somebody_logs_out(&mut self) {
        let epoch = self.record.as_ref().expect("a record").epoch;
        self.meanwhile(Change::Clear { epoch });
    }

    /// The identity signs in elsewhere.
    pub(crate) fn somebody_signs_in(&mut self) {
        let login = super::login(Some("rt-new"), "at-new", self.now.moment, super::HOUR);
        self.meanwhile(Change::Install(Box::new(login)));
    }

    // --- The state of the flight.

    /// The flight has no more effects.
    pub(crate) fn quiet(&self) {
        assert!(self.emitted.is_empty(), "unaccounted: {:?}", self.emitted);
    }

    /// The flight goes on, and wants to be woken `span` from now.
    pub(crate) fn wakes_in(&self, span: Duration) {
        self.quiet();
        assert!(!self.flight.is_over());
        let due = self.flight.next_wake().map(ElapsedTime::as_millis);
        assert_eq!(due, Some(self.now.elapsed().after(span).as_millis()), "at {:?}", self.now.elapsed());
    }

    /// Whether the flight waits for the time at which it presents its token once more.
    pub(crate) fn pauses(&self) -> bool {
        self.emitted.is_empty() && self.flight.next_wake().is_some()
    }

    /// The flight goes on, and waits only for an answer.
    pub(crate) fn waits(&self) {
        self.quiet();
        assert!(!self.flight.is_over());
        assert_eq!(self.flight.next_wake(), None);
    }

    /// The flight is over. No effect is left, and it waits for nothing.
    pub(crate) fn over_now(&self) {
        self.quiet();
        assert!(self.flight.is_over(), "{:?}", self.flight);
        assert_eq!(self.flight.next_wake(), None);
        for event in [FlightEvent::Tick, FlightEvent::Shutdown(self.now.elapsed()), FlightEvent::LoggedOut(EPOCH)] {
            let effects = self.flight.clone().handle(event.clone(), self.now);
            assert!(effects.is_empty(), "{event:?} of a flight that is over has {effects:?}");
        }
    }

    /// The view of the stored record.
    pub(crate) fn view(&self) -> Option<View> {
        self.record.as_ref().map(Record::view)
    }

    pub(crate) fn id(&self) -> FlightId {
        self.flight.id()
    }

    /// The next effect as it is, for a test that looks at its parts.
    pub(crate) fn effect(&mut self) -> FlightEffect {
        self.emitted.pop_front().expect("an effect")
    }

    /// Puts an effect back.
    pub(crate) fn unlook(&mut self, effect: FlightEffect) {
        self.emitted.push_front(effect);
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.quiet();
        }
    }
}
