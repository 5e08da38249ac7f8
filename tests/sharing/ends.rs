//! Futures of a runtime and of its builder that are dropped.

use std::pin::pin;
use std::time::Duration;

use futures_util::poll;
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::{AuthRuntime, AuthSession, Reason, SessionSpec, stores};

use super::within;

const LONG: Duration = Duration::from_secs(600);

async fn host() -> (AuthRuntime, AuthSession) {
    let builder = AuthRuntime::builder(stores::memory::open().unwrap());
    let runtime = within("a runtime", builder.spawn()).await.unwrap();
    let spec = SessionSpec::mcp("https://mcp.example.com/mcp").unwrap();
    let session = runtime.session(spec.renewal(MachineGrant::static_token("pat").plan()));
    (runtime, session)
}

#[tokio::test]
async fn a_shutdown_that_is_dropped_has_begun_and_ends_with_the_next_one() {
    let (runtime, session) = host().await;
    drop(poll!(pin!(runtime.shutdown(LONG))));
    let error = within("an error", session.token()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ShuttingDown);
    assert!(within("a shutdown", runtime.clone().shutdown(LONG)).await.is_clean());
}

#[tokio::test]
async fn a_wait_for_quiet_that_is_dropped_changes_nothing() {
    let (runtime, session) = host().await;
    let _ = poll!(pin!(runtime.quiesce(LONG)));
    assert!(within("a token", session.token()).await.is_ok());
    assert!(within("quiet", runtime.quiesce(LONG)).await);
}

#[tokio::test]
async fn a_runtime_whose_start_is_dropped_can_be_built_again_over_its_store() {
    let store = stores::memory::open().unwrap();
    for _ in 0..4 {
        drop(poll!(pin!(AuthRuntime::builder(store.process()).spawn())));
    }
    let runtime = within("a runtime", AuthRuntime::builder(store).spawn()).await.unwrap();
    let spec = SessionSpec::mcp("https://mcp.example.com/mcp").unwrap();
    let session = runtime.session(spec.renewal(MachineGrant::static_token("pat").plan()));
    assert!(within("a token", session.token()).await.is_ok());
}

#[tokio::test]
async fn handles_that_are_dropped_end_nothing_and_all_are_on_one_session() {
    let (runtime, session) = host().await;
    assert!(within("a token", session.token()).await.is_ok());
    let identity = session.identity().clone();
    let other = runtime.clone();
    drop((runtime, session));
    let again = other.session(identity);
    assert!(again.at_hand().is_some(), "the lease of the handle that was dropped");
}
