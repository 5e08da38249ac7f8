//! rmcp's own `AuthClient` in the same storms, for comparison. Its results are printed and not judged, except that the
//! harness reached it.

use std::time::{Duration, Instant};

use rmcp::transport::auth::{
    AuthClient, AuthorizationManager, AuthorizationMetadata, CredentialStore, InMemoryCredentialStore,
    OAuthClientConfig,
};

use crate::host::{Host, call};
use crate::importing::stored;
use crate::within::each_within;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rmcps_own_client_beside_the_adapter() {
    for size in [16, 200] {
        for kind in ["adapter", "AuthClient"] {
            let host = Host::with(|rules| rules.answer_delay = Duration::from_millis(50), |_| {}).await;
            let transports = if kind == "adapter" {
                let client = host.own_client();
                [host.connect(&client).await, host.connect(&client).await]
            } else {
                let client = auth_client(&host).await;
                [host.connect(&client).await, host.connect(&client).await]
            };
            host.server.kill_access_tokens();
            let begun = Instant::now();
            let calls: Vec<_> = (0..size)
                .map(|number| {
                    let peer = transports[number % 2].peer().clone();
                    tokio::spawn(async move { peer.call_tool(call("echo", "text", "x")).await.is_ok() })
                })
                .collect();
            let results = each_within("the calls", calls).await;
            let failed = results.iter().filter(|result| !result.as_ref().unwrap()).count();
            let counts = host.server.counts();
            println!(
                "{size} calls at refusal, {kind}: {failed} failed, {} token requests, {} replays, {} ms",
                counts.token_requests,
                counts.replays,
                begun.elapsed().as_millis()
            );
            assert!(counts.token_requests > 0);
        }
    }
}

async fn auth_client(host: &Host) -> AuthClient<reqwest::Client> {
    let grant = host.grant();
    let store = InMemoryCredentialStore::new();
    store.save(stored(&grant, 0, None)).await.unwrap();
    let mut manager = AuthorizationManager::new(host.resource.uri()).await.unwrap();
    manager.set_credential_store(store);
    let mut metadata = AuthorizationMetadata::default();
    metadata.authorization_endpoint = format!("{}/authorize", host.server.issuer());
    metadata.token_endpoint = host.server.token_endpoint();
    manager.set_metadata(metadata);
    let client_id = grant.binding.client.id.clone();
    manager.configure_client(OAuthClientConfig::new(client_id, "http://127.0.0.1:1/callback")).unwrap();
    AuthClient::new(reqwest::Client::builder().no_proxy().build().unwrap(), manager)
}
