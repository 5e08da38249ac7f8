//! Answers in the formats of real providers.

use std::time::Duration;

use tokenkeeper_actors::law::profile::{Evidence, Judgement, Profile};
use tokenkeeper_actors::values::TokenKind;

use super::{ASKED, answer, lifetime, profile_of, refresh, refusal, said, scopes, tokens, word};
use crate::issuers::providers::default_profile;

/// Whether the profile of `provider` ends the grant on this answer.
#[track_caller]
fn is_dead(profile: &Profile, evidence: Evidence) -> bool {
    matches!(profile.judge(evidence), Judgement::Dead)
}

#[test]
fn the_standard_answer() {
    let tokens =
        tokens(r#"{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt","scope":"a b"}"#);
    assert_eq!(tokens.access.expose(), "at");
    assert_eq!(tokens.kind, TokenKind::Bearer);
    assert_eq!(lifetime(&tokens), Some(3600));
    assert_eq!(tokens.validity.anchored(), ASKED, "anchored at the start of the request");
    assert_eq!(refresh(&tokens), Some("rt"));
    assert_eq!(scopes(&tokens), Some(vec!["a", "b"]));
    assert_eq!(tokens.subject, None);
    assert!(tokens.binding.is_none());
}

#[test]
fn github_answers_form_encoded_and_puts_errors_into_200() {
    let tokens = tokens(
        "access_token=ghu_1&expires_in=28800&refresh_token=ghr_1%2B&refresh_token_expires_in=15811200&scope=\
         &token_type=bearer",
    );
    assert_eq!((tokens.access.expose(), refresh(&tokens)), ("ghu_1", Some("ghr_1+")));
    assert_eq!((lifetime(&tokens), scopes(&tokens)), (Some(28_800), None));

    let dead = "error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect+or+expired.";
    assert_eq!(word(200, dead), said(200, "bad_refresh_token"));
    let profile = profile_of("github");
    assert!(is_dead(&profile, answer(200, &[], dead)));
    assert!(is_dead(&default_profile(), answer(200, &[], dead)));
    assert!(!is_dead(&Profile::default(), answer(200, &[], dead)));
    assert_eq!(word(200, r#"{"error":"bad_verification_code"}"#), said(200, "bad_verification_code"));
}

#[test]
fn github_separates_scopes_by_commas() {
    assert_eq!(scopes(&tokens("access_token=a&scope=repo%2Cgist")), Some(vec!["repo", "gist"]));
    assert_eq!(scopes(&tokens(r#"{"access_token":"a","scope":"a,b"}"#)), Some(vec!["a", "b"]));
}

#[test]
fn slack_says_ok_false_and_nests_the_users_token_on_exchange() {
    let refreshed = tokens(
        r#"{"ok":true,"access_token":"xoxe.xoxp-1","expires_in":43200,"refresh_token":"xoxe-1","token_type":"user",
            "scope":"chat:write,im:read"}"#,
    );
    assert_eq!((refreshed.access.expose(), refresh(&refreshed)), ("xoxe.xoxp-1", Some("xoxe-1")));
    assert_eq!((refreshed.kind, lifetime(&refreshed)), (TokenKind::Bearer, Some(43_200)));
    assert_eq!(scopes(&refreshed), Some(vec!["chat:write", "im:read"]));

    let nested = tokens(
        r#"{"ok":true,"app_id":"A1","authed_user":{"id":"U1","scope":"search:read","access_token":"xoxe.xoxp-2",
            "token_type":"user","refresh_token":"xoxe-2","expires_in":43200},"team":{"id":"T1"}}"#,
    );
    assert_eq!((nested.access.expose(), refresh(&nested)), ("xoxe.xoxp-2", Some("xoxe-2")));
    assert_eq!((scopes(&nested), lifetime(&nested)), (Some(vec!["search:read"]), Some(43_200)));

    let alone = tokens(r#"{"ok":true,"authed_user":{"access_token":"xoxp-3"}}"#);
    assert_eq!((alone.access.expose(), refresh(&alone)), ("xoxp-3", None));

    let both = tokens(
        r#"{"ok":true,"access_token":"xoxb-1","authed_user":{"id":"U1","access_token":"xoxp","refresh_token":"xoxe-u"}}"#,
    );
    assert_eq!(
        (both.access.expose(), refresh(&both)),
        ("xoxb-1", None),
        "the refresh token belongs to the user's token"
    );

    let dead = r#"{"ok":false,"error":"invalid_refresh_token"}"#;
    assert_eq!(word(200, dead), said(200, "invalid_refresh_token"));
    assert!(is_dead(&profile_of("slack"), answer(200, &[], dead)));
    assert_eq!(word(200, r#"{"ok":false}"#), (200, None));
}

#[test]
fn salesforce_gives_no_lifetime() {
    let tokens = tokens(
        r#"{"access_token":"00D!AQ","signature":"s=","scope":"api refresh_token","instance_url":"https://x.my.salesforce.com",
            "id":"https://login.salesforce.com/id/00D/005","token_type":"Bearer","issued_at":"1767225600123"}"#,
    );
    assert_eq!((lifetime(&tokens), refresh(&tokens)), (None, None));
}

#[test]
fn google_omits_the_refresh_token_and_keycloak_adds_members() {
    let google = tokens(
        r#"{"access_token":"ya29.a","expires_in":3599,"scope":"openid https://www.googleapis.com/auth/drive","token_type":"Bearer"}"#,
    );
    assert_eq!((refresh(&google), lifetime(&google)), (None, Some(3599)));
    let keycloak = tokens(
        r#"{"access_token":"e.e.e","expires_in":300,"refresh_expires_in":0,"refresh_token":"rt","token_type":"Bearer",
            "not-before-policy":0,"session_state":"s","scope":"email profile"}"#,
    );
    assert_eq!((refresh(&keycloak), lifetime(&keycloak)), (Some("rt"), Some(300)));
    let gone = answer(400, &[], r#"{"error":"invalid_grant","error_description":"Session not active"}"#);
    assert!(is_dead(&profile_of("keycloak"), gone));
}

#[test]
fn atlassian_refuses_with_403() {
    let gone = r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#;
    assert!(is_dead(&profile_of("atlassian"), answer(403, &[], gone)));
    let rovo = r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#;
    assert_eq!(word(403, rovo), said(403, "invalid_refresh_token"));
    assert!(is_dead(&profile_of("atlassian"), answer(403, &[], rovo)), "by its description");
    let client = r#"{"error":"unauthorized_client","error_description":"grant type not allowed"}"#;
    assert!(!is_dead(&profile_of("atlassian"), answer(403, &[], client)));
}

#[test]
fn supabase_has_an_error_code() {
    let gone =
        r#"{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}"#;
    assert_eq!(word(400, gone), said(400, "refresh_token_not_found"));
    assert!(is_dead(&profile_of("supabase"), answer(400, &[], gone)));
    assert_eq!(word(422, r#"{"message":"Unrecognized client_id"}"#), said(422, "invalid_client"));
}

#[test]
fn linear_notion_and_the_others_say_invalid_grant() {
    for provider in ["linear", "notion", "google", "salesforce", "entra"] {
        let gone = answer(400, &[], r#"{"error":"invalid_grant","error_description":"Grant not found"}"#);
        assert!(is_dead(&profile_of(provider), gone), "{provider}");
    }
}

#[test]
fn a_throttle_says_for_how_long() {
    let told = |headers: &[(&str, &str)]| refusal(429, headers, "").retry_after;
    assert_eq!(told(&[("retry-after", "17")]), Some(Duration::from_secs(17)));
    assert_eq!(told(&[("retry-after", "Thu, 01 Jan 2026 00:00:30 GMT")]), Some(Duration::from_secs(30)));
    let by_its_own_clock =
        [("date", "Fri, 02 Jan 2026 00:00:00 GMT"), ("retry-after", "Fri, 02 Jan 2026 00:00:05 GMT")];
    assert_eq!(told(&by_its_own_clock), Some(Duration::from_secs(5)));
    assert_eq!(told(&[("retry-after", "soon")]), None);
    assert_eq!(refusal(503, &[("retry-after", "9")], "<html>").retry_after, Some(Duration::from_secs(9)));
}
