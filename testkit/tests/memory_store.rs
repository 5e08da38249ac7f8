//! The in-memory store keeps the store contract, with either kind of claim.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;
#[path = "../../actors/tests/common/within.rs"]
mod within;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use support::{Kernel, Leased};
use tokenkeeper_actors::law::ledger::{Change, Login};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::store::{
    ClaimAnswer, ClaimEnding, ClaimScope, LoginKey, PendingLogin, Predecessor, Reservation, StoreEvent, TokenStore,
};
use tokenkeeper_actors::values::record::RefreshCredential;
use tokenkeeper_actors::values::{
    Account, AttemptId, Epoch, FlightId, Moment, RefreshToken, ResourceUri, ServerIdentity, Target, WallTime,
};
use tokenkeeper_testkit::store_contract::{CHECKS, Harness, Place, examine, run_all};
use within::within;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_that_live_with_their_process_keep_the_contract() {
    run_all(&Kernel).await;
    let not_shown: BTreeSet<_> = examine(&Kernel).await.not_shown().map(|(name, _)| name).collect();
    assert_eq!(
        not_shown,
        BTreeSet::from([
            "a_store_without_claims_says_so",
            "a_lost_claim_goes_to_the_next_who_is_told",
            "the_late_end_of_a_lost_claim_frees_nobody_elses",
            "who_lost_a_claim_may_live_until_it_ends_it_late",
            "a_commit_settles_a_lost_claim_and_no_other_write_does",
            "what_a_lost_claim_brought_is_still_stored",
            "a_new_epoch_knows_no_lost_claims",
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_that_are_leases_keep_the_contract() {
    run_all(&Leased).await;
    let not_shown: Vec<_> = examine(&Leased).await.not_shown().map(|(name, _)| name).collect();
    assert_eq!(not_shown, ["a_store_without_claims_says_so"]);
}

#[tokio::test]
async fn one_thread_is_enough_to_run_the_checks() {
    run_all(&Leased).await;
}

/// A harness with only the required methods.
struct Plain;

#[async_trait]
impl Harness for Plain {
    async fn place(&self) -> Box<dyn Place> {
        struct Memory(MemoryStore);

        #[async_trait]
        impl Place for Memory {
            async fn open(&self) -> Arc<dyn TokenStore> {
                Arc::new(self.0.process())
            }
        }

        Box::new(Memory(MemoryStore::new(support::key())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_harness_cannot_do_is_said_and_not_passed_over() {
    let report = examine(&Plain).await;
    assert_eq!(report.failed().count(), 0, "{report}");
    let not_shown: BTreeSet<_> = report.not_shown().map(|(name, _)| name).collect();
    assert_eq!(not_shown.len(), 9, "{report}");
    assert!(not_shown.contains("a_watch_says_when_it_has_lost_news"), "{report}");
    assert!(not_shown.contains("a_dead_process_frees_its_claim_and_leaves_its_mark"), "{report}");
    assert!(report.to_string().contains("(not shown: a_watch_says_when_it_has_lost_news: the harness"), "{report}");
}

#[test]
fn checks_have_names_of_their_own() {
    let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name()).collect();
    assert_eq!(names.len(), CHECKS.len());
    assert!(format!("{:?}", CHECKS[0]).contains(CHECKS[0].name()));
}

fn who() -> ServerIdentity {
    named("work")
}

fn named(account: &str) -> ServerIdentity {
    let resource = ResourceUri::parse("https://mcp.example.com/mcp").unwrap();
    ServerIdentity::new(Account::new(account).unwrap(), Target::Mcp(resource))
}

#[tokio::test]
async fn a_claim_outlives_a_clone_of_its_handle_and_dies_with_the_last() {
    const SPEND: ClaimScope = ClaimScope::Spend(Epoch::new(1));
    let at_least = std::time::Duration::from_secs(45);
    let root = MemoryStore::new(support::key());
    let (process, sibling) = (root.process(), root.process());
    let clone = process.clone();
    process.claim(&who(), SPEND, FlightId(1), at_least).await.unwrap();
    drop(process);
    assert_eq!(sibling.claim(&who(), SPEND, FlightId(2), at_least).await.unwrap(), ClaimAnswer::Contended);
    drop(clone);
    match sibling.claim(&who(), SPEND, FlightId(2), at_least).await.unwrap() {
        ClaimAnswer::Granted(claim) => {
            assert_eq!((claim.remaining, claim.predecessor), (None, Predecessor::Gone));
            // Only the process that holds a kernel lock can free it.
            root.end_claim(&who(), &claim, ClaimEnding::Released).await.unwrap();
            let other = root.claim(&who(), SPEND, FlightId(3), at_least).await.unwrap();
            assert_eq!(other, ClaimAnswer::Contended);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reservation_ends_with_its_ten_minutes_or_with_the_token_it_was_for() {
    let store = MemoryStore::new(support::key());
    let credential = RefreshCredential::new(RefreshToken::new("rt-1"), &support::key());
    let digest = credential.digest();
    let at = |millis| Moment { wall: WallTime::from_millis(millis), ..Moment::default() };
    let reserve = async |account, millis| store.reserve(&named(account), digest, at(millis)).await.unwrap();

    assert_eq!(reserve("work", 0).await, Reservation::Reserved);
    assert_eq!(reserve("home", 599_999).await, Reservation::HeldBy(who()));
    assert_eq!(reserve("home", 600_000).await, Reservation::Reserved);
    // A clock that stepped back does not age a reservation.
    assert_eq!(reserve("work", 0).await, Reservation::HeldBy(named("home")));

    // An install without a reservation, which a login never does, leaves another process's reservation in place.
    let install = Change::Install(Box::new(Login { refresh: Some(credential), ..support::bare_login() }));
    store.change(&who(), install.clone()).await.unwrap();
    store.change(&who(), Change::Clear { epoch: Epoch::new(1) }).await.unwrap();
    assert_eq!(reserve("third", 600_001).await, Reservation::HeldBy(named("home")));
    // An install by the owner of the reservation ends it, so that the logout leaves no ten minutes to wait.
    store.change(&named("home"), install).await.unwrap();
    assert_eq!(reserve("third", 600_001).await, Reservation::HeldBy(named("home")));
    store.change(&named("home"), Change::Clear { epoch: Epoch::new(1) }).await.unwrap();
    assert_eq!(reserve("third", 600_001).await, Reservation::Reserved);
}

#[tokio::test]
async fn a_pending_login_is_over_at_its_very_end() {
    let store = MemoryStore::new(support::key());
    let end = Moment { wall: WallTime::from_millis(5), ..Moment::default() };
    let login = PendingLogin {
        identity: who(),
        attempt: AttemptId(7),
        epoch: Epoch::new(1),
        same_subject: true,
        expires: end.wall,
        sealed: vec![0].into(),
    };
    store.put_login(LoginKey([0; 32]), login).await.unwrap();
    assert!(store.take_login(&LoginKey([0; 32]), end).await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_ends_with_the_last_handle() {
    let store = MemoryStore::new(support::key());
    let mut watch = store.watch().await.unwrap();
    let sibling = store.process();
    drop(store);
    sibling.change(&who(), Change::Install(Box::new(support::bare_login()))).await.unwrap();
    drop(sibling);
    assert_eq!(within("news", watch.next()).await, StoreEvent::Changed(who()));
    assert_eq!(within("news", watch.next()).await, StoreEvent::Ended);
    assert_eq!(within("news", watch.next()).await, StoreEvent::Ended);
}
