//! The limiter's rules, one by one, and in random stories.

mod stories;

use super::*;
use crate::values::{BootId, Jitter, Moment, WallTime};
use IssuerEffect::{Grant, Hold};
use IssuerEvent::{Ask, Gone, Returned, Throttled, Tick};
use Urgency::{AfterResume, Background, Callers};

fn at(millis: u64) -> Now {
    let elapsed = ElapsedTime::from_millis(millis);
    Now {
        moment: Moment { elapsed, wall: WallTime::from_millis(millis), boot: BootId(0) },
        jitter: Jitter::new(1 << 15),
    }
}

fn instant(millis: u64) -> Option<ElapsedTime> {
    Some(ElapsedTime::from_millis(millis))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn limiter(max_concurrent: usize) -> IssuerLimiter {
    IssuerLimiter::start(IssuerPolicy { max_concurrent, ..IssuerPolicy::default() }, LimiterResidue::default(), at(0))
}

#[test]
fn a_few_are_granted_at_once_and_the_next_when_one_comes_back() {
    let mut limiter = limiter(2);
    assert_eq!(limiter.handle(Ask(AskId(1), Callers), at(0)), [Grant(AskId(1))]);
    assert_eq!(limiter.handle(Ask(AskId(2), Background), at(0)), [Grant(AskId(2))]);
    assert_eq!(limiter.handle(Ask(AskId(3), Callers), at(0)), []);
    assert_eq!(limiter.handle(Ask(AskId(4), Callers), at(0)), []);
    assert_eq!(limiter.handle(Returned(AskId(1), None), at(9)), [Grant(AskId(3))]);
    assert_eq!(limiter.handle(Gone(AskId(2)), at(9)), [Grant(AskId(4))]);
}

#[test]
fn at_once_is_never_less_than_one() {
    let mut limiter = limiter(0);
    assert_eq!(limiter.handle(Ask(AskId(1), Callers), at(0)), [Grant(AskId(1))]);
    assert_eq!(limiter.handle(Ask(AskId(2), Callers), at(0)), []);
}

#[test]
fn callers_come_before_background_and_background_before_a_resume() {
    let mut limiter = limiter(1);
    limiter.handle(Ask(AskId(0), Callers), at(0));
    for (ask, urgency) in [(1, AfterResume), (2, Background), (3, Background), (4, Callers), (5, Callers)] {
        assert_eq!(limiter.handle(Ask(AskId(ask), urgency), at(ask)), []);
    }
    for (back, next) in [(0, 4), (4, 5), (5, 2), (2, 3), (3, 1)] {
        assert_eq!(limiter.handle(Returned(AskId(back), None), at(40_000)), [Grant(AskId(next))]);
    }
}

#[test]
fn a_throttle_answers_all_asks_at_once_and_ends_to_the_millisecond() {
    let mut limiter = limiter(1);
    limiter.handle(Ask(AskId(0), Callers), at(1_000));
    limiter.handle(Ask(AskId(1), AfterResume), at(1_000));
    limiter.handle(Ask(AskId(2), Callers), at(1_000));
    let told = limiter.handle(Returned(AskId(0), Some(secs(60))), at(1_000));
    assert_eq!(told, [Hold(AskId(2), secs(60)), Hold(AskId(1), secs(60))]);
    assert_eq!(limiter.next_wake(), None);
    assert_eq!(limiter.handle(Ask(AskId(3), Callers), at(31_000)), [Hold(AskId(3), secs(30))]);
    assert_eq!(limiter.handle(Ask(AskId(4), Callers), at(60_999)), [Hold(AskId(4), Duration::from_millis(1))]);
    assert_eq!(limiter.handle(Ask(AskId(5), Callers), at(61_000)), [Grant(AskId(5))]);
    assert_eq!(limiter.residue(), LimiterResidue { throttled: None, out: BTreeSet::from([AskId(5)]) });
}

#[test]
fn a_throttle_of_a_fraction_of_a_millisecond_is_rounded_up() {
    let mut limiter = limiter(1);
    limiter.handle(Ask(AskId(0), Callers), at(0));
    limiter.handle(Returned(AskId(0), Some(Duration::from_micros(1_001))), at(0));
    assert_eq!(limiter.handle(Ask(AskId(1), Callers), at(1)), [Hold(AskId(1), Duration::from_millis(1))]);
    assert_eq!(limiter.handle(Ask(AskId(2), Callers), at(2)), [Grant(AskId(2))]);
}

#[test]
fn no_throttle_is_longer_than_the_cap_wherever_it_comes_from() {
    let most = IssuerPolicy::default().max_retry_after;
    let mut told = limiter(8);
    told.handle(Ask(AskId(0), Callers), at(0));
    told.handle(Returned(AskId(0), Some(Duration::MAX)), at(5));
    assert_eq!(told.handle(Ask(AskId(1), Callers), at(5)), [Hold(AskId(1), most)]);
    let mut heard = limiter(8);
    heard.handle(Throttled(ElapsedTime::from_millis(u64::MAX)), at(5));
    assert_eq!(heard.handle(Ask(AskId(1), Callers), at(5)), [Hold(AskId(1), most)]);
    let residue = LimiterResidue { throttled: instant(u64::MAX), out: BTreeSet::new() };
    let mut inherited = IssuerLimiter::start(IssuerPolicy::default(), residue, at(5));
    assert_eq!(inherited.handle(Ask(AskId(1), Callers), at(5)), [Hold(AskId(1), most)]);
}

#[test]
fn a_stored_cooldown_throttles_until_its_end_and_never_beyond_the_cap() {
    let policy = IssuerPolicy::default();
    let end = |cooldown: Cooldown, now: u64| policy.end_of(&cooldown, &at(now).moment);
    let two_minutes = Cooldown { began: at(1_000).moment, span: secs(120) };
    assert_eq!(end(two_minutes, 1_000), instant(121_000));
    assert_eq!(end(two_minutes, 120_999), instant(121_000));
    assert_eq!(end(two_minutes, 121_000), None);
    let mut limiter = limiter(8);
    limiter.handle(Throttled(end(two_minutes, 61_000).unwrap()), at(61_000));
    assert_eq!(limiter.handle(Ask(AskId(0), Callers), at(61_000)), [Hold(AskId(0), secs(60))]);
    let for_ever = Cooldown { began: at(1_000).moment, span: Duration::MAX };
    assert_eq!(end(for_ever, 1_000), instant(3_601_000));
    assert_eq!(end(for_ever, 3_600_999), instant(3_601_000));
    assert_eq!(end(for_ever, 3_601_000), None);
}

#[test]
fn a_throttle_is_stored_unless_the_stored_one_ends_as_late() {
    let (policy, now) = (IssuerPolicy::default(), at(10_000).moment);
    let stored = |until: u64, cooldown: Option<Cooldown>| {
        policy.cooldown_to_store(ElapsedTime::from_millis(until), cooldown.as_ref(), &now)
    };
    let lasting = |span| Some(Cooldown { began: now, span });
    assert_eq!(stored(130_000, None), lasting(secs(120)));
    assert_eq!(stored(11_000, None), lasting(secs(1)));
    assert_eq!(stored(10_999, None), None, "too short to matter to another process");
    assert_eq!(stored(9_000, None), None, "it is over");
    assert_eq!(stored(u64::MAX, None), lasting(policy.max_retry_after));
    // The later end wins.
    assert_eq!(stored(130_000, lasting(secs(119))), lasting(secs(120)));
    assert_eq!(stored(130_000, lasting(Duration::from_millis(119_001))), None);
    assert_eq!(stored(130_000, lasting(secs(500))), None);
    // A cool-down that is over counts as none, and so does one whose times no clock can have shown.
    let over = Cooldown { began: at(0).moment, span: secs(10) };
    assert_eq!(stored(130_000, Some(over)), lasting(secs(120)));
    let mut never = Cooldown { began: at(u64::MAX).moment, span: Duration::MAX };
    never.began.boot = BootId(9);
    assert_eq!(stored(130_000, Some(never)), lasting(secs(120)));
}

#[test]
fn throttles_only_grow() {
    let mut limiter = limiter(8);
    limiter.handle(Ask(AskId(0), Callers), at(0));
    limiter.handle(Ask(AskId(1), Callers), at(0));
    limiter.handle(Ask(AskId(2), Callers), at(0));
    limiter.handle(Returned(AskId(0), Some(secs(60))), at(0));
    limiter.handle(Returned(AskId(1), Some(secs(1))), at(0));
    limiter.handle(Throttled(ElapsedTime::from_millis(9)), at(0));
    assert_eq!(limiter.residue().throttled, instant(60_000));
    limiter.handle(Returned(AskId(2), Some(secs(60))), at(10_000));
    assert_eq!(limiter.residue().throttled, instant(70_000));
}

#[test]
fn a_step_of_the_wall_clock_neither_ends_a_throttle_nor_makes_it_longer() {
    let mut limiter = limiter(8);
    limiter.handle(Throttled(ElapsedTime::from_millis(60_000)), at(0));
    for wall in [0, u64::MAX] {
        let mut now = at(59_999);
        now.moment.wall = WallTime::from_millis(wall);
        assert_eq!(limiter.handle(Ask(AskId(wall), Callers), now), [Hold(AskId(wall), Duration::from_millis(1))]);
        now.moment.elapsed = ElapsedTime::from_millis(60_000);
        assert_eq!(limiter.clone().handle(Ask(AskId(7), Callers), now), [Grant(AskId(7))]);
    }
}

#[test]
fn a_permit_returned_twice_or_never_granted_changes_nothing() {
    let mut limiter = limiter(1);
    limiter.handle(Ask(AskId(0), Callers), at(0));
    limiter.handle(Ask(AskId(1), Callers), at(0));
    limiter.handle(Ask(AskId(2), Callers), at(0));
    assert_eq!(limiter.handle(Returned(AskId(9), Some(secs(60))), at(0)), []);
    assert_eq!(limiter.handle(Returned(AskId(1), Some(secs(60))), at(0)), []);
    assert_eq!(limiter.handle(Returned(AskId(0), None), at(0)), [Grant(AskId(1))]);
    assert_eq!(limiter.handle(Returned(AskId(0), Some(secs(60))), at(0)), []);
    assert_eq!(limiter.handle(Ask(AskId(1), Callers), at(0)), []);
    assert_eq!(limiter.handle(Ask(AskId(2), Callers), at(0)), []);
    assert_eq!(limiter.handle(Returned(AskId(1), None), at(0)), [Grant(AskId(2))]);
    assert_eq!(limiter.handle(Returned(AskId(2), None), at(0)), []);
}

#[test]
fn a_withdrawn_ask_is_not_answered_any_more() {
    let mut limiter = limiter(1);
    limiter.handle(Ask(AskId(0), Callers), at(0));
    limiter.handle(Ask(AskId(1), Callers), at(0));
    limiter.handle(Ask(AskId(2), Callers), at(0));
    assert_eq!(limiter.handle(Gone(AskId(1)), at(0)), []);
    assert_eq!(limiter.handle(Returned(AskId(0), None), at(0)), [Grant(AskId(2))]);
    assert_eq!(limiter.handle(Gone(AskId(2)), at(0)), []);
    assert_eq!(limiter.residue(), LimiterResidue::default());
}

#[test]
fn an_ask_after_a_resume_waits_for_its_instant_even_at_an_idle_limiter() {
    let mut limiter = limiter(8);
    assert_eq!(limiter.handle(Ask(AskId(0), AfterResume), at(100)), []);
    assert_eq!(limiter.next_wake(), instant(15_100));
    assert_eq!(limiter.handle(Ask(AskId(1), Callers), at(200)), [Grant(AskId(1))]);
    assert_eq!(limiter.handle(Tick, at(15_099)), []);
    assert_eq!(limiter.handle(Tick, at(15_100)), [Grant(AskId(0))]);
    assert_eq!(limiter.next_wake(), None);
}

#[test]
fn an_ask_that_waits_too_long_is_held_for_a_short_time() {
    let mut limiter = limiter(1);
    limiter.handle(Ask(AskId(0), Callers), at(0));
    limiter.handle(Ask(AskId(1), Background), at(0));
    limiter.handle(Ask(AskId(2), Callers), at(1));
    limiter.handle(Ask(AskId(3), AfterResume), at(2));
    assert_eq!(limiter.next_wake(), instant(60_002));
    assert_eq!(limiter.handle(Tick, at(60_002)), []);
    assert_eq!(limiter.next_wake(), instant(120_000));
    assert_eq!(limiter.handle(Tick, at(119_999)), []);
    assert_eq!(limiter.handle(Tick, at(120_000)), [Hold(AskId(1), ASK_AGAIN)]);
    assert_eq!(limiter.handle(Tick, at(120_001)), [Hold(AskId(2), ASK_AGAIN)]);
    assert_eq!(limiter.handle(Tick, at(135_001)), []);
    // A permit that comes back before the time-out is granted, even if it is late.
    assert_eq!(limiter.handle(Returned(AskId(0), None), at(135_002)), [Grant(AskId(3))]);
}

#[test]
fn a_successor_knows_the_throttle_and_the_permits_that_are_out() {
    let mut first = limiter(1);
    first.handle(Ask(AskId(0), Callers), at(0));
    let policy = IssuerPolicy { max_concurrent: 1, ..IssuerPolicy::default() };
    let mut second = IssuerLimiter::start(policy, first.residue(), at(1));
    assert_eq!(second.handle(Ask(AskId(1), Callers), at(1)), []);
    assert_eq!(second.handle(Returned(AskId(0), Some(secs(60))), at(1)), [Hold(AskId(1), secs(60))]);
    let mut third = IssuerLimiter::start(policy, second.residue(), at(2));
    assert_eq!(third.handle(Ask(AskId(2), Callers), at(60_000)), [Hold(AskId(2), Duration::from_millis(1))]);
    assert_eq!(third.handle(Ask(AskId(3), Callers), at(60_001)), [Grant(AskId(3))]);
}

#[test]
fn three_hundred_asks_at_the_end_of_a_throttle_are_granted_a_few_at_a_time() {
    let mut limiter = limiter(8);
    limiter.handle(Throttled(ElapsedTime::from_millis(60_000)), at(0));
    let mut granted: Vec<AskId> = Vec::new();
    for ask in 0..300 {
        granted.extend(limiter.handle(Ask(AskId(ask), Callers), at(60_000)).iter().map(|effect| match effect {
            Grant(ask) => *ask,
            Hold(..) => panic!("held after the throttle"),
        }));
    }
    assert_eq!(granted, (0..8).map(AskId).collect::<Vec<_>>());
    for back in 0..292 {
        assert_eq!(limiter.handle(Returned(AskId(back), None), at(60_001)), [Grant(AskId(back + 8))]);
    }
}
