//! The same at a third-party authorization server, with and without required nonces.

use std::sync::Arc;

use futures_util::future::join_all;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::{Dpop, TokenKind};
use tokenkeeper_rmcp::SessionClient;

use crate::rigs::Rig;
use crate::scene::Host;
use crate::within::within;

const CALLERS: usize = 200;

/// A tool that answers with the caller's scopes.
const TOOL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;

fn number(stats: &Value, pointer: &str) -> u64 {
    stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

async fn host(store: &MemoryStore, rig: &Rig) -> Host {
    Host::over(Arc::new(store.process()), rig.ready["mcp"].as_str().unwrap(), Dpop::WhereAnnounced).await
}

/// Signs in a person whose consent is automatic.
async fn sign_in(host: &Host) {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = within("the page", client.get(host.page().await.unwrap()).send()).await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    host.complete(&location).await.unwrap();
}

#[tokio::test]
async fn a_bound_session_lives_through_storms_restarts_and_rotations() {
    let Some(rig) = Rig::start(&[("AUTO_CONSENT", "1"), ("AT_TTL", "3600")]) else { return };
    for nonces in [false, true] {
        rig.post("/reset", &json!({ "store": true }));
        rig.post("/config", &json!({ "requireDpopNonce": nonces, "rsRequireDpopNonce": nonces }));
        let store = MemoryStore::new(DigestKey::new([7; 32]));
        let first = host(&store, &rig).await;
        sign_in(&first).await;
        let key = first.key().await;
        assert_eq!(first.token().await.unwrap().kind(), TokenKind::Dpop);
        assert_eq!(first.send_in(&mut first.call(), TOOL).await.unwrap(), 200);

        // A storm.
        let before = rig.get("/stats");
        rig.post("/delay", &json!({ "ms": 50, "when": "before", "grant": "refresh_token" }));
        rig.post("/expire-all", &json!({}));
        let calls = join_all((0..CALLERS).map(|_| async { first.send_in(&mut first.call(), TOOL).await }));
        let ends = within("all calls", calls).await;
        assert!(ends.iter().all(|end| matches!(end, Ok(200))), "{ends:?}");
        let after = rig.get("/stats");
        let grown = |pointer: &str| number(&after, pointer) - number(&before, pointer);
        assert_eq!(grown("/refresh/success"), 1);
        // The first refresh of a process knows the nonce of the login.
        assert!(grown("/token/total") <= 2, "{after:#}");

        // Restarts and rotations.
        for _ in 0..3 {
            let next = host(&store, &rig).await;
            next.renewed().await.unwrap();
            assert_eq!(next.key().await, key);
            assert_eq!(next.send_in(&mut next.call(), TOOL).await.unwrap(), 200);
        }

        let stats = rig.get("/stats");
        for never in ["/refresh/consumed_rt_presented", "/refresh/reuse_detected", "/code_reuse_detected"] {
            assert_eq!(number(&stats, never), 0, "{never}: {stats:#}");
        }
        assert_eq!((number(&stats, "/refresh/success"), number(&stats, "/token/max_concurrent_refresh")), (4, 1));
        assert_eq!((number(&stats, "/grants_created"), number(&stats, "/grants_revoked")), (1, 0));
        let refused = &stats["token"]["by_grant"]["refresh_token"]["error"];
        let challenges = number(refused, "/use_dpop_nonce");
        assert_eq!(refused.as_object().map_or(0, serde_json::Map::len), usize::from(nonces), "{stats:#}");
        assert_eq!(challenges, if nonces { 3 } else { 0 }, "one for each process that begins");
    }
}

#[tokio::test]
async fn an_mcp_client_over_rmcp_calls_tools_with_proofs() {
    let variables =
        [("AUTO_CONSENT", "1"), ("AT_TTL", "3600"), ("DPOP_REQUIRE_NONCE", "1"), ("RS_DPOP_REQUIRE_NONCE", "1")];
    let Some(rig) = Rig::start(&variables) else { return };
    let store = MemoryStore::new(DigestKey::new([7; 32]));
    let host = host(&store, &rig).await;
    sign_in(&host).await;
    let client = SessionClient::new(host.session.clone()).unwrap();
    let config = StreamableHttpClientTransportConfig::with_uri(rig.ready["mcp"].as_str().unwrap());
    let transport = StreamableHttpClientTransport::with_client(client, config);
    let service = within("a connection", ().serve(transport)).await.unwrap();
    for expire in [false, true] {
        if expire {
            rig.post("/expire-all", &json!({}));
        }
        let calls = (0..16).map(|_| service.call_tool(CallToolRequestParams::new("whoami")));
        let answers = within("the tools", join_all(calls)).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    drop(within("the end", service.cancel()).await);
    let stats = rig.get("/stats");
    assert_eq!((number(&stats, "/refresh/success"), number(&stats, "/refresh/consumed_rt_presented")), (1, 0));
    assert_eq!(number(&stats, "/mcp/tool_calls"), 32);
}
