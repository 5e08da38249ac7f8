//! Flights that break off, and observers that panic.

use std::sync::Arc;

use tokenkeeper_actors::ports::observer::{EffectName, EffectObserver};
use tokenkeeper_actors::ports::store::{ClaimAnswer, ClaimEnding, ClaimScope, TokenStore};
use tokenkeeper_actors::runtime::TokenOptions;
use tokenkeeper_actors::values::{FlightId, ServerIdentity};

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
