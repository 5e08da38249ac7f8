//! The page of consent in a real browser, which applies cookies, policies and redirects as browsers do.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::chromium::{Chromium, Colours};
use super::rig::{Rig, Tokens, VERIFIER, query};

/// The width of a small phone.
const PHONE: u32 = 320;

#[tokio::test]
async fn a_person_allows_a_client_in_chromium() {
    let Some(mut browser) = Chromium::start().await else { return };
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let back = format!("http://{}/callback", listener.local_addr().unwrap());
    let app = Router::new().route("/callback", get(async || "the client has the answer"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    let client = rig.register_at(&back).await;
    let page = rig.authorize(&client, &[("redirect_uri", &back)]);

    browser.open(&page).await;
    let words = browser.words().await;
    assert_eq!(words[0], "Allow “Test <Client>” to act for you?");
    assert!(words.iter().any(|word| word.contains("Upstream & Co")), "{words:?}");
    let ground = "getComputedStyle(document.body).backgroundColor";
    for (colours, wanted) in [(Colours::Light, "rgb(243, 244, 246)"), (Colours::Dark, "rgb(20, 23, 26)")] {
        browser.prefer(colours).await;
        assert_eq!(browser.evaluate(ground).await, wanted, "the policy allows the style, in each of its colours");
        browser.narrow(Some(PHONE)).await;
        assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= innerWidth").await, true);
        browser.narrow(None).await;
    }

    browser.press("Allow").await;
    assert_eq!(browser.words().await, ["the client has the answer"]);
    let address = browser.address().await;
    assert!(address.starts_with(&back), "{address}");
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client.as_str()),
        ("code", &query(&address, "code").unwrap()),
        ("code_verifier", VERIFIER),
        ("redirect_uri", &back),
    ];
    let (status, answer) = rig.token(&form).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(rig.call(&Tokens::of(&answer).access).await.json()["upstream"], "alice");

    // The browser knows its person now, who may decline.
    browser.open(&page).await;
    assert!(browser.words().await.iter().any(|word| word.contains("Use another account")));
    browser.press("Cancel").await;
    assert_eq!(query(&browser.address().await, "error").as_deref(), Some("access_denied"));
}
