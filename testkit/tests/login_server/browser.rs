//! The pages of consent, and the browser that visits them.

use tokenkeeper_testkit::login_server::{Browser, Consent, LoginServer};

use crate::client::{Careless, REDIRECT, json, with};

#[tokio::test]
async fn a_page_is_answered_by_its_buttons_once() {
    let server = LoginServer::builder().consents(Consent::Page).start().await.unwrap();
    let client = Careless::register(&server).await;
    for (button, parameter) in [(Consent::Allow, "code"), (Consent::Deny, "error")] {
        let page = client.ask("tools:read").await;
        assert_eq!((page.status, &page.callback), (200, &None));
        assert!(page.page.contains(&client.id) && page.page.contains("tools:read"), "{}", page.page);
        let visit = page.press(button).await.unwrap();
        assert!(visit.callback.as_ref().unwrap().starts_with(REDIRECT), "{visit:?}");
        assert!(visit.query(parameter).is_some(), "{visit:?}");
        assert_eq!(page.press(Consent::Allow).await.unwrap().status, 400);
    }
    let counts = server.counts();
    assert_eq!((counts.pages, counts.allowed, counts.declined), (2, 1, 1));
}

#[tokio::test]
async fn a_browser_completes_a_login_at_the_clients_callback() {
    let (server, host) = (LoginServer::start().await.unwrap(), LoginServer::start().await.unwrap());
    let mut client = Careless::register(&server).await;
    // Another server stands for the host. It has no such page.
    let callback = format!("{}/callback", host.origin());
    let parameters = with(client.parameters(""), "redirect_uri", Some(&callback));
    let page = Browser::complete(&client.url_of(&parameters)).await.unwrap();
    assert_eq!(page.status, 404);
    let log = host.log();
    assert_eq!((log.len(), &*log[0].path, log[0].parameter("state")), (1, "/callback", "state-1"));
    assert_eq!(log[0].parameter("iss"), server.issuer());
    client.id = "unknown".to_owned();
    assert_eq!(Browser::complete(&client.url("")).await.unwrap().status, 400);
    assert_eq!(host.counts().at("/callback"), 1);
}

#[tokio::test]
async fn a_head_request_and_other_methods_consume_nothing() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    for method in [reqwest::Method::HEAD, reqwest::Method::OPTIONS, reqwest::Method::POST] {
        assert_eq!(client.http.request(method, client.url("")).send().await.unwrap().status(), 405);
    }
    assert_eq!(server.counts().allowed, 0);
    assert!(json(client.token(&client.exchange("x")).await).await.get("error").is_some());
}
