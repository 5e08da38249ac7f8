//! A context belongs to one login. A logout, another login and another person end it at once.

#[cfg(unix)]
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Reason, TokenOptions};
use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::login_server::Endpoint;

use super::*;

#[tokio::test]
async fn a_refresh_of_the_same_login_leaves_the_context() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let before = user(&session).await.unwrap();
    let forced = TokenOptions { force: true, ..TokenOptions::default() };
    let lease = within("a refresh", session.token_with(forced)).await.unwrap();
    assert!(lease.generation().supersedes(&before.generation()));
    assert_eq!(user(&session).await.unwrap(), before);
    assert_eq!(host.requests(), (1, 1));
}

#[tokio::test]
async fn after_a_logout_there_is_no_person() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    user(&session).await.unwrap();
    assert_eq!(host.stats().kept, 1);
    within("a logout", session.logout()).await.unwrap();
    assert_eq!(session.user_at_hand(), None);
    let generous = UserOptions { max_age: Duration::MAX, stale_if_error: Duration::MAX, ..UserOptions::default() };
    assert_eq!(user_with(&session, generous).await.unwrap_err().reason(), Some(Reason::LoggedOut));
    assert_eq!(host.requests().0, 1);
    settle().await;
    assert_eq!(host.stats().kept, 0, "nothing is kept of a person who has left");
}

#[tokio::test]
async fn another_person_is_another_context_at_once() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
    host.sign_in(&session, "bob").await;
    assert_eq!(user(&session).await.unwrap().subject(), "bob");
    host.sign_in(&session, "ann").await;
    assert_eq!(user(&session).await.unwrap().subject(), "ann");
    assert_eq!(host.requests().0, 3);
}

/// The login of another process counts as soon as its record is seen, as it does for tokens.
#[tokio::test]
async fn a_logout_of_another_process_ends_the_context() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    user(&session).await.unwrap();
    let other = start(&host.store, &host.clock, |builder| builder).await;
    within("a logout", other.session(session.identity().clone()).logout()).await.unwrap();
    let watched = async {
        let mut watch = session.watch();
        while watch.next().await.is_some_and(|state| state.login_required.is_none()) {}
    };
    if session.state().login_required.is_none() {
        within("the news", watched).await;
    }
    assert_eq!(user(&session).await.unwrap_err().reason(), Some(Reason::LoggedOut));
}

/// A logout while the provider is asked. The late answer is dropped, also for the caller that asked before.
#[tokio::test]
async fn an_answer_that_comes_after_a_logout_is_dropped() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let gate = host.server.hold_at(Endpoint::UserInfo, When::After);
    let (answer, ()) = tokio::join!(user(&session), async {
        host.asked(1).await;
        within("a logout", session.logout()).await.unwrap();
        gate.open();
    });
    assert_eq!(answer.unwrap_err().reason(), Some(Reason::LoggedOut));
    assert_eq!(host.stats().superseded, 1);
    assert_eq!(user(&session).await.unwrap_err().reason(), Some(Reason::LoggedOut));
    assert_eq!(host.requests().0, 1);
}

/// Another person signs in while the provider is asked for the first one. No caller gets the first one's context, whether it
/// asked before or after the login.
#[tokio::test]
async fn an_answer_about_the_person_before_is_dropped_and_the_next_one_is_fetched() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    let gate = host.server.hold_at(Endpoint::UserInfo, When::After);
    let (before, after) = tokio::join!(user(&session), async {
        host.asked(1).await;
        host.sign_in(&session, "bob").await;
        let (after, ()) = tokio::join!(user(&session), async {
            settle().await;
            gate.open();
        });
        after
    });
    assert_eq!((before.unwrap().subject(), after.unwrap().subject()), ("bob", "bob"));
    assert_eq!(host.requests().0, 2);
    let stats = host.stats();
    assert_eq!((stats.misses, stats.coalesced, stats.fetches, stats.superseded), (1, 1, 2, 1));
}

/// The answer of a userinfo endpoint must be about the session's subject (OpenID Connect Core section 5.3.2).
#[tokio::test]
async fn an_answer_about_another_subject_is_dropped_with_an_error_of_its_own() {
    let host = Host::new().await;
    let session = host.signed_in("ann").await;
    host.server.userinfo(json!({ "sub": "mallory" }));
    assert_eq!(user(&session).await, Err(UserError::SubjectMismatch));
    assert_eq!(host.requests(), (1, 0), "no refresh helps");
    host.server.userinfo(json!({ "sub": null }));
    host.clock.pass(Duration::from_secs(76));
    assert_eq!(user(&session).await, Err(UserError::NoSubject));
    assert!(session.token().await.is_ok());
}

#[tokio::test]
async fn accounts_at_one_server_have_people_of_their_own() {
    let host = Host::new().await;
    let (ann, bob) = (host.signed_in("ann").await, host.signed_in("bob").await);
    for _ in 0..3 {
        assert_eq!(user(&ann).await.unwrap().subject(), "ann");
        assert_eq!(user(&bob).await.unwrap().subject(), "bob");
    }
    within("a logout", ann.logout()).await.unwrap();
    assert_eq!(user(&bob).await.unwrap().subject(), "bob");
    assert_eq!(host.requests().0, 2);
}

/// The record is removed under the runtime, and another person signs in. The epochs begin again, and the context of the first
/// person is not that of the second.
#[cfg(unix)]
#[tokio::test]
async fn an_emptied_store_brings_no_person_back() {
    let host = Host::new().await;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let builder = AuthRuntime::builder(FileStore::open(&home).unwrap()).clock(Arc::new(host.clock.clone()));
    let runtime = within("a runtime", builder.spawn()).await.unwrap();
    let session = runtime.session(SessionSpec::mcp(&host.server.resource_url()).unwrap());
    host.sign_in(&session, "ann").await;
    let epoch = user(&session).await.unwrap().generation().epoch;
    for record in std::fs::read_dir(home.join("records")).unwrap() {
        std::fs::remove_file(record.unwrap().path()).unwrap();
    }
    let forced = TokenOptions { force: true, fail_fast: true, ..TokenOptions::default() };
    let lost = within("the loss", session.token_with(forced)).await.unwrap_err();
    assert_eq!(lost.reason(), Reason::NeverSignedIn);
    host.clock.pass(Duration::from_millis(5));
    host.sign_in(&session, "bob").await;
    let bob = user(&session).await.unwrap();
    assert_eq!((bob.subject(), bob.generation().epoch), ("bob", epoch));
    assert_eq!(host.requests().0, 2);
}
