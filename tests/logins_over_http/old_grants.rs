//! Servers that end a person's other grants when the person signs in again, or when an old refresh token is presented.

use futures_util::future::join_all;
use tokenkeeper::{ChallengeKey, LoginCause, LoginProgress, OperationKey, TokenOptions};
use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer};

use crate::rig::*;
use crate::within::within;

/// Schedule 6 of the law of logins.
#[tokio::test]
async fn callers_whose_grant_ends_while_the_new_one_arrives_see_no_error_and_no_second_prompt() {
    let scene = Scene::signed_in(LoginServer::builder().flaw(Flaw::EndsOldGrants)).await;
    let asked = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    let redirect = open(&asked.url).await.callback.unwrap();
    assert!(!scene.server.hostile().is_alive(scene.server.grants()[0].chain));
    let gate = scene.server.hold_at(Endpoint::Token, When::After);
    let callers = async {
        within("the code", scene.server.until(|counts| counts.of(Endpoint::Token) == 2)).await;
        let lease = scene.session.token().await.unwrap();
        let callers = (0..32).map(|number| {
            let (session, lease) = (&scene.session, &lease);
            async move {
                let operation = OperationKey(number);
                session.invalidate(lease, operation, ChallengeKey(1)).await.unwrap();
                let cause = LoginCause::Operation { refused: Some(lease.generation()), operation };
                let (token, login) = tokio::join!(session.token(), session.begin_login(wish(&[]), cause, WAIT));
                assert_eq!(login, Ok(LoginProgress::SignedIn), "no second prompt");
                token.unwrap().token().expose().to_owned()
            }
        });
        let opens = async {
            tokio::task::yield_now().await;
            gate.open();
        };
        within("all callers", async { tokio::join!(join_all(callers), opens).0 }).await
    };
    let (done, tokens) = tokio::join!(deliver(&scene.session, &redirect), callers);
    done.unwrap();
    let new = token(&scene.session).await;
    assert_eq!(tokens, vec![new; 32]);
    let counts = scene.server.counts();
    assert_eq!((counts.logins, counts.tokens.refresh_grants, counts.allowed), (2, 0, 2));
    assert_eq!(scene.call("any").await, 200);
}

#[tokio::test]
async fn no_old_refresh_token_is_presented_while_the_new_grant_arrives() {
    let scene = Scene::signed_in(LoginServer::builder().flaw(Flaw::GrantWideReuse)).await;
    let asked = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    let redirect = open(&asked.url).await.callback.unwrap();
    let gate = scene.server.hold_at(Endpoint::Token, When::After);
    let other = scene.place.runtime(tokenkeeper::LoginSettings::default()).await;
    let replica = session(&other, &scene.server.resource_url());
    let refreshes = async {
        within("the code", scene.server.until(|counts| counts.of(Endpoint::Token) == 2)).await;
        let force = || TokenOptions { force: true, ..TokenOptions::default() };
        let callers = (0..8).map(|number| {
            let session = if number % 2 == 0 { &scene.session } else { &replica };
            session.token_with(force())
        });
        let opens = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(scene.server.counts().tokens.refresh_grants, 0, "nothing of the old grant is presented");
            gate.open();
        };
        within("all refreshes", async { tokio::join!(join_all(callers), opens).0 }).await
    };
    let (done, refreshed) = tokio::join!(deliver(&scene.session, &redirect), refreshes);
    done.unwrap();
    assert!(refreshed.iter().all(|lease| lease.is_ok()), "{refreshed:?}");
    let server = scene.server.hostile();
    assert!(server.is_alive(scene.server.grants()[1].chain), "the new grant lives");
    assert_eq!(scene.server.counts().tokens.replays, 0);
    assert!(scene.server.counts().tokens.refusals.is_empty());
    renewed(&scene.session).await;
    assert_eq!(scene.call("any").await, 200);
}

/// Schedule 5: the code waits for the refresh that is in flight.
#[tokio::test]
async fn a_code_is_redeemed_after_the_refresh_that_is_in_flight() {
    let scene = Scene::signed_in(LoginServer::builder().flaw(Flaw::GrantWideReuse)).await;
    let other = scene.place.runtime(tokenkeeper::LoginSettings::default()).await;
    let replica = session(&other, &scene.server.resource_url());
    let asked = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    let redirect = open(&asked.url).await.callback.unwrap();
    let gate = scene.server.hold_at(Endpoint::Token, When::Before);
    let force = TokenOptions { force: true, ..TokenOptions::default() };
    let opens = async {
        within("the refresh", scene.server.until(|counts| counts.of(Endpoint::Token) == 2)).await;
        let deliver = deliver(&scene.session, &redirect);
        let opens = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(scene.server.counts().of(Endpoint::Token), 2, "the code waits");
            gate.open();
        };
        tokio::join!(deliver, opens).0.unwrap();
    };
    let (refreshed, ()) = within("both", async { tokio::join!(replica.token_with(force), opens) }).await;
    refreshed.unwrap();
    assert!(scene.server.hostile().is_alive(scene.server.grants()[1].chain));
    let log = scene.server.log_of(Endpoint::Token);
    let kinds: Vec<_> = log.iter().map(|request| request.parameter("grant_type")).collect();
    assert_eq!(kinds, ["authorization_code", "refresh_token", "authorization_code"]);
    renewed(&scene.session).await;
}
