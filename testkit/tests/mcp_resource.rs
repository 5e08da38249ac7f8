//! The MCP resource behind the hostile server's tokens, over raw HTTP.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use tokenkeeper_actors::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::HostileAs;
use tokenkeeper_testkit::mcp::McpResource;

#[tokio::test]
async fn a_session_lists_and_calls_tools() {
    let server = HostileAs::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let grant = server.grant_for(&server.register(ClientAuth::None), &resource.uri(), "tools:read");
    let client = reqwest::Client::new();
    let post = |session: Option<String>, body: Value| {
        let mut request = client
            .post(resource.uri())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(grant.access_token.expose());
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        request.body(body.to_string()).send()
    };
    let refused = client.post(resource.uri()).body("{}").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    let answer = post(None, initialize).await.unwrap();
    assert_eq!(answer.status(), 200);
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "text": "hello" } } });
    let answer = post(Some(session.clone()), call).await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "hello");
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    assert_eq!(post(Some(session), list).await.unwrap().status(), 200);

    let counts = resource.counts();
    assert_eq!((counts.requests("POST"), counts.status(401), counts.status(200)), (4, 1, 3));
    assert_eq!((counts.executed("echo"), counts.most_running, counts.running, counts.aborted), (1, 1, 0, 0));
    let tokens = server.counts();
    assert_eq!((tokens.resource_requests, tokens.resource_answers[&401], tokens.resource_answers[&200]), (4, 1, 3));
}
