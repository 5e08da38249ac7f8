//! The choice among several codes, and the forms of one.

use http::HeaderValue;

use super::meaning::forms;
use super::*;

fn profile() -> Profile {
    Profile {
        dead_words: ["invalid_grant", "invalid_refresh_token", "own-dead", "EndedCode", "1101"]
            .map(str::to_owned)
            .into(),
        client_words: ["invalid_client", "own_client"].map(str::to_owned).into(),
        unspent_words: vec!["own_unspent".to_owned()],
        ..Profile::default()
    }
}

fn chosen(candidates: &[(Place, &str)]) -> Option<String> {
    let mut words = Words::default();
    for (place, text) in candidates {
        words.add(*place, text);
    }
    words.choose(&profile())
}

#[test]
fn a_code_with_a_meaning_is_preferred_wherever_it_stands() {
    use Place::{Code, Error, Text, Type};
    for (candidates, due) in [
        (vec![(Type, "invalid_request_error"), (Code, "own-dead")], "own-dead"),
        (vec![(Error, "invalid_request"), (Code, "own_client")], "own_client"),
        (vec![(Error, "invalid_request"), (Text, "Invalid refresh token")], "invalid_refresh_token"),
        (vec![(Error, "x"), (Code, "y"), (Type, "own_unspent")], "own_unspent"),
        (vec![(Error, "x"), (Code, "1101")], "1101"),
        (vec![(Error, "use_dpop_nonce"), (Code, "y")], "use_dpop_nonce"),
        (vec![(Text, "EndedCode")], "EndedCode"),
        // If two codes have a meaning, the one in the first place counts.
        (vec![(Text, "invalid_grant"), (Code, "own_client"), (Error, "own-dead")], "own-dead"),
    ] {
        assert_eq!(chosen(&candidates).as_deref(), Some(due), "{candidates:?}");
    }
}

#[test]
fn a_code_without_a_meaning_is_reported_by_its_place() {
    use Place::{Code, Error, Text, Type};
    assert_eq!(chosen(&[(Type, "t"), (Code, "c"), (Error, "e")]).as_deref(), Some("e"));
    assert_eq!(chosen(&[(Type, "t"), (Code, "c")]).as_deref(), Some("c"));
    assert_eq!(chosen(&[(Type, "t"), (Code, "400"), (Error, "two words")]).as_deref(), Some("t"));
    assert_eq!(chosen(&[(Text, "t")]), None, "text is not repeated");
    assert_eq!(chosen(&[]), None);
}

#[test]
fn a_text_beside_a_fault_of_the_server_says_nothing_about_the_token() {
    for fault in ["server_error", "temporarily_unavailable", "InternalServerError"] {
        let candidates = [(Place::Error, fault), (Place::Text, "Invalid refresh token")];
        assert_eq!(chosen(&candidates).as_deref(), Some(fault));
    }
    assert_eq!(chosen(&[(Place::Error, "server_error"), (Place::Code, "own-dead")]).as_deref(), Some("own-dead"));
}

#[track_caller]
fn has_form(text: &str, form: &str) {
    assert!(forms(text).iter().any(|other| other == form), "{text}: {:?}", forms(text));
}

#[test]
fn one_code_in_many_spellings() {
    for text in [
        "invalid_grant",
        "INVALID_GRANT",
        "invalid-grant",
        "InvalidGrant",
        "invalidGrant",
        "Invalid grant",
        "Invalid grant.",
        "InvalidGrantException",
        "invalid_grant_error",
        "invalid_grant: Token has been expired or revoked.",
        "com.example.auth#InvalidGrantException",
        "urn:ietf:params:oauth:error:invalid_grant",
        "https://errors.example.com/invalid_grant",
        "oauth.v2.invalid_grant",
        "\"invalid_grant\"",
    ] {
        has_form(text, "invalid_grant");
    }
}

#[test]
fn whatever_a_server_calls_a_refresh_token_that_is_not_good() {
    for text in [
        "refresh_token_reused",
        "REFRESH_TOKEN_EXPIRED",
        "RefreshTokenRevokedException",
        "bad_refresh_token",
        "invalid refreshToken",
        "refresh_token_not_found",
        "refresh_token_already_used",
        "Invalid refresh token",
        "The refresh token is invalid or expired.",
        "The provided refresh token was revoked",
        "refresh_token is invalid",
        "Refresh token does not exist",
        "Refresh token is no longer valid",
        "Refresh Token has been revoked",
        "Unknown or invalid refresh token.",
        "Invalid refresh token (expired): abc",
        "Invalid Refresh Token: Already Used",
        "Refresh token expired. Please sign in again.",
        "Refresh token reuse detected",
        "The provided authorization grant or refresh token is invalid, expired or revoked",
        "token was already used",
        "keymanagement.service.invalid_refresh_token",
    ] {
        has_form(text, "invalid_refresh_token");
    }
}

#[test]
fn whatever_a_server_calls_a_client_that_is_not_accepted() {
    for text in [
        "incorrect_client_credentials",
        "bad_client_secret",
        "invalid_client_id",
        "Unrecognized client_id",
        "Client not found",
        "Client authentication failed",
        "client_secret_expired",
        "InvalidClientException",
        "invalid_client_assertion",
    ] {
        has_form(text, "invalid_client");
    }
}

#[test]
fn other_text_has_no_general_form() {
    for text in [
        "refresh_token",
        "refresh_token_required",
        "Missing refresh token",
        "missing or invalid refresh token",
        "The refresh token has not expired",
        "Invalid refresh token format",
        "refresh_token_rate_limited",
        "Could not check whether the refresh token expired",
        "Refresh token is not invalid",
        "invalid_token",
        "token expired",
        "token not found",
        "token already expired",
        "Invalid grant refresh_token",
        "unauthorized_client",
        "invalid_client_metadata",
        "client",
        "client_id",
        "Invalid client token",
        "The client is not allowed to use this grant",
        "not found",
        "",
    ] {
        let general = ["invalid_refresh_token", "invalid_client", "invalid_grant"];
        assert!(forms(text).iter().all(|form| !general.contains(&form.as_str())), "{text}: {:?}", forms(text));
    }
}

#[test]
fn headers_hold_codes_too() {
    let chosen = |name: &'static str, value: &'static str| {
        let headers = [(name.parse().unwrap(), HeaderValue::from_static(value))].into_iter().collect();
        let mut words = Words::default();
        words.add_headers(&headers);
        words.choose(&profile())
    };
    assert_eq!(chosen("x-sb-error-code", "some_code").as_deref(), Some("some_code"));
    let aws = chosen("x-amzn-errortype", "InvalidGrantException:http://internal.amazon.com/coral/x/");
    assert_eq!(aws.as_deref(), Some("invalid_grant"));
    let challenge = chosen("www-authenticate", r#"Bearer realm="x", error="invalid_grant", error_description="y""#);
    assert_eq!(challenge.as_deref(), Some("invalid_grant"));
    assert_eq!(chosen("www-authenticate", r#"Bearer error="invalid_token""#), None, "it is about an access token");
}

#[test]
fn candidates_are_bounded_and_shown_nowhere() {
    let mut words = Words::default();
    for _ in 0..100 {
        words.add(Place::Text, &"ä".repeat(1000));
    }
    let mut other = Words::default();
    other.add(Place::Error, "hush");
    words.append(other);
    assert!(words.0.len() == MAX_CANDIDATES && words.0.iter().all(|candidate| candidate.text.len() <= MAX_TEXT));
    assert!(!format!("{words:?}").contains("ä"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn no_text_makes_the_choice_stumble(
        texts in proptest::collection::vec((0_usize..4, "\\PC{0,80}"), 0..6),
    ) {
        let places = [Place::Error, Place::Code, Place::Type, Place::Text];
        let candidates: Vec<_> = texts.iter().map(|(place, text)| (places[*place], text.as_str())).collect();
        if let Some(word) = chosen(&candidates) {
            proptest::prop_assert!(is_word(&word));
        }
    }
}
