//! Clients with a metadata document.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{Response, StatusCode};
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError};
use tokenkeeper_testkit::login_server::LoginServer;

use super::rig::{BACK, Rig, Tokens};

pub(crate) const ID: &str = "https://app.example/client.json";

/// The host of a document, which has trouble with the status.
#[derive(Debug)]
pub(crate) struct Host {
    status: AtomicU16,
    requests: AtomicUsize,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { status: AtomicU16::new(200), requests: AtomicUsize::new(0) }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl HttpClient for Host {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        assert_eq!(exchange.request.uri(), ID);
        self.requests.fetch_add(1, Ordering::SeqCst);
        let document = format!(r#"{{"client_id":"{ID}","client_name":"App","redirect_uris":["{BACK}"]}}"#);
        let mut answer = Response::new(Body::new(document));
        *answer.status_mut() = StatusCode::from_u16(self.status.load(Ordering::SeqCst)).unwrap();
        Ok(answer)
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

async fn rig() -> (Rig, Arc<Host>) {
    let host = Arc::new(Host::new());
    let documents = Arc::clone(&host);
    let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.documents(documents)).await;
    (rig, host)
}

#[tokio::test]
async fn trouble_at_a_clients_host_signs_nobody_out() {
    let (rig, host) = rig().await;
    let mut tokens = rig.signed_in(ID).await;
    assert_eq!(host.requests(), 1);
    for status in [403, 429, 302, 404, 503] {
        host.status.store(status, Ordering::SeqCst);
        rig.clock.pass(Duration::from_secs(3600));
        let (answered, answer) = rig.refresh(ID, &tokens.refresh).await;
        assert_eq!(answered, 200, "{status}: {answer}");
        tokens = Tokens::of(&answer);
        let page = rig.browser().get(&rig.authorize(ID, &[])).await;
        assert_eq!(page.status, 200, "{status}");
        assert!(page.body.contains("app.example"));
    }
    assert_eq!(host.requests(), 6, "sign-ins alone ask for the document");
    rig.clock.pass(Duration::from_secs(86_400));
    assert_eq!(rig.browser().get(&rig.authorize(ID, &[])).await.status, 503, "after a day a sign-in waits for it");
    assert_eq!(rig.revoke(ID, &tokens.refresh).await, 200);
}

#[tokio::test]
async fn a_client_with_a_document_has_its_own_tokens_and_no_secret() {
    let (rig, _) = rig().await;
    let (registered, tokens) = (rig.register().await, rig.signed_in(ID).await);
    assert_eq!(rig.refresh(&registered, &tokens.refresh).await.0, 400, "another client's token");
    let form = [("grant_type", "refresh_token"), ("client_id", ID), ("refresh_token", &tokens.refresh)];
    let mut with_secret = form.to_vec();
    with_secret.push(("client_secret", "guess"));
    assert_eq!(rig.token(&with_secret).await.0, 401);
    for id in ["https://169.254.169.254/client.json", "https://app.example", "ftp://app.example/client.json"] {
        assert_eq!(rig.refresh(id, &tokens.refresh).await.0, 401, "{id} can be no client");
    }
    assert_eq!(rig.token(&form).await.0, 200);
    let without = Rig::new().await;
    assert_eq!(without.refresh(ID, &tokens.refresh).await.0, 401, "a gateway that takes no documents");
}
