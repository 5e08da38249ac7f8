//! Grants of several logins of one client.

use tokenkeeper_testkit::login_server::{Flaw, LoginServer};

use crate::client::{Careless, error, json, word};

#[tokio::test]
async fn the_grants_of_one_client_are_apart() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let (first, second) = (client.log_in("").await, client.log_in("").await);
    let spent = word(&first, "refresh_token");
    assert_eq!(client.refresh(spent).await.status(), 200);
    assert_eq!(error(client.refresh(spent).await).await.1, "invalid_grant");
    assert_eq!(client.refresh(word(&second, "refresh_token")).await.status(), 200);
    let alive: Vec<bool> = server.grants().iter().map(|grant| server.hostile().is_alive(grant.chain)).collect();
    assert_eq!(alive, [false, true]);
}

#[tokio::test]
async fn a_new_authorization_may_end_the_old_grants_before_its_code_is_redeemed() {
    let server = LoginServer::builder().flaw(Flaw::EndsOldGrants).start().await.unwrap();
    let (client, other) = (Careless::register(&server).await, Careless::register(&server).await);
    let (old, others) = (client.log_in("").await, other.log_in("").await);
    server.subject("bob");
    let bobs = client.log_in("").await;
    assert_eq!(client.call("any", word(&old, "access_token")).await.status(), 200);
    server.subject("alice");
    let code = client.code("").await;
    assert_eq!(client.call("any", word(&old, "access_token")).await.status(), 401);
    assert_eq!(error(client.refresh(word(&old, "refresh_token")).await).await.1, "invalid_grant");
    let new = json(client.token(&client.exchange(&code)).await).await;
    for access in [&new, &bobs, &others] {
        assert_eq!(client.call("any", word(access, "access_token")).await.status(), 200);
    }
    assert_eq!((server.counts().tokens.chains_alive, server.counts().tokens.chains_revoked), (3, 1));
}

#[tokio::test]
async fn a_replaced_refresh_token_may_end_the_new_grant() {
    let server = LoginServer::builder().flaw(Flaw::GrantWideReuse).start().await.unwrap();
    let client = Careless::register(&server).await;
    let (old, new) = (client.log_in("").await, client.log_in("").await);
    assert_eq!(client.call("any", word(&new, "access_token")).await.status(), 200);
    assert_eq!(error(client.refresh(word(&old, "refresh_token")).await).await.1, "invalid_grant");
    assert_eq!(client.call("any", word(&new, "access_token")).await.status(), 401);
    assert_eq!(server.counts().tokens.chains_alive, 0);
}

#[tokio::test]
async fn the_second_login_may_be_another_persons() {
    let server = LoginServer::builder().subject("carol").flaw(Flaw::OtherSubject).start().await.unwrap();
    let client = Careless::register(&server).await;
    client.log_in("").await;
    client.log_in("").await;
    let subjects: Vec<String> = server.grants().into_iter().map(|grant| grant.subject).collect();
    assert_eq!(subjects, ["carol", "not-carol"]);
}

#[tokio::test]
async fn a_token_endpoint_moves_while_sessions_live() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let tokens = client.log_in("").await;
    server.flaw(Flaw::TokenEndpointMoved);
    assert_eq!(client.refresh(word(&tokens, "refresh_token")).await.status(), 404);
    let metadata = format!("{}/.well-known/oauth-authorization-server", server.origin());
    let metadata = json(client.http.get(metadata).send().await.unwrap()).await;
    let moved = word(&metadata, "token_endpoint").strip_prefix(server.origin()).unwrap();
    let refresh = [
        ("grant_type", "refresh_token".to_owned()),
        ("client_id", client.id.clone()),
        ("refresh_token", word(&tokens, "refresh_token").to_owned()),
        ("resource", server.resource_url()),
    ];
    assert_eq!(client.form(moved, &refresh).await.status(), 200);
    let counts = server.counts();
    assert_eq!((counts.at("/token"), counts.at(moved), counts.tokens.token_requests), (2, 1, 2));
    server.mend(Flaw::TokenEndpointMoved);
    assert_eq!(client.form(moved, &refresh).await.status(), 404);
}
