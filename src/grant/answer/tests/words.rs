//! The judgement of error answers, by the shapes of real servers.

use http::{Response, StatusCode};
use tokenkeeper_actors::law::profile::{Evidence, Judgement, Profile};

use super::{ASKED, profile_of};
use crate::grant::answer::read_for;
use crate::http::Body;
use crate::issuers::providers::default_profile;

/// The judgement of an answer, with the reported code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    Dead(&'static str),
    Client(&'static str),
    Unspent(&'static str),
    /// In doubt, with a code.
    Doubt(&'static str),
    /// In doubt, without a code.
    NoWord,
}

use Meaning::{Client, Dead, Doubt, NoWord, Unspent};

fn profile(provider: &str) -> Profile {
    if provider.is_empty() { default_profile() } else { profile_of(provider) }
}

#[track_caller]
fn means(provider: &str, status: u16, headers: &[(&str, &str)], body: &str, meaning: &Meaning) {
    let mut answer = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let answer = answer.body(Body::new(body)).unwrap();
    let evidence = read_for(&profile(provider), &answer, ASKED, ASKED.wall);
    let Evidence::Refused(refused) = evidence.clone() else { panic!("{provider} {body}: {evidence:?}") };
    let judgement = profile(provider).judge(evidence);
    let (agrees, word) = match meaning {
        Dead(word) => (matches!(judgement, Judgement::Dead), Some(*word)),
        Client(word) => (matches!(judgement, Judgement::ClientRejected), Some(*word)),
        Unspent(word) => (matches!(judgement, Judgement::Unspent(_)), Some(*word)),
        Doubt(word) => (matches!(judgement, Judgement::InDoubt(_)), Some(*word)),
        NoWord => (matches!(judgement, Judgement::InDoubt(_)), None),
    };
    assert!(agrees, "{provider} {status} {body}: {judgement:?}");
    assert_eq!(refused.error.as_deref(), word, "{provider} {status} {body}");
}

#[test]
fn dead_words_in_the_shapes_of_real_servers() {
    for (status, body, word) in [
        // OpenAI
        (
            401,
            r#"{"error":{"message":"Your refresh token has already been used to generate a new access token.","type":
               "invalid_request_error","param":null,"code":"refresh_token_reused"}}"#,
            "refresh_token_reused",
        ),
        (401, r#"{"error":{"code":"refresh_token_expired","type":"invalid_request_error"}}"#, "refresh_token_expired"),
        // Fitbit
        (
            400,
            r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: x. Visit https://x"}],"success":false}"#,
            "invalid_grant",
        ),
        // HubSpot
        (400, r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}"#, "BAD_REFRESH_TOKEN"),
        // Twitch
        (400, r#"{"error":"Bad Request","status":400,"message":"Invalid refresh token"}"#, "invalid_refresh_token"),
        (401, r#"{"status":401,"message":"invalid refresh token"}"#, "invalid_refresh_token"),
        // Strava
        (
            400,
            r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}"#,
            "refresh_token_invalid",
        ),
        // Atlassian's MCP server
        (
            403,
            r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
            "invalid_refresh_token",
        ),
        // LinkedIn, Gitea, Laravel Passport and Yahoo
        (
            400,
            r#"{"error":"invalid_request","error_description":"The provided authorization grant or refresh token is invalid, expired or revoked"}"#,
            "invalid_refresh_token",
        ),
        (
            400,
            r#"{"error":"unauthorized_client","error_description":"token was already used"}"#,
            "invalid_refresh_token",
        ),
        (
            401,
            r#"{"error":"invalid_request","hint":"x","message":"The refresh token is invalid."}"#,
            "invalid_refresh_token",
        ),
        (400, r#"{"error":{"errorId":"INVALID_GRANT","message":"x"}}"#, "invalid_grant"),
        // Firebase
        (
            400,
            r#"{"error":{"code":400,"message":"INVALID_REFRESH_TOKEN","status":"INVALID_ARGUMENT"}}"#,
            "INVALID_REFRESH_TOKEN",
        ),
        // Cognito, and other services of AWS
        (
            400,
            r#"{"__type":"NotAuthorizedException","message":"Refresh Token has been revoked"}"#,
            "invalid_refresh_token",
        ),
        (400, r#"{"__type":"com.amazonaws.ssooidc#InvalidGrantException","message":null}"#, "invalid_grant"),
        // Spring
        (
            401,
            r#"{"error":"invalid_token","error_description":"Invalid refresh token (expired): x"}"#,
            "invalid_refresh_token",
        ),
        // Apigee
        (
            401,
            r#"{"fault":{"faultstring":"Refresh Token expired","detail":{"errorcode":"keymanagement.service.refresh_token_expired"}}}"#,
            "refresh_token_expired",
        ),
        (401, r#"{"ErrorCode":"invalid_request","Error":"Invalid Refresh Token"}"#, "invalid_refresh_token"),
        // Supabase
        (400, r#"{"code":400,"error_code":"refresh_token_already_used","msg":"x"}"#, "refresh_token_already_used"),
        // FastAPI, problem details, GraphQL, and lists
        (400, r#"{"detail":"invalid_grant"}"#, "invalid_grant"),
        (400, r#"{"detail":{"error":"invalid_grant","error_description":"x"}}"#, "invalid_grant"),
        (
            400,
            r#"{"type":"https://example.com/errors/invalid_grant","title":"Bad request","status":400}"#,
            "invalid_grant",
        ),
        (400, r#"{"errors":[{"message":"x","extensions":{}},{"code":"INVALID_GRANT"}]}"#, "invalid_grant"),
        (400, r#"{"errors":["invalid_grant"]}"#, "invalid_grant"),
        (400, r#"[{"errorCode":"invalid_grant","message":"x"}]"#, "invalid_grant"),
        // An answer within another one
        (400, r#"{"error":{"error":"invalid_grant"}}"#, "invalid_grant"),
        (400, r#"{"data":{"error":"invalid_grant"}}"#, "invalid_grant"),
        (400, r#"{"error":"{\"error\":\"invalid_grant\"}"}"#, "invalid_grant"),
        (400, r#"{"message":"{\"error\":{\"code\":\"invalid_grant\"}}"}"#, "invalid_grant"),
        // Without JSON
        (200, "error=bad_refresh_token&error_description=x", "bad_refresh_token"),
        (400, "invalid_grant", "invalid_grant"),
        (400, r#""invalid_grant""#, "invalid_grant"),
        // Several codes
        (400, r#"{"error":"invalid_request","error_code":"refresh_token_not_found"}"#, "refresh_token_not_found"),
        (400, r#"{"error":"Bad Request","code":"invalid_grant"}"#, "invalid_grant"),
        (400, r#"{"error":"invalid_grant","error_codes":[700082],"suberror":"token_expired"}"#, "invalid_grant"),
        (200, r#"{"ok":false,"error":"invalid_refresh_token"}"#, "invalid_refresh_token"),
        (400, r#"{"error":{"type":"invalid_grant","code":190}}"#, "invalid_grant"),
    ] {
        means("", status, &[], body, &Dead(word));
    }
}

#[test]
fn words_that_only_a_provider_uses() {
    for (provider, status, body, meaning) in [
        ("zoho", 200, r#"{"error":"invalid_code"}"#, Dead("invalid_code")),
        ("zoho", 200, r#"{"error":"Access Denied","status":"failure"}"#, Unspent("access_denied")),
        ("supabase", 403, r#"{"error_code":"session_not_found"}"#, Dead("session_not_found")),
        ("openai", 401, r#"{"error":{"code":"token_expired"}}"#, Dead("token_expired")),
        ("firebase", 400, r#"{"error":{"code":400,"message":"USER_NOT_FOUND"}}"#, Dead("USER_NOT_FOUND")),
        ("entra", 400, r#"{"error":"interaction_required","error_codes":[50076]}"#, Dead("interaction_required")),
    ] {
        means(provider, status, &[], body, &meaning);
    }
    means("", 200, &[], r#"{"error":"invalid_code"}"#, &Doubt("invalid_code"));
    means("", 400, &[], r#"{"error_code":"session_not_found"}"#, &Doubt("session_not_found"));
    means("", 400, &[], r#"{"error":{"code":400,"message":"USER_NOT_FOUND"}}"#, &NoWord);
}

#[test]
fn a_word_about_the_client_is_no_doubt() {
    for (provider, status, body, word) in [
        ("github", 200, "error=incorrect_client_credentials&error_description=x", "incorrect_client_credentials"),
        ("", 200, "error=incorrect_client_credentials&error_description=x", "incorrect_client_credentials"),
        ("slack", 200, r#"{"ok":false,"error":"bad_client_secret"}"#, "bad_client_secret"),
        ("", 200, r#"{"ok":false,"error":"invalid_client_id"}"#, "invalid_client_id"),
        ("hubspot", 400, r#"{"status":"BAD_CLIENT_ID","message":"missing or unknown client id"}"#, "BAD_CLIENT_ID"),
        ("", 400, r#"{"status":"BAD_CLIENT_ID","message":"missing or unknown client id"}"#, "invalid_client"),
        ("", 422, r#"{"message":"Unrecognized client_id"}"#, "invalid_client"),
        ("", 401, r#"{"error":{"code":"invalid_client","type":"invalid_request_error"}}"#, "invalid_client"),
        ("", 400, r#"{"errors":[{"resource":"Application","field":"client_id","code":"invalid"}]}"#, "invalid_client"),
        ("", 400, r#"{"__type":"InvalidClientException"}"#, "invalid_client"),
    ] {
        means(provider, status, &[], body, &Client(word));
    }
}

#[test]
fn everything_else_stays_in_doubt() {
    for (status, body, meaning) in [
        (
            400,
            r#"{"error":"invalid_request","error_description":"refresh_token.client_id: Field required"}"#,
            Doubt("invalid_request"),
        ),
        (400, r#"{"error":"server_error","error_description":"Invalid refresh token"}"#, Doubt("server_error")),
        (400, r#"{"error":"token_expired"}"#, Doubt("token_expired")),
        (
            401,
            r#"{"error":{"type":"OAuthException","code":190,"message":"Error validating access token"}}"#,
            Doubt("OAuthException"),
        ),
        (
            401,
            r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided","errorLink":"E0000011"}"#,
            Doubt("E0000011"),
        ),
        (400, r#"{"message":"Bad Request","error":400}"#, NoWord),
        (403, "<html><title>Forbidden</title>error=invalid_grant</html>", NoWord),
        (403, r#"<a href="/login?x=1&error=invalid_grant&y=2">Sign in</a>"#, NoWord),
        (400, r#"{"error_description":"The refresh token has not expired"}"#, NoWord),
        (400, r#"{"upstream":{"error":"invalid_grant"}}"#, NoWord),
        (400, r#"{"user":{"name":"invalid_grant"}}"#, NoWord),
        (400, r#"{"data":{"type":"user","name":"alice"}}"#, NoWord),
        (200, r#"{"status":"failure"}"#, NoWord),
        (500, r#"{"error":"invalid_grant"}"#, Doubt("invalid_grant")),
        (400, r#"{"a":{"b":{"c":{"d":{"error":"invalid_grant"}}}}}"#, NoWord),
        (400, r#"{"data":{"data":{"data":{"data":{"data":{"error":"invalid_grant"}}}}}}"#, NoWord),
    ] {
        means("", status, &[], body, &meaning);
    }
}

#[test]
fn headers_hold_words_too() {
    means("", 400, &[("x-sb-error-code", "refresh_token_not_found")], "", &Dead("refresh_token_not_found"));
    means("", 400, &[("x-amzn-errortype", "InvalidGrantException:http://x")], "{}", &Dead("invalid_grant"));
    let challenge = [("www-authenticate", r#"Bearer error="invalid_token""#)];
    means("", 401, &challenge, r#"{"error":"invalid_grant"}"#, &Dead("invalid_grant"));
    means("", 401, &challenge, "", &NoWord);
}
