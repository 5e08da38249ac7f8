//! Sessions that hold nothing leave the runtime, and others stay.

use std::sync::Arc;

use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey, Policy, RefreshPolicy, Refusal, RefusalAnswer};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::runtime::{AuthMessage, SessionSpec, StateWatch, TokenOptions};
use tokenkeeper_actors::values::{Epoch, Generation, Lease, Reason, RenewalPlan, SourceName, TokenError};
use tokio::runtime::Handle;

use super::rig::{Rig, turns};
use super::sleep::sibling;
use super::tricks::TrickSpawner;
use crate::support::{BoundedSession, World, identity, ms, s, within};

/// A time after which an unused session sleeps, and one that holds nothing is removed. Slots are removed once a minute.
const LEAVES: u64 = 61 + 60;

/// Sessions, actors and tasks.
fn counts(rig: &Rig) -> [usize; 3] {
    let tasks = Handle::current().metrics().num_alive_tasks();
    [rig.runtime.session_count(), rig.supervisor().get_children().len(), tasks]
}

/// A rig whose session sleeps.
async fn asleep() -> Rig {
    let rig = Rig::new().await;
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(counts(&rig)[..2], [1, 0]);
    rig
}

/// Asks through the address for the token of an identity.
async fn asks(rig: &Rig, number: usize) -> Result<Lease, TokenError> {
    asks_with(rig, number, TokenOptions::default()).await
}

async fn asks_with(rig: &Rig, number: usize, options: TokenOptions) -> Result<Lease, TokenError> {
    let address = rig.runtime.address();
    let asked = address.call(|reply| AuthMessage::GetToken { identity: identity(number), options, reply }, None);
    within("a token", asked).await.expect("the address stands").expect("an answer")
}

fn reason<T>(answer: Result<T, TokenError>) -> Option<Reason> {
    answer.err().map(|error| error.reason())
}

#[tokio::test(start_paused = true)]
async fn identities_that_never_signed_in_leave_nothing_behind() {
    const IDENTITIES: usize = 2_000;
    let rig = asleep().await;
    let before = counts(&rig);
    for is_by_address in [true, false] {
        for number in 2..IDENTITIES + 2 {
            let answer = match is_by_address {
                true => asks(&rig, number).await,
                false => rig.runtime.session(identity(number)).token().await,
            };
            assert_eq!(reason(answer), Some(Reason::NeverSignedIn));
        }
        assert_eq!(counts(&rig)[..2], [IDENTITIES + 1, IDENTITIES]);
        rig.world.clock.pass(s(LEAVES)).await;
        assert_eq!(counts(&rig), before);
    }
    // Nor do handles that were opened and never used.
    for number in 2..IDENTITIES + 2 {
        drop(rig.runtime.session(identity(number)));
    }
    rig.world.clock.pass(s(60)).await;
    assert_eq!(counts(&rig), before);
    rig.works().await;
}

#[tokio::test(start_paused = true)]
async fn identities_that_are_to_be_kept_warm_and_never_signed_in_leave_nothing_behind() {
    let mut world = World::new();
    world.policy = Policy { refresh: RefreshPolicy::KeepWarm { inactivity: None }, ..Policy::default() };
    let rig = Rig::of(world, |builder| builder).await;
    let before = counts(&rig);
    for number in 2..102 {
        drop(rig.runtime.session(identity(number)));
    }
    turns(500).await;
    assert_eq!(counts(&rig)[..2], [101, 101]);
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(counts(&rig), before);
}

/// Something that keeps a session.
#[derive(Clone, Copy, Debug)]
enum Hold {
    Handle,
    Reader,
    /// A login, with its lease.
    Login,
    /// A login, and a logout.
    Logout,
    /// Settings of its own, and no request so far.
    Settings,
}

impl Hold {
    const ALL: [Hold; 5] = [Hold::Handle, Hold::Reader, Hold::Login, Hold::Logout, Hold::Settings];

    async fn begins(self, rig: &Rig) -> (Option<BoundedSession>, Option<StateWatch>) {
        let session = match self {
            Hold::Settings => {
                let policy = Policy { max_waiters: 0, ..Policy::default() };
                rig.runtime.session(SessionSpec::new(identity(2)).policy(policy))
            }
            _ => rig.runtime.session(identity(2)),
        };
        if !matches!(self, Hold::Settings) {
            assert_eq!(reason(session.token().await), Some(Reason::NeverSignedIn));
        }
        match self {
            Hold::Handle => return (Some(session), None),
            Hold::Reader => return (None, Some(session.watch())),
            Hold::Login => drop(session.install(rig.world.login()).await.expect("installed")),
            Hold::Logout => {
                session.install(rig.world.login()).await.expect("installed");
                session.logout().await.expect("logged out");
            }
            Hold::Settings => {}
        }
        (None, None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_holds_something_stays() {
    for hold in Hold::ALL {
        let rig = asleep().await;
        let before = counts(&rig);
        let (session, reader) = hold.begins(&rig).await;
        rig.world.clock.pass(s(10 * LEAVES)).await;
        assert_eq!(counts(&rig), [2, before[1], before[2]], "{hold:?}");
        let is_held = session.is_some() || reader.is_some();
        drop((session, reader));
        rig.world.clock.pass(s(60)).await;
        assert_eq!(rig.runtime.session_count(), if is_held { 1 } else { 2 }, "{hold:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn settings_are_kept_until_an_actor_has_found_no_record() {
    let rig = asleep().await;
    Hold::Settings.begins(&rig).await;
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(reason(asks(&rig, 2).await), Some(Reason::TooManyWaiters), "the settings of the first call");
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(rig.runtime.session_count(), 2);
    // A refusal needs no place among the waiters. The actor finds no record.
    let policy = Policy { max_waiters: 7, ..Policy::default() };
    let session = rig.runtime.session(SessionSpec::new(identity(3)).policy(policy));
    assert_eq!(reason(session.token().await), Some(Reason::NeverSignedIn));
    drop(session);
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(rig.runtime.session_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_forgotten_leave_neither_memory_nor_a_record() {
    let rig = asleep().await;
    let before = counts(&rig);
    let records = rig.world.store.list().await.expect("a list");
    for number in 2..102 {
        let session = rig.runtime.session(identity(number));
        session.install(rig.world.login()).await.expect("installed");
        assert_eq!(session.forget().await, Ok(()));
        assert_eq!(reason(session.token().await), Some(Reason::NeverSignedIn));
        assert_eq!(session.forget().await, Ok(()), "again");
    }
    assert_eq!(rig.world.store.list().await.expect("a list"), records);
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(counts(&rig), before);
    rig.world.server.is_content_with(0);
    rig.works().await;
}

/// Identities of a source that needs no login, and that the runtime does not have.
#[tokio::test(start_paused = true)]
async fn failures_of_identities_without_a_record_are_forgotten() {
    let mut world = World::new();
    world.policy.renewal = RenewalPlan::repeatable(SourceName::new("missing").expect("a name"));
    let rig = Rig::of(world, |builder| builder).await;
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(reason(asks(&rig, 2).await), Some(Reason::SourceMissing));
    assert_eq!(rig.runtime.session_count(), 2);
    // The pause ends before the actor does.
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(rig.runtime.session_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_a_lease_that_is_not_known_keeps_no_session() {
    let rig = asleep().await;
    let generation = Generation::stored(Epoch::new(1), 1);
    let refusal = Refusal { generation, operation: OperationKey(0), challenge: ChallengeKey(0) };
    let address = rig.runtime.address();
    let answer = address.call(|reply| AuthMessage::Invalidate { identity: identity(2), refusal, reply }, None);
    let answer = within("an answer", answer).await.expect("the address stands").expect("an answer");
    assert_eq!(answer, Ok(RefusalAnswer::Unknown));
    assert_eq!(rig.runtime.session_count(), 2);
    rig.world.clock.pass(s(10 * LEAVES)).await;
    assert_eq!(rig.runtime.session_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_left_begins_anew() {
    let rig = asleep().await;
    assert_eq!(reason(asks(&rig, 2).await), Some(Reason::NeverSignedIn));
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(rig.runtime.session_count(), 1);
    // A sibling's login is not news for any session here.
    let (other, _session) = sibling(&rig.world).await;
    let theirs = other.session(identity(2));
    theirs.install(rig.world.login()).await.expect("installed");
    rig.world.clock.pass(s(1)).await;
    assert_eq!(rig.runtime.session_count(), 1);
    let lease = asks(&rig, 2).await.expect("a lease");
    assert_eq!(theirs.token().await, Ok(lease.clone()));
    // Now it holds a lease, and serves hits.
    rig.world.clock.pass(s(LEAVES)).await;
    assert_eq!(counts(&rig)[..2], [2, 0]);
    assert_eq!(rig.runtime.session(identity(2)).token().await, Ok(lease));
    assert_eq!(counts(&rig)[..2], [2, 0]);
    rig.world.server.is_content_with(0);
}

#[tokio::test(start_paused = true)]
async fn a_login_races_the_removal_of_its_session() {
    for yields in 0..=20 {
        // Two minutes and a second after the tree began, a request. The actor ends a minute later, and the session is
        // removed when the fourth minute is over.
        let rig = asleep().await;
        assert_eq!(reason(asks(&rig, 2).await), Some(Reason::NeverSignedIn));
        rig.world.clock.pass(s(4 * 60 - LEAVES) - ms(1)).await;
        assert_eq!(counts(&rig)[..2], [2, 0]);
        rig.world.clock.pass(ms(1)).await;
        turns(yields).await;
        let session = rig.runtime.session(identity(2));
        session.install(rig.world.login()).await.expect("installed");
        drop(session);
        let lease = asks(&rig, 2).await.expect("a lease");
        rig.world.clock.pass(s(LEAVES)).await;
        assert_eq!(rig.runtime.session(identity(2)).token().await, Ok(lease), "{yields} turns");
        assert_eq!(rig.runtime.session_count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_actor_ends_again_and_again_stays_until_that_is_over() {
    let world = World::new();
    let spawner = TrickSpawner::new();
    let rig = Rig::of(world, |builder| builder.spawner(Arc::new(spawner.clone()))).await;
    // The longest pause ends a second before slots are removed.
    rig.world.clock.pass(s(LEAVES + 55)).await;
    let before = counts(&rig);
    let fails = |seconds: Option<u64>| {
        let rig = &rig;
        async move {
            let hasty = TokenOptions { fail_fast: true, ..TokenOptions::default() };
            let error = asks_with(rig, 2, hasty).await.expect_err("no token");
            assert_eq!((error.reason(), error.retry_after()), (Reason::Aborted, seconds.map(s)));
        }
    };
    // The sixth end in a row begins a pause of one second, the next one of two, and so on.
    spawner.panics(6);
    fails(Some(1)).await;
    rig.world.clock.pass(s(1)).await;
    for pause in [2, 4, 8, 16, 32] {
        spawner.panics(1);
        fails(Some(pause)).await;
        rig.world.clock.pass(s(pause)).await;
        assert_eq!(rig.runtime.session_count(), 2);
    }
    // The pause is over. The count is kept for ten seconds more.
    rig.world.clock.pass(s(9)).await;
    assert_eq!(rig.runtime.session_count(), 2);
    spawner.panics(1);
    fails(Some(60)).await;
    rig.world.clock.pass(s(60)).await;
    assert_eq!(rig.runtime.session_count(), 2);
    rig.world.clock.pass(s(61)).await;
    assert_eq!(counts(&rig), before);
    // The next end is the first of a row, so the next actor starts at once.
    spawner.panics(1);
    assert_eq!(reason(asks(&rig, 2).await), Some(Reason::NeverSignedIn));
    assert_eq!(spawner.panics_left(), 0);
}
