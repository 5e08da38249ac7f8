//! Random stories, compared with a simple model of the limiter.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Ask(Urgency),
    /// The index of one of all asks so far. That ask may be waiting, granted or over.
    Gone(usize),
    Returned(usize, Option<u64>),
    Throttled(u64),
    Pass(u64),
    /// Time passes until the next wake, or until shortly before it.
    Wake {
        early: bool,
    },
    Restart,
}

fn deed() -> impl Strategy<Value = Deed> {
    let urgency = prop_oneof![Just(Callers), Just(Background), Just(AfterResume)];
    prop_oneof![
        6 => urgency.prop_map(Deed::Ask),
        1 => any::<usize>().prop_map(Deed::Gone),
        4 => (any::<usize>(), prop::option::weighted(0.1, 0..9_000_u64)).prop_map(|(ask, span)| Deed::Returned(ask, span)),
        1 => (0..9_000_u64).prop_map(Deed::Throttled),
        2 => (0..20_000_u64).prop_map(Deed::Pass),
        3 => any::<bool>().prop_map(|early| Deed::Wake { early }),
        1 => Just(Deed::Restart),
    ]
}

/// A simple model of the limiter, without its queue.
struct Account {
    limiter: IssuerLimiter,
    policy: IssuerPolicy,
    now: u64,
    jitter: u16,
    asked: u64,
    waiting: BTreeMap<AskId, (Urgency, ElapsedTime)>,
    out: BTreeSet<AskId>,
    throttled: u64,
}

impl Account {
    fn now(&self) -> Now {
        Now { jitter: Jitter::new(self.jitter), ..at(self.now) }
    }

    fn any(&self, place: usize) -> AskId {
        AskId(place as u64 % (self.asked + 1))
    }

    fn tell(&mut self, event: IssuerEvent) -> Vec<IssuerEffect> {
        self.jitter = self.jitter.wrapping_mul(31_421).wrapping_add(6_927);
        let now = self.now();
        match event {
            Ask(ask, AfterResume) => {
                let from = now.elapsed().after(now.jitter.of(self.policy.resume_spread));
                self.waiting.insert(ask, (AfterResume, from));
            }
            Ask(ask, urgency) => {
                self.waiting.insert(ask, (urgency, now.elapsed()));
            }
            Gone(ask) => {
                self.waiting.remove(&ask);
                self.out.remove(&ask);
            }
            Returned(ask, span) => {
                if self.out.remove(&ask)
                    && let Some(span) = span
                {
                    let span = span.min(self.policy.max_retry_after);
                    self.throttled = self.throttled.max(self.now + span.as_millis() as u64);
                }
            }
            Throttled(until) => {
                let most = self.now + self.policy.max_retry_after.as_millis() as u64;
                self.throttled = self.throttled.max(until.as_millis().min(most));
            }
            Tick => {}
        }
        let effects = self.limiter.handle(event, now);
        for effect in &effects {
            self.check(effect);
        }
        self.check_rest();
        effects
    }

    fn check(&mut self, effect: &IssuerEffect) {
        let (Grant(ask) | Hold(ask, _)) = *effect;
        let (urgency, from) = self.waiting.remove(&ask).expect("only a waiting ask is answered, and only once");
        match *effect {
            Grant(_) => {
                assert!(self.now >= self.throttled, "granted within a throttle");
                assert!(from.as_millis() <= self.now, "granted before its instant");
                let ready = self.waiting.iter().filter(|(_, (_, from))| from.as_millis() <= self.now);
                for (other, (theirs, since)) in ready {
                    assert!((urgency, from, ask) < (*theirs, *since, *other), "{other:?} was before {ask:?}");
                }
                self.out.insert(ask);
                assert!(self.out.len() <= self.policy.max_concurrent);
            }
            Hold(_, span) if self.now < self.throttled => {
                assert_eq!(span.as_millis() as u64, self.throttled - self.now);
            }
            Hold(..) => {
                assert!(self.out.len() == self.policy.max_concurrent, "held although a permit is left");
                assert!(from.after(self.policy.timeout).as_millis() <= self.now, "held before timeout ran out");
            }
        }
    }

    fn check_rest(&self) {
        let limiter = &self.limiter;
        assert_eq!(limiter.turns.keys().collect::<Vec<_>>(), self.waiting.keys().collect::<Vec<_>>());
        assert_eq!(limiter.queue.len(), self.waiting.len());
        assert_eq!(limiter.out, self.out);
        assert!(self.now >= self.throttled || self.waiting.is_empty(), "an ask waits within a throttle");
        assert_eq!(limiter.next_wake().is_some(), !self.waiting.is_empty());
        if let Some(wake) = limiter.next_wake() {
            assert!((self.now + 1..=self.now + 60_000).contains(&wake.as_millis()), "asleep too long, or not at all");
        }
        if self.out.len() < self.policy.max_concurrent {
            assert!(
                self.waiting.values().all(|(_, from)| from.as_millis() > self.now),
                "an eligible ask waits although a permit is left"
            );
        }
    }

    fn wake(&mut self, early: bool) {
        let Some(wake) = self.limiter.next_wake() else { return };
        self.now = wake.as_millis() - u64::from(early);
        let effects = self.tell(Tick);
        if early {
            assert_eq!(effects, [], "something was due before the wake");
            assert_eq!(self.limiter.next_wake().map(|next| next >= wake), Some(true));
        } else {
            let next = self.limiter.next_wake();
            assert!(!effects.is_empty() || next > Some(wake), "woken for nothing");
        }
    }

    fn restart(&mut self) {
        self.waiting.clear();
        self.limiter = IssuerLimiter::start(self.policy, self.limiter.residue(), self.now());
        self.check_rest();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_stories_keep_the_rules_of_the_limiter(
        max_concurrent in 1..4_usize,
        timeout in 0..90_u64,
        jitter: u16,
        deeds in prop::collection::vec(deed(), 0..120),
    ) {
        let max_retry_after = secs(5);
        let policy = IssuerPolicy { max_concurrent, timeout: secs(timeout), max_retry_after, ..IssuerPolicy::default() };
        let mut account = Account {
            limiter: IssuerLimiter::start(policy, LimiterResidue::default(), at(0)),
            policy,
            now: 0,
            jitter,
            asked: 0,
            waiting: BTreeMap::new(),
            out: BTreeSet::new(),
            throttled: 0,
        };
        for deed in deeds {
            match deed {
                Deed::Ask(urgency) => {
                    account.asked += 1;
                    account.tell(Ask(AskId(account.asked), urgency));
                }
                Deed::Gone(place) => drop(account.tell(Gone(account.any(place)))),
                Deed::Returned(place, span) => {
                    let event = Returned(account.any(place), span.map(Duration::from_millis));
                    account.tell(event);
                }
                Deed::Throttled(span) => {
                    let until = ElapsedTime::from_millis(account.now + span);
                    account.tell(Throttled(until));
                }
                Deed::Pass(span) => {
                    account.now += span;
                    account.tell(Tick);
                }
                Deed::Wake { early } => account.wake(early),
                Deed::Restart => account.restart(),
            }
        }
        // The asks that still wait are granted as permits come back, or time out.
        for _ in 0..1_000 {
            if account.waiting.is_empty() {
                break;
            }
            account.wake(false);
        }
        prop_assert!(account.waiting.is_empty(), "an ask waits for ever");
        while let Some(ask) = account.out.first().copied() {
            account.tell(Returned(ask, None));
        }
        prop_assert!(account.limiter.residue().out.is_empty());
    }
}
