//! The rules of a policy beyond the first follow-up.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper_testkit::hostile::{Fault, Rotation, When};

use crate::scene::{LONG_ENOUGH, Scene};
use crate::support::wire::Wire;

fn profile(in_doubt: Reuse) -> Profile {
    Profile { reuse, ..Profile::default() }
}

#[tokio::test]
async fn retry_once_presents_a_token_twice_and_never_a_third_time() {
    for (wire, when) in Wire::ALL.into_iter().flat_map(|wire| [(wire, When::Before), (wire, When::After)]) {
        let story = format!("{wire:?} {when:?}");
        let scene = Scene::new(wire, profile(Reuse::EndsLineage)).await;
        scene.server.next(when, Fault::reset());
        // Independently of the first fault, the second leaves the request unprocessed. Only its answer counts.
        scene.server.next(When::Before, Fault::reset());
        assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::InDoubt, "{story}");
        scene.pass(LONG_ENOUGH);
        assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::MaybeConsumed, "{story}");
        assert_eq!(scene.host.presentations().await, 2, "{story}");
        scene.assert_counts((3, 1 + u64::from(when == When::After), 0), &story).await;
        scene.assert_refused(Reason::MaybeConsumed, &story).await;
        scene.assert_over(Reason::MaybeConsumed, &story).await;
    }
}

#[tokio::test]
async fn retry_once_counts_over_processes() {
    let scene = Scene::new(Wire::Shipped, profile(Reuse::EndsLineage)).await;
    scene.server.next_n(3, When::Before, Fault::reset());
    assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::InDoubt);
    scene.host.shut_down().await;
    for (reason, requests) in [(Reason::MaybeConsumed, 3), (Reason::MaybeConsumed, 3)] {
        scene.pass(LONG_ENOUGH);
        let process = scene.host.another_process().await;
        assert_eq!(process.renew().await.unwrap_err().reason(), reason);
        assert_eq!(process.presentations().await, 2);
        process.shut_down().await;
        scene.assert_counts((requests, 1, 0), "one more presentation, by whichever process").await;
    }
}

#[tokio::test]
async fn within_a_grace_a_token_is_presented_as_often_as_it_takes() {
    const GRACE: Duration = Duration::from_secs(30 * 60);
    for wire in Wire::ALL {
        let scene = Scene::new(wire, profile(InDoubt::RetryWithin(GRACE))).await;
        scene.server.rules(|rules| rules.rotation = Rotation::Grace(GRACE));
        scene.server.next_n(3, When::After, Fault::reset());
        for presented in 1..=3 {
            assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::InDoubt);
            assert_eq!(scene.host.presentations().await, presented);
            scene.assert_counts((1 + u64::from(presented), 1 + u64::from(presented), 0), "in grace").await;
            scene.pass(LONG_ENOUGH);
        }
        scene.assert_whole(4, "in grace").await;
    }
}

#[tokio::test]
async fn a_grace_that_has_passed_is_over() {
    const GRACE: Duration = Duration::from_secs(600);
    for when in [When::Before, When::After] {
        let scene = Scene::new(Wire::Shipped, profile(InDoubt::RetryWithin(GRACE))).await;
        scene.server.next(when, Fault::reset());
        assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::InDoubt);
        scene.pass(GRACE);
        scene.assert_refused(Reason::MaybeConsumed, "past the grace").await;
        scene.assert_over(Reason::MaybeConsumed, "past the grace").await;
    }
}

/// The profile has a grace period, and the server has none.
#[tokio::test]
async fn a_grace_the_server_does_not_have_costs_the_lineage_and_no_more() {
    let scene = Scene::new(Wire::Shipped, profile(InDoubt::RetryWithin(Duration::from_secs(600)))).await;
    scene.server.next(When::After, Fault::reset());
    assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::InDoubt);
    scene.pass(LONG_ENOUGH);
    assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::GrantEnded);
    scene.assert_counts((3, 2, 1), "a replay").await;
    assert!(!scene.server.is_alive(scene.grant.chain));
    scene.assert_over(Reason::GrantEnded, "a replay").await;
}

#[tokio::test]
async fn a_token_in_doubt_or_dead_is_not_installed_again() {
    for (fault, refusal) in [
        (Fault::reset(), tokenkeeper::InstallError::Marked),
        (Fault::status(400).error("invalid_grant"), tokenkeeper::InstallError::Refused),
    ] {
        let scene = Scene::new(Wire::Shipped, profile(Reuse::EndsMore)).await;
        let held = scene.host.record().await.held().unwrap().credential.token().clone();
        scene.server.next(When::Before, fault);
        scene.host.renew().await.unwrap_err();
        let mut same = scene.grant.clone();
        same.refresh_token = held;
        assert_eq!(scene.host.sign_in(&same).await, Err(refusal));
        scene.assert_counts((2, 1, 0), "installed again").await;
    }
}

/// The server's own answer, not a scripted one.
#[tokio::test]
async fn a_revoked_chain_and_an_unknown_client_are_told_apart() {
    for wire in Wire::ALL {
        let scene = Scene::new(wire, Profile::default()).await;
        scene.server.revoke(scene.grant.chain);
        scene.assert_refused(Reason::GrantEnded, "revoked").await;
        scene.assert_counts((2, 1, 0), "revoked").await;
        scene.assert_over(Reason::GrantEnded, "revoked").await;

        let server = tokenkeeper_testkit::hostile::HostileAs::start().await.unwrap();
        let client = server.register(tokenkeeper::engine::values::record::ClientAuth::None);
        let grant = server.grant_to(&client);
        let host = crate::support::Host::new(&server.resource(), wire.client(), Profile::default()).await;
        host.sign_in(&grant).await.unwrap();
        server.unregister(&client);
        assert_eq!(host.token().await.unwrap_err().reason(), Reason::ClientRejected);
        assert_eq!(host.token().await.unwrap_err().reason(), Reason::ClientRejected);
        assert_eq!((server.counts().token_requests, host.mark().await), (1, None));
        // The old refresh token stays with the old client. A login brings a new pair of both.
        host.sign_in(&server.grant()).await.unwrap();
        host.renew().await.unwrap();
        assert_eq!((server.counts().token_requests, server.counts().replays), (2, 0));
    }
}
