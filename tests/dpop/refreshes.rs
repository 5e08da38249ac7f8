//! Refreshes of bound tokens, through storms, restarts, rotations, other nonces and clocks, and at servers that forget the key.

use futures_util::future::join_all;
use tokenkeeper::{Dpop, Reason, TokenKind};

use crate::scene::Scene;
use crate::within::within;

const CALLERS: usize = 200;

#[tokio::test]
async fn of_two_hundred_refused_callers_one_refreshes_with_one_resend() {
    for nonces in [false, true] {
        let scene = Scene::signed_in(|rules| (rules.server_nonces, rules.resource_nonces) = (nonces, nonces)).await;
        assert_eq!(scene.host.send().await.unwrap(), 200);
        let (before, proofs) = (scene.requests(), scene.proofs());
        scene.server.hostile().kill_access_tokens();
        scene.server.hostile().renew_nonces();
        let calls = join_all((0..CALLERS).map(|_| scene.host.send()));
        let ends = within("all calls", calls).await;
        assert!(ends.iter().all(|end| matches!(end, Ok(200))), "{ends:?}");
        let after = scene.requests();
        assert_eq!((after.0 - before.0, after.2 - before.2), (1 + u64::from(nonces), 1));
        let challenges = scene.proofs().server_challenges - proofs.server_challenges;
        assert_eq!(challenges, u64::from(nonces));
        scene.assert_clean();
    }
}

#[tokio::test]
async fn the_key_survives_restarts_and_rotations() {
    let scene = Scene::signed_in(|rules| (rules.server_nonces, rules.resource_nonces) = (true, true)).await;
    let key = scene.host.key().await;
    for round in 1..=3 {
        let host = scene.restarted(Dpop::Off).await;
        for _ in 0..2 {
            host.renewed().await.unwrap();
            assert_eq!((host.key().await, host.send().await.unwrap()), (key.clone(), 200));
        }
        // A new process asks each server for a nonce once.
        let proofs = scene.proofs();
        assert_eq!((proofs.server_challenges, proofs.resource_challenges), (1 + round, round));
        assert_eq!((scene.requests().2, proofs.at_resource), (2 * round, 2 * round));
    }
    scene.assert_clean();
}

#[tokio::test]
async fn the_nonce_of_an_answer_is_for_the_next_request() {
    let scene = Scene::signed_in(|rules| (rules.server_nonces, rules.single_use_nonces) = (true, true)).await;
    for _ in 0..3 {
        scene.host.renewed().await.unwrap();
    }
    let proofs = scene.proofs();
    assert_eq!((proofs.server_challenges, proofs.at_server, scene.requests()), (1, 4, (5, 1, 3)));
    scene.server.hostile().renew_nonces();
    scene.host.renewed().await.unwrap();
    assert_eq!((scene.proofs().server_challenges, scene.requests().0), (2, 7));
    scene.assert_clean();
}

#[tokio::test]
async fn a_clock_that_changes_costs_one_presentation_and_nothing_else() {
    let scene = Scene::signed_in(|_| {}).await;
    scene.server.hostile().proof_rules(|rules| rules.clock = 3_600);
    scene.host.renewed().await.unwrap();
    assert_eq!((scene.requests().0, scene.requests().2, scene.proofs().refused["date"]), (3, 1, 1));
    scene.host.renewed().await.unwrap();
    assert_eq!((scene.requests().0, scene.requests().2), (4, 2));
    assert_eq!((scene.proofs().replays, scene.proofs().bearer), (0, 0));
}

#[tokio::test]
async fn a_bearer_token_in_the_answer_is_never_used_and_its_refresh_token_is_kept() {
    let scene = Scene::signed_in(|_| {}).await;
    let key = scene.host.key().await;
    scene.server.hostile().proof_rules(|rules| rules.issues_bearer = true);
    assert_eq!(scene.host.renewed().await.unwrap_err().reason(), Reason::NotBound);
    assert_eq!(scene.requests().2, 1);
    scene.server.hostile().proof_rules(|rules| rules.issues_bearer = false);
    let host = scene.restarted(Dpop::Off).await;
    let lease = host.token().await.unwrap();
    assert_eq!((lease.kind(), host.key().await, scene.requests().2), (TokenKind::Dpop, key, 2));
    assert_eq!(host.send().await.unwrap(), 200);
    scene.assert_clean();
}
