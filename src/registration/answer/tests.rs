//! Answers of registration endpoints.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(status: u16, body: impl Into<Vec<u8>>) -> RegistrationAnswer {
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    read_registration(&answer)
}

fn registered(body: impl Into<Vec<u8>>) -> ClientInformation {
    match read(201, body) {
        RegistrationAnswer::Registered(client) => *client,
        other => panic!("{other:?}"),
    }
}

fn with(members: serde_json::Value) -> ClientInformation {
    let mut client = members;
    client["client_id"] = json!("c");
    registered(client.to_string())
}

#[test]
fn the_answer_of_rfc_7591_is_read() {
    let client = registered(
        r#"{
            "client_id": "s6BhdRkqt3", "client_secret": "cf136dc3c1fc93f31185e5885805d", "client_id_issued_at": 2893256800,
            "client_secret_expires_at": 2893276800,
            "redirect_uris": ["https://client.example.org/callback", "https://client.example.org/callback2"],
            "grant_types": ["authorization_code", "refresh_token"], "client_name": "My Example Client",
            "client_name#ja-Jpan-JP": "クライアント名", "token_endpoint_auth_method": "client_secret_basic",
            "logo_uri": "https://client.example.org/logo.png", "jwks_uri": "https://client.example.org/my_public_keys.jwks",
            "example_extension_parameter": {"deep": [1, {"a": null}]}
        }"#,
    );
    assert_eq!(client.client_id, "s6BhdRkqt3");
    assert_eq!(client.client_secret.unwrap().expose(), "cf136dc3c1fc93f31185e5885805d");
    assert_eq!(client.secret_expires_at, Some(WallTime::from_millis(2_893_276_800_000)));
    assert_eq!(client.auth_method.as_deref(), Some("client_secret_basic"));
    assert_eq!(client.redirect_uris.unwrap().len(), 2);
    assert_eq!(client.grant_types.unwrap(), ["authorization_code", "refresh_token"]);
    assert_eq!((client.scopes, client.application_type, client.management), (None, None, None));
}

#[test]
fn the_identifier_is_text_or_an_integer() {
    assert_eq!(registered(r#"{"client_id":12345}"#).client_id, "12345");
    assert_eq!(registered("\u{feff} {\"client_id\":\"a b\"} trailing").client_id, "a b");
    let long = format!(r#"{{"client_id":"{}"}}"#, "a".repeat(MAX_ID + 1));
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "<html>",
        "client_id=a",
        r#"{"client_id":""}"#,
        r#"{"client_id":" "}"#,
        r#"{"client_id":null}"#,
        r#"{"client_id":1.5}"#,
        r#"{"client_id":1e300}"#,
        r#"{"client_id":["a"]}"#,
        r#"{"client_id":"a\u0000"}"#,
        r#"{"client_id":"é"}"#,
        r#"{"client_id":"a"#,
        r#"{"client_id":"a""#,
        r#"{"client_id":"a","client_id":"b"}"#,
        r#"{"client_id":"a","client_secret":"s\n"}"#,
        &long,
    ] {
        assert_eq!(read(201, body), RegistrationAnswer::Unreadable, "{body}");
        assert_eq!(read(200, body), RegistrationAnswer::Unreadable, "{body}");
    }
    assert_eq!(read(204, r#"{"client_id":"a"}"#), read(204, r#"{"client_id":"b"}"#));
}

#[test]
fn a_secret_ends_at_a_time_in_seconds_or_milliseconds_or_never() {
    let at = |value: serde_json::Value| with(json!({"client_secret_expires_at": value})).secret_expires_at;
    let time = Some(WallTime::from_millis(1_798_761_600_000));
    for same in [
        json!(1_798_761_600),
        json!("1798761600"),
        json!(1_798_761_600_000_u64),
        json!(1_798_761_600.0),
        json!(" 1798761600 "),
    ] {
        assert_eq!(at(same.clone()), time, "{same}");
    }
    for never in [
        json!(0),
        json!("0"),
        json!(-1),
        json!(null),
        json!(""),
        json!("never"),
        json!("NaN"),
        json!([]),
        json!({}),
        json!(false),
    ] {
        assert_eq!(at(never.clone()), None, "{never}");
    }
    assert_eq!(at(json!("inf")), Some(WallTime::from_millis(u64::MAX)));
    assert_eq!(with(json!({})).secret_expires_at, None);
}

#[test]
fn members_of_other_types_are_absent() {
    for other in [json!(null), json!(1), json!(true), json!({"a": "b"}), json!(1.5), json!(-1)] {
        let client = with(json!({
            "client_secret": other, "token_endpoint_auth_method": other, "redirect_uris": other, "grant_types": other,
            "scope": other, "application_type": other, "registration_access_token": other, "registration_client_uri": other,
        }));
        let bare = with(json!({}));
        assert_eq!(client, bare, "{other}");
    }
    assert_eq!(with(json!({"redirect_uris": ["a", 1, null, ["b"], {}, "c"]})).redirect_uris.unwrap(), ["a", "c"]);
    assert_eq!(with(json!({"redirect_uris": vec!["a"; 1_000]})).redirect_uris.unwrap().len(), MAX_ELEMENTS);
    assert_eq!(with(json!({"token_endpoint_auth_method": "a\u{1b}b"})).auth_method, None);
    assert_eq!(with(json!({"client_secret": ""})).client_secret, None);
}

#[test]
fn scopes_types_and_management_are_read() {
    for scope in [json!("a b"), json!("a,b"), json!(["a", "b"])] {
        assert_eq!(with(json!({"scope": scope})).scopes, Some(Scopes::new(["a", "b"])), "{scope}");
    }
    assert_eq!(with(json!({"scope": ""})).scopes, None);
    assert_eq!(with(json!({"scope": []})).scopes, None);
    assert_eq!(with(json!({"application_type": "web"})).application_type, Some(ApplicationType::Web));
    assert_eq!(with(json!({"application_type": "native"})).application_type, Some(ApplicationType::Native));
    assert_eq!(with(json!({"application_type": "other"})).application_type, None);
    assert_eq!(with(json!({"registration_access_token": "t"})).management, None);
    assert_eq!(with(json!({"registration_client_uri": "https://a"})).management, None);
    assert_eq!(
        with(json!({"registration_client_uri": "https://a", "registration_access_token": "a\r\nb"})).management,
        None
    );
    let management = with(json!({"registration_client_uri": "https://a", "registration_access_token": "t"})).management;
    assert_eq!(management.unwrap().token.expose(), "t");
}

#[test]
fn a_refusal_is_a_status_a_word_and_a_clean_description() {
    let refused = |status, body: &str| match read(status, body) {
        RegistrationAnswer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let refusal = refused(400, r#"{"error":"invalid_redirect_uri","error_description":"no\u001b[2J\u202e  way"}"#);
    assert_eq!(refusal.error.as_deref(), Some("invalid_redirect_uri"));
    assert_eq!(refusal.description.as_deref(), Some("no [2J way"));
    for body in ["", "<html>no</html>", r#"{"error":{"code":1}}"#, r#"{"error":"two words"}"#, r#"{"error":"a"#] {
        assert_eq!(refused(404, body), Refusal { status: 404, error: None, description: None }, "{body}");
    }
    let long = "é".repeat(1_000);
    let cut = refused(400, &json!({"error_description": long, "error": "e".repeat(65)}).to_string());
    assert_eq!((cut.description.map(|text| text.chars().count()), cut.error), (Some(MAX_DESCRIPTION), None));
    let exact = "é".repeat(MAX_DESCRIPTION);
    assert_eq!(refused(400, &json!({"error_description": exact}).to_string()).description, Some(exact));
}

/// A value of a member, often of the expected type.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}".prop_map(|text| json!(text).to_string()),
        "\\PC{0,12}".prop_map(|text| json!(text).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| json!(number).to_string()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just(r#"["a",[1,{}],"b"]"#.to_owned()),
        Just(r#"{"client_id":"inner","a":[]}"#.to_owned()),
    ]
}

proptest! {
    #[test]
    fn an_object_is_read_as_a_plain_reader_reads_it(
        id in value(),
        secret in value(),
        others in proptest::collection::vec(value(), 5),
        cut in 0_usize..200,
    ) {
        let names = ["client_secret_expires_at", "redirect_uris", "scope", "registration_access_token", "contacts"];
        let others: Vec<String> = names.iter().zip(&others).map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
        let body = format!(r#"{{"client_id":{id},{},"client_secret":{secret}}}"#, others.join(","));
        let plain: serde_json::Value = serde_json::from_str(&body).unwrap();
        let text = |name: &str| plain[name].as_str().map(str::to_owned);
        match read(201, body.clone()) {
            RegistrationAnswer::Registered(client) => {
                prop_assert!(text("client_id").is_none_or(|id| id == client.client_id));
                let secret = text("client_secret").filter(|secret| !secret.is_empty());
                prop_assert_eq!(client.client_secret.map(|secret| secret.expose().to_owned()), secret);
            }
            RegistrationAnswer::Unreadable => {
                let is_fit = |text: Option<String>| text.is_some_and(|text| is_sendable(&text));
                let has_secret = text("client_secret").is_some_and(|secret| !secret.is_empty());
                prop_assert!(!is_fit(text("client_id")) || has_secret && !is_fit(text("client_secret")));
            }
            other => prop_assert!(false, "{other:?}"),
        }
        // An object that breaks off is unreadable.
        let end = (0..body.len()).rev().filter(|end| body.is_char_boundary(*end)).nth(cut.min(body.chars().count() - 1));
        prop_assert_eq!(read(201, &body.as_bytes()[..end.unwrap()]), RegistrationAnswer::Unreadable);
    }

    #[test]
    fn any_body_is_read_without_harm(status in 200_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        match read(status, body) {
            RegistrationAnswer::Registered(client) => prop_assert!(is_sendable(&client.client_id)),
            RegistrationAnswer::Refused(refusal) => prop_assert_eq!(refusal.status, status),
            RegistrationAnswer::Unreadable => prop_assert!((200..300).contains(&status)),
        }
    }

    #[test]
    fn what_is_shown_is_plain_and_short(text in "\\PC{0,300}|.{0,300}") {
        if let Some(shown) = shown(&text) {
            prop_assert!(shown.chars().all(|c| is_plain(c) || c == '…') && shown.chars().count() <= MAX_DESCRIPTION);
        }
    }
}
