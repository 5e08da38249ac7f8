//! A nonce that the server demands (RFC 9449 section 8) of a grant without a DPoP key. The same request would be refused
//! again, so it is not repeated.

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper_testkit::hostile::{Fault, When};

use crate::scene::{LONG_ENOUGH, Scene};
use crate::support::wire::Wire;

fn ways() -> impl Iterator<Item = (Wire, Profile)> {
    let policies = [Reuse::EndsLineage, Reuse::EndsMore];
    let profile = |reuse| Profile { reuse, ..Profile::default() };
    Wire::ALL.into_iter().flat_map(move |wire| policies.map(|policy| (wire, profile(policy))))
}

#[tokio::test]
async fn a_nonce_that_is_wanted_is_refused_and_spends_nothing() {
    for (wire, profile) in ways() {
        let story = format!("{wire:?} {profile:?}");
        let scene = Scene::new(wire, profile).await;
        scene.server.next(When::Before, Fault::dpop_nonce("n-1"));
        scene.assert_refused(Reason::RequestRefused, &story).await;
        scene.assert_counts((2, 1, 0), &story).await;
        assert_eq!(scene.host.mark().await, None, "{story}");
        scene.pass(LONG_ENOUGH);
        scene.assert_whole(2, &story).await;
    }
}

/// No server of the protocol does that. It costs the lineage, and nothing else.
#[tokio::test]
async fn a_server_that_spends_the_token_and_wants_a_nonce_sees_one_replay() {
    for (wire, profile) in ways() {
        let story = format!("{wire:?} {profile:?}");
        let scene = Scene::new(wire, profile).await;
        scene.server.next(When::After, Fault::dpop_nonce("n-1"));
        scene.assert_refused(Reason::RequestRefused, &story).await;
        scene.assert_counts((2, 2, 0), &story).await;
        scene.pass(LONG_ENOUGH);
        assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::GrantEnded, "{story}");
        scene.assert_counts((3, 2, 1), &story).await;
        scene.assert_over(Reason::GrantEnded, &story).await;
    }
}
