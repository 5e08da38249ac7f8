//! Clients that the host is given, which are one of a client ID metadata document and clients that the operator registered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokenkeeper::issuers::Client;
use tokenkeeper::registration::{Clients, MetadataDocument};
use tokenkeeper::{LogIn, LoginSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::authority::{Authority, Counts};
use crate::automatic::ONE;
use crate::host::Host;

/// The redirect address of configured clients, which stands for all ports (RFC 8252 section 7.3).
const REDIRECT: &str = "http://127.0.0.1/callback";

/// The counts after one login and one refresh of a configured client.
const CONFIGURED: Counts = Counts { registrations: 0, refreshes: 1, ..ONE };

#[tokio::test]
async fn clients_of_the_operator_log_in_refresh_and_log_out() {
    let Some(authority) = Authority::shared().await else { return };
    for client in [
        Client::public("rig-public"),
        Client::secret_basic("rig-basic", "rig-basic-secret"),
        Client::secret_post("rig-post", "rig-post-secret"),
    ] {
        authority.tell("/reset", &json!({ "store": true }));
        let id = client.id().to_owned();
        let clients = Clients::default().pre_registered(authority.issuer(), client, [REDIRECT]);
        let host = Host::with(&authority, LoginSettings::default().clients(clients)).await;
        host.sign_in(LogIn::new()).await;
        assert_eq!(host.assert_served(&authority, "alice").await, id);
        assert_eq!(authority.counts(), CONFIGURED, "{id}");
        host.assert_leaves_nothing(&authority).await;
        assert_eq!(authority.counts(), Counts { revoked: 1, ..CONFIGURED }, "{id}");
    }
}

#[tokio::test]
async fn the_client_of_a_metadata_document_logs_in_without_a_registration() {
    let id = "https://client.rig.example/client.json";
    let document = json!({
        "client_id": id,
        "client_name": "the test",
        "application_type": "native",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let (address, read) = serve(document.to_string()).await;
    let map = format!("https://client.rig.example/={address}");
    let Some(authority) = Authority::start(&[("CIMD_MAP", &map)]) else { return };
    let clients = Clients::default().metadata_document(MetadataDocument::new(id, [REDIRECT]).unwrap());
    let host = Host::with(&authority, LoginSettings::default().clients(clients)).await;
    host.sign_in(LogIn::new()).await;
    assert!(read.load(Ordering::SeqCst) >= 1, "the server reads the document");
    assert_eq!(host.assert_served(&authority, "alice").await, id);
    assert_eq!(authority.counts(), CONFIGURED);
    host.assert_leaves_nothing(&authority).await;
    assert_eq!(authority.counts(), Counts { revoked: 1, ..CONFIGURED });
}

/// Serves this JSON at every path. Returns the address, and how often it was read.
async fn serve(document: String) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            counter.fetch_add(1, Ordering::SeqCst);
            let length = document.len();
            let head = format!("content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n");
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n{document}").as_bytes()).await.unwrap();
        }
    });
    (address, read)
}
