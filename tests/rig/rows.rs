//! The rows of the table, at the rig.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::values::record::ClientAuth;
use tokio::net::TcpListener;

use crate::authority::{Authority, Tally};
use crate::row::{Law, POLICIES, Policy, Row};
use crate::scene::{LONG_ENOUGH, Scene, install};
use crate::support::time_runs_out;
use crate::support::within::until;

/// How long the rig takes for a request that times out meanwhile.
const DELAY: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_connection_that_dies_is_a_doubt() {
    let Some(authority) = Authority::start().await else { return };
    for when in ["before", "after", "partial"] {
        Row::drop(when).holds(&authority).await;
    }
}

#[tokio::test]
async fn server_errors_are_doubts() {
    let Some(authority) = Authority::start().await else { return };
    for processed in [false, true] {
        for status in [500, 503] {
            Row::fail(Law::DOUBT, status, processed, &json!({})).holds(&authority).await;
        }
        Row::fail(Law::DOUBT, 502, processed, &json!({ "html": true })).holds(&authority).await;
        Row::fail(Law::DOUBT, 504, processed, &json!({ "error": "invalid_grant" })).holds(&authority).await;
    }
}

#[tokio::test]
async fn a_503_spends_nothing_where_the_profile_says_so() {
    let Some(authority) = Authority::start().await else { return };
    for processed in [false, true] {
        let row = Row::fail(Law::Unspent(Reason::ServerTrouble), 503, processed, &json!({ "html": true }));
        row.profile(|profile| profile.unspent_statuses = vec![503]).holds(&authority).await;
    }
}

#[tokio::test]
async fn other_refusals_are_doubts() {
    let Some(authority) = Authority::start().await else { return };
    for processed in [false, true] {
        for word in ["invalid_target", "invalid_request", "invalid_scope", "unauthorized_client"] {
            Row::fail(Law::DOUBT_OF_A_REFUSAL, 400, processed, &json!({ "error": word })).holds(&authority).await;
        }
        for status in [401, 403, 404, 408] {
            Row::fail(Law::DOUBT, status, processed, &json!({ "html": true })).holds(&authority).await;
        }
    }
}

#[tokio::test]
async fn a_200_that_is_no_token_is_a_doubt() {
    let Some(authority) = Authority::start().await else { return };
    for processed in [false, true] {
        for answer in [json!({ "html": true }), json!({ "error": "server_error" })] {
            Row::fail(Law::DOUBT, 200, processed, &answer).holds(&authority).await;
        }
    }
}

#[tokio::test]
async fn too_many_requests_spends_nothing() {
    let Some(authority) = Authority::start().await else { return };
    for processed in [false, true] {
        for answer in [json!({}), json!({ "html": true, "retry_after": 30 }), json!({ "error": "invalid_grant" })] {
            Row::fail(Law::Unspent(Reason::Throttled), 429, processed, &answer).holds(&authority).await;
        }
    }
}

#[tokio::test]
async fn a_rig_that_says_when_is_left_alone_until_then() {
    const TOLD: Duration = Duration::from_secs(900);
    let Some(authority) = Authority::start().await else { return };
    let cases = [
        (429, Policy::EndsLineage, Reason::Throttled),
        (429, Policy::EndsMore, Reason::Throttled),
        (503, Policy::EndsLineage, Reason::InDoubt),
    ];
    for (status, policy, reason) in cases {
        let scene = Scene::new(&authority, Authority::public(), profile(policy)).await;
        authority.tell("/fail", &json!({ "n": 1, "status": status, "retry_after": TOLD.as_secs() }));
        let told = scene.host.renew().await.unwrap_err();
        assert_eq!((told.reason(), told.retry_after()), (reason, Some(TOLD)));
        scene.host.clock.pass(LONG_ENOUGH);
        scene.assert_refused(reason, "left alone").await;
        scene.assert_counts((2, 1, 0, 0), "left alone");
        scene.host.clock.pass(TOLD);
        scene.assert_whole((2, 1), "afterwards").await;
    }
    let scene = Scene::new(&authority, Authority::public(), profile(Policy::EndsMore)).await;
    authority.tell("/fail", &json!({ "n": 1, "status": 503, "retry_after": TOLD.as_secs() }));
    assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::MaybeConsumed);
    scene.host.clock.pass(TOLD);
    scene.assert_over(Reason::MaybeConsumed, "afterwards").await;
}

#[tokio::test]
async fn a_rig_that_asks_for_a_second_is_waited_for() {
    let Some(authority) = Authority::start().await else { return };
    for policy in POLICIES {
        let scene = Scene::new(&authority, Authority::public(), profile(policy)).await;
        authority.tell("/fail", &json!({ "n": 1, "status": 429, "retry_after": 1 }));
        assert!(scene.host.renew().await.is_ok());
        scene.assert_whole((3, 2), "a second later").await;
    }
}

#[tokio::test]
async fn a_rig_that_fails_three_times_in_a_row_costs_three_requests_more() {
    let Some(authority) = Authority::start().await else { return };
    for fault in [json!({ "status": 500 }), json!({ "status": 502, "html": true }), json!({ "status": 503 })] {
        let scene = Scene::new(&authority, Authority::public(), Profile::default()).await;
        let mut fault = fault.clone();
        fault["n"] = 3.into();
        authority.tell("/fail", &fault);
        assert!(scene.host.renew().await.is_ok());
        scene.assert_whole((5, 2), "three faults").await;
    }
    let scene = Scene::new(&authority, Authority::public(), Profile::default()).await;
    authority.tell("/drop", &json!({ "n": 3, "when": "before", "grant": "refresh_token" }));
    assert!(scene.host.renew().await.is_ok());
    scene.assert_whole((5, 2), "three connections").await;
}

#[tokio::test]
async fn a_word_that_ends_the_grant_or_rejects_the_client_is_believed() {
    let Some(authority) = Authority::start().await else { return };
    for processed in [false, true] {
        for status in [400, 403, 200] {
            let word = json!({ "error": "invalid_grant" });
            Row::fail(Law::Dead, status, processed, &word).holds(&authority).await;
        }
        for status in [400, 401] {
            let word = json!({ "error": "invalid_client" });
            Row::fail(Law::ClientRejected, status, processed, &word).holds(&authority).await;
        }
    }
}

/// The grant has no DPoP key, so the same request would be refused again (RFC 9449 section 8).
#[tokio::test]
async fn a_nonce_that_is_wanted_is_refused_and_not_answered() {
    let Some(authority) = Authority::start().await else { return };
    let wants = |processed: bool| json!({ "n": 1, "status": 400, "error": "use_dpop_nonce", "processed": processed });
    for policy in POLICIES {
        let scene = || Scene::new(&authority, Authority::public(), profile(policy));
        let unspent = scene().await;
        authority.tell("/fail", &wants(false));
        unspent.assert_refused(Reason::RequestRefused, "unspent").await;
        unspent.assert_counts((2, 1, 0, 0), "unspent");
        assert_eq!(unspent.host.mark().await, None);
        unspent.host.clock.pass(LONG_ENOUGH);
        unspent.assert_whole((2, 1), "unspent").await;

        let spent = scene().await;
        authority.tell("/fail", &wants(true));
        spent.assert_refused(Reason::RequestRefused, "spent").await;
        spent.host.clock.pass(LONG_ENOUGH);
        assert_eq!(spent.host.renew().await.unwrap_err().reason(), Reason::GrantEnded);
        spent.assert_counts((3, 2, 1, 1), "spent");
        spent.assert_over(Reason::GrantEnded, "spent").await;
    }
}

/// No server listens at the token endpoint, and the refresh token stays good.
#[tokio::test]
async fn where_nobody_listens_nothing_is_spent() {
    let Some(authority) = Authority::start().await else { return };
    for policy in POLICIES {
        let scene = Scene::new(&authority, Authority::public(), profile(policy)).await;
        let grant = authority.sign_in(&scene.client).await;
        let mut astray = grant.clone();
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        astray.binding.token_endpoint = format!("http://{gone}/token");
        install(&scene.host, astray).await.unwrap();
        for _ in 0..2 {
            assert_eq!(scene.host.try_to_renew().await.unwrap_err().reason(), Reason::Unreachable);
            assert_eq!(scene.host.mark().await, None);
            scene.host.clock.pass(Duration::from_secs(1));
        }
        scene.assert_counts((1, 1, 0, 0), "astray");
        // The same refresh token succeeds at the right server.
        install(&scene.host, grant).await.unwrap();
        assert!(scene.host.renew().await.is_ok());
        scene.assert_counts((2, 2, 0, 0), "found");
        scene.host.shut_down().await;
    }
}

// --- the rig's own answers, not scripted ones --------------------------------------------------------------------

/// oidc-provider consumes the refresh token before it looks at the resource.
#[tokio::test]
async fn invalid_target_consumes_the_token() {
    let Some(authority) = Authority::start().await else { return };
    for policy in POLICIES {
        let story = format!("{policy:?}");
        let scene = Scene::new(&authority, Authority::public(), profile(policy)).await;
        let mut grant = authority.sign_in(&scene.client).await;
        grant.binding.resource = Some(authority.other_resource().to_owned());
        install(&scene.host, grant).await.unwrap();
        let error = scene.host.renew().await.unwrap_err();
        let refused = &authority.stats()["token"]["by_grant"]["refresh_token"]["error"];
        // It is spent, though not exchanged. The rig counts its presentation as reuse, and as nothing else.
        let spent = Tally { posts: 2, rotations: 1, ..Tally::default() };
        if policy == Policy::EndsMore {
            assert_eq!(error.reason(), Reason::MaybeConsumed);
            assert_eq!((refused, authority.tally()), (&json!({ "invalid_target": 1 }), spent), "{story}");
        } else {
            // The flight presents it once more by itself.
            assert_eq!(error.reason(), Reason::GrantEnded);
            assert_eq!(*refused, json!({ "invalid_target": 1, "invalid_grant": 1 }), "{story}");
            assert_eq!(authority.tally(), Tally { posts: 3, reuse: 1, revoked: 1, ..spent }, "{story}");
        }
        let reason = if policy == Policy::EndsMore { Reason::MaybeConsumed } else { Reason::GrantEnded };
        scene.assert_over(reason, &story).await;
    }
}

#[tokio::test]
async fn a_revoked_chain_ends_the_grant() {
    let Some(authority) = Authority::start().await else { return };
    for policy in POLICIES {
        // `/revoke-all` revokes and counts every stored grant, so those of earlier rounds are removed.
        authority.tell("/reset", &json!({ "store": true }));
        let scene = Scene::new(&authority, Authority::public(), profile(policy)).await;
        authority.tell("/revoke-all", &json!({}));
        scene.assert_refused(Reason::GrantEnded, "revoked").await;
        scene.assert_counts((2, 1, 0, 1), "revoked");
        assert_eq!(scene.host.mark().await, None);
        scene.assert_over(Reason::GrantEnded, "revoked").await;
    }
}

#[tokio::test]
async fn a_forgotten_client_parks_the_session_with_its_token() {
    let Some(authority) = Authority::start().await else { return };
    for auth in [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post] {
        for policy in POLICIES {
            let client = authority.register(auth).await;
            let mut scene = Scene::new(&authority, client, profile(policy)).await;
            authority.tell("/forget-clients", &json!({}));
            assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::ClientRejected, "{auth:?}");
            scene.assert_counts((2, 1, 0, 0), "forgotten");
            let refused = &authority.stats()["token"]["by_grant"]["refresh_token"]["error"];
            assert_eq!(*refused, json!({ "invalid_client": 1 }), "{auth:?}");
            assert_eq!((scene.host.mark().await, scene.host.presentations().await), (None, 0), "{auth:?}");
            // No process tries the client again by itself.
            scene.host.clock.pass(LONG_ENOUGH);
            let other = scene.host.another_process().await;
            for host in [&scene.host, &other] {
                assert_eq!(host.token().await.unwrap_err().reason(), Reason::ClientRejected, "{auth:?}");
            }
            other.shut_down().await;
            scene.assert_counts((2, 1, 0, 0), "forgotten");
            scene.client = Authority::public();
            scene.assert_revived("forgotten").await;
        }
    }
}

// --- delays ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_answer_that_takes_its_time_is_waited_for() {
    let Some(authority) = Authority::start().await else { return };
    for when in ["before", "after"] {
        let scene = Scene::new(&authority, Authority::public(), Profile::default()).await;
        authority.tell("/delay", &json!({ "ms": 200, "n": 3, "when": when, "grant": "refresh_token" }));
        assert!(scene.host.renew().await.is_ok(), "{when}");
        scene.assert_whole((2, 2), when).await;
        assert_eq!(authority.stats()["token"]["delayed"], 3, "{when}");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_doubt_when_the_work_is_done() {
    let Some(authority) = Authority::start().await else { return };
    for policy in POLICIES {
        runs_out_of_time(&authority, "after", policy).await;
    }
}

/// The rig goes on after its client has gone.
#[tokio::test]
async fn no_answer_in_time_is_a_doubt_when_the_work_is_yet_to_be_done() {
    let Some(authority) = Authority::start().await else { return };
    for policy in POLICIES {
        runs_out_of_time(&authority, "before", policy).await;
    }
}

async fn runs_out_of_time(authority: &Authority, when: &str, policy: Policy) {
    let story = format!("{when} {policy:?}");
    let scene = Scene::new(authority, Authority::public(), profile(policy)).await;
    // A delay before the work keeps back the repeat, or the request for client credentials, too.
    let delayed = if when == "before" { 2 } else { 1 };
    authority.tell("/delay", &json!({ "ms": millis(DELAY), "n": delayed, "when": when }));
    let time_is_up = async {
        // The test polls, because the rig does not report the arrival of a request.
        until("a delayed request at the rig", || authority.stats()["token"]["delayed"] != 0).await;
        time_runs_out().await;
    };
    let error = tokio::join!(scene.host.renew(), time_is_up).0.unwrap_err();
    if policy == Policy::EndsMore {
        if when == "before" {
            // This request is delayed as well, and answered after the earlier ones.
            authority.client_credentials().await;
        }
        assert_eq!((error.reason(), scene.host.presentations().await), (Reason::MaybeConsumed, 1), "{story}");
        scene.assert_counts((2, 2, 0, 0), &story);
        return scene.assert_over(Reason::MaybeConsumed, &story).await;
    }
    // The flight presents the token once more by itself, which the rig processes after the first request.
    assert_eq!(error.reason(), Reason::GrantEnded, "{story}");
    // The rig looks for used tokens when a request arrives.
    let consumed = u64::from(when == "after");
    assert_eq!(authority.tally(), Tally { posts: 3, rotations: 2, consumed, reuse: 1, revoked: 1 }, "{story}");
    scene.assert_over(Reason::GrantEnded, &story).await;
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

fn profile(policy: Policy) -> Profile {
    policy.applied(Profile::default())
}
