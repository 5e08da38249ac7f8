//! Connections that die between two requests.

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper_testkit::hostile::Fault;

use crate::scene::Scene;
use crate::support::wire::Wire;

fn profile(reuse: Reuse) -> Profile {
    Profile { reuse, ..Profile::default() }
}

/// The race that a connection pool sometimes loses. The server closes a kept connection while a request is on its way.
#[tokio::test]
async fn a_kept_connection_that_dies_on_the_next_request_is_a_doubt() {
    for wire in [Wire::KeptAlive, Wire::Shared] {
        let next_dies = || Fault::pass().then_reset_next();
        let scene = Scene::with(wire.client(), profile(Reuse::EndsLineage), next_dies()).await;
        assert!(scene.host.renew().await.is_ok_and(|token| token != scene.access), "{wire:?}");
        scene.assert_counts((3, 2, 0), "the second request is the flight's own").await;
        assert_eq!((scene.counts().await.connections, scene.host.presentations().await), (2, 0), "{wire:?}");
        scene.assert_whole(3, "it had not been processed").await;

        let scene = Scene::with(wire.client(), profile(Reuse::EndsMore), next_dies()).await;
        scene.assert_refused(Reason::MaybeConsumed, "never again").await;
        scene.assert_counts((2, 1, 0), "never again").await;
        scene.assert_over(Reason::MaybeConsumed, "never again").await;
    }
}

#[tokio::test]
async fn the_client_that_ships_does_not_run_that_race() {
    for next_dies in [Fault::pass().then_reset_next(), Fault::pass().then_close()] {
        let scene = Scene::with(Wire::Shipped.client(), profile(Reuse::EndsMore), next_dies).await;
        scene.assert_whole(1, "a connection of its own").await;
        assert_eq!(scene.counts().await.connections, 3);
    }
}
