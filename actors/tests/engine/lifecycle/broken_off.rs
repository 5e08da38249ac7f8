//! Flights that break off, and ports and logs that panic.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::Urgency;
use tokenkeeper_actors::ports::observer::{EffectName, EffectObserver};
use tokenkeeper_actors::ports::permit::{IssuerPermits, Permission, Permit};
use tokenkeeper_actors::ports::store::{ClaimAnswer, ClaimEnding, ClaimScope, TokenStore};
use tokenkeeper_actors::runtime::TokenOptions;
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{FlightId, ServerIdentity};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::rig::{Rig, all_served, turns};
use super::tricks::Writing;
use crate::support::server::Answer;
use crate::support::{World, identity, s};

/// Whether another process gets the claim. It ends the claim at once.
async fn is_free(rig: &Rig) -> bool {
    let (other, who, epoch) = (rig.world.store.process(), identity(1), rig.record().await.epoch);
    match other.claim(&who, ClaimScope::Spend(epoch), FlightId(9), s(1)).await.expect("an answer") {
        ClaimAnswer::Granted(claim) => {
            other.end_claim(&who, &claim, ClaimEnding::Released).await.expect("ended");
            true
        }
        _ => false,
    }
}

fn impatient() -> TokenOptions {
    TokenOptions { timeout: s(1), ..TokenOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_breaks_off_ends_its_claim_when_its_request_has_ended() {
    let rig = Rig::new().await;
    rig.world.server.takes(s(10));
    rig.world.expire().await;
    // The caller does not wait for the answer, so no other flight follows.
    assert!(rig.session.token_with(impatient()).await.is_err());
    assert_eq!(rig.world.server.in_flight(), 1);
    rig.spawner.drops_all();
    turns(50).await;
    assert_eq!(rig.world.server.in_flight(), 1, "the request goes on");
    assert!(!is_free(&rig).await, "so another one must not begin");
    rig.world.clock.pass(s(10)).await;
    assert_eq!(rig.world.server.in_flight(), 0);
    assert!(is_free(&rig).await);
    let state = rig.session.state();
    assert!(state.in_doubt && !state.refreshing, "the mark stays");
}

#[tokio::test(start_paused = true)]
async fn no_request_begins_while_that_of_a_flight_that_broke_off_goes_on() {
    let rig = Rig::new().await;
    rig.world.server.takes(s(10));
    rig.world.server.plans([Answer::LostBefore]);
    rig.world.expire().await;
    let cohort = rig.cohort();
    rig.takes_off().await;
    rig.spawner.drops_all();
    all_served(cohort).await;
    rig.world.server.is_content_with(2);
    assert_eq!(rig.world.server.most_in_flight(), 1, "law 1");
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_write_of_a_flight_that_broke_off_is_waited_for() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    rig.store.writes(Writing::Slow(s(3)));
    let cohort = rig.cohort();
    rig.world.clock.pass(s(2)).await;
    assert_eq!(rig.store.commits(), 1, "the pair is being saved");
    rig.spawner.drops_all();
    all_served(cohort).await;
    rig.works().await;
    // The next flight is waiting for the claim, and finds the pair.
    rig.world.clock.pass(s(5)).await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_granted_to_a_flight_that_broke_off_is_ended() {
    let rig = Rig::new().await;
    rig.store.claims_take(s(5));
    rig.world.expire().await;
    assert!(rig.session.token_with(impatient()).await.is_err());
    assert_eq!(rig.store.claims_granted(), 0, "it is being acquired");
    rig.spawner.drops_all();
    rig.world.clock.pass(s(5)).await;
    assert_eq!(rig.store.claims_granted(), 1, "it was granted");
    assert!(is_free(&rig).await, "and ended");
    rig.works().await;
    rig.world.server.is_content_with(1);
}

/// Panics at each effect, before it and after it.
#[derive(Debug)]
struct PanickingObserver;

impl EffectObserver for PanickingObserver {
    fn before(&self, _identity: &ServerIdentity, _flight: FlightId, _effect: EffectName) {
        panic!("an observer that was told to panic");
    }

    fn after(&self, _identity: &ServerIdentity, _flight: FlightId, _effect: EffectName) {
        panic!("an observer that was told to panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_observer_does_not_matter_to_the_flight() {
    let rig = Rig::of(World::new(), |builder| builder.observer(Arc::new(PanickingObserver))).await;
    rig.world.expire().await;
    all_served(rig.cohort()).await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
    assert!(is_free(&rig).await);
}

/// Grants every permit, and panics wherever else it is called.
#[derive(Debug)]
struct PanickingPermits;

#[async_trait]
impl IssuerPermits for PanickingPermits {
    async fn ask(&self, _issuer: Option<&Issuer>, _urgency: Urgency) -> Permission {
        Permission::Granted(Permit::new(|_| panic!("a permit that was told to panic")))
    }

    async fn look_for_throttle(&self, _issuer: Option<&Issuer>) {
        panic!("permits that were told to panic");
    }

    fn throttled(&self, _issuer: Option<&Issuer>) -> Option<Duration> {
        panic!("permits that were told to panic");
    }

    fn throttle(&self, _issuer: Option<&Issuer>, _throttle: Duration) {
        panic!("permits that were told to panic");
    }

    async fn until_shared(&self, _issuer: Option<&Issuer>) {
        panic!("permits that were told to panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_permits_costs_no_token() {
    for answer in [Answer::Properly, Answer::Refuse(503, Some(s(1)))] {
        let requests = if matches!(answer, Answer::Properly) { 1 } else { 2 };
        let rig = Rig::of(World::new(), |builder| builder.permits(Arc::new(PanickingPermits))).await;
        rig.world.server.plans([answer]);
        rig.world.expire().await;
        all_served(rig.cohort()).await;
        rig.world.server.is_content_with(requests);
        rig.is_settled().await;
    }
}

/// A log that panics at the events of flights.
struct PanickingLog;

impl<S: Subscriber> Layer<S> for PanickingLog {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        assert!(!event.metadata().target().ends_with("::events"), "a log that was told to panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_log_costs_no_token() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    rig.store.writes(Writing::NoCommits);
    let _log = tracing_subscriber::registry().with(PanickingLog).set_default();
    // The flight reports that it keeps the only copy of the pair.
    let lease = all_served(rig.cohort()).await;
    assert!(rig.session.state().unsaved);
    rig.store.writes(Writing::Works);
    rig.world.clock.pass(s(30)).await;
    assert_eq!(rig.works().await, lease);
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_spawner_that_panics_for_a_flight_and_for_its_end_does_not_end_the_process() {
    let rig = Rig::new().await;
    rig.spawner.panics(2);
    let insistent = TokenOptions { force: true, ..TokenOptions::default() };
    rig.session.token_with(insistent).await.expect("a lease");
    assert_eq!(rig.spawner.panics_left(), 0);
    rig.works().await;
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}
