//! The standing stream, over an inner client that follows a script.

use std::time::Duration;

use rmcp::transport::streamable_http_client::StreamableHttpClient;
use tokenkeeper::Reason;
use tokenkeeper_rmcp::SessionClient;
use tokenkeeper_testkit::scripted::{ScriptedSession, failure, login_required, token};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::requests::{URI, held, numbered, session};
use crate::scripted::{Headers, Scripted, ScriptedError, Step};
use crate::within::within;
use rmcp::transport::streamable_http_client::StreamableHttpError;

type Opening = JoinHandle<Result<(), StreamableHttpError<ScriptedError>>>;

fn open(inner: &Scripted, script: &ScriptedSession) -> Opening {
    let client = SessionClient::over(inner.clone(), script.session());
    tokio::spawn(async move {
        client.get_stream_with_max_sse_event_size(URI.into(), session(), None, None, Headers::new(), 5).await.map(drop)
    })
}

async fn opened(opening: Opening) {
    within("the stream", opening).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_a_login_without_an_error_and_is_opened_with_its_token() {
    let script = ScriptedSession::new();
    script.session().token().await.unwrap();
    script.logged_out_elsewhere();
    let inner = Scripted::default();
    let opening = open(&inner, &script);
    tokio::time::sleep(Duration::from_secs(24 * 3600 / 2)).await;
    assert!(!opening.is_finished());
    assert_eq!(inner.sent(), []);
    let begun = Instant::now();
    script.signed_in_elsewhere();
    opened(opening).await;
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((inner.sent().len(), inner.tokens()[0].is_some()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_before_any_login_waits_for_one() {
    let script = ScriptedSession::never_signed_in();
    let inner = Scripted::new([Step::Challenged(401, "Bearer")]);
    let opening = open(&inner, &script);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(inner.tokens(), [None]);
    script.signed_in_elsewhere();
    opened(opening).await;
    assert_eq!((inner.sent().len(), inner.tokens()[1].is_some()), (2, true));
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_an_authorization_server_that_is_down() {
    let down = || failure(Reason::ServerTrouble);
    let script = (0..20).fold(ScriptedSession::new(), |script, _| script.then(down())).then(token("at-1"));
    let inner = Scripted::default();
    let opening = open(&inner, &script);
    opened(opening).await;
    assert_eq!(inner.tokens(), [Some("at-1".to_owned())]);
    assert_eq!(script.counts().token_requests, 21);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lacks_scopes_waits_for_a_newer_token() {
    let script = numbered();
    let inner = Scripted::new([Step::Challenged(403, "Bearer error=\"insufficient_scope\", scope=\"admin\"")]);
    let opening = open(&inner, &script);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(inner.sent().len(), 1);
    script.signed_in_elsewhere();
    opened(opening).await;
    assert_eq!(inner.sent().len(), 2);
    assert_ne!(inner.tokens()[0], inner.tokens()[1]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_fails_with_errors_that_do_not_pass_by_waiting() {
    for (step, is_own) in
        [(Step::Own(Some(500)), true), (Step::Own(None), true), (Step::Challenged(403, "Basic"), true)]
    {
        let inner = Scripted::new([step]);
        let error = within("an error", open(&inner, &numbered())).await.unwrap().unwrap_err();
        assert_eq!(tokenkeeper_rmcp::session_error(&error).is_none(), is_own, "{step:?}");
        assert_eq!(inner.sent().len(), 1);
    }
    let inner = Scripted::new([Step::Challenged(401, "Bearer"); 9]);
    let error = within("an error", open(&inner, &numbered())).await.unwrap().unwrap_err();
    assert_eq!(held(&error).reason(), Some(Reason::ResourceRefuses));
    assert_eq!(inner.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_at_a_server_that_refuses_every_login_pauses_between_them() {
    let script = (0..20).fold(ScriptedSession::new(), |script, _| script.then(login_required()));
    let inner = Scripted::default();
    let opening = open(&inner, &script);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        script.signed_in_elsewhere();
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(script.counts().token_requests <= 20);
    drop(opening);
}
