//! The faults of other gateways, each with the name of its report.

use std::time::Duration;

use futures_util::future::{join, join_all};
use tokenkeeper::SessionSpec;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};

use super::rig::{Rig, Tokens};

/// Two ways in, the transparent one with a lock and the refresh endpoint without, spent one upstream token twice.
#[tokio::test]
async fn fastmcp_oauth_proxy_two_ways_in_spend_one_upstream_token() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let (first, second) = (rig.signed_in(&client).await, rig.signed_in(&client).await);
    for _ in 0..3 {
        rig.expire_upstream();
        let calls = (0..50).flat_map(|_| [&first, &second]).map(|tokens| rig.call(&tokens.access));
        let refreshes = (0..50).map(|_| rig.refresh(&client, &first.refresh));
        let (called, refreshed) = join(join_all(calls), join_all(refreshes)).await;
        assert!(called.iter().all(|answer| answer.status == 200), "{called:?}");
        assert!(refreshed.iter().all(|(status, _)| *status == 200), "{refreshed:?}");
    }
    let counts = rig.upstream.hostile().counts();
    assert_eq!((counts.refresh_grants, counts.replays, counts.most_concurrent), (3, 0, 1));
}

/// An LRU of 10,000 locks dropped one that was held, so that a second refresh of the same token began.
#[tokio::test]
async fn fastmcp_lru_of_10_000_locks_drops_a_held_one() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    rig.expire_upstream();
    let gate = rig.upstream.hold_at(Endpoint::Token, When::Before);
    let before = join_all((0..20).map(|_| rig.call(&tokens.access)));
    let after = async {
        rig.upstream.until(|counts| counts.tokens.token_requests >= 2).await;
        let (server, runtime) = (&rig.upstream, &rig.runtime);
        let others = (0..10_001).map(|number| async move {
            let spec = SessionSpec::mcp(&server.resource_url()).unwrap().account(format!("other-{number}")).unwrap();
            runtime.session(spec).token().await.unwrap_err()
        });
        join_all(others).await;
        let late = join_all((0..20).map(|_| rig.call(&tokens.access)));
        let open = async { gate.open() };
        join(late, open).await.0
    };
    let (before, after) = join(before, after).await;
    assert!(before.iter().chain(&after).all(|answer| answer.status == 200));
    let counts = rig.upstream.hostile().counts();
    assert_eq!((counts.refresh_grants, counts.replays), (1, 0));
}

/// A client whose answer was lost presented the old token and was signed out.
#[tokio::test]
async fn fastmcp_4265_and_4901_rotation_without_a_grace() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    let lost = Tokens::of(&rig.refresh(&client, &first.refresh).await.1);
    rig.clock.pass(Duration::from_secs(5));
    let again = Tokens::of(&rig.refresh(&client, &first.refresh).await.1);
    assert_eq!(again.refresh, lost.refresh, "there is one successor");
    assert_eq!(rig.call(&again.access).await.status, 200);
    assert_eq!(rig.refresh(&client, &again.refresh).await.0, 200);
}

/// A stolen refresh token stayed good beside the thief's successors.
#[tokio::test]
async fn fastmcp_no_family_revocation() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let stolen = rig.signed_in(&client).await;
    let thief = Tokens::of(&rig.refresh(&client, &stolen.refresh).await.1);
    let thief = Tokens::of(&rig.refresh(&client, &thief.refresh).await.1);
    assert_eq!(rig.refresh(&client, &stolen.refresh).await.0, 400, "the person's own client is signed out");
    assert_eq!(rig.call(&thief.access).await.status, 401);
    assert_eq!(rig.refresh(&client, &thief.refresh).await.0, 400, "and so is the thief");
    assert_eq!(rig.upstream.counts().of(Endpoint::Revocation), 0);
}

/// Two stores held copies of one upstream refresh token, and each rotated its own.
#[tokio::test]
async fn pomerium_6530_two_copies_of_one_upstream_refresh_token() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let clients = [rig.signed_in(&client).await, rig.signed_in(&client).await, rig.signed_in(&client).await];
    for tokens in &clients {
        rig.expire_upstream();
        assert_eq!(rig.call(&tokens.access).await.status, 200);
    }
    let counts = rig.upstream.hostile().counts();
    assert_eq!((counts.refresh_grants, counts.replays), (3, 0));
    // The sessions of the two earlier logins rest. All clients are on that of the last one.
    let newest: Vec<_> = rig.upstream.grants().iter().map(|grant| rig.upstream.hostile().newest(grant.chain)).collect();
    assert_eq!(newest, [0, 0, 3]);
    // The gateway's own store has no token at all.
    assert!(!format!("{:?}", rig.store).contains("rt-"));
}

/// Two concurrent refreshes of one token both got tokens of their own.
#[tokio::test]
async fn pomerium_6771_concurrent_refresh_accepted_twice() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    let answers = join_all((0..32).map(|_| rig.refresh(&client, &first.refresh))).await;
    let mut successors: Vec<_> = answers.iter().map(|(_, answer)| Tokens::of(answer).refresh).collect();
    successors.dedup();
    assert_eq!(successors.len(), 1);
}

/// A client that revoked the token which it had just replaced lost the new one.
#[tokio::test]
async fn obot_44_revokes_the_token_that_it_has_just_issued() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    let second = Tokens::of(&rig.refresh(&client, &first.refresh).await.1);
    assert_eq!(rig.revoke(&client, &first.refresh).await, 200);
    assert_eq!(rig.revoke(&client, &first.access).await, 200);
    assert_eq!(rig.call(&first.access).await.status, 401, "the revoked one is dead");
    assert_eq!(rig.call(&second.access).await.status, 200);
    assert_eq!(rig.refresh(&client, &second.refresh).await.0, 200);
}

/// Two processes of one client refreshed, and the slower one ended the tokens of the faster, which had revoked the old one.
#[tokio::test]
async fn obot_44_the_slower_of_two_refreshes_comes_after_the_revocation() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    let second = Tokens::of(&rig.refresh(&client, &first.refresh).await.1);
    assert_eq!(rig.revoke(&client, &first.refresh).await, 200);
    let (status, late) = rig.refresh(&client, &first.refresh).await;
    assert_eq!((status, late["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(rig.call(&second.access).await.status, 200);
    assert_eq!(rig.refresh(&client, &second.refresh).await.0, 200);
    assert_eq!(rig.gateway.counts().replayed, 0);
}

/// Each refresh of a client's token refreshed the upstream's, and two at once spent one upstream token twice.
#[tokio::test]
async fn cloudflare_workers_oauth_provider_upstream_refresh_is_not_coalesced() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let devices = [rig.signed_in(&client).await, rig.signed_in(&client).await];
    rig.expire_upstream();
    let refreshed = join_all((0..40).map(|number| rig.refresh(&client, &devices[number % 2].refresh))).await;
    assert!(refreshed.iter().all(|(status, _)| *status == 200));
    assert_eq!(rig.upstream.hostile().counts().refresh_grants, 0, "inbound tokens do not touch the upstream");
    let called = join_all(
        refreshed.iter().map(|(_, answer)| answer["access_token"].as_str().unwrap()).map(|token| rig.call(token)),
    );
    assert!(called.await.iter().all(|answer| answer.status == 200));
    let counts = rig.upstream.hostile().counts();
    assert_eq!((counts.refresh_grants, counts.replays), (1, 0));
}

/// The entry with the upstream's refresh token expired with the access token beside it.
#[tokio::test]
async fn toolhive_4036_the_refresh_token_is_lost_when_the_access_token_expires() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let mut tokens = rig.signed_in(&client).await;
    for _ in 0..7 {
        rig.clock.pass(Duration::from_secs(86_400));
        rig.expire_upstream();
        tokens = Tokens::of(&rig.refresh(&client, &tokens.refresh).await.1);
        assert_eq!(rig.call(&tokens.access).await.status, 200);
    }
    assert_eq!(rig.upstream.hostile().counts().refresh_grants, 7);
}

/// A session was bound to the bytes of the token, and died at each refresh.
#[tokio::test]
async fn toolhive_5306_a_session_dies_with_its_token() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let first = rig.signed_in(&client).await;
    let begun = rig.call(&first.access).await;
    let session = begun.header("mcp-session-id").to_owned();
    let mut tokens = first;
    for _ in 0..3 {
        rig.clock.pass(Duration::from_secs(600));
        rig.expire_upstream();
        tokens = Tokens::of(&rig.refresh(&client, &tokens.refresh).await.1);
        let called = rig.call_with(&tokens.access, &[("mcp-session-id", &session)]).await;
        assert_eq!((called.status, called.json()["session"].as_str()), (200, Some("session-1")));
    }
}

/// A rotated pair whose ID token was not acceptable was thrown away, and with it the session.
#[tokio::test]
async fn toolhive_6194_a_check_of_the_id_token_throws_the_rotated_pair_away() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    for _ in 0..2 {
        rig.expire_upstream();
        // An ID token that no check accepts, beside the pair.
        let answer = r#"{"access_token":"{access_token}","token_type":"Bearer","expires_in":3600,"refresh_token":"{refresh_token}","id_token":"e30.e30.AA"}"#;
        rig.upstream.hostile().next(When::After, Fault::body("application/json", answer));
        assert_eq!(rig.call(&tokens.access).await.status, 200);
    }
    let counts = rig.upstream.hostile().counts();
    assert_eq!((counts.refresh_grants, counts.rotations, counts.replays), (2, 2, 0));
}

/// Trouble of the upstream that passes was answered with 401, and clients signed in anew.
#[tokio::test]
async fn mediawiki_oauth_465_trouble_that_passes_is_told_as_401() {
    for fault in [
        Fault::status(500),
        Fault::status(503),
        Fault::status(429),
        Fault::garbage(),
        Fault::reset(),
        Fault::pass().html().with_status(502),
    ] {
        let server = LoginServer::start().await.unwrap();
        let rig = Rig::with(server, |builder| builder.upstream_timeout(Duration::from_millis(400))).await;
        let client = rig.register().await;
        let tokens = rig.signed_in(&client).await;
        rig.expire_upstream();
        rig.upstream.hostile().always(When::Before, fault);
        let told = rig.call(&tokens.access).await;
        assert_eq!((told.status, told.header("www-authenticate")), (503, ""), "{}", told.body);
        assert!(told.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_eq!(rig.refresh(&client, &tokens.refresh).await.0, 200, "the client's own tokens are well");
    }
}
