//! Logins that a person is asked for, through the front door. They run over one or several runtimes on one store, with a
//! scripted login source and paused time.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "the clock and the store of the engine's tests")]

#[path = "../../actors/tests/engine/support/clock.rs"]
mod clock;
mod step_ups;
#[path = "../../actors/tests/engine/lifecycle/tricks.rs"]
#[allow(dead_code, reason = "the engine's tests use the rest")]
mod tricks;
mod waits;
#[path = "../../actors/tests/common/within.rs"]
mod within;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokenkeeper::actor::{self, AuthMessage};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::user::UserError;
use tokenkeeper::{
    AttemptId, AuthRuntime, AuthSession, LoginCause, LoginKey, LoginMethod, LoginProgress, LoginReason, LoginWish,
    OperationKey, Reason, Scopes, SessionSpec, SignInError,
};
use tokenkeeper_testkit::scripted::{LoginCounts, LoginStep, PersonAnswer, ScriptedLogins};

use clock::TestClock;
use tricks::{TrickStore, Writing};
use within::within;

const WAIT: Duration = Duration::from_secs(60);
const OPERATION: OperationKey = OperationKey(1);

/// A store, the login source of all runtimes on it, and their clock.
struct Place {
    clock: TestClock,
    store: MemoryStore,
    logins: ScriptedLogins,
}

impl Place {
    fn new() -> Self {
        let clock = TestClock::new();
        let logins = ScriptedLogins::new(Arc::new(clock.clone()));
        Self { clock, store: MemoryStore::new(DigestKey::new([7; 32])), logins }
    }

    /// A runtime of another process.
    async fn runtime(&self) -> AuthRuntime {
        let builder = AuthRuntime::builder(self.store.process())
            .login_source(Arc::new(self.logins.clone()))
            .clock(Arc::new(self.clock.clone()));
        within("a runtime", builder.spawn()).await.unwrap()
    }

    /// A runtime, and its store, whose writes the test makes fail.
    async fn runtime_over_tricks(&self) -> (Arc<TrickStore>, AuthRuntime) {
        let store = Arc::new(TrickStore::new(self.store.process()));
        let builder = AuthRuntime::builder_over(store.clone())
            .login_source(Arc::new(self.logins.clone()))
            .clock(Arc::new(self.clock.clone()));
        (store, within("a runtime", builder.spawn()).await.unwrap())
    }

    /// A runtime whose session is signed in.
    async fn signed_in(&self) -> (AuthRuntime, AuthSession) {
        let runtime = self.runtime().await;
        let session = session(&runtime);
        let (_, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
        session.complete_login(self.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
        (runtime, session)
    }

    fn counts(&self) -> (u64, u64, u64) {
        let LoginCounts { prepared, shown, redeemed, replayed, .. } = self.logins.counts();
        assert_eq!(replayed, 0, "a code was presented twice");
        (prepared, shown, redeemed)
    }
}

fn session(runtime: &AuthRuntime) -> AuthSession {
    runtime.session(SessionSpec::mcp("https://mcp.example.com/mcp").unwrap())
}

fn wish(scopes: &[&str]) -> LoginWish {
    let method = LoginMethod::Redirect("http://127.0.0.1:8000/callback".to_owned());
    LoginWish { scopes: Scopes::new(scopes.iter().copied()), method, same_subject: true, extends: false }
}

async fn begin(session: &AuthSession, cause: LoginCause) -> Result<LoginProgress, SignInError> {
    within("an answer", session.begin_login(wish(&[]), cause, WAIT)).await
}

fn offered(progress: LoginProgress) -> (AttemptId, LoginKey) {
    match progress {
        LoginProgress::Offered { attempt, key, .. } => (attempt, key),
        other => panic!("nothing to show: {other:?}"),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, SignInError>) -> LoginReason {
    result.unwrap_err().reason()
}

#[tokio::test(start_paused = true)]
async fn of_two_hundred_callers_in_four_processes_one_opens_a_page_and_one_code_is_redeemed() {
    let place = Place::new();
    let runtimes = join_all((0..4).map(|_| place.runtime())).await;
    let sessions: Vec<_> = runtimes.iter().map(session).collect();
    let callers = sessions.iter().flat_map(|session| (0..50).map(|_| begin(session, LoginCause::Person)));
    let begun: Vec<_> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
    let first = begun.iter().filter(|begun| matches!(begun, LoginProgress::Offered { is_first: true, .. })).count();
    let shown = begun.iter().filter(|begun| matches!(begun, LoginProgress::Offered { .. })).count();
    let elsewhere = begun.iter().filter(|begun| matches!(begun, LoginProgress::Elsewhere { .. })).count();
    assert_eq!((first, shown, elsewhere), (1, 50, 150));
    assert!(sessions.iter().all(|session| session.state().signing_in));
    let key = begun
        .iter()
        .find_map(|begun| match begun {
            LoginProgress::Offered { key, .. } => Some(*key),
            _ => None,
        })
        .unwrap();

    let asker = begun.iter().position(|begun| matches!(begun, LoginProgress::Offered { .. })).unwrap() / 50;
    let replica = &runtimes[(asker + 1) % 4];
    let answer = place.logins.answer(key, PersonAnswer::Yes);
    within("the login", replica.complete_login(answer, WAIT)).await.unwrap();

    let waiting = begun.iter().enumerate().map(|(number, begun)| {
        let attempt = match begun {
            LoginProgress::Offered { attempt, .. } | LoginProgress::Elsewhere { attempt } => *attempt,
            other => panic!("{other:?}"),
        };
        sessions[number / 50].login_done(attempt, WAIT)
    });
    for done in within("all results", join_all(waiting)).await {
        // The attempts of the others end, because the session has another login now.
        assert!(done.is_ok() || refused(done) == LoginReason::Superseded);
    }
    for session in &sessions {
        assert_eq!(within("a token", session.token()).await.unwrap().token().expose(), "at-1");
        assert!(!session.state().signing_in);
    }
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_begun_before_a_logout_does_not_sign_in_after_it() {
    let place = Place::new();
    let (runtime, session) = place.signed_in().await;
    let (attempt, key) = offered(begin(&session, LoginCause::Again).await.unwrap());
    session.logout().await.unwrap();
    assert_eq!(refused(session.login_done(attempt, WAIT).await), LoginReason::LoggedOut);
    let late = place.logins.answer(key, PersonAnswer::Yes);
    assert_eq!(refused(session.complete_login(late.clone(), WAIT).await), LoginReason::UnknownLogin);
    assert_eq!(refused(runtime.complete_login(late, WAIT).await), LoginReason::UnknownLogin);
    assert_eq!(session.token().await.unwrap_err().reason(), Reason::LoggedOut);
    assert_eq!(place.counts(), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_logout_in_another_process_ends_the_prompt() {
    let place = Place::new();
    let (_, session) = place.signed_in().await;
    let (attempt, key) = offered(begin(&session, LoginCause::Again).await.unwrap());
    let other = place.runtime().await;
    self::session(&other).logout().await.unwrap();
    assert_eq!(refused(session.login_done(attempt, WAIT).await), LoginReason::LoggedOut);
    let late = place.logins.answer(key, PersonAnswer::Yes);
    assert_eq!(refused(session.complete_login(late, WAIT).await), LoginReason::UnknownLogin);
    assert_eq!(place.counts(), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn another_person_does_not_replace_the_session() {
    let place = Place::new();
    let (_, session) = place.signed_in().await;
    let (attempt, key) = offered(begin(&session, LoginCause::Again).await.unwrap());
    place.logins.push(LoginStep::IssuesTo("another".to_owned()));
    let answer = place.logins.answer(key, PersonAnswer::Yes);
    assert_eq!(refused(session.complete_login(answer, WAIT).await), LoginReason::SubjectChanged);
    assert_eq!(refused(session.login_done(attempt, WAIT).await), LoginReason::SubjectChanged);
    assert_eq!(session.token().await.unwrap().token().expose(), "at-1");

    let wish = LoginWish { same_subject: false, ..wish(&[]) };
    let (_, key) = offered(session.begin_login(wish, LoginCause::Again, WAIT).await.unwrap());
    place.logins.push(LoginStep::IssuesTo("another".to_owned()));
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    assert_eq!(session.token().await.unwrap().token().expose(), "at-3");
}

#[tokio::test(start_paused = true)]
async fn a_no_is_every_waiting_callers_and_a_later_question_is_a_new_one() {
    let place = Place::new();
    let (first, second) = (place.runtime().await, place.runtime().await);
    let (asker, follower) = (session(&first), session(&second));
    let (attempt, key) = offered(begin(&asker, LoginCause::Person).await.unwrap());
    let LoginProgress::Elsewhere { attempt: followed } = begin(&follower, LoginCause::Person).await.unwrap() else {
        panic!("two prompts are open");
    };
    let no = place.logins.answer(key, PersonAnswer::No);
    assert_eq!(refused(asker.complete_login(no, WAIT).await), LoginReason::Denied);
    assert_eq!(refused(asker.login_done(attempt, WAIT).await), LoginReason::Denied);
    assert_eq!(refused(within("the no", follower.login_done(followed, WAIT)).await), LoginReason::Denied);
    let (_, key) = offered(begin(&follower, LoginCause::Person).await.unwrap());
    follower.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    assert_eq!(asker.token().await.unwrap().token().expose(), "at-1");
    assert_eq!(place.counts(), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_whose_asker_has_gone_is_shown_again_with_the_same_address() {
    let place = Place::new();
    let first = place.runtime().await;
    let (_, key) = offered(begin(&session(&first), LoginCause::Person).await.unwrap());
    assert!(first.shutdown(WAIT).await.is_clean());
    drop(first);
    let second = place.runtime().await;
    let pending = second.pending_logins().await.unwrap();
    assert_eq!(pending.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key]);
    let session = session(&second);
    assert_eq!(offered(begin(&session, LoginCause::Person).await.unwrap()).1, key);
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    assert_eq!(place.counts(), (1, 2, 1));
    assert!(second.pending_logins().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_but_the_right_answer_signs_in_and_each_answer_is_taken_once() {
    let place = Place::new();
    let runtime = place.runtime().await;
    let session = session(&runtime);
    let (attempt, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    let unknown = place.logins.answer(LoginKey([9; 32]), PersonAnswer::Yes);
    assert_eq!(refused(runtime.complete_login(unknown, WAIT).await), LoginReason::UnknownLogin);
    let forged = place.logins.answer(key, PersonAnswer::Forged);
    assert_eq!(refused(session.complete_login(forged, WAIT).await), LoginReason::Forged);
    assert_eq!(refused(session.login_done(attempt, WAIT).await), LoginReason::Forged);
    assert_eq!(place.counts(), (1, 1, 0));

    let (_, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    let twice = join_all((0..2).map(|_| runtime.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT)));
    let results = within("both", twice).await;
    assert!(results.iter().all(|result| result.is_ok()), "a reload is told of the same login: {results:?}");
    let late = runtime.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await;
    assert_eq!(refused(late), LoginReason::UnknownLogin);
    assert_eq!(place.counts(), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_not_answered_times_out_and_a_late_answer_counts_for_ten_minutes() {
    for (late, wanted) in [(Duration::ZERO, Ok(())), (Duration::from_secs(601), Err(LoginReason::UnknownLogin))] {
        let place = Place::new();
        let runtime = place.runtime().await;
        let session = session(&runtime);
        let (attempt, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
        assert_eq!(refused(session.login_done(attempt, WAIT).await), LoginReason::DeadlinePassed);
        let done = within("the end", session.login_done(attempt, Duration::from_secs(900))).await;
        assert_eq!(refused(done), LoginReason::TimedOut);
        assert!(!session.state().signing_in);
        place.clock.suspend(late);
        let answer = place.logins.answer(key, PersonAnswer::Yes);
        let completed = within("the end", session.complete_login(answer, WAIT)).await;
        assert_eq!(completed.map_err(|error| error.reason()), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_expires_while_the_machine_sleeps_or_when_the_wall_clock_is_set() {
    for step in [TestClock::suspend as fn(&TestClock, Duration), |clock, span| {
        clock.step_wall(i64::try_from(span.as_millis()).unwrap());
    }] {
        let place = Place::new();
        let runtime = place.runtime().await;
        let session = session(&runtime);
        let (attempt, _) = offered(begin(&session, LoginCause::Person).await.unwrap());
        step(&place.clock, Duration::from_secs(900));
        let done = within("the end", session.login_done(attempt, Duration::from_secs(120))).await;
        assert_eq!(refused(done), LoginReason::TimedOut);
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_can_be_cancelled() {
    let place = Place::new();
    let runtime = place.runtime().await;
    let session = session(&runtime);
    assert_eq!(refused(session.cancel_login(WAIT).await), LoginReason::UnknownLogin);
    let (attempt, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    assert_eq!(session.cancel_login(WAIT).await, Ok(LoginProgress::Cancelled));
    assert_eq!(refused(session.login_done(attempt, WAIT).await), LoginReason::Cancelled);
    let late = place.logins.answer(key, PersonAnswer::Yes);
    assert_eq!(refused(session.complete_login(late, WAIT).await), LoginReason::UnknownLogin);
    assert_eq!(place.counts(), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_code_entered_on_another_device_is_found_by_polling() {
    let place = Place::new();
    let runtime = place.runtime().await;
    let session = session(&runtime);
    let wish = LoginWish { method: LoginMethod::Device, ..wish(&[]) };
    let (attempt, key) = offered(session.begin_login(wish, LoginCause::Person, WAIT).await.unwrap());
    place.clock.pass(Duration::from_secs(30)).await;
    place.logins.enter(key, PersonAnswer::Yes);
    within("the login", session.login_done(attempt, WAIT)).await.unwrap();
    assert_eq!(session.token().await.unwrap().token().expose(), "at-1");
}

#[tokio::test(start_paused = true)]
async fn a_code_whose_answer_is_lost_is_never_presented_again() {
    let place = Place::new();
    let runtime = place.runtime().await;
    let session = session(&runtime);
    for (step, reason, codes) in [
        (LoginStep::Loses, LoginReason::Lost, 1),
        (LoginStep::Refuses, LoginReason::Refused, 2),
        (LoginStep::ForgetsClient, LoginReason::ClientRejected, 3),
    ] {
        place.logins.push(step);
        let (attempt, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
        let answer = place.logins.answer(key, PersonAnswer::Yes);
        assert_eq!(refused(session.complete_login(answer, WAIT).await), reason);
        assert_eq!(refused(session.login_done(attempt, WAIT).await), reason);
        assert_eq!(place.counts().2, codes);
    }
    (0..2).for_each(|_| place.logins.push(LoginStep::Unreachable));
    let (_, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    assert_eq!(place.counts().2, 4, "a code that was not sent may be sent");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_outlives_its_sessions_actor() {
    let place = Place::new();
    let (host, _ended) = ractor_host().await;
    let builder = AuthRuntime::builder(place.store.process())
        .login_source(Arc::new(place.logins.clone()))
        .clock(Arc::new(place.clock.clone()));
    let spec = actor::prepare(builder).await.unwrap();
    let runtime = spec.spawn_linked(host.get_cell()).await.unwrap();
    let session = session(&runtime);
    let (_, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    host.stop_and_wait(None, Some(WAIT)).await.unwrap();
    let runtime = spec.spawn().await.unwrap();
    assert!(session.state().signing_in);
    assert_eq!(offered(begin(&session, LoginCause::Person).await.unwrap()).1, key, "the same attempt");
    within("the login", runtime.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT)).await.unwrap();
    assert_eq!(session.token().await.unwrap().token().expose(), "at-1");
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hosts_actors_sign_in_by_message() {
    let place = Place::new();
    let runtime = place.runtime().await;
    let (address, identity) = (actor::address(&runtime), session(&runtime).identity().clone());
    let (who, wish) = (identity.clone(), wish(&[]));
    let begin =
        |reply| AuthMessage::BeginLogin { identity: who, wish, cause: LoginCause::Person, timeout: WAIT, reply };
    let (_, key) = offered(address.call(begin, None).await.unwrap().unwrap().unwrap());
    let callback = place.logins.answer(key, PersonAnswer::Yes);
    let complete = |reply| AuthMessage::CompleteLogin { callback, timeout: WAIT, reply };
    assert_eq!(address.call(complete, None).await.unwrap().unwrap(), Ok(LoginProgress::SignedIn));
    let who = identity.clone();
    let cancel = |reply| AuthMessage::CancelLogin { identity: who, timeout: WAIT, reply };
    let cancelled = address.call(cancel, None).await.unwrap().unwrap();
    assert_eq!(refused(cancelled), LoginReason::UnknownLogin);
    let logout = |reply| AuthMessage::Logout { identity, reply };
    assert!(address.call(logout, None).await.unwrap().unwrap().is_ok());
    assert_eq!(session(&runtime).token().await.unwrap_err().reason(), Reason::LoggedOut);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_a_login_is_looked_up_counts_against_the_wait_for_its_end() {
    let (wait, lookup) = (Duration::from_secs(2), Duration::from_millis(1500));
    for by_message in [false, true] {
        let place = Place::new();
        let (store, runtime) = place.runtime_over_tricks().await;
        let (_, key) = offered(begin(&session(&runtime), LoginCause::Person).await.unwrap());
        let callback = place.logins.answer(key, PersonAnswer::Yes);
        store.writes(Writing::Slow(WAIT));
        store.answers(false);
        let begun = tokio::time::Instant::now();
        let answers = async {
            tokio::time::sleep(lookup).await;
            store.answers(true);
        };
        let completes = async {
            if !by_message {
                return runtime.complete_login(callback, wait).await;
            }
            let complete = |reply| AuthMessage::CompleteLogin { callback, timeout: wait, reply };
            actor::address(&runtime).call(complete, None).await.unwrap().unwrap().map(drop)
        };
        let (end, ()) = tokio::join!(completes, answers);
        assert_eq!((refused(end), begun.elapsed()), (LoginReason::DeadlinePassed, wait), "{by_message}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_source_or_after_a_shutdown_the_error_says_so() {
    let place = Place::new();
    let builder = AuthRuntime::builder(place.store.process()).without_login().clock(Arc::new(place.clock.clone()));
    let runtime = builder.spawn().await.unwrap();
    let session = session(&runtime);
    assert_eq!(refused(begin(&session, LoginCause::Person).await), LoginReason::SourceMissing);
    place.logins.fail_preparation(LoginReason::ServerTrouble);
    let other = place.runtime().await;
    assert_eq!(refused(begin(&self::session(&other), LoginCause::Person).await), LoginReason::ServerTrouble);
    assert!(runtime.shutdown(WAIT).await.is_clean());
    assert_eq!(refused(begin(&session, LoginCause::Person).await), LoginReason::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_stored_is_served_and_saved_later() {
    let place = Place::new();
    let (store, runtime) = place.runtime_over_tricks().await;
    let session = session(&runtime);
    let (_, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    store.writes(Writing::Nothing);
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    assert_eq!(session.token().await.unwrap().token().expose(), "at-1");
    assert_eq!(session.state().login_required, None);
    let other = place.runtime().await;
    assert_eq!(self::session(&other).token().await.unwrap_err().reason(), Reason::NeverSignedIn);
    assert_eq!(refused(begin(&session, LoginCause::Again).await), LoginReason::StoreTrouble, "it is still being saved");

    store.writes(Writing::Works);
    place.clock.pass(Duration::from_secs(60)).await;
    assert_eq!(self::session(&other).token().await.unwrap().token().expose(), "at-1");
    assert_eq!(session.token().await.unwrap().token().expose(), "at-1");
    assert_eq!(place.counts(), (1, 1, 1));
    assert!(runtime.shutdown(WAIT).await.is_clean());
}

/// The record states where the person is described. A sick store is not asked again for each caller.
#[tokio::test(start_paused = true)]
async fn the_user_of_a_login_that_cannot_be_stored_is_trouble_of_the_store() {
    let place = Place::new();
    let (store, runtime) = place.runtime_over_tricks().await;
    let session = session(&runtime);
    let (_, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    store.writes(Writing::Nothing);
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    for _ in 0..5 {
        let error = session.user().await.unwrap_err();
        assert!(error == UserError::StoreTrouble && error.is_transient(), "{error:?}");
    }
    let stats = runtime.user_stats();
    assert_eq!((stats.fetches, stats.failures, stats.failure_hits), (1, 1, 4));
    assert_eq!(session.token().await.unwrap().token().expose(), "at-1", "the login is served");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_stored_before_the_end_is_reported() {
    let place = Place::new();
    let (store, runtime) = place.runtime_over_tricks().await;
    let session = session(&runtime);
    let (_, key) = offered(begin(&session, LoginCause::Person).await.unwrap());
    store.writes(Writing::Nothing);
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    let report = within("the report", runtime.shutdown(WAIT)).await;
    assert_eq!(report.unsaved.len(), 1, "{report:?}");
}

/// An actor above a runtime, as a host's.
async fn ractor_host() -> (ractor::ActorRef<()>, tokio::task::JoinHandle<()>) {
    ractor::Actor::spawn(None, Host, ()).await.unwrap()
}

/// An actor that does nothing.
struct Host;

#[ractor::actor(message = (), state = (), arguments = ())]
impl Host {
    async fn pre_start(&self, _: ractor::ActorRef<()>, (): ()) -> Result<(), ractor::ActorProcessingErr> {
        Ok(())
    }
}
