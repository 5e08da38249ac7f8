//! `Retry-After`: the time for which an issuer gets no request.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};

use crate::scene::{LONG_ENOUGH, Scene};
use crate::support::wire::Wire;

/// Longer than a mark lasts.
const TOLD: Duration = Duration::from_secs(900);

#[tokio::test]
async fn an_issuer_that_says_when_is_left_alone_until_then() {
    let faults = [Fault::status(429), Fault::status(503), Fault::status(400).error("temporarily_unavailable")];
    for (fault, reason) in faults.into_iter().zip([Reason::Throttled, Reason::InDoubt, Reason::InDoubt]) {
        let scene = Scene::new(Wire::Shipped, Profile::default()).await;
        scene.server.next(When::Before, fault.retry_after(RetryAfter::Seconds(TOLD.as_secs())));
        let told = scene.host.renew().await.unwrap_err();
        assert_eq!((told.reason(), told.retry_after()), (reason, Some(TOLD)));
        scene.pass(LONG_ENOUGH);
        let told = scene.host.renew().await.unwrap_err();
        assert_eq!(told.reason(), reason);
        assert!(told.retry_after().is_some_and(|wait| wait <= TOLD - LONG_ENOUGH));
        scene.assert_counts((2, 1, 0), "left alone").await;
        scene.pass(TOLD - LONG_ENOUGH);
        scene.assert_whole(2, "afterwards").await;
    }
}

#[tokio::test]
async fn an_issuer_is_not_left_alone_for_longer_than_an_hour() {
    let scene = Scene::new(Wire::Shipped, Profile::default()).await;
    scene.server.next(When::Before, Fault::status(429).retry_after(RetryAfter::Seconds(1_000_000)));
    let told = scene.host.renew().await.unwrap_err();
    assert_eq!((told.reason(), told.retry_after()), (Reason::Throttled, Some(Duration::from_secs(3_600))));
    scene.pass(Duration::from_secs(3_600));
    scene.assert_whole(2, "after an hour").await;
}
