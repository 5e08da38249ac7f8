//! Addresses and codes that a server chose, and a person sees.

use serde_json::json;
use tokenkeeper::issuers::Client;
use tokenkeeper::registration::Clients;
use tokenkeeper::{LoginMethod, LoginReason, LoginSettings, OfferedPrompt};

use crate::world::*;

async fn device(change: impl FnOnce(&mut serde_json::Value)) -> Result<OfferedPrompt, LoginReason> {
    let world = World::new();
    let mut answer = json!({
        "device_code": "dc-1",
        "user_code": "ABCD-EFGH",
        "verification_uri": "https://as.example.com/activate",
        "verification_uri_complete": "https://as.example.com/activate?code=ABCD-EFGH",
        "expires_in": 600,
    });
    change(&mut answer);
    world.on("https://as.example.com/device", 200, answer);
    let (_runtime, session) = world.session(LoginSettings::default()).await;
    begin(&session, LoginMethod::Device).await.map(|(_, prompt)| prompt)
}

/// The URL parser strips white space and line breaks, and escapes control characters, so that a page which it accepts is
/// not safe to show as it came.
#[tokio::test]
async fn the_page_of_a_device_login_has_no_character_that_acts_on_a_terminal() {
    for bad in [
        "https://as.example.com/\u{1b}]0;owned\u{7}\u{1b}[2J",
        "https://as.example.com/a\r\nOpen https://evil.example instead",
        "https://as.example.com/\u{202e}moc.live",
        " https://as.example.com/\n",
        "https:\\\\as.example.com\\",
        "https://аs.example.com/",
    ] {
        for member in ["verification_uri", "verification_uri_complete"] {
            match device(|answer| answer[member] = json!(bad)).await {
                Ok(OfferedPrompt::Device { url, complete, .. }) => {
                    for shown in [Some(url), complete].into_iter().flatten() {
                        let text = shown.as_str();
                        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{member}: {text:?}");
                        assert_ne!(text, bad, "{member}");
                    }
                }
                Ok(other) => panic!("{other:?}"),
                Err(reason) => assert_eq!(reason, LoginReason::UnsafeAddress, "{bad:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_parts_of_a_device_login_are_bounded() {
    let long = "x".repeat(100_000);
    for member in ["verification_uri", "device_code"] {
        let text = if member == "device_code" { long.clone() } else { format!("https://as.example.com/{long}") };
        device(|answer| answer[member] = json!(text)).await.unwrap_err();
    }
    let complete =
        device(|answer| answer["verification_uri_complete"] = json!(format!("https://as.example.com/{long}")));
    let Ok(OfferedPrompt::Device { complete, .. }) = complete.await else { panic!() };
    assert_eq!(complete, None);
    // No time overflows.
    assert!(device(|answer| answer["expires_in"] = json!(u64::MAX)).await.is_ok());
}

/// A parameter occurs once (RFC 6749 section 3.1). Servers disagree about which of two counts.
#[tokio::test]
async fn the_query_of_the_endpoint_repeats_no_parameter_of_the_request() {
    let world = World::new();
    let query = "tenant=1&redirect_uri=http%3A%2F%2F127.0.0.1%3A22%2Fcallback&state=known&client_id=other&resource=x";
    world.metadata(|document| {
        document["authorization_endpoint"] = json!(format!("https://as.example.com/authorize?{query}"));
    });
    let (_runtime, session) = world.session(LoginSettings::default()).await;
    let page = page(&session).await.unwrap();
    assert_eq!(parameter(&page, "tenant"), ["1"]);
    assert_eq!(parameter(&page, "redirect_uri"), [REDIRECT]);
    assert_eq!(parameter(&page, "resource"), [RESOURCE]);
    assert_eq!(parameter(&page, "client_id"), ["c1"]);
    assert_eq!(parameter(&page, "state").len(), 1);
}

/// RFC 9126 section 2.1: `client_id` is a parameter of the authorization request, however the client authenticates.
#[tokio::test]
async fn a_pushed_request_names_the_client_once_by_every_method() {
    for client in [Client::public("c7"), Client::secret_basic("c7", "s7"), Client::secret_post("c7", "s7")] {
        let world = World::new();
        world.metadata(|document| {
            document["pushed_authorization_request_endpoint"] = json!("https://as.example.com/par");
            document["require_pushed_authorization_requests"] = json!(true);
        });
        world.on("https://as.example.com/par", 201, json!({ "request_uri": "urn:x:1", "expires_in": 60 }));
        let clients = Clients::default().pre_registered(ISSUER, client, [REDIRECT]);
        let (_runtime, session) = world.session(LoginSettings::default().clients(clients)).await;
        let page = page(&session).await.unwrap();
        assert_eq!(parameter(&page, "request_uri"), ["urn:x:1"]);
        let pushed = world.sent_to("https://as.example.com/par").remove(0).body;
        assert_eq!(pushed.matches("client_id=c7").count(), 1, "{pushed}");
    }
}

#[tokio::test]
async fn the_address_of_a_pushed_request_is_bounded() {
    let world = World::new();
    world.metadata(|document| {
        document["pushed_authorization_request_endpoint"] = json!("https://as.example.com/par");
        document["require_pushed_authorization_requests"] = json!(true);
    });
    let (_runtime, session) = world.session(LoginSettings::default()).await;
    for address in [format!("urn:{}", "x".repeat(100_000)), String::new()] {
        world.on("https://as.example.com/par", 201, json!({ "request_uri": address, "expires_in": 60 }));
        assert_eq!(page(&session).await, Err(LoginReason::MetadataUnusable));
    }
}
