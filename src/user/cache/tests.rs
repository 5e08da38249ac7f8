use tokenkeeper_actors::values::{Epoch, WallTime};

use super::*;
use crate::Generation;
use crate::user::context::Parts;

const MINUTE: Duration = Duration::from_secs(60);

/// The jitter that changes nothing, and the largest one.
const NONE: Jitter = Jitter::new(0);
const MOST: Jitter = Jitter::new(u16::MAX);

fn at(seconds: u64) -> ElapsedTime {
    ElapsedTime::from_millis(1_000_000 + seconds * 1_000)
}

fn login(number: u64) -> Option<ServedLogin> {
    Some(ServedLogin { epoch: Epoch::new(number), signed_in: Some(WallTime::from_millis(number)) })
}

fn person(epoch: u64) -> UserContext {
    let generation = Generation::stored(Epoch::new(epoch), epoch);
    let signed_in = Some(WallTime::from_millis(epoch));
    UserContext::new(Parts { subject: format!("person-{epoch}"), generation, signed_in, ..Parts::default() })
}

fn trouble() -> UserError {
    UserError::ServerTrouble { status: 503, retry_after: None }
}

fn failure(error: UserError, epoch: u64) -> Result<UserContext, Failure> {
    Err(Failure { error, login: login(epoch) })
}

/// A cache that fetched the person of login 1 at time 0.
fn filled(jitter: Jitter) -> Cache<u32> {
    let mut cache = Cache::default();
    begin(&mut cache, 1, login(1), 0);
    let ended = cache.end(Ok(person(1)), login(1), at(0), jitter);
    assert!(matches!(&ended.answers[..], [(1, Ok(_), Served::Fresh)]) && !ended.begins);
    cache
}

fn begin(cache: &mut Cache<u32>, waiter: u32, login: Option<ServedLogin>, seconds: u64) {
    let asked = cache.ask(waiter, UserOptions::default(), login, at(seconds));
    assert!(matches!(asked, Asked::Begins), "{asked:?}");
}

fn ask(
    cache: &mut Cache<u32>,
    options: UserOptions,
    login: Option<ServedLogin>,
    seconds: u64,
) -> Option<(Answer, Served)> {
    match cache.ask(9, options, login, at(seconds)) {
        Asked::Answered(_, answer, served) => Some((answer, served)),
        Asked::Waits | Asked::Begins => None,
    }
}

#[test]
fn a_context_is_fresh_for_nine_tenths_of_its_age_at_least_and_for_all_of_it_at_most() {
    let is_fresh = |jitter, seconds| ask(&mut filled(jitter), UserOptions::default(), login(1), seconds).is_some();
    assert!(is_fresh(NONE, 299) && !is_fresh(NONE, 300));
    assert!(is_fresh(MOST, 270) && !is_fresh(MOST, 271));
    let half = Jitter::new(u16::MAX / 2 + 1);
    assert!(is_fresh(half, 284) && !is_fresh(half, 285));
}

#[test]
fn the_age_counts_from_the_start_of_the_fetch() {
    let mut cache = Cache::default();
    begin(&mut cache, 1, login(1), 0);
    cache.end(Ok(person(1)), login(1), at(50), NONE);
    assert!(ask(&mut cache, UserOptions::default(), login(1), 299).is_some());
    assert!(ask(&mut cache, UserOptions::default(), login(1), 300).is_none());
}

#[test]
fn each_caller_has_a_maximum_age_of_its_own_and_none_beyond_an_hour() {
    let mut cache = filled(NONE);
    let within = |max_age| UserOptions { max_age, ..UserOptions::default() };
    assert!(ask(&mut cache, within(Duration::MAX), login(1), 3_599).is_some());
    assert!(ask(&mut cache, within(MINUTE), login(1), 59).is_some());
    assert!(ask(&mut cache, within(MINUTE), login(1), 60).is_none(), "the caller begins a fetch");
    assert!(ask(&mut cache, within(2 * MINUTE), login(1), 60).is_some(), "an older context serves meanwhile");
    let mut cache = filled(NONE);
    assert!(ask(&mut cache, within(Duration::MAX), login(1), 3_600).is_none());
    assert!(ask(&mut filled(NONE), within(Duration::ZERO), login(1), 0).is_none());
}

#[test]
fn a_context_belongs_to_one_login() {
    for other in [login(2), login(0), None] {
        assert!(ask(&mut filled(NONE), UserOptions::default(), other, 1).is_none());
    }
    // The store was emptied, so its epochs begin again.
    let at = |millis| Some(WallTime::from_millis(millis));
    let of = |signed_in| Some(ServedLogin { epoch: Epoch::new(1), signed_in });
    assert!(ask(&mut filled(NONE), UserOptions::default(), of(at(2)), 1).is_none());
    assert!(ask(&mut filled(NONE), UserOptions::default(), of(at(1)), 1).is_some());
    // A login without a time is another one, on either side.
    assert!(ask(&mut filled(NONE), UserOptions::default(), of(None), 1).is_none());
    let generation = Generation::stored(Epoch::new(1), 1);
    let untimed = UserContext::new(Parts { subject: "ann".to_owned(), generation, ..Parts::default() });
    let kept = || {
        let mut cache = Cache::default();
        begin(&mut cache, 1, of(None), 0);
        assert!(!cache.end(Ok(untimed.clone()), of(None), self::at(0), NONE).is_superseded);
        cache
    };
    assert!(ask(&mut kept(), UserOptions::default(), of(None), 1).is_some());
    assert!(ask(&mut kept(), UserOptions::default(), of(at(2)), 1).is_none());
    let generous = UserOptions { stale_if_error: 10 * MINUTE, ..UserOptions::default() };
    let mut cache = kept();
    cache.ask(1, generous, of(at(2)), self::at(400));
    let ended = cache.end(failure(trouble(), 1), of(at(2)), self::at(400), NONE);
    assert!(cache.kept().is_none() && ended.answers.iter().all(|(_, answer, _)| answer.is_err()));
    // The same holds for the result of a fetch that began before.
    let mut cache = Cache::default();
    begin(&mut cache, 1, of(None), 0);
    assert!(cache.end(Ok(untimed.clone()), of(at(2)), self::at(0), NONE).is_superseded);
}

#[test]
fn a_result_of_an_earlier_login_is_dropped_and_the_callers_wait_on_at_most_twice() {
    let mut cache = Cache::default();
    begin(&mut cache, 1, login(1), 0);
    assert!(matches!(cache.ask(2, UserOptions::default(), login(2), at(0)), Asked::Waits));
    for epoch in [2, 3] {
        let ended = cache.end(Ok(person(epoch - 1)), login(epoch), at(1), NONE);
        assert!(ended.is_superseded && ended.begins && ended.answers.is_empty());
        assert!(cache.kept().is_none());
        assert_eq!(cache.ends_at(), None, "a fetch is under way");
    }
    let ended = cache.end(Ok(person(3)), login(4), at(1), NONE);
    assert!(ended.is_superseded && !ended.begins);
    assert!(ended.answers.iter().all(|(_, answer, _)| *answer == Err(UserError::Superseded)));
    assert_eq!(ended.answers.len(), 2);
    begin(&mut cache, 3, login(4), 1);
    assert!(matches!(&cache.end(Ok(person(4)), login(4), at(1), NONE).answers[..], [(3, Ok(_), _)]));
}

#[test]
fn a_failure_of_an_earlier_login_is_dropped_as_well() {
    let mut cache = Cache::default();
    begin(&mut cache, 1, login(1), 0);
    assert!(cache.end(failure(UserError::Refused, 1), login(2), at(0), NONE).begins);
    // A session without a token names no login. It counts as long as a login is required.
    let error = UserError::Token(crate::engine::values::TokenError::new(Reason::LoggedOut).into());
    let logged_out = || Err(Failure { error: error.clone(), login: None });
    assert!(cache.end(logged_out(), login(2), at(0), NONE).begins, "a login has come since");
    let ended = cache.end(logged_out(), None, at(0), NONE);
    assert!(!ended.is_superseded && matches!(&ended.answers[..], [(1, Err(UserError::Token(_)), Served::Fresh)]));
    begin(&mut cache, 2, login(3), 0);
}

#[test]
fn a_failure_is_remembered_for_pauses_that_grow_and_not_for_another_login() {
    let mut cache = Cache::default();
    let mut seconds = 0;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        begin(&mut cache, 1, login(1), seconds);
        cache.end(failure(trouble(), 1), login(1), at(seconds), NONE);
        let remembered = ask(&mut cache, UserOptions::default(), login(1), seconds + pause - 1);
        assert_eq!(remembered, Some((Err(trouble()), Served::Remembered)));
        seconds += pause;
    }
    begin(&mut cache, 1, login(1), seconds);
    cache.end(failure(trouble(), 1), login(1), at(seconds), NONE);
    begin(&mut cache, 1, login(2), seconds);
    cache.end(Ok(person(2)), login(2), at(seconds), NONE);
    assert_eq!(cache.failures, 0);
}

#[test]
fn a_refusal_is_remembered_for_a_minute_and_then_longer() {
    let mut cache = Cache::default();
    let mut seconds = 0;
    for pause in [60, 120, 240, 480, 600, 600] {
        begin(&mut cache, 1, login(1), seconds);
        cache.end(failure(UserError::Refused, 1), login(1), at(seconds), NONE);
        let remembered = ask(&mut cache, UserOptions::default(), login(1), seconds + pause - 1);
        assert_eq!(remembered, Some((Err(UserError::Refused), Served::Remembered)), "{pause}");
        seconds += pause;
    }
    // With jitter, a pause is up to a quarter longer.
    begin(&mut cache, 1, login(2), seconds);
    cache.failures = 0;
    cache.end(failure(UserError::Refused, 2), login(2), at(seconds), MOST);
    assert!(ask(&mut cache, UserOptions::default(), login(2), seconds + 74).is_some());
    assert!(ask(&mut cache, UserOptions::default(), login(2), seconds + 75).is_none());
}

#[test]
fn the_pause_of_the_provider_is_kept_within_bounds_and_counted_down() {
    for (asked, kept) in [(0, 1), (40, 40), (100_000, 600)] {
        let retry_after = Some(Duration::from_secs(asked));
        let mut cache = Cache::default();
        begin(&mut cache, 1, login(1), 0);
        cache.end(failure(UserError::ServerTrouble { status: 429, retry_after }, 1), login(1), at(0), NONE);
        let (answer, _) = ask(&mut cache, UserOptions::default(), login(1), kept - 1).unwrap();
        let left = Duration::from_secs(asked.saturating_sub(kept - 1));
        assert_eq!(answer.unwrap_err().retry_after(), Some(left));
        assert!(ask(&mut cache, UserOptions::default(), login(1), kept).is_none());
    }
}

#[test]
fn an_old_context_is_returned_in_trouble_to_callers_that_take_it() {
    let generous = UserOptions { stale_if_error: 10 * MINUTE, ..UserOptions::default() };
    let fail = |error: UserError, seconds: u64, epoch: u64| {
        let mut cache = filled(NONE);
        cache.ask(1, generous, login(epoch), at(seconds));
        cache.ask(2, UserOptions::default(), login(epoch), at(seconds));
        let ended = cache.end(failure(error, epoch), login(epoch), at(seconds), NONE);
        ended.answers.into_iter().map(|(_, answer, served)| (answer.is_ok(), served)).collect::<Vec<_>>()
    };
    let (stale, failed) = ((true, Served::Stale), (false, Served::Fresh));
    assert_eq!(fail(trouble(), 899, 1), [stale, failed]);
    assert_eq!(fail(trouble(), 900, 1), [failed, failed]);
    assert_eq!(fail(trouble(), 400, 2), [failed, failed], "another login");
    assert_eq!(fail(UserError::Refused, 400, 1), [failed, failed], "no trouble");
    assert_eq!(fail(UserError::SubjectMismatch, 400, 1), [failed, failed], "no trouble");
}

#[test]
fn memory_is_kept_for_as_long_as_a_caller_may_want_it() {
    assert_eq!(Cache::<u32>::default().ends_at(), Some(ElapsedTime::default()));
    let mut cache = filled(MOST);
    assert_eq!(cache.ends_at(), Some(at(300)));
    let generous = UserOptions { stale_if_error: 10 * MINUTE, ..UserOptions::default() };
    assert!(ask(&mut cache, generous, login(1), 1).is_some());
    assert_eq!(cache.ends_at(), Some(at(900)));
    let boundless = UserOptions { max_age: Duration::MAX, stale_if_error: Duration::MAX, ..generous };
    assert!(ask(&mut cache, boundless, login(1), 1).is_some());
    assert_eq!(cache.ends_at(), Some(at(3_600)));
    cache.forget();
    assert_eq!(cache.ends_at(), Some(ElapsedTime::default()));
    // The count of failures outlives the pause.
    begin(&mut cache, 1, login(1), 10);
    cache.end(failure(UserError::Refused, 1), login(1), at(10), NONE);
    assert_eq!(cache.ends_at(), Some(at(130)));
    cache.forget();
    assert_eq!(cache.ends_at(), Some(ElapsedTime::default()));
}

#[test]
fn a_context_that_is_forgotten_within_a_fetch_is_not_restored() {
    let mut cache = filled(NONE);
    assert!(ask(&mut cache, UserOptions { max_age: Duration::ZERO, ..UserOptions::default() }, login(1), 1).is_none());
    cache.forget();
    let ended = cache.end(failure(trouble(), 1), login(1), at(2), NONE);
    assert!(ended.answers[0].1.is_err() && cache.kept().is_none());
}

#[test]
fn waiters_are_bounded_and_those_that_left_make_room() {
    let mut cache: Cache<u32> = Cache::default();
    begin(&mut cache, 0, login(1), 0);
    for waiter in 1..u32::try_from(MAX_WAITERS).unwrap() {
        assert!(matches!(cache.ask(waiter, UserOptions::default(), login(1), at(0)), Asked::Waits));
    }
    let turned_away = ask(&mut cache, UserOptions::default(), login(1), 0);
    assert_eq!(turned_away, Some((Err(UserError::TooManyWaiters), Served::TurnedAway)));
    cache.forget_gone(|waiter| waiter % 2 == 0);
    assert!(matches!(cache.ask(1, UserOptions::default(), login(1), at(0)), Asked::Waits));
    assert_eq!(cache.end(Ok(person(1)), login(1), at(0), NONE).answers.len(), MAX_WAITERS / 2 + 1);
    assert!(cache.end(Ok(person(1)), login(1), at(0), NONE).answers.is_empty(), "no fetch was under way");
}
