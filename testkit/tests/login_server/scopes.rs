//! The scopes of the resource's tools and paths.

use tokenkeeper_testkit::login_server::LoginServer;

use crate::client::{Careless, challenge, json, word};

#[tokio::test]
async fn a_tool_needs_its_scopes_and_the_challenge_names_the_missing_ones() {
    let server = LoginServer::builder()
        .scopes(["read", "write", "admin"])
        .required(["read"])
        .tool("delete", ["write"])
        .path("/mcp/admin", ["admin"])
        .start()
        .await
        .unwrap();
    let client = Careless::register(&server).await;
    let tokens = client.log_in("").await;
    assert_eq!(word(&tokens, "scope"), "read");
    let access = word(&tokens, "access_token");
    assert_eq!(client.call("list", access).await.status(), 200);
    let refused = client.call("delete", access).await;
    assert_eq!(refused.status(), 403);
    let expected = format!(
        "Bearer error=\"insufficient_scope\", resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\", scope=\"write\"",
        server.origin()
    );
    assert_eq!(challenge(&refused), expected);
    let more = client.log_in("read write").await;
    assert_eq!(client.call("delete", word(&more, "access_token")).await.status(), 200);
    let admin = client.http.post(format!("{}/admin", server.resource_url()));
    let refused = admin.bearer_auth(word(&more, "access_token")).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(challenge(&refused).ends_with("scope=\"admin\""), "{}", challenge(&refused));

    server.tool("list", ["admin"]);
    assert_eq!(client.call("list", access).await.status(), 403);
    assert_eq!(server.counts().tokens.resource_answers, [(200, 2), (403, 3)].into());
}

#[tokio::test]
async fn a_refused_token_and_a_missing_one_are_told_apart() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let (none, bad) = (client.call("any", "").await, client.call("any", "at-unknown").await);
    assert_eq!((none.status().as_u16(), bad.status().as_u16()), (401, 401));
    assert!(!challenge(&none).contains("error"), "{}", challenge(&none));
    assert!(challenge(&bad).starts_with("Bearer error=\"invalid_token\""), "{}", challenge(&bad));
}

#[tokio::test]
async fn anonymous_calls_are_admitted_up_to_the_tools_with_scopes() {
    let server = LoginServer::builder().admits_anonymous().tool("call", ["tools:call"]).start().await.unwrap();
    let client = Careless::register(&server).await;
    assert_eq!(client.call("list", "").await.status(), 200);
    assert_eq!(client.call("list", "at-unknown").await.status(), 401);
    let refused = client.call("call", "").await;
    assert_eq!(refused.status(), 401);
    assert!(challenge(&refused).ends_with("scope=\"tools:call\""), "{}", challenge(&refused));
}

#[tokio::test]
async fn the_person_withholds_scopes() {
    let server = LoginServer::builder().scopes(["read", "write"]).start().await.unwrap();
    let client = Careless::register(&server).await;
    server.withhold(["write"]);
    assert_eq!(word(&client.log_in("read write").await, "scope"), "read");
    server.withhold([""; 0]);
    assert_eq!(word(&client.log_in("").await, "scope"), "read write");
}

#[tokio::test]
async fn a_refresh_token_may_need_offline_access() {
    let server = LoginServer::builder().scopes(["read", "offline_access"]).refresh_needs_offline_access();
    let server = server.start().await.unwrap();
    let client = Careless::register(&server).await;
    assert!(client.log_in("read").await.get("refresh_token").is_none());
    assert!(client.log_in("read offline_access").await.get("refresh_token").is_some());
}

#[tokio::test]
async fn a_call_is_answered_with_its_own_id() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let tokens = client.log_in("").await;
    assert_eq!(json(client.call("any", word(&tokens, "access_token")).await).await["id"], 7);
}
