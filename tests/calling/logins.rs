//! Calls before a login, after its end and across a step-up, and the wait for a login.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokenkeeper::{
    CallError, LoginCause, LoginMethod, LoginProgress, LoginWish, Next, OfferedPrompt, Reason, Scopes, callback,
};
use tokenkeeper_testkit::hostile::{Fault, HostileAs, When};
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};

use crate::within::{until, within};
use crate::{Host, WAIT, reason};

const REDIRECT: &str = "http://127.0.0.1:9/callback";

/// Does what a person and a browser do.
async fn answer(host: &Host, progress: LoginProgress) {
    let LoginProgress::Offered { offer, .. } = progress else { panic!("nothing to show: {progress:?}") };
    let OfferedPrompt::Browser { url } = &offer.prompt else { panic!("{offer:?}") };
    let visit = within("the page", Browser::open(url.as_str())).await.unwrap();
    let answer = callback::read(&visit.callback.unwrap()).unwrap();
    within("the login", host.session.complete_login(answer, WAIT)).await.unwrap();
}

async fn sign_in(host: &Host, scopes: Scopes) {
    let method = LoginMethod::Redirect(REDIRECT.to_owned());
    let wish = LoginWish { scopes, method, same_subject: false, extends: false };
    let progress = within("a prompt", host.session.begin_login(wish, LoginCause::Person, WAIT)).await.unwrap();
    answer(host, progress).await;
}

#[tokio::test]
async fn a_server_that_asks_for_no_login_is_called_without_a_header() {
    let server = LoginServer::builder().admits_anonymous().start().await.unwrap();
    let host = Host::new(&server.resource_url()).await;
    assert!(host.call().authorize(&host.to, &Method::POST).await.unwrap().is_none());
    assert_eq!(host.send(&mut host.call(), Method::POST).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn only_a_401_asks_for_a_login_and_names_its_scopes() {
    let server = LoginServer::builder().scopes(["files:read"]).required(["files:read"]).start().await.unwrap();
    let host = Host::new(&server.resource_url()).await;
    let mut call = host.call();
    let error = host.send(&mut call, Method::POST).await.unwrap_err();
    assert!(error.is_login_required() && !error.is_transient());
    assert_eq!(error.token_error().unwrap().reason(), Reason::NeverSignedIn);
    assert!(error.challenge().unwrap().resource_metadata().is_some());
    let scopes = error.challenge().unwrap().scopes().unwrap();
    assert_eq!(scopes.iter().collect::<Vec<_>>(), ["files:read"]);
    let again = call.authorize(&host.to, &Method::POST).await;
    assert_eq!(reason(again), Reason::NeverSignedIn, "not sent without a header again");

    sign_in(&host, scopes).await;
    assert_eq!(host.send(&mut call, Method::POST).await.unwrap(), StatusCode::OK, "the same call goes on");
}

#[tokio::test]
async fn missing_scopes_of_a_request_without_a_token_ask_for_a_login() {
    let server = HostileAs::start().await.unwrap();
    for status in [401, 403] {
        let host = Host::new(&server.resource()).await;
        let refusal =
            Fault::status(status).header("www-authenticate", "Bearer error=\"insufficient_scope\", scope=\"a\"");
        server.next_at_resource(1, When::Before, refusal);
        let error = host.send(&mut host.call(), Method::POST).await.unwrap_err();
        assert!(error.is_login_required());
        assert_eq!(error.challenge().unwrap().scopes(), Some(Scopes::new(["a"])));
    }
}

#[tokio::test]
async fn metadata_that_does_not_come_leaves_time_for_the_refresh() {
    let server = LoginServer::builder().start().await.unwrap();
    let host = Host::new(&server.resource_url()).await;
    sign_in(&host, Scopes::default()).await;
    server.hostile().kill_access_tokens();
    let before = server.hostile().counts().token_requests;
    server.next_at(Endpoint::ResourceMetadata, 100, When::Before, Fault::silence());
    let mut call = host.call().patience(Duration::from_secs(4));
    assert_eq!(host.send(&mut call, Method::POST).await.unwrap(), StatusCode::OK);
    assert_eq!(server.hostile().counts().token_requests, before + 1);
}

#[tokio::test]
async fn a_refusal_is_noted_although_its_call_is_dropped_while_metadata_is_read() {
    let server = LoginServer::builder().start().await.unwrap();
    let host = Host::new(&server.resource_url()).await;
    sign_in(&host, Scopes::default()).await;
    server.hostile().kill_access_tokens();
    server.next_at(Endpoint::ResourceMetadata, 100, When::Before, Fault::silence());
    let mut call = host.call();
    let (status, headers) = host.attempt(&mut call, &Method::POST).await.unwrap();
    {
        let decision = std::pin::pin!(call.next(status, &headers));
        assert!(futures_util::poll!(decision).is_pending(), "the metadata is read");
    }
    until("the refusal", || host.session.at_hand().is_none()).await;
    assert_eq!(host.send(&mut host.call(), Method::POST).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn calls_refused_with_metadata_in_the_challenge_read_it_once() {
    let server = LoginServer::builder().start().await.unwrap();
    let host = Host::new(&server.resource_url()).await;
    sign_in(&host, Scopes::default()).await;
    server.hostile().kill_access_tokens();
    let (tokens, documents) =
        (server.hostile().counts().token_requests, server.counts().of(Endpoint::ResourceMetadata));
    let calls = join_all((0..200).map(|_| async { host.send(&mut host.call(), Method::POST).await }));
    let ends = within("all calls", calls).await;
    assert!(ends.iter().all(|end| matches!(end, Ok(StatusCode::OK))), "{ends:?}");
    assert_eq!(server.hostile().counts().token_requests, tokens + 1);
    assert!(server.counts().of(Endpoint::ResourceMetadata) <= documents + 1);
}

#[tokio::test]
async fn a_login_made_while_a_request_was_on_its_way_serves_it() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::new(&server.resource()).await;
    let mut call = host.call();
    let (status, headers) = host.attempt(&mut call, &Method::POST).await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    host.install(&server.grant()).await;
    assert_eq!(within("a decision", call.next(status, &headers)).await.unwrap(), Next::Again);
    assert_eq!(host.send(&mut call, Method::POST).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_was_logged_out_or_ended_is_never_anonymous() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    within("the logout", host.session.logout()).await.unwrap();
    assert_eq!(reason(host.send(&mut host.call(), Method::POST).await), Reason::LoggedOut);

    let other = Host::new(&server.resource()).await;
    let grant = server.grant();
    other.install(&grant).await;
    server.revoke(grant.chain);
    let error = other.send(&mut other.call(), Method::POST).await.unwrap_err();
    assert_eq!(error.token_error().unwrap().reason(), Reason::GrantEnded);
    assert!(error.is_login_required() && error.challenge().is_some(), "the challenge is kept for the login");
    assert_eq!(server.counts().resource_requests, 1);

    let parked = Host::signed_in(&server).await;
    parked.session.issuers_listed(["https://another.example"]);
    until("the parking", || parked.session.state().login_required.is_some()).await;
    assert_eq!(reason(parked.send(&mut parked.call(), Method::POST).await), Reason::IssuerChanged);
    assert_eq!(server.counts().resource_requests, 1);
}

#[tokio::test]
async fn a_fault_that_may_pass_is_neither_a_login_nor_anonymous() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    server.kill_access_tokens();
    server.always(When::Before, Fault::status(503));
    let mut call = host.call().patience(Duration::from_millis(100));
    let error = host.send(&mut call, Method::POST).await.unwrap_err();
    assert!(error.is_transient() && !error.is_login_required(), "{error:?}");
    assert_eq!(server.counts().resource_requests, 1);
}

#[tokio::test]
async fn a_step_up_brings_the_scopes_and_the_same_call_goes_on() {
    let server = LoginServer::builder().scopes(["files:read", "files:write"]).path("/mcp/write", ["files:write"]);
    let server = server.start().await.unwrap();
    let mut host = Host::new(&server.resource_url()).await;
    sign_in(&host, Scopes::new(["files:read"])).await;
    host.to = host.session.destination(&format!("{}/write", server.resource_url())).unwrap();
    let mut call = host.call();
    let error = host.send(&mut call, Method::POST).await.unwrap_err();
    let CallError::StepUp(step_up) = error else { panic!("{error:?}") };
    assert_eq!(step_up.scopes().iter().collect::<Vec<_>>(), ["files:write"]);
    let method = LoginMethod::Redirect(REDIRECT.to_owned());
    let progress = within("a prompt", step_up.begin(method.clone(), WAIT)).await.unwrap();
    answer(&host, progress).await;
    let lease = host.session.token().await.unwrap();
    assert_eq!(lease.scopes().iter().filter(|scope| scope.starts_with("files:")).count(), 2);
    assert_eq!(within("an answer", step_up.begin(method, WAIT)).await, Ok(LoginProgress::SignedIn));
    assert_eq!(host.send(&mut call, Method::POST).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_wait_for_a_login_ends_with_one_in_another_process() {
    let server = HostileAs::start().await.unwrap();
    let here = Host::new(&server.resource()).await;
    let there = Host::over(here.store.clone(), &server.resource()).await;
    let login = async {
        until("the first look", || here.session.state().login_required.is_some()).await;
        assert!(here.session.at_hand().is_none());
        there.install(&server.grant()).await;
    };
    let (end, ()) = within("the login", async { tokio::join!(here.session.signed_in(), login) }).await;
    end.unwrap();
    assert_eq!(here.session.token().await.unwrap(), there.session.token().await.unwrap());
    assert_eq!(server.counts().token_requests, 0);
    within("no wait", here.session.signed_in()).await.unwrap();

    within("the logout", there.session.logout()).await.unwrap();
    until("the logout here", || here.session.state().login_required.is_some()).await;
    let login = async { there.install(&server.grant()).await };
    let (end, ()) = within("the second login", async { tokio::join!(here.session.signed_in(), login) }).await;
    end.unwrap();
}

#[tokio::test]
async fn a_wait_for_a_login_ends_with_the_runtime() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::new(&server.resource()).await;
    let shutdown = async {
        until("the first look", || host.session.state().login_required.is_some()).await;
        assert!(host.runtime.shutdown(WAIT).await.is_clean());
    };
    let (end, ()) = within("the end", async { tokio::join!(host.session.signed_in(), shutdown) }).await;
    assert_eq!(end.unwrap_err().reason(), Reason::ShuttingDown);
    assert_eq!(host.session.signed_in().await.unwrap_err().reason(), Reason::ShuttingDown);
}

#[tokio::test]
async fn a_grant_that_cannot_be_refreshed_now_is_a_login_all_the_same() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    let lease = host.session.at_hand().unwrap();
    host.session.invalidate(&lease, tokenkeeper::OperationKey(1), tokenkeeper::ChallengeKey(1)).await.unwrap();
    server.always(When::Before, Fault::status(503));
    within("no wait", host.session.signed_in()).await.unwrap();
}
