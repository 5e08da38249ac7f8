//! Logins that ask for bound tokens, at servers that offer them, want nonces, have another clock, or issue bearer tokens.

use tokenkeeper::{Dpop, LoginReason, SessionSpec, TokenKind};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};

use crate::scene::{Host, Scene};

#[tokio::test]
async fn a_login_binds_its_tokens_to_a_new_key() {
    let scene = Scene::signed_in(|_| {}).await;
    let asked = scene.server.log_of(Endpoint::Authorization);
    assert_eq!(asked[0].parameter("dpop_jkt").len(), 43);
    assert_eq!(scene.host.token().await.unwrap().kind(), TokenKind::Dpop);
    let key = scene.host.key().await;
    assert_eq!(scene.host.send().await.unwrap(), 200);
    assert_eq!((scene.proofs().at_server, scene.proofs().at_resource), (1, 1));
    // Another login has another key.
    scene.host.sign_in().await.unwrap();
    assert_ne!(scene.host.key().await, key);
    assert_eq!(scene.host.send().await.unwrap(), 200);
    scene.assert_clean();
}

#[tokio::test]
async fn a_code_for_which_a_nonce_is_wanted_is_spent_once() {
    let scene = Scene::signed_in(|rules| rules.server_nonces = true).await;
    let proofs = scene.proofs();
    assert_eq!((proofs.at_server, proofs.server_challenges, scene.requests().0), (1, 1, 2));
    let counts = scene.server.counts();
    assert_eq!((counts.logins, counts.code_replays), (1, 0));
    scene.assert_clean();
}

#[tokio::test]
async fn a_code_whose_proof_was_refused_is_not_sent_again() {
    for clock in [-600, 600] {
        let scene = Scene::new(LoginServer::builder().dpop(), Dpop::WhereAnnounced).await;
        scene.server.hostile().proof_rules(|rules| rules.clock = clock);
        assert_eq!(scene.host.sign_in().await, Err(LoginReason::ProofRefused));
        assert_eq!(scene.requests().0, 1, "{clock}");
        // The answer showed the server's clock, so the next login is right about it.
        scene.host.sign_in().await.unwrap();
        assert_eq!(scene.requests().0, 2, "{clock}");
        // Its own clock is learned from the first refusal.
        let before = scene.requests().1;
        for requests in [2, 3] {
            assert_eq!(scene.host.send().await.unwrap(), 200);
            assert_eq!(scene.requests().1 - before, requests, "{clock}");
        }
        let proofs = scene.proofs();
        assert_eq!((proofs.at_server, proofs.at_resource, proofs.refused["date"]), (1, 2, 2), "{clock}");
        assert_eq!((proofs.replays, proofs.bearer), (0, 0));
        assert_eq!(scene.server.counts().code_replays, 0);
    }
}

#[tokio::test]
async fn a_bearer_token_in_place_of_a_bound_one_ends_the_login() {
    for dpop in [Dpop::WhereAnnounced, Dpop::Required] {
        let scene = Scene::new(LoginServer::builder().dpop(), dpop).await;
        scene.server.hostile().proof_rules(|rules| rules.issues_bearer = true);
        assert_eq!(scene.host.sign_in().await, Err(LoginReason::NotBound));
        assert!(scene.host.token().await.unwrap_err().is_login_required());
    }
    // The server knows nothing of proofs.
    let scene = Scene::new(LoginServer::builder(), Dpop::Required).await;
    assert_eq!(scene.host.sign_in().await, Err(LoginReason::NotBound));
    assert!(scene.host.token().await.unwrap_err().is_login_required());
}

#[tokio::test]
async fn a_login_asks_for_bound_tokens_where_they_are_announced_and_wanted() {
    for (builder, dpop, kind) in [
        (LoginServer::builder(), Dpop::WhereAnnounced, TokenKind::Bearer),
        (LoginServer::builder(), Dpop::Off, TokenKind::Bearer),
        (LoginServer::builder().dpop(), Dpop::Required, TokenKind::Dpop),
    ] {
        let scene = Scene::new(builder, dpop).await;
        scene.host.sign_in().await.unwrap();
        assert_eq!(scene.host.token().await.unwrap().kind(), kind);
        assert_eq!(scene.host.send().await.unwrap(), 200);
        scene.assert_clean();
    }
}

#[tokio::test]
async fn a_session_has_a_setting_of_its_own() {
    let scene = Scene::new(LoginServer::builder().dpop(), Dpop::Off).await;
    let spec = SessionSpec::mcp(&scene.server.resource_url()).unwrap().account("work").unwrap();
    let host = Host::of(scene.host.runtime.clone(), spec.dpop(Dpop::Required));
    host.sign_in().await.unwrap();
    assert_eq!(host.token().await.unwrap().kind(), TokenKind::Dpop);
    assert_eq!(host.send().await.unwrap(), 200);
    scene.assert_clean();
}

#[tokio::test]
async fn a_session_that_was_bound_stays_bound_unless_the_host_says_otherwise() {
    let scene = Scene::signed_in(|_| {}).await;
    let host = scene.restarted(Dpop::Off).await;
    host.sign_in().await.unwrap();
    assert_eq!(host.token().await.unwrap().kind(), TokenKind::Dpop);
    assert_eq!(host.send().await.unwrap(), 200);
    scene.assert_clean();
    scene.server.hostile().proof_rules(|rules| rules.issues_bearer = true);
    assert_eq!(host.sign_in().await, Err(LoginReason::NotBound));
    assert_eq!(host.token().await.unwrap().kind(), TokenKind::Dpop, "the session was left as it was");
    scene.server.hostile().proof_rules(|rules| rules.binds = false);
    let spec = SessionSpec::mcp(&scene.server.resource_url()).unwrap();
    let host = Host::of(host.runtime.clone(), spec.dpop(Dpop::Off));
    host.sign_in().await.unwrap();
    let lease = host.token().await.unwrap();
    assert_eq!((lease.kind(), lease.proof_key().is_none()), (TokenKind::Bearer, true));
}

#[tokio::test]
async fn another_process_completes_a_login_with_its_key() {
    let scene = Scene::new(LoginServer::builder().dpop(), Dpop::WhereAnnounced).await;
    let page = scene.host.page().await.unwrap();
    let visit = tokenkeeper_testkit::login_server::Browser::open(&page).await.unwrap();
    let host = scene.restarted(Dpop::Off).await;
    host.complete(&visit.callback.unwrap()).await.unwrap();
    assert_eq!(host.token().await.unwrap().kind(), TokenKind::Dpop);
    assert_eq!(host.send().await.unwrap(), 200);
    scene.assert_clean();
}
