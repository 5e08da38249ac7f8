//! The person who signs in again (OpenID Connect Core section 3.1.3.7).

use tokenkeeper::engine::values::record::Subject;
use tokenkeeper::{LoginCause, LoginReason, LoginWish};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer, LoginServerBuilder};

use crate::rig::*;

fn server() -> LoginServerBuilder {
    LoginServer::builder().scopes(["openid", "tools:read"])
}

#[tokio::test]
async fn another_person_replaces_a_session_only_if_that_was_asked_for() {
    let scene = Scene::signed_in(server().flaw(Flaw::OtherSubject)).await;
    assert_eq!(scene.grant().await.subject, Some(Subject("alice".to_owned())));
    let old = token(&scene.session).await;
    assert_eq!(scene.log_in(LoginCause::Again).await, Err(LoginReason::SubjectChanged));
    assert_eq!(token(&scene.session).await, old, "the old session stays");
    let grants = scene.server.grants();
    assert_eq!((&*grants[0].subject, &*grants[1].subject), ("alice", "not-alice"));
    let server = &scene.server;
    server.until(|counts| counts.of(Endpoint::Revocation) == 1).await;
    assert!(server.hostile().is_alive(grants[0].chain), "what the other person got is revoked, and nothing else");
    assert!(!server.hostile().is_alive(grants[1].chain));
    renewed(&scene.session).await;

    let asked = begin(&scene.session, LoginWish { same_subject: false, ..wish(&[]) }, LoginCause::Again).await.unwrap();
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.grant().await.subject, Some(Subject("not-alice".to_owned())));
    assert_ne!(token(&scene.session).await, old);
}

#[tokio::test]
async fn the_same_person_replaces_the_session_and_it_is_served_until_then() {
    let scene = Scene::signed_in(server()).await;
    let old = token(&scene.session).await;
    let asked = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    let visit = open(&asked.url).await;
    assert_eq!(token(&scene.session).await, old);
    deliver(&scene.session, &visit.callback.unwrap()).await.unwrap();
    assert_ne!(token(&scene.session).await, old);
    assert_eq!(scene.server.counts().logins, 2);
}

#[tokio::test]
async fn a_server_that_names_no_person_is_believed() {
    let scene = Scene::signed_in(LoginServer::builder().flaw(Flaw::OtherSubject)).await;
    assert_eq!(scene.grant().await.subject, None);
    scene.log_in(LoginCause::Again).await.unwrap();
    assert_eq!(scene.server.counts().logins, 2);
}
