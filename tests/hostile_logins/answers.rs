//! Answers of token endpoints.

use serde_json::json;
use tokenkeeper::http::Reach;
use tokenkeeper::{LoginMethod, LoginReason, LoginSettings, TokenOptions};

use crate::within::{until, within};
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

/// The error of a poll is read as leniently as the tokens are. A login that is pending would end otherwise.
#[tokio::test]
async fn a_device_login_is_pending_however_the_answer_is_spelt() {
    for body in ["\u{feff}{\"error\":\"authorization_pending\"}", "error=authorization_pending"] {
        let world = World::new();
        world.on(
            "https://as.example.com/device",
            200,
            json!({
                "device_code": "dc-1",
                "user_code": "ABCD-EFGH",
                "verification_uri": "https://as.example.com/activate",
                "interval": 1,
            }),
        );
        world.on_text(TOKEN, 400, body);
        let (_runtime, session) = world.session(LoginSettings::default()).await;
        begin(&session, LoginMethod::Device).await.unwrap();
        until("a poll", || !world.sent_to(TOKEN).is_empty()).await;
        world.on(TOKEN, 200, json!({ "access_token": "at-1", "token_type": "Bearer" }));
        until("the end", || !session.state().signing_in).await;
        assert_eq!(within("a token", session.token()).await.unwrap().token().expose(), "at-1", "{body}");
    }
}
