//! Device logins (RFC 8628).

use std::time::Duration;

use serde_json::Value;
use tokenkeeper_testkit::login_server::{Browser, Consent, Endpoint, LoginServer};

use crate::client::{Careless, error, json, word};

struct Device<'a> {
    client: Careless<'a>,
    answer: Value,
}

impl<'a> Device<'a> {
    async fn begin(server: &'a LoginServer) -> Self {
        let client = Careless::register(server).await;
        let parameters =
            [("client_id", client.id.clone()), ("scope", "tools:read".to_owned()), ("resource", server.resource_url())];
        let answer = json(client.form("/device_authorization", &parameters).await).await;
        Self { client, answer }
    }

    fn user_code(&self) -> &str {
        word(&self.answer, "user_code")
    }

    async fn poll(&self) -> reqwest::Response {
        self.client
            .token(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code".to_owned()),
                ("client_id", self.client.id.clone()),
                ("device_code", word(&self.answer, "device_code").to_owned()),
                ("resource", self.client.server.resource_url()),
            ])
            .await
    }

    async fn poll_error(&self) -> String {
        error(self.poll().await).await.1
    }
}

#[tokio::test]
async fn a_device_waits_for_its_person_and_gets_tokens_once() {
    let server = LoginServer::builder().device_interval(1).start().await.unwrap();
    let device = Device::begin(&server).await;
    assert_eq!((device.answer["interval"].as_u64(), device.answer["expires_in"].as_u64()), (Some(1), Some(600)));
    assert_eq!(server.user_codes(), [device.user_code()]);
    assert_eq!(device.poll_error().await, "authorization_pending");
    assert!(server.slow_device(device.user_code(), 1));
    assert_eq!(device.poll_error().await, "slow_down");
    assert_eq!(device.poll_error().await, "authorization_pending");
    assert!(server.approve_device(device.user_code()));
    assert!(!server.approve_device(device.user_code()) && !server.approve_device("USER-9999"));
    let answer = json(device.poll().await).await;
    assert_eq!(word(&answer, "scope"), "tools:read");
    assert_eq!(device.client.call("any", word(&answer, "access_token")).await.status(), 200);
    assert_eq!(device.poll_error().await, "invalid_grant");

    let counts = server.counts();
    assert_eq!((counts.of(Endpoint::DeviceAuthorization), counts.of(Endpoint::Token)), (1, 5));
    assert_eq!((counts.device_codes["device-0"], counts.logins, counts.tokens.rotations), (5, 1, 0));
    assert_eq!(counts.tokens.refusals["authorization_pending"], 2);
}

#[tokio::test]
async fn a_device_is_declined_or_expires() {
    let server = LoginServer::start().await.unwrap();
    let (declined, expired, old) =
        (Device::begin(&server).await, Device::begin(&server).await, Device::begin(&server).await);
    assert!(server.deny_device(declined.user_code()));
    assert_eq!(declined.poll_error().await, "access_denied");
    assert!(server.expire_device(expired.user_code()));
    assert_eq!(expired.poll_error().await, "expired_token");
    assert_eq!(old.poll_error().await, "authorization_pending");
    server.advance(Duration::from_secs(600));
    assert_eq!(old.poll_error().await, "expired_token");
    assert_eq!(server.counts().logins, 0);
}

#[tokio::test]
async fn a_device_that_polls_too_often_is_slowed_down() {
    let server = LoginServer::builder().device_interval(5).enforces_interval().start().await.unwrap();
    let device = Device::begin(&server).await;
    assert_eq!(device.poll_error().await, "authorization_pending");
    assert_eq!(device.poll_error().await, "slow_down");
    server.advance(Duration::from_secs(5));
    assert_eq!(device.poll_error().await, "slow_down", "the interval has grown by five seconds");
    server.advance(Duration::from_secs(15));
    assert_eq!(device.poll_error().await, "authorization_pending");
}

#[tokio::test]
async fn the_person_enters_the_code_on_a_page() {
    let server = LoginServer::builder().consents(Consent::Page).start().await.unwrap();
    for (button, word_of_poll) in [(Consent::Allow, None), (Consent::Deny, Some("access_denied"))] {
        let device = Device::begin(&server).await;
        let page = Browser::open(word(&device.answer, "verification_uri_complete")).await.unwrap();
        assert!(page.page.contains(device.user_code()), "{}", page.page);
        assert_eq!(page.press(button).await.unwrap().status, 200);
        assert_eq!(page.press(button).await.unwrap().status, 400);
        match word_of_poll {
            Some(word) => assert_eq!(device.poll_error().await, word),
            None => assert_eq!(device.poll().await.status(), 200),
        }
    }
    assert_eq!(Browser::open(&format!("{}/device", server.origin())).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_complete_address_answers_by_itself_and_strangers_get_nothing() {
    let server = LoginServer::start().await.unwrap();
    let (device, stranger) = (Device::begin(&server).await, Careless::register(&server).await);
    Browser::open(word(&device.answer, "verification_uri_complete")).await.unwrap();
    let stolen = Device { client: stranger, answer: device.answer.clone() };
    assert_eq!(stolen.poll_error().await, "invalid_grant");
    assert_eq!(device.poll().await.status(), 200);
    let parameters = [("client_id", "client-99".to_owned()), ("resource", server.resource_url())];
    assert_eq!(error(device.client.form("/device_authorization", &parameters).await).await.1, "invalid_client");
    let parameters = [("client_id", device.client.id.clone())];
    assert_eq!(error(device.client.form("/device_authorization", &parameters).await).await.1, "invalid_target");
}
