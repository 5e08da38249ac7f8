//! The scopes of a request (MCP authorization, "Scope Selection Strategy" and "Refresh Tokens").

use tokenkeeper::{LoginCause, Scopes};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer, LoginServerBuilder};

use crate::rig::*;

/// Signs in, and returns the scopes that were asked for, those that the host got, and whether consent was asked for.
async fn asked_for(server: LoginServerBuilder, wished: &[&str]) -> (Vec<String>, Vec<String>, bool) {
    let scene = Scene::new(server).await;
    let asked = begin(&scene.session, wish(wished), LoginCause::Person).await.unwrap();
    answer(&scene.session, &asked.url).await.unwrap();
    let owned = |text: &str| sorted(text).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let scope = asked.parameter("scope").unwrap_or_default();
    let lease = scene.session.token().await.unwrap();
    let granted: Vec<_> = lease.scopes().iter().collect();
    assert_eq!(scene.grant().await.requested, Scopes::new(scope.split(' ').filter(|scope| !scope.is_empty())));
    assert!(asked.parameter("scope").is_none_or(|scope| !scope.is_empty()), "none is left out");
    (owned(&scope), owned(&granted.join(" ")), asked.parameter("prompt").as_deref() == Some("consent"))
}

fn is(found: (Vec<String>, Vec<String>, bool), asked: &str, granted: &str, consent: bool) {
    let (scopes, got, prompts) = found;
    assert_eq!(scopes, sorted(asked));
    assert_eq!(got, sorted(granted));
    assert_eq!(prompts, consent);
}

#[tokio::test]
async fn the_challenge_comes_before_the_metadata_and_that_before_none() {
    let server = || LoginServer::builder().scopes(["a", "b", "c"]);
    is(asked_for(server().required(["a"]), &[]).await, "a", "a", false);
    is(asked_for(server().required(["a"]).silent_about_scopes(), &[]).await, "a b c", "a b c", false);
    is(asked_for(server(), &[]).await, "a b c", "a b c", false);
    is(asked_for(server().required(["a"]), &["b"]).await, "b", "b", false);
    let none = LoginServer::builder().scopes(Vec::<String>::new());
    is(asked_for(none, &[]).await, "", "", false);
}

#[tokio::test]
async fn a_refresh_token_is_asked_for_only_where_the_server_lists_the_scope() {
    let server = || LoginServer::builder().scopes(["a", "offline_access"]).refresh_needs_offline_access();
    is(asked_for(server().required(["a"]), &[]).await, "a offline_access", "a offline_access", true);
    let without = LoginServer::builder().scopes(["a"]).required(["a"]);
    is(asked_for(without, &[]).await, "a", "a", false);

    let scene = Scene::signed_in(server().required(["a"])).await;
    renewed(&scene.session).await;
    assert_eq!(scene.server.counts().tokens.rotations, 1);
}

#[tokio::test]
async fn the_granted_scopes_are_those_of_the_answer_or_else_the_requested_ones() {
    let server = || LoginServer::builder().scopes(["a", "b"]);
    is(asked_for(server().flaw(Flaw::ScopeNarrowed), &[]).await, "a b", "a", false);
    is(asked_for(server().flaw(Flaw::ScopeOmitted), &["b"]).await, "b", "b", false);
}

#[tokio::test]
async fn a_host_that_signs_in_again_asks_for_what_it_had_unless_it_names_scopes() {
    let scene = Scene::new(LoginServer::builder().scopes(["a", "b", "c"])).await;
    let asked = begin(&scene.session, wish(&["a", "b"]), LoginCause::Person).await.unwrap();
    answer(&scene.session, &asked.url).await.unwrap();
    let asked = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    assert_eq!(sorted(&asked.parameter("scope").unwrap()), ["a", "b"]);
    answer(&scene.session, &asked.url).await.unwrap();
    renewed(&scene.session).await;
    let refresh = scene.server.log_of(Endpoint::Token).pop().unwrap();
    assert_eq!(refresh.parameter("grant_type"), "refresh_token");
    assert!(matches!(refresh.parameter("scope"), "" | "a b" | "b a"), "no more than was granted");
    let asked = begin(&scene.session, wish(&["c"]), LoginCause::Again).await.unwrap();
    assert_eq!(asked.parameter("scope").as_deref(), Some("c"));
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.session.token().await.unwrap().scopes().iter().collect::<Vec<_>>(), ["c"]);
}
