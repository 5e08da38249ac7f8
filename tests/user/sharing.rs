//! One fetch for all callers.

use futures_util::future::join_all;
use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::login_server::Endpoint;
use tokenkeeper_testkit::scripted::ScriptedSession;

use super::*;

#[tokio::test]
async fn the_person_is_described_by_the_userinfo_endpoint_of_the_metadata() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    assert_eq!(session.user_at_hand(), None);
    let ann = user(&session).await.unwrap();
    assert_eq!((ann.subject(), ann.name()), ("ann", Some("The person ann")));
    assert_eq!((ann.email(), ann.is_email_verified()), (Some("ann@example.com"), Some(true)));
    assert_eq!(ann.groups(), ["staff"]);
    assert_eq!(ann.claims()["userinfo"]["sub"], "ann");
    assert_eq!(ann.generation(), session.token().await.unwrap().generation());
    assert_eq!(session.user_at_hand(), Some(ann));
    assert_eq!(host.requests(), (1, 0));
}

/// 100 users with ten calls each within the lifetime of a context. The second row is the setting of the seed, a server that
/// fetches the person on every call. The first is 90 % fewer.
#[tokio::test]
async fn a_hundred_users_with_ten_calls_each_cost_a_hundred_requests() {
    for (options, requests) in [(UserOptions::default(), 100), (each_call_fetches(), 1_000)] {
        let host = Host::new().await;
        let sessions = join_all((0..100).map(|number| {
            let host = &host;
            async move { host.signed_in(&format!("user-{number}")).await }
        }))
        .await;
        for _ in 0..10 {
            let users = join_all(sessions.iter().map(|session| user_with(session, options))).await;
            for (number, user) in users.into_iter().enumerate() {
                assert_eq!(user.unwrap().subject(), format!("user-{number}"));
            }
        }
        assert_eq!(host.requests(), (requests, 0));
        let stats = host.stats();
        assert_eq!((stats.hits, stats.misses, stats.fetches), (1_000 - requests, requests, requests));
    }
}

#[tokio::test]
async fn a_thousand_callers_at_once_share_one_request() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let gate = host.server.hold_at(Endpoint::UserInfo, When::Before);
    let calls = join_all((0..1_000).map(|_| user(&session)));
    let (users, ()) = tokio::join!(calls, async {
        host.asked(1).await;
        gate.open();
    });
    assert!(users.iter().all(|user| user.as_ref().is_ok_and(|user| user.subject() == "ann")));
    assert_eq!(host.requests(), (1, 0));
    let stats = host.stats();
    assert_eq!((stats.misses, stats.coalesced, stats.fetches), (1, 999, 1));
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_nothing() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let gate = host.server.hold_at(Endpoint::UserInfo, When::Before);
    for _ in 0..10 {
        let _ = futures_util::poll!(std::pin::pin!(session.user()));
    }
    host.asked(1).await;
    gate.open();
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
    assert_eq!(host.requests(), (1, 0));
}

#[tokio::test]
async fn a_caller_whose_time_is_over_leaves_the_fetch_to_the_next_one() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let gate = host.server.hold_at(Endpoint::UserInfo, When::Before);
    let hurried = UserOptions { timeout: Duration::from_millis(1), ..UserOptions::default() };
    assert_eq!(user_with(&session, hurried).await, Err(UserError::DeadlinePassed));
    gate.open();
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
    assert_eq!(host.requests(), (1, 0));
}

#[tokio::test]
async fn a_context_is_renewed_between_nine_tenths_and_all_of_its_maximum_age() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let first = user(&session).await.unwrap();
    host.clock.pass(Duration::from_secs(268));
    assert_eq!(user(&session).await.unwrap(), first);
    assert_eq!(host.requests().0, 1);
    host.clock.pass(Duration::from_secs(33));
    assert_ne!(user(&session).await.unwrap().fetched_at(), first.fetched_at());
    assert_eq!(host.requests().0, 2);
}

#[tokio::test]
async fn a_session_of_the_engine_has_no_provider_to_ask() {
    let session = ScriptedSession::new().session();
    assert_eq!(user(&session).await, Err(UserError::NoRuntime));
    assert_eq!(session.user_at_hand(), None);
}
