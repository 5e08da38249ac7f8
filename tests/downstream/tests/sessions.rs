//! The host's code over sessions that follow a script, without network, store or waiting.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use tokenkeeper::{AccessToken, Reason};
use tokenkeeper_downstream::{Answer, Notice, Server, call};
use tokenkeeper_testkit::scripted::{ScriptedSession, failure, login_required, token};
use tokio::time::advance;

const MINUTE: Duration = Duration::from_secs(60);

/// A server that answers with the token of the call, unless it refuses that token.
struct Echo {
    refuses: &'static [&'static str],
}

impl Server for Echo {
    async fn call(&self, tool: &str, token: &AccessToken) -> Answer {
        match self.refuses.contains(&token.expose()) {
            true => Answer::Unauthorized,
            false => Answer::Said(format!("{tool} with {}", token.expose())),
        }
    }
}

const ECHO: Echo = Echo { refuses: &[] };

fn said(text: &str) -> Result<String, Notice> {
    Ok(text.to_owned())
}

/// The text that the user reads for this reason.
fn advice(reason: Reason) -> String {
    reason.advice().to_owned()
}

// --- expiry ------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_replaced_and_nobody_notices() {
    let script = ScriptedSession::new().then(token("at-1").expires_in(MINUTE)).then(token("at-2"));
    let session = script.session();
    assert_eq!(call(&session, &ECHO, "search").await, said("search with at-1"));
    advance(MINUTE).await;
    assert_eq!(call(&session, &ECHO, "search").await, said("search with at-2"));
    assert_eq!(script.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_find_the_token_expired_share_one_refresh() {
    let slow = token("at-2").takes(Duration::from_secs(10));
    let script = ScriptedSession::new().then(token("at-1").expires_in(MINUTE)).then(slow);
    let session = script.session();
    call(&session, &ECHO, "search").await.unwrap();
    advance(MINUTE).await;
    let both = tokio::join!(call(&session, &ECHO, "read"), call(&session, &ECHO, "write"));
    assert_eq!(both, (said("read with at-2"), said("write with at-2")));
    assert_eq!(script.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_takes_too_long_is_not_waited_for_and_is_not_lost() {
    let script = ScriptedSession::new().then(token("at-1").takes(MINUTE));
    let session = script.session();
    let told = call(&session, &ECHO, "search").await;
    assert!(matches!(told, Err(Notice::Wait(text, _)) if text == advice(Reason::DeadlinePassed)));
    advance(MINUTE).await;
    assert_eq!(call(&session, &ECHO, "search").await, said("search with at-1"));
    assert_eq!(script.counts().token_requests, 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_call_is_made_again() {
    let script = ScriptedSession::new().then(token("at-1")).then(token("at-2"));
    let server = Echo { refuses: &["at-1"] };
    assert_eq!(call(&script.session(), &server, "search").await, said("search with at-2"));
    assert_eq!((script.counts().refusals, script.counts().token_requests), (1, 2));
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_not_asked_a_third_time() {
    let script = ScriptedSession::new().then(token("at-1")).then(token("at-2"));
    let server = Echo { refuses: &["at-1", "at-2"] };
    let told = call(&script.session(), &server, "search").await;
    assert_eq!(told, Err(Notice::Trouble(advice(Reason::ResourceRefuses))));
    assert_eq!(script.counts().token_requests, 2);
}

// --- login required ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn whoever_never_signed_in_is_asked_to() {
    let script = ScriptedSession::never_signed_in();
    let told = call(&script.session(), &ECHO, "search").await;
    assert_eq!(told, Err(Notice::SignIn(advice(Reason::NeverSignedIn))));
}

#[tokio::test]
async fn a_session_that_ended_asks_for_a_login_and_goes_on_after_it() {
    let script = ScriptedSession::new().then(login_required()).then(token("at-1"));
    let session = script.session();
    let ended = Err(Notice::SignIn(advice(Reason::GrantEnded)));
    assert_eq!(call(&session, &ECHO, "search").await, ended);
    assert_eq!(call(&session, &ECHO, "search").await, ended);
    assert_eq!(script.counts().token_requests, 1);
    script.signed_in_elsewhere();
    assert_eq!(call(&session, &ECHO, "search").await, said("search with at-1"));
}

#[tokio::test]
async fn a_logout_elsewhere_is_noticed_by_the_next_call() {
    let script = ScriptedSession::new();
    let session = script.session();
    call(&session, &ECHO, "search").await.unwrap();
    script.logged_out_elsewhere();
    let told = call(&session, &ECHO, "search").await;
    assert_eq!(told, Err(Notice::SignIn(advice(Reason::LoggedOut))));
}

// --- degraded ----------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_saved_serves_until_it_expires() {
    let script = ScriptedSession::new().then(token("at-1").expires_in(MINUTE).unsaved()).then(token("at-2"));
    let session = script.session();
    assert_eq!(call(&session, &ECHO, "search").await, said("search with at-1"));
    assert!(session.state().unsaved);
    advance(MINUTE).await;
    let told = call(&session, &ECHO, "search").await;
    assert!(matches!(told, Err(Notice::Wait(text, _)) if text == advice(Reason::StoreTrouble)));
    assert_eq!(script.counts().token_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_recovers_is_caught_up_with() {
    let script = ScriptedSession::new().then(token("at-1").expires_in(MINUTE).unsaved()).then(token("at-2"));
    let session = script.session();
    call(&session, &ECHO, "search").await.unwrap();
    script.store_recovers();
    advance(MINUTE).await;
    assert_eq!(call(&session, &ECHO, "search").await, said("search with at-2"));
    assert!(!session.state().unsaved);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_limits_requests_is_left_alone_for_as_long_as_it_says() {
    let script = ScriptedSession::new().then(failure(Reason::Throttled).retry_after(MINUTE)).then(token("at-1"));
    let session = script.session();
    for _ in 0..2 {
        let told = call(&session, &ECHO, "search").await;
        assert_eq!(told, Err(Notice::Wait(advice(Reason::Throttled), Some(MINUTE))));
    }
    advance(MINUTE).await;
    assert_eq!(call(&session, &ECHO, "search").await, said("search with at-1"));
    assert_eq!(script.counts().token_requests, 2);
}
