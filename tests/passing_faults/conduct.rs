//! Servers that differ in their conduct towards a refresh token that comes back: with a grace period, without rotation, and
//! with answers that bring no new refresh token.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper_testkit::hostile::{Fault, Rotation, When};
use tokio::task::JoinSet;

use crate::scene::{LIFETIME, Scene, doubts};
use crate::support::{LONG_ENOUGH, PATIENCE};

const JSON: &str = "application/json";

/// An answer without a refresh token.
fn access_token_only() -> Fault {
    Fault::body(JSON, r#"{"access_token":"{access_token}","token_type":"Bearer","expires_in":3600}"#)
}

/// An answer with this refresh token.
fn with_refresh_token(refresh: &str) -> Fault {
    let body = r#"{"access_token":"{access_token}","token_type":"Bearer","expires_in":3600,"refresh_token":"#;
    Fault::body(JSON, format!(r#"{body}"{refresh}"}}"#))
}

// --- a grace period ----------------------------------------------------------------------------------------------

/// The server has spent the token, and forgives a second presentation for a short while.
#[tokio::test]
async fn within_a_short_grace_the_second_presentation_is_in_time() {
    let mut cases = JoinSet::new();
    for grace in [10, 30].map(Duration::from_secs) {
        let known = Profile { grace: Some(grace), ..Profile::default() };
        let ends_more = Profile { reuse: Reuse::EndsMore, ..known.clone() };
        for profile in [Profile::default(), known, ends_more] {
            for fault in doubts() {
                #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
                cases.spawn(is_forgiven(profile.clone(), grace, fault));
            }
        }
    }
    cases.join_all().await;
}

async fn is_forgiven(profile: Profile, grace: Duration, fault: Fault) {
    let story = format!("{profile:?} {fault:?}");
    let scene = Scene::with(profile, Rotation::Grace(grace)).await;
    scene.server.next(When::After, fault);
    assert!(scene.ask(PATIENCE).await.is_ok(), "{story}");
    scene.assert_counts((2, 2, 0), &story).await;
    scene.assert_whole(2, &story).await;
}

// --- a server that never rotates -----------------------------------------------------------------------------------

#[tokio::test]
async fn a_server_that_never_rotates_leaves_no_doubt() {
    let google = Providers::builtin().named("google").unwrap().profile();
    assert!(!google.rotates);
    for when in [When::Before, When::After] {
        for fault in doubts() {
            let story = format!("{when:?} {fault:?}");
            let scene = Scene::with(google.clone(), Rotation::None).await;
            scene.server.next(when, fault.clone());
            let (reason, retry_after) = scene.ask_fast().await.unwrap_err();
            assert_eq!((reason, retry_after.is_some()), (Reason::ServerTrouble, true), "{story}");
            assert_eq!(scene.host.mark().await, None, "{story}");
            scene.assert_counts((1, u64::from(when == When::After), 0), &story).await;
            scene.pass(Duration::from_secs(61 * 60));
            assert!(scene.ask_fast().await.is_ok(), "{story}");
            scene.assert_counts((2, 1 + u64::from(when == When::After), 0), &story).await;
            scene.assert_whole(2, &story).await;

            // A caller that has the patience waits for the second request.
            let scene = Scene::with(google.clone(), Rotation::None).await;
            scene.server.next(when, fault);
            let pauses = scene.pauses();
            let (token, ()) = tokio::join!(scene.ask(PATIENCE), pauses.skip(1, Reason::ServerTrouble));
            assert!(token.is_ok(), "{story}: {token:?}");
            scene.assert_whole(2, &story).await;
        }
    }
}

// --- repeats without a new refresh token ------------------------------------------------------------------------------

/// The answer to the second presentation brings no new refresh token, or the one that was sent. That one is spent, if the
/// lineage ever rotated.
#[tokio::test]
async fn a_repeat_without_a_new_refresh_token_serves_its_access_token_and_leaves_the_doubt() {
    for same in [false, true] {
        let scene = Scene::with(Profile::default(), Rotation::Grace(2 * LIFETIME)).await;
        let first = scene.ask(PATIENCE).await.unwrap();
        let sent = scene.host.record().await.held().unwrap().credential.token().expose().to_owned();
        assert_ne!(sent, scene.grant.refresh_token.expose(), "the lineage rotates");
        scene.pass(LIFETIME);
        scene.server.next(When::After, Fault::reset());
        let answer = if same { with_refresh_token(&sent) } else { access_token_only() };
        scene.server.next(When::After, answer);
        let second = scene.ask(PATIENCE).await.unwrap();
        assert_ne!(first, second);
        scene.assert_counts((3, 3, 0), "the second presentation").await;
        let held = scene.host.record().await.held().unwrap().clone();
        // The server has answered, so the pauses between presentations begin anew.
        assert_eq!((held.credential.token().expose(), held.mark.unwrap().presentations), (sent.as_str(), 1));
        // Its access token is served by all processes, and no request is made.
        let other = scene.host.another_process().await;
        assert_eq!((other.token().await.unwrap(), scene.ask(PATIENCE).await.unwrap()), (second.clone(), second));
        other.shut_down().await;
        scene.assert_counts((3, 3, 0), "while its access token is good").await;
        // At the next expiry the token is presented again, and a new refresh token ends the doubt.
        scene.pass(LIFETIME);
        assert!(scene.ask(PATIENCE).await.is_ok());
        scene.assert_counts((4, 4, 0), "the third presentation").await;
        scene.assert_whole(4, "the end of the doubt").await;
    }
}

/// The lineage was never seen to rotate, so its refresh token is as good as before.
#[tokio::test]
async fn a_repeat_without_a_new_refresh_token_settles_a_lineage_that_does_not_rotate() {
    for same in [false, true] {
        let scene = Scene::with(Profile::default(), Rotation::None).await;
        let refresh = scene.grant.refresh_token.expose().to_owned();
        for expiry in 0..3 {
            let before = scene.counts().await.token_requests;
            scene.server.next(When::After, Fault::reset());
            if same {
                scene.server.next(When::After, with_refresh_token(&refresh));
            }
            assert!(scene.ask(PATIENCE).await.is_ok(), "{expiry}");
            scene.assert_counts((before + 2, before + 2, 0), "the second presentation").await;
            assert_eq!(scene.host.mark().await, None, "{expiry}");
            scene.pass(LIFETIME);
        }
        scene.assert_whole(6, "it never rotates").await;
    }
}

// --- a definite answer -----------------------------------------------------------------------------------------------

/// The server had spent the token, and has no grace period. A login is needed, as it would be without the second
/// presentation.
#[tokio::test]
async fn a_strict_server_that_had_spent_the_token_ends_the_grant_with_the_second_request() {
    for fault in doubts() {
        let story = format!("{fault:?}");
        let scene = Scene::new().await;
        scene.server.next(When::After, fault);
        assert_eq!(scene.ask(PATIENCE).await, Err((Reason::GrantEnded, None)), "{story}");
        scene.assert_counts((2, 1, 1), &story).await;
        // No process presents it any more.
        scene.pass(LONG_ENOUGH);
        let other = scene.host.another_process().await;
        assert_eq!(other.renew().await.unwrap_err().reason(), Reason::GrantEnded, "{story}");
        assert_eq!(scene.ask(PATIENCE).await, Err((Reason::GrantEnded, None)), "{story}");
        other.shut_down().await;
        scene.assert_counts((2, 1, 1), &story).await;
    }
}
