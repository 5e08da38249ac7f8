//! Memory is given back.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use http::Response;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError};

use super::web::*;
use super::*;

const USERINFO: &str = "https://as.example.com/userinfo";
const ISSUER: &str = "https://as.example.com";

async fn many(web: &Arc<Web>, runtime: &AuthRuntime, count: u32) -> Vec<AuthSession> {
    metadata(web, ISSUER, USERINFO);
    web.on(USERINFO, |sent| (200, json!({ "sub": sent.token })));
    let sessions = (0..count).map(|number| async move {
        let spec = SessionSpec::mcp(RESOURCE).unwrap().account(format!("account-{number}")).unwrap();
        let session = runtime.session(spec);
        session.install(login(None, ISSUER, &format!("token-{number}"))).await.unwrap();
        session
    });
    join_all(sessions).await
}

/// The entries of 10,000 sessions are removed once they are too old, and the sessions cost what they did before.
#[tokio::test(start_paused = true)]
async fn the_entries_of_ten_thousand_sessions_are_collected() {
    let web = Arc::new(Web::default());
    let runtime = runtime_in(&web, |builder| builder).await;
    let sessions = many(&web, &runtime, 10_000).await;
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(session.user().await.unwrap().subject(), format!("token-{number}"));
    }
    let stats = runtime.user_stats();
    assert_eq!((stats.kept, stats.cleaned, stats.fetches), (10_000, 0, 10_000));
    for _ in 0..6 {
        tokio::time::advance(Duration::from_secs(60)).await;
        settle().await;
    }
    // The timers of the tasks are a minute long at most.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let stats = runtime.user_stats();
    assert_eq!((stats.kept, stats.cleaned), (0, 10_000));
    assert_eq!(sessions[0].user().await.unwrap().subject(), "token-0");
    assert_eq!(runtime.user_stats().kept, 1);
}

/// An entry that only keeps a context holds no part of the runtime, so all of it ends with the runtime's last handle.
#[tokio::test(start_paused = true)]
async fn entries_end_with_the_runtime() {
    let web = Arc::new(Web::default());
    let runtime = runtime_in(&web, |builder| builder).await;
    let sessions = many(&web, &runtime, 3).await;
    for session in &sessions {
        session.user().await.unwrap();
    }
    assert!(runtime.shutdown(Duration::from_secs(5)).await.is_clean());
    assert!(sessions[0].user_with(each_call_fetches()).await.is_err());
    drop((sessions, runtime));
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(Arc::strong_count(&web), 1);
}

/// A client that never answers, against its contract, holds a caller no longer than its deadline and a fetch for a minute.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_is_given_up() {
    let builder = AuthRuntime::builder(MemoryStore::new(digest_key())).http(Arc::new(Hanging));
    let runtime = builder.clock(Arc::new(TokioClock::new())).spawn().await.unwrap();
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    session.install(login_of("github", "at")).await.unwrap();
    assert_eq!(session.user().await, Err(UserError::DeadlinePassed));
    assert_eq!(runtime.user_stats().failures, 0);
    let patient = UserOptions { timeout: Duration::from_secs(40), ..UserOptions::default() };
    assert_eq!(session.user_with(patient).await, Err(UserError::Unreachable));
    assert_eq!(runtime.user_stats().failures, 1);
}

/// A client that breaks its contract.
#[derive(Debug)]
struct Hanging;

#[async_trait::async_trait]
impl HttpClient for Hanging {
    async fn send(&self, _: Exchange) -> Result<Response<Body>, HttpError> {
        std::future::pending().await
    }
}

/// A client whose code panics in the first request.
#[derive(Debug)]
struct Panicking(Arc<Web>, AtomicBool);

#[async_trait::async_trait]
impl HttpClient for Panicking {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        assert!(self.1.swap(true, Ordering::SeqCst), "the client of a host panics");
        self.0.send(exchange).await
    }
}

/// A fetch that panics is a failure. It is remembered, and the entry goes on.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_client_is_an_error_and_leaves_no_entry_behind() {
    let web = Arc::new(Web::default());
    web.json("https://api.github.com/user", json!({ "id": 1 })).json("https://api.github.com/user/emails", json!([]));
    let client = Panicking(Arc::clone(&web), AtomicBool::new(false));
    let builder = AuthRuntime::builder(MemoryStore::new(digest_key())).http(Arc::new(client));
    let runtime = builder.clock(Arc::new(TokioClock::new())).spawn().await.unwrap();
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    session.install(login_of("github", "at")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(user(&session).await, Err(UserError::Aborted));
    }
    let stats = runtime.user_stats();
    assert_eq!((stats.fetches, stats.failures, stats.failure_hits, stats.kept), (1, 1, 2, 1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(user(&session).await.unwrap().subject(), "1");
    tokio::time::sleep(Duration::from_secs(420)).await;
    let stats = runtime.user_stats();
    assert_eq!((stats.kept, stats.cleaned), (0, 1));
}

/// The task of an entry runs on the tokio runtime of its first caller, and nothing of the person outlives it.
#[test]
fn an_entry_ends_with_the_tokio_runtime_of_its_first_caller() {
    let tokio_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (tokio_runtime(), tokio_runtime());
    let web = Arc::new(Web::default());
    web.json("https://api.github.com/user", json!({ "id": 1 })).json("https://api.github.com/user/emails", json!([]));
    let (runtime, session) = first.block_on(async {
        let runtime = runtime_in(&web, |builder| builder).await;
        let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
        session.install(login_of("github", "at")).await.unwrap();
        (runtime, session)
    });
    assert_eq!(second.block_on(user(&session)).unwrap().subject(), "1");
    assert_eq!((runtime.user_stats().kept, session.user_at_hand().is_some()), (1, true));
    drop(second);
    let stats = runtime.user_stats();
    assert_eq!((stats.kept, stats.cleaned, session.user_at_hand()), (0, 1, None));
    assert_eq!(first.block_on(user(&session)).unwrap().subject(), "1");
    assert_eq!(runtime.user_stats().kept, 1);
}
