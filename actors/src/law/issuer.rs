//! The issuer's limiter: who may make a token request, and when, as a pure state machine.
//!
//! One for each issuer, for all identities of a runtime. It grants a few permits at a time: callers before background
//! work, background work before what a resume set off, and whoever came first within each. While the issuer wants to be
//! left alone (`Retry-After`), nobody is granted anything and nobody waits: every ask is answered [`IssuerEffect::Hold`].
//!
//! An ask after a resume is eligible from an instant drawn for it, and never granted before, even at an idle limiter: other
//! processes and hosts woke up too, and this limiter does not see theirs.
//!
//! # Contract
//!
//! A driver gives every event to [`IssuerLimiter::handle`] and carries the effects out in order. It calls `handle` with
//! [`IssuerEvent::Tick`] at [`IssuerLimiter::next_wake`]. Every ask is answered once, unless it is gone before; a permit that
//! was granted is out until it is [`Returned`](IssuerEvent::Returned) or [`Gone`](IssuerEvent::Gone). Names of asks are
//! never used twice. What the limiter knows is bounded by the asks that wait and the permits that are out.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::flight::Urgency;
use crate::values::{ElapsedTime, Now};

/// Names one ask for a permit, and then the permit: unique among all asks of a runtime, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// How an issuer is treated. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerPolicy {
    /// Permits that are out at a time (8); zero counts as one.
    pub max_concurrent: usize,
    /// Over how long asks after a resume are resume_spread (30 s).
    pub resume_spread: Duration,
    /// The longest that an issuer is left alone, whatever it asks for (1 h).
    pub max_retry_after: Duration,
    /// How long an ask waits for its turn (2 min). One whose turn has not come by then is told to come again later, so
    /// that nothing hangs where permits come back slowly. For an ask after a resume it counts from the ask's instant.
    pub timeout: Duration,
}

impl Default for IssuerPolicy {
    fn default() -> Self {
        Self {
            max_concurrent: 8,
            resume_spread: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(3_600),
            timeout: Duration::from_secs(120),
        }
    }
}

impl IssuerPolicy {
    /// Until when an issuer is left alone that asks for `span` at `now`.
    pub fn throttled_until(&self, span: Duration, now: ElapsedTime) -> ElapsedTime {
        now.after(span.min(self.max_retry_after))
    }
}

/// What happens to a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerEvent {
    /// A flight asks for leave to make one request. An ask that is known already changes nothing.
    Ask(AskId, Urgency),
    /// The asker gives up its place; or its flight broke off, and the permit is free.
    Gone(AskId),
    /// The permit comes back, with what the issuer said about being left alone. One that is not out changes nothing.
    Returned(AskId, Option<Duration>),
    /// It became known elsewhere that the issuer is to be left alone until then; capped like all throttles.
    Throttled(ElapsedTime),
    /// The time given by [`IssuerLimiter::next_wake`] has come.
    Tick,
}

/// What a limiter wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerEffect {
    /// The ask has its permit.
    Grant(AskId),
    /// The ask has none: the issuer is to be left alone for this long.
    Hold(AskId, Duration),
}

/// What outlives a limiter whose driver ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimiterResidue {
    /// Until when the issuer is to be left alone.
    pub throttled: Option<ElapsedTime>,
    /// The permits that are out: they count until they come back.
    pub out: BTreeSet<AskId>,
}

/// The limiter of one issuer. Its contract is the [module](self)'s.
#[derive(Clone, Debug)]
pub struct IssuerLimiter {
    policy: IssuerPolicy,
    throttled: Option<ElapsedTime>,
    out: BTreeSet<AskId>,
    /// Who waits, in the order of their turns.
    queue: BTreeMap<Turn, AskId>,
    turns: BTreeMap<AskId, Turn>,
    /// Asks taken in by this limiter.
    asked: u64,
    wake: Option<ElapsedTime>,
}

/// A place in the queue. The order of the fields is the order of the turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    urgency: Urgency,
    /// From when it may be granted: for an ask after a resume, the instant drawn for it.
    from: ElapsedTime,
    number: u64,
}

/// No sleep is longer than this (law 14).
const SLEEP_MOST: Duration = Duration::from_secs(60);

/// When to come again after waiting in vain.
const COME_AGAIN: Duration = Duration::from_secs(5);

impl IssuerLimiter {
    /// A limiter that goes on from what its predecessor left. The first has a default residue.
    pub fn start(policy: IssuerPolicy, residue: LimiterResidue, now: Now) -> Self {
        let mut limiter = Self {
            policy,
            throttled: None,
            out: residue.out,
            queue: BTreeMap::new(),
            turns: BTreeMap::new(),
            asked: 0,
            wake: None,
        };
        if let Some(until) = residue.throttled {
            limiter.throttle(until, now.elapsed());
        }
        limiter
    }

    /// What a successor must know.
    pub fn residue(&self) -> LimiterResidue {
        LimiterResidue { throttled: self.throttled, out: self.out.clone() }
    }

    /// When [`IssuerEvent::Tick`] is due: never more than a minute after the last event, and `None` while nobody waits. A
    /// throttle needs no timer, because nobody waits for its end.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        self.wake
    }

    /// Takes in what happened and says what is to be done.
    pub fn handle(&mut self, event: IssuerEvent, now: Now) -> Vec<IssuerEffect> {
        match event {
            IssuerEvent::Ask(ask, urgency) => self.ask(ask, urgency, now),
            IssuerEvent::Gone(ask) => {
                self.leave(ask);
                self.out.remove(&ask);
            }
            IssuerEvent::Returned(ask, throttle) => {
                if self.out.remove(&ask)
                    && let Some(span) = throttle
                {
                    self.throttle(now.elapsed().after(span), now.elapsed());
                }
            }
            IssuerEvent::Throttled(until) => self.throttle(until, now.elapsed()),
            IssuerEvent::Tick => {}
        }
        let mut effects = Vec::new();
        self.serve(now.elapsed(), &mut effects);
        self.wake = self.due(now.elapsed());
        effects
    }

    fn ask(&mut self, ask: AskId, urgency: Urgency, now: Now) {
        if self.turns.contains_key(&ask) || self.out.contains(&ask) {
            return;
        }
        let from = match urgency {
            Urgency::AfterResume => now.elapsed().after(now.jitter.of(self.policy.resume_spread)),
            Urgency::Callers | Urgency::Background => now.elapsed(),
        };
        self.asked += 1;
        let turn = Turn { urgency, from, number: self.asked };
        self.turns.insert(ask, turn);
        self.queue.insert(turn, ask);
    }

    fn leave(&mut self, ask: AskId) {
        if let Some(turn) = self.turns.remove(&ask) {
            self.queue.remove(&turn);
        }
    }

    /// The issuer is to be left alone until `until`, or longer if it said so before.
    fn throttle(&mut self, until: ElapsedTime, now: ElapsedTime) {
        let until = self.policy.throttled_until(until.since(now), now);
        self.throttled = self.throttled.max(Some(until));
    }

    /// Answers everybody who can be answered now.
    fn serve(&mut self, now: ElapsedTime, effects: &mut Vec<IssuerEffect>) {
        self.throttled = self.throttled.filter(|until| *until > now);
        if let Some(until) = self.throttled {
            self.turns.clear();
            let queue = std::mem::take(&mut self.queue);
            effects.extend(queue.into_values().map(|ask| IssuerEffect::Hold(ask, until.since(now))));
            return;
        }
        while let Some(ask) = self.next(now) {
            self.leave(ask);
            self.out.insert(ask);
            effects.push(IssuerEffect::Grant(ask));
        }
        while let Some(ask) = self.impatient(now) {
            self.leave(ask);
            effects.push(IssuerEffect::Hold(ask, COME_AGAIN));
        }
    }

    /// Whose turn it is, if a permit is left.
    fn next(&self, now: ElapsedTime) -> Option<AskId> {
        let left = self.has_permit();
        self.heads().find(|(turn, _)| left && turn.from <= now).map(|(_, ask)| ask)
    }

    /// Who has waited too long.
    fn impatient(&self, now: ElapsedTime) -> Option<AskId> {
        self.heads().find(|(turn, _)| self.patient_until(turn) <= now).map(|(_, ask)| ask)
    }

    fn has_permit(&self) -> bool {
        self.out.len() < self.policy.max_concurrent.max(1)
    }

    /// Who is first in each class, the most urgent class first: also the first there to lose timeout.
    fn heads(&self) -> impl Iterator<Item = (Turn, AskId)> {
        [Urgency::Callers, Urgency::Background, Urgency::AfterResume].into_iter().filter_map(|urgency| {
            let start = Turn { urgency, from: ElapsedTime::default(), number: 0 };
            let (turn, ask) = self.queue.range(start..).next()?;
            (turn.urgency == urgency).then_some((*turn, *ask))
        })
    }

    fn patient_until(&self, turn: &Turn) -> ElapsedTime {
        turn.from.after(self.policy.timeout)
    }

    /// When the next answer is due, if nothing else happens.
    fn due(&self, now: ElapsedTime) -> Option<ElapsedTime> {
        let left = self.has_permit();
        let due = self.heads().map(|(turn, _)| if left { turn.from } else { self.patient_until(&turn) }).min()?;
        Some(due.min(now.after(SLEEP_MOST)))
    }
}
