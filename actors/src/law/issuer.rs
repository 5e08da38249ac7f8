//! The issuer's limiter, a pure state machine that gives out permits for token requests.
//!
//! A runtime has one limiter for each issuer, which all identities share. It grants a few permits at a time. Requests
//! with waiting callers come first, then background refreshes, then refreshes after a resume. Within each class they
//! are served in the order of arrival. While the issuer throttles (`Retry-After`), no permit is granted and no request
//! is queued. Every ask is answered with [`IssuerEffect::Hold`].
//!
//! An ask after a resume is eligible from a random instant, and is never granted earlier, even if the limiter is idle.
//! Other processes and hosts woke up too, and this limiter does not see their requests.
//!
//! All processes that share a store share the throttle. The driver stores the [`Cooldown`] that
//! [`IssuerPolicy::cooldown_to_store`] returns, and reports one that it reads with [`IssuerEvent::Throttled`].
//!
//! # Contract
//!
//! A driver gives every event to [`IssuerLimiter::handle`] and carries the effects out in order. It calls `handle` with
//! [`IssuerEvent::Tick`] at [`IssuerLimiter::next_wake`]. Every ask is answered once, unless it is withdrawn before. A
//! granted permit is out until it is [`Returned`](IssuerEvent::Returned) or [`Gone`](IssuerEvent::Gone). Ids of asks
//! are never used twice. The limiter's memory is bounded by the waiting asks and the permits that are out.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::flight::Urgency;
use crate::values::issuer::Cooldown;
use crate::values::{ElapsedTime, MAX_SLEEP, Moment, Now};

/// The id of an ask for a permit, and then of the permit. Unique among all asks of a runtime, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// The limits on the requests to an issuer. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerPolicy {
    /// How many permits may be out at a time (8). Zero counts as one.
    pub max_concurrent: usize,
    /// The time over which asks after a resume are spread (30 s).
    pub resume_spread: Duration,
    /// The longest `Retry-After` that is honoured (1 h).
    pub max_retry_after: Duration,
    /// How long an ask waits for its turn (2 min). It is then answered with a hold, so that no request hangs if permits
    /// come back slowly. For an ask after a resume, the time counts from the ask's random instant.
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
    /// The end of the throttle if the issuer sends `Retry-After: span` at `now`.
    pub fn throttled_until(&self, span: Duration, now: ElapsedTime) -> ElapsedTime {
        now.after(span.min(self.max_retry_after))
    }

    /// The end of the throttle that a stored cool-down asks for at `now`; `None` if it is over. At most
    /// [`max_retry_after`](Self::max_retry_after) from `now`, even if the stored value is wrong.
    pub fn end_of(&self, cooldown: &Cooldown, now: &Moment) -> Option<ElapsedTime> {
        cooldown.left(now, self.max_retry_after).map(|left| now.elapsed.after(left))
    }

    /// The cool-down to store at `now` for a throttle until `until`, in place of `stored`. `None` if less than a second
    /// of the throttle is left, or if it does not last at least a second longer than `stored`.
    pub fn cooldown_to_store(&self, until: ElapsedTime, stored: Option<&Cooldown>, now: &Moment) -> Option<Cooldown> {
        let span = until.since(now.elapsed).min(self.max_retry_after);
        let left = stored.and_then(|stored| stored.left(now, self.max_retry_after)).unwrap_or_default();
        (span >= left + MIN_STORED).then_some(Cooldown { began: *now, span })
    }
}

/// The shortest throttle that is stored for other processes, and the shortest extension of a stored one.
const MIN_STORED: Duration = Duration::from_secs(1);

/// An event for a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerEvent {
    /// A flight asks for a permit for one request. A repeated ask with the same id changes nothing.
    Ask(AskId, Urgency),
    /// The ask is withdrawn, or its flight has ended without returning its permit.
    Gone(AskId),
    /// The permit comes back, with the issuer's `Retry-After`. A permit that is not out changes nothing.
    Returned(AskId, Option<Duration>),
    /// A throttle until this time is known, for example from the store. It is capped like all throttles.
    Throttled(ElapsedTime),
    /// The time that [`IssuerLimiter::next_wake`] returned has come.
    Tick,
}

/// An effect for the driver to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerEffect {
    /// The ask is granted its permit.
    Grant(AskId),
    /// The ask is not granted. Ask again after this time.
    Hold(AskId, Duration),
}

/// The state that outlives a limiter whose driver ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimiterResidue {
    /// The end of the issuer's throttle.
    pub throttled: Option<ElapsedTime>,
    /// The permits that are out. They count until they come back.
    pub out: BTreeSet<AskId>,
}

/// The limiter of one issuer. Its contract is that of the [module](self).
#[derive(Clone, Debug)]
pub struct IssuerLimiter {
    policy: IssuerPolicy,
    throttled: Option<ElapsedTime>,
    out: BTreeSet<AskId>,
    /// The waiting asks, in the order of their turns.
    queue: BTreeMap<Turn, AskId>,
    turns: BTreeMap<AskId, Turn>,
    /// How many asks this limiter has queued.
    asked: u64,
    wake: Option<ElapsedTime>,
}

/// A place in the queue. Turns are ordered by the fields in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    urgency: Urgency,
    /// The earliest time to grant it. For an ask after a resume this is its random instant.
    from: ElapsedTime,
    number: u64,
}

/// When to ask again after an ask has timed out.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl IssuerLimiter {
    /// Starts a limiter from the residue of the previous one. The first limiter of an issuer gets a default residue.
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

    /// The state for the next limiter.
    pub fn residue(&self) -> LimiterResidue {
        LimiterResidue { throttled: self.throttled, out: self.out.clone() }
    }

    /// When [`IssuerEvent::Tick`] is due. Never more than a minute after the last event, and `None` while no ask waits.
    /// A throttle needs no timer, because no ask waits for its end.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        self.wake
    }

    /// Processes an event and returns its effects.
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

    /// Throttles requests until `until`, or longer if a later end is known.
    fn throttle(&mut self, until: ElapsedTime, now: ElapsedTime) {
        let until = self.policy.throttled_until(until.since(now), now);
        self.throttled = self.throttled.max(Some(until));
    }

    /// Answers all asks that can be answered now.
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
        while let Some(ask) = self.timed_out(now) {
            self.leave(ask);
            effects.push(IssuerEffect::Hold(ask, ASK_AGAIN));
        }
    }

    /// The ask whose turn it is, if a permit is left.
    fn next(&self, now: ElapsedTime) -> Option<AskId> {
        let left = self.has_permit();
        self.heads().find(|(turn, _)| left && turn.from <= now).map(|(_, ask)| ask)
    }

    /// An ask that has waited too long.
    fn timed_out(&self, now: ElapsedTime) -> Option<AskId> {
        self.heads().find(|(turn, _)| self.times_out_at(turn) <= now).map(|(_, ask)| ask)
    }

    fn has_permit(&self) -> bool {
        self.out.len() < self.policy.max_concurrent.max(1)
    }

    /// The first ask of each class, the most urgent class first. Each is also the first of its class to time out.
    fn heads(&self) -> impl Iterator<Item = (Turn, AskId)> {
        [Urgency::Callers, Urgency::Background, Urgency::AfterResume].into_iter().filter_map(|urgency| {
            let start = Turn { urgency, from: ElapsedTime::default(), number: 0 };
            let (turn, ask) = self.queue.range(start..).next()?;
            (turn.urgency == urgency).then_some((*turn, *ask))
        })
    }

    fn times_out_at(&self, turn: &Turn) -> ElapsedTime {
        turn.from.after(self.policy.timeout)
    }

    /// When the next answer is due if no event comes before.
    fn due(&self, now: ElapsedTime) -> Option<ElapsedTime> {
        let left = self.has_permit();
        let due = self.heads().map(|(turn, _)| if left { turn.from } else { self.times_out_at(&turn) }).min()?;
        Some(due.min(now.after(MAX_SLEEP)))
    }
}
