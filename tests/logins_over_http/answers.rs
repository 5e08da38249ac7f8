//! Answers of browsers that are forged, replayed, damaged, pasted or refused, or whose tokens are lost on the way.

use tokenkeeper::callback::{self, CallbackError};
use tokenkeeper::{Callback, LoginCause, LoginReason};
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Consent, Endpoint, Flaw, LoginServer};

use crate::rig::*;
use crate::within::within;

async fn asked_scene(server: tokenkeeper_testkit::login_server::LoginServerBuilder) -> (Scene, Asked, String) {
    let scene = Scene::new(server).await;
    let asked = begin(&scene.session, wish(&[]), LoginCause::Person).await.unwrap();
    let redirect = open(&asked.url).await.callback.unwrap();
    (scene, asked, redirect)
}

fn tokens(scene: &Scene) -> u64 {
    scene.server.counts().of(Endpoint::Token)
}

#[tokio::test]
async fn an_answer_counts_once_whichever_process_gets_it_again() {
    let (scene, _, redirect) = asked_scene(LoginServer::builder()).await;
    deliver(&scene.session, &redirect).await.unwrap();
    let other = scene.place.runtime(tokenkeeper::LoginSettings::default()).await;
    let replays = [
        deliver(&scene.session, &redirect).await,
        deliver(&session(&other, &scene.server.resource_url()), &redirect).await,
        within("an answer", other.complete_login(callback::read(&redirect).unwrap(), WAIT))
            .await
            .map_err(|error| error.reason()),
    ];
    assert_eq!(replays, [Err(LoginReason::UnknownLogin); 3]);
    assert_eq!((tokens(&scene), scene.server.counts().code_replays), (1, 0));
    assert_eq!(scene.call("any").await, 200);
}

#[tokio::test]
async fn of_many_deliveries_at_once_one_is_redeemed() {
    let (scene, _, redirect) = asked_scene(LoginServer::builder()).await;
    let other = scene.place.runtime(tokenkeeper::LoginSettings::default()).await;
    let replica = session(&other, &scene.server.resource_url());
    let deliveries = (0..16).map(|number| deliver(if number % 2 == 0 { &scene.session } else { &replica }, &redirect));
    let ends = futures_util::future::join_all(deliveries).await;
    assert!(ends.iter().any(|end| end.is_ok()), "{ends:?}");
    assert_eq!((tokens(&scene), scene.server.counts().code_replays), (1, 0));
    assert_eq!(token(&replica).await, token(&scene.session).await);
}

#[tokio::test]
async fn an_answer_of_another_runtime_completes_the_login() {
    let (scene, asked, redirect) = asked_scene(LoginServer::builder()).await;
    let other = scene.place.runtime(tokenkeeper::LoginSettings::default()).await;
    let answer = callback::read(&redirect).unwrap();
    within("the login", other.complete_login(answer, WAIT)).await.unwrap();
    within("the login", scene.session.login_done(asked.attempt, WAIT)).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
    assert_eq!(requests(&scene.server)[&Endpoint::Token], 1);
}

/// The state is right, and the rest is not. Nothing of such an answer is used.
#[tokio::test]
async fn damaged_answers_with_the_right_state_end_the_login_without_a_request() {
    let issuer = "https://attacker.example.com";
    type Change = fn(&str) -> String;
    let changes: [(&str, Change, LoginReason); 7] = [
        ("code twice", |query| format!("{query}&code=other"), LoginReason::Forged),
        ("iss twice", |query| format!("{query}&iss=https://attacker.example.com"), LoginReason::Forged),
        ("state twice", |query| format!("{query}&state=other"), LoginReason::Forged),
        ("error beside the code", |query| format!("{query}&error=access_denied"), LoginReason::Denied),
        ("no code", |query| query.replace("code=", "kode="), LoginReason::Forged),
        ("no iss", |query| query.replace("iss=", "isz="), LoginReason::WrongIssuer),
        (
            "an error of another issuer",
            |query| query.replace("code=", "error=access_denied&kode=").replace("iss=http", "iss=https"),
            LoginReason::WrongIssuer,
        ),
    ];
    for (name, change, reason) in changes {
        let (scene, asked, redirect) = asked_scene(LoginServer::builder()).await;
        let query = redirect.split_once('?').unwrap().1;
        assert!(!query.contains(issuer));
        let answer = Callback::new(asked.key, change(query));
        let done = within("the end", scene.session.complete_login(answer, WAIT)).await;
        assert_eq!(done.map_err(|error| error.reason()), Err(reason), "{name}");
        assert_eq!(tokens(&scene), 0, "{name}");
        scene.has_nothing().await;
        assert_eq!(deliver(&scene.session, &redirect).await, Err(LoginReason::UnknownLogin), "{name}: it is over");
    }
}

/// A stranger who can reach the host's route ends no login.
#[tokio::test]
async fn an_answer_with_another_state_leaves_the_login_open() {
    let (scene, asked, redirect) = asked_scene(LoginServer::builder()).await;
    let forged = redirect.replace("state=", "state=x");
    assert_eq!(deliver(&scene.session, &forged).await, Err(LoginReason::UnknownLogin));
    for bad in [format!("{redirect}&state=twice"), redirect.replace("state=", "stat="), "code=a".to_owned()] {
        assert!(matches!(
            callback::read(&bad).unwrap_err(),
            CallbackError::Duplicate { .. } | CallbackError::MissingState
        ));
    }
    assert_eq!(tokens(&scene), 0);
    assert_eq!(scene.runtime.pending_logins().await.unwrap()[0].0, asked.key);
    deliver(&scene.session, &redirect).await.unwrap();
    assert_eq!(tokens(&scene), 1);
}

#[tokio::test]
async fn a_pasted_code_is_taken_only_where_the_issuer_names_itself_nowhere() {
    for (server, end) in
        [(LoginServer::builder().without_iss(), Ok(())), (LoginServer::builder(), Err(LoginReason::WrongIssuer))]
    {
        let (scene, asked, redirect) = asked_scene(server).await;
        let code = url::Url::parse(&redirect).unwrap();
        let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let pasted = callback::pasted(asked.key, &code).unwrap();
        let done = within("the end", scene.session.complete_login(pasted, WAIT)).await;
        assert_eq!(done.map_err(|error| error.reason()), end);
        assert_eq!(tokens(&scene), u64::from(end.is_ok()));
    }
}

#[tokio::test]
async fn refusals_at_the_page_have_their_reasons() {
    for (consent, reason) in [
        (Consent::Deny, LoginReason::Denied),
        (Consent::Fails("server_error"), LoginReason::ServerTrouble),
        (Consent::Fails("temporarily_unavailable"), LoginReason::ServerTrouble),
        (Consent::Fails("unauthorized_client"), LoginReason::ClientRejected),
        (Consent::Fails("invalid_scope"), LoginReason::Refused),
        (Consent::Fails("anything_else"), LoginReason::Refused),
    ] {
        let (scene, _, redirect) = asked_scene(LoginServer::builder().consents(consent)).await;
        assert_eq!(deliver(&scene.session, &redirect).await, Err(reason), "{consent:?}");
        assert_eq!(tokens(&scene), 0);
        scene.has_nothing().await;
        scene.server.consents(Consent::Allow);
        scene.log_in(LoginCause::Person).await.unwrap();
    }
}

#[tokio::test]
async fn a_code_whose_answer_is_lost_is_not_presented_again() {
    for (when, fault) in [
        (When::Before, Fault::reset()),
        (When::After, Fault::reset()),
        (When::After, Fault::pass().halved()),
        (When::Before, Fault::status(503)),
        (When::Before, Fault::redirect()),
        (When::After, Fault::garbage()),
        (When::After, Fault::huge(2 << 20)),
    ] {
        let (scene, _, redirect) = asked_scene(LoginServer::builder()).await;
        scene.server.next_at(Endpoint::Token, 1, when, fault.clone());
        let reason = deliver(&scene.session, &redirect).await.unwrap_err();
        assert!(
            matches!(reason, LoginReason::Lost | LoginReason::ServerTrouble | LoginReason::Refused),
            "{fault:?}: {reason}"
        );
        assert_eq!((tokens(&scene), scene.server.counts().tokens.redirects_followed), (1, 0));
        scene.has_nothing().await;
        scene.log_in(LoginCause::Person).await.unwrap();
        assert_eq!((tokens(&scene), scene.server.counts().code_replays), (2, 0));
    }
}

#[tokio::test]
async fn an_expired_code_is_refused_and_the_person_can_sign_in_anew() {
    let (scene, _, redirect) = asked_scene(LoginServer::builder()).await;
    scene.server.advance(std::time::Duration::from_secs(61));
    assert_eq!(deliver(&scene.session, &redirect).await, Err(LoginReason::Refused));
    scene.has_nothing().await;
    scene.log_in(LoginCause::Person).await.unwrap();
}

#[tokio::test]
async fn a_login_without_a_refresh_token_lasts_as_long_as_its_access_token() {
    let scene = Scene::signed_in(LoginServer::builder().flaw(Flaw::NoRefreshToken)).await;
    assert_eq!(scene.call("any").await, 200);
    scene.place.clock.pass(std::time::Duration::from_secs(3_700));
    let error = within("an error", scene.session.token()).await.unwrap_err();
    assert_eq!(error.reason(), tokenkeeper::Reason::NotRefreshable);
    assert_eq!(tokens(&scene), 1);
    scene.log_in(LoginCause::Person).await.unwrap();
}

#[tokio::test]
async fn a_login_that_was_open_at_a_logout_does_not_sign_in_after_it() {
    let scene = Scene::signed_in(LoginServer::builder()).await;
    let asked = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    let redirect = open(&asked.url).await.callback.unwrap();
    scene.session.logout().await.unwrap();
    assert_eq!(deliver(&scene.session, &redirect).await, Err(LoginReason::UnknownLogin));
    assert_eq!(tokens(&scene), 1);
    scene.has_nothing().await;
}
