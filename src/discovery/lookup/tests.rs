//! The look-up as a machine, with time as an argument.

use proptest::prelude::*;

use super::*;

type Machine = Lookup<u32, u32>;

const A: Option<&str> = Some("https://a.example/a");
const B: Option<&str> = Some("https://a.example/b");
const ERROR: DiscoveryError = DiscoveryError::Unreachable;

fn at(seconds: u64) -> ElapsedTime {
    ElapsedTime::from_millis(seconds * 1000)
}

fn found(value: u32, fresh_until: u64) -> Result<Found<u32>, DiscoveryError> {
    Ok(Found { value: Arc::new(value), validator: None, fresh_until: at(fresh_until), may_be_stored: true })
}

fn begins(asked: Asked<u32, u32>) -> FetchOrder<u32> {
    match asked {
        Asked::Begins(order) => order,
        other => panic!("{other:?}"),
    }
}

fn answer(asked: Asked<u32, u32>) -> Result<u32, DiscoveryError> {
    match asked {
        Asked::Answered(_, answer) => answer.map(|value| *value),
        other => panic!("{other:?}"),
    }
}

/// A machine that has found 1 through challenge A, fresh until second 100.
fn fresh() -> Machine {
    let mut machine = Machine::default();
    begins(machine.ask(0, A, Freshness::Cached, at(0)));
    machine.end(found(1, 100), at(1));
    machine
}

#[test]
fn callers_share_one_fetch() {
    let mut machine = Machine::default();
    let order = begins(machine.ask(1, A, Freshness::Cached, at(0)));
    assert_eq!((order.named.as_deref(), order.kept.is_none()), (A, true));
    for waiter in 2..50 {
        assert!(matches!(machine.ask(waiter, A, Freshness::Now, at(0)), Asked::Waits));
    }
    assert_eq!(machine.ends_at(), None);
    let ended = machine.end(found(7, 100), at(1));
    assert_eq!(ended.waiters, (1..50).collect::<Vec<_>>());
    assert_eq!((*ended.answer.unwrap(), ended.next.is_none()), (7, true));
}

#[test]
fn a_document_is_used_until_it_is_stale() {
    let mut machine = fresh();
    assert_eq!(answer(machine.ask(1, A, Freshness::Cached, at(99))), Ok(1));
    assert_eq!(answer(machine.ask(1, None, Freshness::RetryFailure, at(99))), Ok(1));
    let order = begins(machine.ask(1, None, Freshness::Cached, at(100)));
    assert_eq!(order.named.as_deref(), A, "the latest challenge counts");
    assert_eq!(order.kept.map(|kept| *kept.value), Some(1), "for its revalidation");
    begins(fresh().ask(1, A, Freshness::Now, at(2)));
}

#[test]
fn a_failure_is_remembered_ever_longer_but_not_for_a_person() {
    let mut machine = Machine::default();
    let mut now = 0;
    for pause in [30, 60, 120, 240, 480, 600, 600, 600, 600, 600, 600, 600] {
        begins(machine.ask(1, None, Freshness::Cached, at(now)));
        assert_eq!(machine.end(Err(ERROR), at(now)).answer.map(|value| *value), Err(ERROR));
        assert_eq!(answer(machine.ask(1, None, Freshness::Cached, at(now + pause - 1))), Err(ERROR));
        now += pause;
    }
    begins(machine.ask(1, None, Freshness::Cached, at(now)));
    machine.end(found(1, now), at(now));
    begins(machine.ask(1, None, Freshness::Cached, at(now)));
    machine.end(Err(ERROR), at(now));
    assert_eq!(answer(machine.ask(1, None, Freshness::Cached, at(now + 29))), Err(ERROR), "a success resets the pause");
    begins(machine.ask(1, None, Freshness::RetryFailure, at(now + 29)));
}

#[test]
fn what_may_not_be_stored_answers_those_who_waited() {
    let mut machine = Machine::default();
    begins(machine.ask(1, None, Freshness::Cached, at(0)));
    assert!(matches!(machine.ask(2, None, Freshness::Cached, at(0)), Asked::Waits));
    let once = Found { value: Arc::new(1), validator: None, fresh_until: at(100), may_be_stored: false };
    assert_eq!(machine.end(Ok(once), at(0)).waiters, [1, 2]);
    assert_eq!(machine.ends_at(), Some(at(0)));
    begins(machine.ask(3, None, Freshness::Cached, at(0)));
}

/// RFC 9728 section 5.2. Each challenge may mean new metadata.
#[test]
fn a_challenge_drops_the_document_at_most_once_a_minute() {
    let mut machine = fresh();
    machine.note(A.unwrap(), at(2));
    begins(machine.ask(1, None, Freshness::Cached, at(2)));
    machine.end(found(2, 500), at(3));
    // The challenge names other metadata with each answer.
    for (second, named) in [(4, B), (10, A), (30, B), (61, A)] {
        machine.note(named.unwrap(), at(second));
        assert_eq!(answer(machine.ask(1, named, Freshness::Cached, at(second))), Ok(2), "{second}");
    }
    let order = begins(machine.ask(1, B, Freshness::Cached, at(62)));
    assert_eq!(order.named.as_deref(), B);
    machine.end(found(3, 500), at(62));
    assert_eq!(answer(machine.ask(1, A, Freshness::Cached, at(63))), Ok(3));
}

#[test]
fn the_same_challenge_beside_a_question_drops_nothing() {
    let mut machine = fresh();
    assert_eq!(answer(machine.ask(1, A, Freshness::Cached, at(2))), Ok(1));
    let order = begins(machine.ask(1, B, Freshness::Cached, at(2)));
    assert_eq!(order.named.as_deref(), B);
}

#[test]
fn a_failure_does_not_stand_against_another_challenge() {
    let mut machine = Machine::default();
    begins(machine.ask(1, None, Freshness::Cached, at(0)));
    machine.end(Err(ERROR), at(0));
    assert_eq!(begins(machine.ask(1, A, Freshness::Cached, at(1))).named.as_deref(), A);
    machine.end(Err(ERROR), at(1));
    assert_eq!(answer(machine.ask(1, B, Freshness::Cached, at(2))), Err(ERROR), "not within a minute");
}

#[test]
fn a_challenge_that_comes_during_a_fetch_gets_a_fetch_of_its_own() {
    let mut machine = Machine::default();
    begins(machine.ask(1, None, Freshness::Cached, at(0)));
    assert!(matches!(machine.ask(2, A, Freshness::Cached, at(0)), Asked::Waits));
    assert!(matches!(machine.ask(3, None, Freshness::Cached, at(0)), Asked::Waits));
    assert!(matches!(machine.ask(4, A, Freshness::Cached, at(0)), Asked::Waits));
    assert!(matches!(machine.ask(5, B, Freshness::Cached, at(0)), Asked::Waits));
    let ended = machine.end(Err(DiscoveryError::NotFound { status: 404 }), at(1));
    assert_eq!(ended.waiters, [1, 3, 5], "B came within the minute");
    assert_eq!(ended.next.unwrap().named.as_deref(), A);
    assert_eq!(machine.ends_at(), None);
    let ended = machine.end(found(1, 100), at(2));
    assert_eq!((ended.waiters, ended.next.is_none()), (vec![2, 4], true));
}

#[test]
fn a_noted_challenge_makes_the_running_fetch_the_last_of_its_kind() {
    let mut machine = Machine::default();
    begins(machine.ask(1, A, Freshness::Cached, at(0)));
    machine.note(A.unwrap(), at(0));
    let ended = machine.end(found(1, 100), at(1));
    assert!(ended.next.is_none());
    assert_eq!(answer(machine.ask(1, A, Freshness::Cached, at(1))), Ok(1), "the answer is as new as the challenge");

    begins(machine.ask(1, A, Freshness::Now, at(2)));
    machine.note(B.unwrap(), at(2));
    assert!(machine.end(found(2, 100), at(3)).next.is_none(), "no caller waits for it");
    assert_eq!(begins(machine.ask(1, None, Freshness::Cached, at(3))).named.as_deref(), B);
    machine.note(A.unwrap(), at(100));
    assert!(machine.end(Err(ERROR), at(101)).next.is_none());
    assert_eq!(
        begins(machine.ask(1, None, Freshness::Cached, at(101))).named.as_deref(),
        A,
        "a challenge also ends the use of a failure"
    );
}

#[test]
fn a_doubted_document_is_revalidated_by_the_next_caller() {
    let mut machine = fresh();
    machine.doubt(at(1));
    assert!(begins(machine.ask(1, None, Freshness::Cached, at(1))).kept.is_some());
    machine.doubt(at(2));
    assert_eq!(machine.end(found(2, 100), at(3)).waiters, [1], "a fetch that is under way is as new as the doubt");
    assert_eq!(answer(machine.ask(2, None, Freshness::Cached, at(4))), Ok(2));
}

#[test]
fn memory_is_given_back() {
    assert_eq!(Machine::default().ends_at(), Some(at(0)));
    assert_eq!(fresh().ends_at(), Some(at(100)));
    let mut machine = fresh();
    machine.note(A.unwrap(), at(90));
    assert_eq!(machine.ends_at(), Some(at(150)), "the pause between challenges is remembered");
    let mut machine = Machine::default();
    begins(machine.ask(1, None, Freshness::Cached, at(0)));
    machine.end(Err(ERROR), at(0));
    assert_eq!(machine.ends_at(), Some(at(630)));
}

#[derive(Clone, Debug)]
enum Act {
    Ask(Option<&'static str>, Freshness),
    Note(&'static str),
    End(Option<(u32, bool)>),
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let named = || prop_oneof![Just(None), Just(A), Just(B)];
    let freshness = prop_oneof![Just(Freshness::Cached), Just(Freshness::RetryFailure), Just(Freshness::Now)];
    let act = prop_oneof![
        4 => (named(), freshness).prop_map(|(named, freshness)| Act::Ask(named, freshness)),
        1 => prop_oneof![Just(A), Just(B)].prop_map(|named| Act::Note(named.unwrap())),
        3 => proptest::option::of((0..200_u32, any::<bool>())).prop_map(Act::End),
        2 => (0..90_u64).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Each caller is answered exactly once, one fetch runs at a time, and challenges cause at most one fetch a minute.
    #[test]
    fn every_caller_is_answered_once(acts in acts()) {
        let (mut machine, mut now, mut next) = (Machine::default(), 0, 0_u32);
        let (mut waiting, mut is_fetching) = (std::collections::BTreeSet::new(), false);
        for act in acts.into_iter().chain([Act::End(None), Act::End(None)]) {
            match act {
                Act::Pass(seconds) => now += seconds,
                Act::Note(named) => machine.note(named, at(now)),
                Act::Ask(named, freshness) => {
                    next += 1;
                    match machine.ask(next, named, freshness, at(now)) {
                        Asked::Answered(waiter, _) => prop_assert!(waiter == next && !is_fetching),
                        Asked::Waits => prop_assert!(is_fetching && waiting.insert(next)),
                        Asked::Begins(_) => {
                            prop_assert!(!std::mem::replace(&mut is_fetching, true));
                            waiting.insert(next);
                        }
                    }
                }
                Act::End(result) if is_fetching => {
                    let result = result.map(|(seconds, stored)| Found {
                        value: Arc::new(seconds),
                        validator: None,
                        fresh_until: at(now + u64::from(seconds)),
                        may_be_stored: stored,
                    });
                    let ended = machine.end(result.ok_or(ERROR), at(now));
                    for waiter in ended.waiters {
                        prop_assert!(waiting.remove(&waiter));
                    }
                    is_fetching = ended.next.is_some();
                    prop_assert!(is_fetching || waiting.is_empty());
                }
                Act::End(_) => {}
            }
            prop_assert_eq!(machine.ends_at().is_none(), is_fetching);
        }
        prop_assert!(waiting.is_empty());
    }
}
