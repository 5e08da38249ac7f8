//! The story: one session, its clocks, its callers, and its published state.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Op, Order};
use tokenkeeper_actors::law::ledger::{Change, Commit};
use tokenkeeper_actors::law::session::{
    Ask, ChallengeKey, Failure, OperationKey, Policy, Published, Refusal, ReplyId, Residue, Session, SessionEffect,
    SessionEvent, WaiterId,
};
use tokenkeeper_actors::values::record::View;
use tokenkeeper_actors::values::{ElapsedTime, Generation, Lease, Moment, WallTime};

use super::{Audit, Store, Told, beginning, birth, now, s};

/// One session and its surroundings.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) session: Session,
    pub(crate) store: Store,
    /// Both clocks, and the boot.
    pub(crate) at: Moment,
    /// The jitter, which is zero unless a test sets it.
    pub(crate) jitter: u16,
    pub(crate) policy: Policy,
    pub(super) audit: Audit,
    incarnations: u128,
    pub(super) loads: Vec<Question>,
    pub(super) writes: Vec<(Op, Change)>,
    pub(super) reservations: Vec<Op>,
    pub(super) orders: Vec<Order>,
    /// A pair that the running flight keeps, because it could not be saved.
    pub(super) kept: Option<Commit>,
    /// The effects of the last step.
    pub(super) effects: Vec<SessionEffect>,
}

/// A read in flight.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) op: Op,
    /// When it began.
    pub(crate) asked: ElapsedTime,
    /// The record at that time.
    pub(crate) then: Option<Box<View>>,
}

impl Story {
    /// A session has started over an empty store, and reads.
    pub(crate) fn begins(policy: Policy) -> Self {
        Self::begins_over(Store::default(), policy)
    }

    /// A session has started over this store, and reads.
    pub(crate) fn begins_over(mut store: Store, policy: Policy) -> Self {
        store.renew_by(&policy.renewal);
        let at = beginning();
        let (session, effects) = Session::start(policy.clone(), birth(0), Residue::default(), now(at, 0));
        let mut story = Self {
            session,
            store,
            at,
            jitter: 0,
            policy,
            audit: Audit::default(),
            incarnations: 0,
            loads: Vec::new(),
            writes: Vec::new(),
            reservations: Vec::new(),
            orders: Vec::new(),
            kept: None,
            effects: Vec::new(),
        };
        let told = story.take(&SessionEvent::Resumed, effects);
        assert_eq!(told, ["publish", "load"]);
        story
    }

    /// The identity is signed in with a token of this lifetime, 1.1, and the session has read the record.
    pub(crate) fn signed_in(lifetime: Duration, policy: Policy) -> Self {
        let mut story = Self::over_a_login(Some(lifetime), policy);
        story.reads();
        story
    }

    /// The identity is signed in, and the session has not read the record yet.
    pub(crate) fn over_a_login(lifetime: Option<Duration>, policy: Policy) -> Self {
        let mut store = Store::default();
        store.sign_in(lifetime, beginning());
        Self::begins_over(store, policy)
    }

    /// Any one event.
    pub(crate) fn does(&mut self, event: SessionEvent) -> Told {
        self.audit.before(&event);
        let effects = self.session.handle(event.clone(), now(self.at, self.jitter));
        self.take(&event, effects)
    }

    fn take(&mut self, event: &SessionEvent, effects: Vec<SessionEffect>) -> Told {
        for effect in &effects {
            match effect {
                SessionEffect::Load(op) => {
                    let (asked, then) = (self.at.elapsed, self.store.view());
                    self.loads.push(Question { op: *op, asked, then });
                }
                SessionEffect::Fly(order) => self.orders.push((**order).clone()),
                SessionEffect::Reserve(op, _) => self.reservations.push(*op),
                SessionEffect::Change(op, change) => self.writes.push((*op, (**change).clone())),
                _ => {}
            }
        }
        self.audit.after(event, now(self.at, self.jitter), &effects, &self.session);
        let told = Told::of(&effects);
        self.effects = effects;
        told
    }

    /// The failures that the last event noted.
    pub(crate) fn notes(&self) -> Vec<Failure> {
        let notes = self.effects.iter().filter_map(|effect| match effect {
            SessionEffect::Note(_, failure) => Some(*failure),
            _ => None,
        });
        notes.collect()
    }

    /// The actor ends, and another one starts from the published residue. Both clocks go on.
    pub(crate) fn restarts(&mut self) -> Told {
        self.incarnations += 1;
        let residue = self.published().residue.clone();
        self.audit.restarted();
        let birth = birth(self.incarnations);
        let (session, effects) = Session::start(self.policy.clone(), birth, residue, now(self.at, self.jitter));
        self.session = session;
        // The answers that the previous actor waited for are dropped.
        self.loads.clear();
        self.writes.clear();
        self.reservations.clear();
        self.take(&SessionEvent::Resumed, effects)
    }

    /// The store was emptied. Generations start again, and a new token may have the generation of a refused one.
    pub(crate) fn forgets_what_was_refused(&mut self) {
        self.audit.starts_over();
    }

    // Time.

    /// Both clocks move on, without an event.
    pub(crate) fn passes(&mut self, span: Duration) -> &mut Self {
        self.at.elapsed = self.at.elapsed.after(span);
        self.at.wall = WallTime::from_millis(self.at.wall.as_millis() + span.as_millis() as u64);
        self
    }

    /// The wall clock is set, the elapsed clock is not.
    pub(crate) fn wall_steps(&mut self, millis: i64) -> &mut Self {
        self.at.wall = WallTime::from_millis(self.at.wall.as_millis().saturating_add_signed(millis));
        self
    }

    /// The elapsed clock moves on while the wall clock stands, as after a suspend before the wall clock is read from
    /// hardware again.
    pub(crate) fn sleeps(&mut self, span: Duration) -> &mut Self {
        self.at.elapsed = self.at.elapsed.after(span);
        self
    }

    pub(crate) fn ticks(&mut self) -> Told {
        self.does(SessionEvent::Tick)
    }

    /// Time passes, and the session is woken.
    pub(crate) fn ticks_after(&mut self, span: Duration) -> Told {
        self.passes(span).ticks()
    }

    /// How long the session sleeps without an event.
    pub(crate) fn sleeps_for(&self) -> Option<Duration> {
        self.session.next_wake().map(|wake| wake.since(self.at.elapsed))
    }

    /// Ticks at each wake-up until one has an effect, or `span` has passed.
    pub(crate) fn idles(&mut self, span: Duration) -> Told {
        let end = self.at.elapsed.after(span);
        loop {
            let wake = self.session.next_wake().unwrap_or(end).min(end);
            self.passes(wake.since(self.at.elapsed));
            let told = self.ticks();
            if told != [] || self.at.elapsed >= end {
                return told;
            }
        }
    }

    // Callers.

    /// A caller asks now, with half a minute's timeout.
    pub(crate) fn ask(&self) -> Ask {
        Ask { asked: self.at.elapsed, timeout: s(30), min_lifetime: Duration::ZERO, force: false, fail_fast: false }
    }

    pub(crate) fn asks(&mut self, waiter: u64) -> Told {
        self.asks_for(waiter, self.ask())
    }

    pub(crate) fn asks_for(&mut self, waiter: u64, ask: Ask) -> Told {
        self.does(SessionEvent::GetToken(WaiterId(waiter), ask))
    }

    pub(crate) fn asks_within(&mut self, waiter: u64, timeout: Duration) -> Told {
        self.asks_for(waiter, Ask { timeout, ..self.ask() })
    }

    pub(crate) fn asks_to_have(&mut self, waiter: u64, min_lifetime: Duration) -> Told {
        self.asks_for(waiter, Ask { min_lifetime, ..self.ask() })
    }

    pub(crate) fn insists(&mut self, waiter: u64) -> Told {
        self.asks_for(waiter, Ask { force: true, ..self.ask() })
    }

    pub(crate) fn leaves(&mut self, waiter: u64) -> Told {
        self.does(SessionEvent::WaiterGone(WaiterId(waiter)))
    }

    /// The resource refuses a lease, for the usual operation and with the usual challenge.
    pub(crate) fn refuses(&mut self, reply: u64, generation: Generation) -> Told {
        self.refuses_for(reply, generation, 1, 1)
    }

    pub(crate) fn refuses_for(&mut self, reply: u64, generation: Generation, operation: u64, challenge: u64) -> Told {
        let refusal = Refusal { generation, operation: OperationKey(operation), challenge: ChallengeKey(challenge) };
        self.does(SessionEvent::Invalidate(ReplyId(reply), refusal))
    }

    // The published state.

    pub(crate) fn published(&self) -> &Published {
        self.audit.published()
    }

    /// The generation of the lease that hits hand out.
    pub(crate) fn hit(&self) -> Option<Generation> {
        self.published().hit.as_ref().map(|hit| hit.lease.generation())
    }

    /// How much longer hits hand it out.
    pub(crate) fn window(&self) -> Option<Duration> {
        self.published().hit.as_ref()?.window.remaining(&self.at)
    }

    /// The lease that the last step gave to `waiter`.
    pub(crate) fn lease_of(&self, waiter: u64) -> Option<&Lease> {
        self.effects.iter().find_map(|effect| match effect {
            SessionEffect::Answer(id, Ok(lease)) if id.0 == waiter => Some(lease),
            _ => None,
        })
    }

    /// The effects of the last step themselves.
    pub(crate) fn effects(&self) -> &[SessionEffect] {
        &self.effects
    }
}
