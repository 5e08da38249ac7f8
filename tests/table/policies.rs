//! The rules of a policy beyond the first follow-up.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper_testkit::hostile::{Fault, Rotation, When};

use crate::scene::{LONG_ENOUGH, Scene};
use crate::support::LONGEST_PAUSE;
use crate::support::law::GRACE;
use crate::support::wire::Wire;

fn profile(reuse: Reuse) -> Profile {
    Profile { reuse, ..Profile::default() }
}

/// The profile of an issuer where reuse costs more than the lineage, except for this long.
fn within_grace(grace: Duration) -> Profile {
    Profile { grace: Some(grace), ..profile(Reuse::EndsMore) }
}

/// The flight that meets the fault presents the token twice, and each later one once.
#[tokio::test]
async fn a_token_in_doubt_is_presented_until_there_is_a_definite_answer() {
    for (wire, when) in Wire::ALL.into_iter().flat_map(|wire| [(wire, When::Before), (wire, When::After)]) {
        let story = format!("{wire:?} {when:?}");
        let scene = Scene::new(wire, profile(Reuse::EndsLineage)).await;
        let processed = u64::from(when == When::After);
        scene.server.next(when, Fault::reset());
        // Independently of the first fault, the others leave the request unprocessed. Only their answers count.
        scene.server.next_n(5, When::Before, Fault::reset());
        for presentations in 2..=6 {
            scene.assert_refused(Reason::InDoubt, &story).await;
            assert_eq!(scene.host.presentations().await, presentations, "{story}");
            scene.assert_counts((1 + u64::from(presentations), 1 + processed, 0), &story).await;
            scene.pass(LONG_ENOUGH);
        }
        if processed == 0 {
            scene.assert_whole(7, &story).await;
        } else {
            scene.assert_refused(Reason::GrantEnded, &story).await;
            scene.assert_counts((8, 2, 1), &story).await;
            scene.assert_over(Reason::GrantEnded, &story).await;
        }
    }
}

/// The mark counts the presentations of all processes, and the pauses grow with it.
#[tokio::test]
async fn pauses_between_presentations_grow_over_processes() {
    let scene = Scene::new(Wire::Shipped, profile(Reuse::EndsLineage)).await;
    scene.server.next_n(9, When::Before, Fault::reset());
    scene.assert_refused(Reason::InDoubt, "the first process").await;
    scene.host.shut_down().await;
    for presentations in 3..=9 {
        scene.pass(LONG_ENOUGH);
        let process = scene.host.another_process().await;
        let error = process.try_to_renew().await.unwrap_err();
        assert_eq!((error.reason(), process.presentations().await), (Reason::InDoubt, presentations));
        // They double up to 5 s, and after the eighth presentation up to a minute.
        let pause = Duration::from_millis(250 << (presentations - 1)).min(LONGEST_PAUSE);
        let pause = if presentations > 8 { 2 * LONGEST_PAUSE } else { pause };
        let left = error.retry_after().unwrap();
        assert!(left <= pause && (presentations < 5 || left > pause / 2), "{presentations}: {left:?}");
        scene.assert_counts((1 + u64::from(presentations), 1, 0), "one more presentation, by any process").await;
        // No process presents it before.
        let other = scene.host.another_process().await;
        if presentations >= 5 {
            assert_eq!(other.try_to_renew().await.unwrap_err().reason(), Reason::InDoubt);
            scene.assert_counts((1 + u64::from(presentations), 1, 0), "not yet").await;
        }
        other.shut_down().await;
        process.shut_down().await;
    }
    scene.pass(LONG_ENOUGH);
    let process = scene.host.another_process().await;
    assert!(process.renew().await.is_ok());
    assert_eq!(process.mark().await, None);
    scene.assert_counts((11, 2, 0), "whole").await;
}

#[tokio::test]
async fn within_a_grace_a_token_is_presented_as_often_as_it_takes() {
    for wire in Wire::ALL {
        let scene = Scene::new(wire, within_grace(GRACE)).await;
        scene.server.rules(|rules| rules.rotation = Rotation::Grace(GRACE));
        scene.server.next_n(4, When::After, Fault::reset());
        for presented in 2..=4 {
            scene.assert_refused(Reason::InDoubt, "in grace").await;
            assert_eq!(scene.host.presentations().await, presented);
            scene.assert_counts((1 + u64::from(presented), 1 + u64::from(presented), 0), "in grace").await;
            scene.pass(LONG_ENOUGH);
        }
        scene.assert_whole(5, "in grace").await;
    }
}

#[tokio::test]
async fn a_grace_that_has_passed_is_over_where_reuse_ends_more() {
    const GRACE: Duration = Duration::from_secs(600);
    for when in [When::Before, When::After] {
        let scene = Scene::new(Wire::Shipped, within_grace(GRACE)).await;
        scene.server.rules(|rules| rules.rotation = Rotation::Grace(GRACE));
        scene.server.next_n(2, when, Fault::reset());
        scene.assert_refused(Reason::InDoubt, "in grace").await;
        scene.pass(GRACE);
        scene.assert_refused(Reason::MaybeConsumed, "past the grace").await;
        scene.assert_over(Reason::MaybeConsumed, "past the grace").await;
    }
}

/// A profile with a grace period is no worse than the default, which presents again.
#[tokio::test]
async fn a_grace_that_has_passed_is_no_obstacle_where_reuse_ends_the_lineage() {
    const GRACE: Duration = Duration::from_secs(30);
    for when in [When::Before, When::After] {
        let profile = Profile { grace: Some(GRACE), ..Profile::default() };
        let scene = Scene::new(Wire::Shipped, profile).await;
        scene.server.rules(|rules| rules.rotation = Rotation::Grace(GRACE));
        scene.server.next_n(2, when, Fault::reset());
        scene.assert_refused(Reason::InDoubt, "in grace").await;
        scene.pass(LONG_ENOUGH);
        if when == When::Before {
            scene.assert_whole(3, "past the grace").await;
        } else {
            scene.assert_refused(Reason::GrantEnded, "past the grace").await;
            scene.assert_counts((4, 3, 1), "past the grace").await;
        }
    }
}

/// The profile has a grace period, and the server has none.
#[tokio::test]
async fn a_grace_the_server_does_not_have_costs_the_lineage_and_no_more() {
    let scene = Scene::new(Wire::Shipped, within_grace(Duration::from_secs(600))).await;
    scene.server.next(When::After, Fault::reset());
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
