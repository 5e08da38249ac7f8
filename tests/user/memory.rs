//! Memory is given back.

use futures_util::future::join_all;

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
    session.install(login(Some("github"), ISSUER, "at")).await.unwrap();
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
impl tokenkeeper::http::HttpClient for Hanging {
    async fn send(
        &self,
        _: tokenkeeper::http::Exchange,
    ) -> Result<http::Response<tokenkeeper::http::Body>, tokenkeeper::http::HttpError> {
        std::future::pending().await
    }
}
