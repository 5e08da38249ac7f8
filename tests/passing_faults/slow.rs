//! Answers that come late. A flight reads on after its callers have left.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper_testkit::hostile::{Fault, When};

use crate::scene::Scene;
use crate::support::within::within;
use crate::support::{LONG_ENOUGH, PATIENCE};

/// Lets the answer begin before time passes.
async fn settle(scene: &Scene) {
    within("what the server is to count", scene.server.until(|counts| counts.token_requests == 1)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_after_fifty_seconds_is_a_token_for_callers_that_wait_so_long() {
    let late = Duration::from_secs(50);
    for when in [When::Before, When::After] {
        let scene = Scene::new().await;
        scene.server.next(when, Fault::delay(late));
        let pass_it = async {
            settle(&scene).await;
            scene.host.skip(late).await;
        };
        let (token, ()) = tokio::join!(scene.ask(2 * late), pass_it);
        assert!(token.is_ok(), "{when:?}: {token:?}");
        scene.assert_counts((1, 1, 0), "late").await;
        scene.assert_whole(1, "late").await;
    }
}

/// The caller's patience ends, and the flight stores the token for the next one.
#[tokio::test]
async fn an_answer_that_comes_after_its_callers_have_left_is_stored() {
    let late = Duration::from_secs(50);
    for fault in [Fault::delay(late), Fault::pass().in_halves(late)] {
        let story = format!("{fault:?}");
        let scene = Scene::new().await;
        scene.server.next(When::After, fault);
        let pass_it = async {
            settle(&scene).await;
            scene.host.skip(PATIENCE).await;
        };
        let (outcome, ()) = tokio::join!(scene.ask(PATIENCE), pass_it);
        assert_eq!(outcome, Err((Reason::DeadlinePassed, None)), "{story}");
        assert_eq!(scene.host.presentations().await, 1, "{story}");
        scene.host.skip(late - PATIENCE).await;
        assert!(scene.ask(PATIENCE).await.is_ok(), "{story}");
        scene.assert_counts((1, 1, 0), &story).await;
        scene.assert_whole(1, &story).await;
    }
}

#[tokio::test]
async fn the_second_half_of_an_answer_is_read_after_thirty_five_seconds() {
    let late = Duration::from_secs(35);
    let scene = Scene::new().await;
    scene.server.next(When::After, Fault::pass().in_halves(late));
    let pass_it = async {
        settle(&scene).await;
        scene.host.skip(late).await;
    };
    let (token, ()) = tokio::join!(scene.ask(PATIENCE), pass_it);
    assert!(token.is_ok(), "{token:?}");
    scene.assert_counts((1, 1, 0), "in halves").await;
    scene.assert_whole(1, "in halves").await;
}

/// A request may take minutes, and not longer.
#[tokio::test]
async fn an_answer_that_never_comes_is_a_doubt_after_minutes() {
    let scene = Scene::new().await;
    scene.server.next(When::Before, Fault::silence());
    let pass_it = async {
        settle(&scene).await;
        scene.host.skip(Duration::from_secs(170)).await;
        scene.assert_waits().await;
        scene.host.skip(Duration::from_secs(15)).await;
    };
    let (token, ()) = tokio::join!(scene.ask(LONG_ENOUGH), pass_it);
    assert!(token.is_ok(), "{token:?}");
    scene.assert_counts((2, 1, 0), "the flight's second request").await;
    scene.assert_whole(2, "the flight's second request").await;
}

impl Scene {
    /// Asserts that the first request is still in flight.
    async fn assert_waits(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let counts = self.server.counts();
        assert_eq!((counts.token_requests, counts.concurrent), (1, 1));
    }
}
