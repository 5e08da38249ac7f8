//! An issuer's cool-down, which the processes of a store share (law 8).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokenkeeper_actors::law::ledger::{EntryChange, EntryChanged};
use tokenkeeper_actors::ports::store::{ClaimAnswer, ClaimScope, TokenStore};
use tokenkeeper_actors::runtime::{SessionSpec, TokenOptions};
use tokenkeeper_actors::values::issuer::{Cooldown, EntryContent, EntryKind, IssuerKey};
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{BootId, ElapsedTime, FlightId, Moment, Reason, WallTime};

use super::lifecycle::tricks::{Entries, TrickStore, Writing};
use super::plans::{Robot, robot};
use super::support::server::Answer;
use super::support::{BoundedRuntime, BoundedSession, ISSUER, World, identity, ms, s, within};

const HOUR: Duration = Duration::from_secs(3_600);

/// One process with a session of the first identity.
struct Process {
    store: TrickStore,
    runtime: BoundedRuntime,
    session: BoundedSession,
}

impl Process {
    async fn new(world: &World) -> Self {
        let store = TrickStore::new(world.store.process());
        let spawned = within("a runtime", world.builder_over(Arc::new(store.clone())).spawn()).await;
        let runtime = BoundedRuntime::from(spawned.expect("a runtime"));
        let session = runtime.session(identity(1));
        Self { store, runtime, session }
    }

    /// Shuts down in time.
    async fn ends(&self) {
        let report = self.runtime.shutdown(s(30)).await;
        assert!(report.unsaved.is_empty() && report.unfinished.is_empty(), "{report:?}");
    }

    /// Asks for a token, and waits for ten seconds at most. Returns the remaining time of the throttle.
    async fn is_throttled(&self) -> Duration {
        let error = self.session.token_with(patience(10)).await.expect_err("throttled");
        assert_eq!(error.reason(), Reason::Throttled);
        error.retry_after().expect("a time")
    }
}

fn patience(seconds: u64) -> TokenOptions {
    TokenOptions { timeout: s(seconds), ..TokenOptions::default() }
}

/// Two processes with one session, which is signed in and whose token has expired.
async fn two_processes(world: &World) -> (Process, Process) {
    let (one, other) = (Process::new(world).await, Process::new(world).await);
    one.session.install(world.login()).await.expect("installed");
    world.expire().await;
    (one, other)
}

/// The stored cool-down.
async fn stored(world: &World) -> Option<Cooldown> {
    let key = IssuerKey { issuer: Issuer(ISSUER.to_owned()), kind: EntryKind::Cooldown };
    match world.store.load_issuer(&key).await.expect("an entry").and_then(|entry| entry.content) {
        Some(EntryContent::Cooldown(cooldown)) => Some(cooldown),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// Stores a cool-down, as another process does.
async fn stores(world: &World, began: Moment, span: Duration) {
    let issuer = Issuer(ISSUER.to_owned());
    let entry = world.store.load_issuer(&IssuerKey { issuer: issuer.clone(), kind: EntryKind::Cooldown }).await;
    let expected = entry.expect("an entry").map(|entry| entry.revision);
    let content = EntryContent::Cooldown(Cooldown { began, span });
    let answer = world.store.change_issuer(&issuer, EntryChange::Put { expected, content }).await;
    assert!(matches!(answer, Ok(EntryChanged::Applied(_))));
}

fn boot(number: u128, moment: Moment) -> Moment {
    Moment { boot: BootId(number), elapsed: ElapsedTime::from_millis(7), ..moment }
}

#[tokio::test(start_paused = true)]
async fn what_one_process_was_told_holds_the_others_back_until_its_end() {
    let world = World::new();
    let (one, other) = two_processes(&world).await;
    world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    let told = world.clock.moment();
    assert_eq!(one.is_throttled().await, s(60));
    assert!((s(59)..=s(60)).contains(&other.is_throttled().await));
    let late = Process::new(&world).await;
    assert!((s(59)..=s(60)).contains(&late.is_throttled().await));
    world.server.is_content_with(1);
    // A second before the end it still holds, at the end it does not.
    world.clock.pass(s(59) - world.clock.moment().elapsed.since(told.elapsed)).await;
    let fresh = Process::new(&world).await;
    assert!(fresh.session.token_with(TokenOptions { timeout: ms(500), ..TokenOptions::default() }).await.is_err());
    world.server.is_content_with(1);
    world.clock.pass(s(1)).await;
    other.session.token().await.expect("a lease");
    world.server.is_content_with(2);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_waits_for_the_claim_sends_nothing_once_its_holder_was_throttled() {
    let world = World::new();
    let (one, other) = two_processes(&world).await;
    world.server.takes(s(1));
    world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    let (first, second) = tokio::join!(one.is_throttled(), other.is_throttled());
    assert!(first.min(second) >= s(58), "{first:?} {second:?}");
    world.server.is_content_with(1);
    world.clock.pass(s(60)).await;
    let (first, second) = tokio::join!(one.session.token(), other.session.token());
    assert_eq!(first.expect("a lease").generation(), second.expect("a lease").generation());
    world.server.is_content_with(2);
}

#[tokio::test(start_paused = true)]
async fn a_claim_ends_after_the_write_and_two_seconds_later_at_most() {
    for (writes, frees_after) in [(Entries::Slow(ms(400)), ms(400)), (Entries::Hang, s(2)), (Entries::Fail, ms(0))] {
        let world = World::new();
        let ((one, _), who) = (two_processes(&world).await, identity(1));
        let epoch = world.store.load(&who).await.expect("a record").expect("a record").epoch;
        let third = world.store.process();
        one.store.entries(writes);
        world.server.plans([Answer::Refuse(429, Some(s(60)))]);
        one.is_throttled().await;
        let began = world.clock.moment().elapsed;
        let claim = || third.claim(&who, ClaimScope::Spend(epoch), FlightId(9), s(1));
        while claim().await.expect("an answer") == ClaimAnswer::Contended {
            assert_eq!(stored(&world).await, None, "{writes:?}");
            world.clock.pass(ms(10)).await;
        }
        let waited = world.clock.moment().elapsed.since(began);
        assert!(waited >= frees_after && waited <= frees_after + ms(50), "{writes:?}: {waited:?}");
        assert_eq!(stored(&world).await.is_some(), matches!(writes, Entries::Slow(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_does_not_end_it() {
    let world = World::new();
    world.server.lives_for(s(30));
    let (one, other) = two_processes(&world).await;
    world.server.plans([Answer::Refuse(429, Some(s(120)))]);
    one.is_throttled().await;
    other.session.install(world.login()).await.expect("installed");
    other.session.token().await.expect("the lease of the login");
    world.expire().await;
    assert!(other.is_throttled().await >= s(88));
    assert!(one.is_throttled().await >= s(88));
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_extend_it() {
    let world = World::new();
    let (one, other) = two_processes(&world).await;
    world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    one.is_throttled().await;
    world.clock.step_wall(-86_400_000);
    world.clock.pass(s(30)).await;
    assert!(other.is_throttled().await <= s(30));
    world.server.is_content_with(1);
    world.clock.pass(s(30)).await;
    // A process that starts now has nothing but the stored value.
    Process::new(&world).await.session.token().await.expect("a lease");
    world.server.is_content_with(2);
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_the_wall_clock_counts() {
    let world = World::new();
    let (one, other) = two_processes(&world).await;
    let now = world.clock.moment();
    stores(&world, boot(9, Moment { wall: now.wall.before(s(40)), ..now }), s(60)).await;
    assert_eq!(one.is_throttled().await, s(20));
    world.server.is_content_with(0);
    world.clock.pass(s(20)).await;
    other.session.token().await.expect("a lease");
    world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn no_stored_value_holds_requests_back_for_more_than_an_hour() {
    let endless = Duration::from_millis(u64::MAX);
    for number in [1, 9] {
        let world = World::new();
        let (one, other) = two_processes(&world).await;
        let now = world.clock.moment();
        stores(&world, if number == 1 { now } else { boot(number, now) }, endless).await;
        assert_eq!(one.is_throttled().await, HOUR, "boot {number}");
        world.clock.pass(s(1_800)).await;
        assert_eq!(other.is_throttled().await, s(1_800), "boot {number}");
        world.clock.pass(s(1_800)).await;
        one.session.token().await.expect("a lease");
        other.session.token().await.expect("a lease");
        world.server.is_content_with(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_from_a_future_that_no_clock_shows_is_none_and_is_replaced() {
    for number in [1, 9] {
        let world = World::new();
        let (one, other) = two_processes(&world).await;
        let [wall, elapsed] = [u64::MAX, u64::MAX];
        let (wall, elapsed) = (WallTime::from_millis(wall), ElapsedTime::from_millis(elapsed));
        stores(&world, Moment { wall, elapsed, boot: BootId(number) }, HOUR).await;
        world.server.plans([Answer::Refuse(429, Some(s(60)))]);
        assert_eq!(one.is_throttled().await, s(60), "boot {number}");
        assert!(other.is_throttled().await <= s(60));
        world.server.is_content_with(1);
        world.clock.pass(s(60)).await;
        other.session.token().await.expect("a lease");
        world.server.is_content_with(2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_read_or_write_it_delays_no_one_by_more_than_a_second_or_two() {
    for (entries, most) in [(Entries::Fail, ms(100)), (Entries::Panic, ms(100)), (Entries::Hang, s(3))] {
        let world = World::new();
        let (one, other) = two_processes(&world).await;
        one.store.entries(entries);
        other.store.entries(entries);
        world.server.plans([Answer::Refuse(429, Some(s(60)))]);
        let began = world.clock.moment().elapsed;
        assert_eq!(one.is_throttled().await, s(60));
        assert!(world.clock.moment().elapsed.since(began) <= most, "{entries:?}");
        // The other process does not know, and asks by itself.
        other.session.token().await.expect("a lease");
        assert!(world.clock.moment().elapsed.since(began) <= most * 2, "{entries:?}");
        world.server.is_content_with(2);
        assert_eq!(stored(&world).await, None);
        // The process that was throttled keeps to it without the store.
        world.server.plans([Answer::Refuse(429, Some(s(60)))]);
        world.expire().await;
        assert_eq!(one.is_throttled().await, s(60));
        assert!(one.is_throttled().await <= s(60));
        world.server.is_content_with(3);
        one.ends().await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_a_repeatable_source_still_mints() {
    let (world, source) = (World::new(), Robot::new(&World::new()));
    let store = TrickStore::new(world.store.process());
    let mut settings = world.settings();
    settings.sources = settings.sources.with(robot().source, Arc::clone(&source) as _);
    // The actor does not end meanwhile, so it knows the issuer.
    let spawned = world.builder_with(Arc::new(store.clone()), settings).idle_after(HOUR).spawn().await;
    let runtime = BoundedRuntime::from(spawned.expect("a runtime"));
    let session = runtime.session(SessionSpec::new(identity(1)).renewal(robot()));
    session.token().await.expect("a lease");
    let reads = store.entry_reads();
    store.entries(Entries::Hang);
    store.writes(Writing::Nothing);
    store.answers(false);
    world.clock.pass(s(3_000)).await;
    session.token_with(patience(60)).await.expect("a lease");
    assert_eq!(source.mints(), 2);
    assert!(store.entry_reads() > reads, "the cool-down was looked for");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_until_it_is_stored() {
    let world = World::new();
    let (one, _) = two_processes(&world).await;
    one.store.entries(Entries::Slow(s(3)));
    world.server.plans([Answer::Refuse(429, Some(s(60)))]);
    one.is_throttled().await;
    assert_eq!(stored(&world).await, None);
    one.ends().await;
    let cooldown = stored(&world).await.expect("a cool-down");
    assert_eq!(cooldown.span, s(60));
}

#[tokio::test(start_paused = true)]
async fn the_later_end_wins() {
    for (theirs, wins) in [(s(500), s(500)), (s(10), s(60))] {
        let world = World::new();
        let (one, other) = two_processes(&world).await;
        world.server.takes(s(1));
        world.server.plans([Answer::Refuse(429, Some(s(60)))]);
        let meanwhile = async {
            world.takes_off(ms(100)).await;
            stores(&world, world.clock.moment(), theirs).await;
        };
        let (told, ()) = tokio::join!(one.is_throttled(), meanwhile);
        assert_eq!(told, s(60));
        assert_eq!(stored(&world).await.expect("a cool-down").span, wins);
        let left = other.is_throttled().await;
        assert!(left <= wins && left + s(2) >= wins, "{left:?}");
        world.server.is_content_with(1);
        world.clock.pass(s(70)).await;
        // The process that was told the earlier end keeps to the later one.
        let served = one.session.token_with(patience(10)).await.is_ok();
        assert_eq!(served, wins == s(60));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_too_short_for_others_is_not_stored() {
    let world = World::new();
    let (one, _) = two_processes(&world).await;
    world.server.plans([Answer::Refuse(429, Some(ms(900)))]);
    one.session.token_with(patience(30)).await.ok();
    one.ends().await;
    assert_eq!((one.store.entry_writes(), stored(&world).await), (0, None));
}

#[tokio::test(start_paused = true)]
async fn of_many_throttles_at_once_the_longest_is_stored_by_one_write_at_a_time() {
    let world = World::new();
    let one = Process::new(&world).await;
    let sessions = join_all((0..8).map(|number| world.signed_in(&one.runtime, number))).await;
    world.expire().await;
    world.server.shuts();
    world.server.plans((0..8).map(|number| Answer::Refuse(429, Some(s(60 + 10 * ((number * 3) % 8))))));
    one.store.entries(Entries::Slow(ms(500)));
    let answers = async {
        // The others are answered while the write of the first throttle is running.
        world.takes_off(ms(100)).await;
        world.server.opens(1);
        world.clock.pass(ms(100)).await;
        world.server.opens(7);
    };
    let calls = join_all(sessions.iter().map(|session| session.token_with(patience(30))));
    for answer in tokio::join!(calls, answers).0 {
        assert_eq!(answer.expect_err("throttled").reason(), Reason::Throttled);
    }
    one.ends().await;
    world.server.is_content_with(8);
    let span = stored(&world).await.expect("a cool-down").span;
    assert!(span <= s(130) && span >= s(129), "{span:?}");
    assert_eq!(one.store.entry_writes(), 2, "the first, and the longest of those that came meanwhile");
}

#[tokio::test(start_paused = true)]
async fn neither_hits_nor_a_crowd_read_it_more_than_their_flight() {
    let world = World::new();
    let (one, _) = two_processes(&world).await;
    world.server.takes(s(1));
    for answer in join_all((0..1_000).map(|_| one.session.token_with(patience(30)))).await {
        answer.expect("a lease");
    }
    world.server.is_content_with(1);
    assert_eq!(one.store.entry_reads(), 2, "with the permit, and with the claim");
    for _ in 0..100 {
        one.session.token().await.expect("a lease");
    }
    assert_eq!((one.store.entry_reads(), one.store.entry_writes()), (2, 0));
}
