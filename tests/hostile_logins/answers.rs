//! Answers of token endpoints.

use serde_json::json;
use tokenkeeper::http::Reach;
use tokenkeeper::{LoginReason, LoginSettings, TokenOptions};

use crate::within::within;
use crate::world::*;

const TOKEN: &str = "https://as.example.com/token";

async fn ends(body: impl Into<Vec<u8>>) -> (Result<(), LoginReason>, bool) {
    let world = World::new();
    world.on_text(TOKEN, 200, body);
    let (_runtime, session) = world.session(LoginSettings::default()).await;
    let page = page(&session).await.unwrap();
    let end = answer(&session, &page).await;
    let stored = world.record(&session).await.is_some_and(|record| record.grant().is_some());
    (end, stored)
}

/// A token of a type that is not understood must not be used (RFC 6749 section 7.1), in whichever way the answer is spelt.
#[tokio::test]
async fn a_token_of_an_unknown_type_is_never_stored() {
    for body in [
        r#"{"access_token":"at","token_type":"mac"}"#,
        "\u{feff}{\"access_token\":\"at\",\"token_type\":\"mac\"}",
        r#"{"access_token":"at","token_type":"mac"} and more"#,
        r#"{"access_token":"at","token_type":"mac","token_type":"mac"}"#,
        r#"{"access_token":"at","tokenType":"mac"}"#,
        "access_token=at&token_type=mac",
        r#"{"access_token":"at","token_type":"N_A"}"#,
        r#"{"data":{"access_token":"at","token_type":"mac"}}"#,
    ] {
        assert_eq!(ends(body).await, (Err(LoginReason::Refused), false), "{body}");
    }
}

#[tokio::test]
async fn an_answer_without_a_usable_token_stores_nothing() {
    for body in [r#"{"access_token":"a\u0001b"}"#, r#"{"access_token":""}"#, "{}", r#"{"refresh_token":" "}"#] {
        let (end, stored) = ends(body).await;
        assert!(end.is_err() && !stored, "{body} {end:?}");
    }
}

/// The reach of a login holds for its refreshes.
#[tokio::test]
async fn a_refresh_has_the_reach_of_the_login() {
    for reach in [Reach::Any, Reach::Public, Reach::PublicOrLoopback] {
        let world = World::new();
        let settings = LoginSettings::default().discovery(move |discovery| Ok(discovery.reach(reach)));
        let (_runtime, session) = world.session(settings).await;
        let page = page(&session).await.unwrap();
        answer(&session, &page).await.unwrap();
        world.on(TOKEN, 200, json!({ "access_token": "at-2", "refresh_token": "rt-2", "token_type": "Bearer" }));
        let options = TokenOptions { force: true, ..TokenOptions::default() };
        within("a token", session.token_with(options)).await.unwrap();
        let sent = world.sent_to(TOKEN);
        assert_eq!(sent.iter().map(|sent| sent.reach).collect::<Vec<_>>(), [reach, reach]);
    }
}
