//! Clients that the host refuses.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokenkeeper_gateway::{AdmitClients, AdmitError, ClientFacts, Occasion};
use tokenkeeper_testkit::login_server::LoginServer;

use super::documents::{Host, ID};
use super::rig::{BACK, Rig, Tokens};

/// A host's list of hosts and identifiers that are blocked, which may be out of reach.
#[derive(Debug, Default)]
struct List {
    blocked: Mutex<BTreeSet<String>>,
    is_away: AtomicBool,
    asked: Mutex<Vec<(Occasion, ClientFacts)>>,
}

impl List {
    fn block(&self, text: &str) {
        self.blocked.lock().unwrap().insert(text.to_owned());
    }

    fn allow(&self, text: &str) {
        self.blocked.lock().unwrap().remove(text);
    }

    /// The occasions on which a client was judged since the last time.
    fn occasions(&self) -> Vec<Occasion> {
        self.asked.lock().unwrap().drain(..).map(|(occasion, _)| occasion).collect()
    }
}

#[async_trait]
impl AdmitClients for List {
    async fn admits(&self, client: &ClientFacts, occasion: Occasion) -> Result<bool, AdmitError> {
        self.asked.lock().unwrap().push((occasion, client.clone()));
        if self.is_away.load(Ordering::SeqCst) {
            return Err(AdmitError::new(Some(Duration::from_secs(7))));
        }
        let blocked = self.blocked.lock().unwrap();
        let is_hit = |text: &String| client.id == *text || client.redirects.iter().any(|url| url.contains(text));
        Ok(!blocked.iter().any(is_hit))
    }
}

async fn rig() -> (Rig, Arc<List>, Arc<Host>) {
    let (list, host) = (Arc::new(List::default()), Arc::new(Host::new()));
    let (given, documents) = (Arc::clone(&list), Arc::clone(&host));
    let settings = |builder: tokenkeeper_gateway::GatewayBuilder| builder.admit_clients(given).documents(documents);
    (Rig::with(LoginServer::start().await.unwrap(), settings).await, list, host)
}

#[tokio::test]
async fn a_client_that_is_refused_does_not_register() {
    let (rig, list, _) = rig().await;
    list.block("evil.example");
    let metadata = json!({ "redirect_uris": ["https://evil.example/back"], "client_name": "Claude" });
    let register = || rig.http.post(rig.url("/oauth/register")).body(metadata.to_string()).send();
    let answer = register().await.unwrap();
    assert_eq!(answer.status(), 400);
    let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error"], "invalid_client_metadata");
    assert_eq!(body["client_id"], json!(null));
    let (occasion, facts) = list.asked.lock().unwrap().pop().unwrap();
    assert_eq!((occasion, facts.name.as_deref()), (Occasion::Registration, Some("Claude")));
    assert!(facts.id.starts_with("tkgd_"));

    list.is_away.store(true, Ordering::SeqCst);
    let answer = register().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "7"));
    list.is_away.store(false, Ordering::SeqCst);
    rig.register().await;
}

#[tokio::test]
async fn a_client_that_is_refused_later_gets_no_further_tokens_until_it_is_allowed_again() {
    let (rig, list, _) = rig().await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    let code = rig.code(&mut rig.browser(), &client).await;
    list.block(&client);
    for (what, (status, answer)) in
        [("code", rig.redeem(&client, &code).await), ("token", rig.refresh(&client, &tokens.refresh).await)]
    {
        assert_eq!((status, &answer["error"]), (400, &json!("unauthorized_client")), "{what}: {answer}");
    }
    assert_eq!(rig.call(&tokens.access).await.status, 200, "an access token ends by itself within minutes");
    rig.clock.pass(Duration::from_secs(600));
    assert_eq!(rig.call(&tokens.access).await.status, 401);
    let other = rig.register().await;
    let others = rig.signed_in(&other).await;
    assert_eq!(rig.refresh(&other, &others.refresh).await.0, 200, "other clients go on");

    list.allow(&client);
    list.is_away.store(true, Ordering::SeqCst);
    let (status, answer) = rig.refresh(&client, &tokens.refresh).await;
    assert_eq!(
        (status, &answer["error"]),
        (503, &json!("temporarily_unavailable")),
        "trouble of the list ends nothing"
    );
    list.is_away.store(false, Ordering::SeqCst);
    let (status, answer) = rig.refresh(&client, &tokens.refresh).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(rig.revoke(&client, &Tokens::of(&answer).refresh).await, 200);
}

#[tokio::test]
async fn a_client_that_is_refused_may_still_revoke_its_tokens() {
    let (rig, list, _) = rig().await;
    let client = rig.register().await;
    let tokens = rig.signed_in(&client).await;
    list.block(&client);
    assert_eq!(rig.revoke(&client, &tokens.refresh).await, 200);
    assert_eq!(rig.call(&tokens.access).await.status, 401);
}

#[tokio::test]
async fn a_person_sees_a_page_and_the_refused_app_gets_no_answer() {
    let (rig, list, _) = rig().await;
    let client = rig.register().await;
    let mut browser = rig.browser();
    let page = browser.get(&rig.authorize(&client, &[])).await;
    assert_eq!(page.status, 200);
    list.block(&client);
    let refused = browser.get(&rig.authorize(&client, &[])).await;
    assert_eq!((refused.status, refused.location()), (403, ""));
    assert!(refused.body.contains("This app is not allowed here"), "{}", refused.body);
    assert!(!refused.body.contains(BACK) && refused.header("set-cookie").is_empty());

    // The page was open when the client was refused, and the person signs in at the upstream.
    let away = browser.press(&rig, &page.form(), "allow", &[]).await;
    let visit = tokenkeeper_testkit::login_server::Browser::open(away.location()).await.unwrap();
    let end = browser.get(&visit.callback.unwrap()).await;
    assert_eq!((end.status, end.location()), (403, ""), "no code is issued");
    assert_eq!(rig.gateway.counts().codes, 0);

    list.is_away.store(true, Ordering::SeqCst);
    let away = browser.get(&rig.authorize(&client, &[])).await;
    assert_eq!((away.status, away.location()), (503, ""));
    list.is_away.store(false, Ordering::SeqCst);
    list.allow(&client);
    assert_eq!(browser.get(&rig.authorize(&client, &[])).await.status, 200);
}

#[tokio::test]
async fn a_remembered_consent_is_none_for_a_client_that_is_refused_since() {
    let (rig, list, _) = rig().await;
    let redirect = "https://client.example/back";
    let client = rig.register_at(redirect).await;
    let mut browser = rig.browser();
    let url = rig.authorize(&client, &[("redirect_uri", redirect)]);
    let page = browser.get(&url).await;
    browser.allow(&rig, &page).await;
    assert_eq!(browser.get(&url).await.status, 303, "the consent is remembered");
    list.block("client.example");
    let refused = browser.get(&url).await;
    assert_eq!((refused.status, refused.location()), (403, ""));
}

#[tokio::test]
async fn the_document_of_a_client_that_is_refused_is_not_fetched() {
    let (rig, list, host) = rig().await;
    list.block(ID);
    assert_eq!(rig.browser().get(&rig.authorize(ID, &[])).await.status, 403);
    assert_eq!((host.requests(), list.occasions()), (0, vec![Occasion::Document]));
    list.allow(ID);
    let tokens = rig.signed_in(ID).await;
    let all = [Occasion::Document, Occasion::Authorization, Occasion::Code, Occasion::Tokens];
    assert_eq!((host.requests(), list.occasions()), (1, all.to_vec()));

    // The document's own content counts too.
    list.block(BACK);
    assert_eq!(rig.browser().get(&rig.authorize(ID, &[])).await.status, 403);
    assert_eq!(list.occasions(), [Occasion::Document, Occasion::Authorization]);
    // At the token endpoint the identifier alone is at hand.
    let next = Tokens::of(&rig.refresh(ID, &tokens.refresh).await.1);
    list.block(ID);
    let (status, answer) = rig.refresh(ID, &next.refresh).await;
    assert_eq!((status, &answer["error"]), (400, &json!("unauthorized_client")));
}
