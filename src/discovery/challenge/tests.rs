//! Challenges as servers write them, and as attackers might.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn parsed(headers: &[&str]) -> Vec<Challenge> {
    let mut map = HeaderMap::new();
    for header in headers {
        map.append(header::WWW_AUTHENTICATE, HeaderValue::from_bytes(header.as_bytes()).unwrap());
    }
    Challenge::parse(&map)
}

fn one(header: &str) -> Challenge {
    let mut challenges = parsed(&[header]);
    assert_eq!(challenges.len(), 1, "{header}: {challenges:?}");
    challenges.remove(0)
}

#[test]
fn the_challenge_of_an_mcp_server() {
    let challenge = one(
        "Bearer error=\"invalid_token\", error_description=\"The token, \\\"at-1\\\", expired\", scope=\"files:read files:write\", \
         resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\", new=\"x\"",
    );
    assert_eq!((challenge.scheme(), challenge.error()), ("Bearer", Some("invalid_token")));
    assert_eq!(challenge.error_description(), Some("The token, \"at-1\", expired"));
    assert_eq!(challenge.scopes(), Some(Scopes::new(["files:read", "files:write"])));
    assert_eq!(challenge.resource_metadata(), Some("https://mcp.example.com/.well-known/oauth-protected-resource/mcp"));
    assert_eq!((challenge.realm(), challenge.token(), challenge.algs()), (None, None, None));
    assert!(challenge.is("bearer") && !challenge.is_insufficient_scope());
}

/// Several challenges in one header and in several, each with its own parameters (RFC 9110 section 11.6.1).
#[test]
fn each_challenge_stands_apart() {
    let all = parsed(&[
        "Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"",
        "Negotiate, NTLM dGVzdA==, Bearer",
        "DPoP algs=\"ES256 RS256\", error=\"use_dpop_nonce\", Bearer scope=a",
    ]);
    let schemes: Vec<&str> = all.iter().map(Challenge::scheme).collect();
    assert_eq!(schemes, ["Newauth", "Basic", "Negotiate", "NTLM", "Bearer", "DPoP", "Bearer"]);
    assert_eq!((all[0].realm(), all[1].realm()), (Some("apps"), Some("simple")));
    assert_eq!((all[2].token(), all[3].token(), all[4].token()), (None, Some("dGVzdA=="), None));
    assert_eq!((all[5].algs(), all[5].error(), all[5].scope()), (Some("ES256 RS256"), Some("use_dpop_nonce"), None));
    assert_eq!((all[6].error(), all[6].scope()), (None, Some("a")));
    assert_eq!(parsed(&["Negotiate , Bearer"]).len(), 2, "no token68 follows a comma");
}

#[test]
fn a_text_in_quotation_marks_is_no_challenge() {
    let challenge = one("Basic realm=\"x, Bearer resource_metadata=\\\"https://evil.example\\\", y\"");
    assert_eq!(challenge.resource_metadata(), None);
    assert_eq!(challenge.realm(), Some("x, Bearer resource_metadata=\"https://evil.example\", y"));
    let challenge = one("Bearer error_description=we say Basic realm=\"x\", error=invalid_token");
    assert_eq!((challenge.error_description(), challenge.error()), (Some("we"), Some("invalid_token")));
    assert_eq!(parsed(&["realm=\"x\", error=y", "Basic"]).len(), 1, "no parameter belongs to another header");
    assert_eq!(parsed(&["Basic", "error=y"])[0].error(), None);
}

#[test]
fn what_servers_write_wrong_is_read_where_it_is_clear() {
    let url = "https://a.example/.well-known/oauth-protected-resource?x=1";
    for header in [
        format!("Bearer resource_metadata={url}, error=invalid_token"),
        format!("Bearer resource_metadata=\"{url}\" error=\"invalid_token\""),
        format!(",, bearer\tRESOURCE_METADATA = \"{url}\" ,, Error =invalid_token,"),
        format!("BEARER ;;, resource_metadata=\"{url}\", error=invalid_token"),
    ] {
        let challenge = one(&header);
        assert_eq!((challenge.resource_metadata(), challenge.error()), (Some(url), Some("invalid_token")), "{header}");
    }
    for nothing in ["", " ", ",", "=", "=x", "\"Bearer\"", "@", "Bearer\"x\"", "Bearer/1", "😀"] {
        assert_eq!(parsed(&[nothing]), [], "{nothing}");
    }
    assert_eq!(one("Bearer realm=").token(), Some("realm="), "by the grammar");
}

/// RFC 9110 section 11.2 forbids repetition. The first of several parameters of one name counts.
#[test]
fn the_first_of_a_repeated_parameter_counts() {
    let challenge = one("Bearer scope=\"a\", scope=\"b\", Scope=c");
    assert_eq!(challenge.scope(), Some("a"));
}

#[test]
fn a_value_that_is_cut_or_too_long_is_ignored() {
    for header in ["Bearer error=x, resource_metadata=\"https://a.exam", "Bearer error=x, resource_metadata=\"a\\"] {
        assert_eq!((one(header).error(), one(header).resource_metadata()), (Some("x"), None));
    }
    let longest = format!("Bearer scope=\"{}\", realm=r", "s".repeat(MAX_PARAMETER));
    assert_eq!(one(&longest).scope().map(str::len), Some(MAX_PARAMETER));
    let longer = format!("Bearer scope=\"{}\", realm=r", "s".repeat(MAX_PARAMETER + 1));
    assert_eq!((one(&longer).scope(), one(&longer).realm()), (None, Some("r")));
}

#[test]
fn counts_and_lengths_are_bounded() {
    let many = ["Bearer realm=x, "; 100].concat();
    assert_eq!(parsed(&[&many]).len(), MAX_CHALLENGES);
    let long = format!("Bearer realm={}", "x".repeat(MAX_BYTES));
    assert_eq!(parsed(&[&long, "Basic"]).len(), 0, "nothing is read after a header that is too long");
    let half = format!("Bearer x={}", "x".repeat(MAX_BYTES / 2));
    assert_eq!(parsed(&[&half, &half]).len(), 1);
    let scopes: Vec<String> = (0..999).map(|n| n.to_string()).collect();
    let challenge = one(&format!("Bearer scope=\"{}\"", scopes.join(" ")));
    assert_eq!(challenge.scopes().unwrap().iter().count(), MAX_SCOPES);
}

/// RFC 6750 section 3.1. A 403 with another challenge is no reason to sign in.
#[test]
fn only_insufficient_scope_asks_for_more_scopes() {
    assert!(one("Bearer error=\"insufficient_scope\", scope=\"a\"").is_insufficient_scope());
    assert!(one("dpop error=insufficient_scope").is_insufficient_scope());
    for other in
        ["Bearer", "Bearer error=invalid_token", "Bearer error=Insufficient_Scope", "Basic error=insufficient_scope"]
    {
        assert!(!one(other).is_insufficient_scope(), "{other}");
    }
}

#[test]
fn scopes_are_tokens_each_once() {
    assert_eq!(one("Bearer scope=\" a  b\ta \"").scopes(), Some(Scopes::new(["a", "b"])));
    assert_eq!(one("Bearer scope=\"a\\\"b é c\"").scopes(), Some(Scopes::new(["c"])));
    assert_eq!(one("Bearer scope=\" \"").scopes(), None);
    assert_eq!(one("Bearer").scopes(), None);
}

#[test]
fn the_key_is_what_a_challenge_means() {
    let key = |header: &str| Challenge::key(&parsed(&[header]));
    let same = key("Bearer scope=\"a b\", error=e, realm=1");
    assert_eq!(same, key("bearer error=e, error_description=other, scope=\"b  a\""));
    for other in ["Bearer scope=\"a\", error=e", "Bearer scope=\"a b\"", "DPoP scope=\"a b\", error=e", ""] {
        assert_ne!(same, key(other), "{other}");
    }
    assert_ne!(same, key("Bearer scope=\"a b\", error=e, resource_metadata=\"https://a.example\""));
}

#[test]
fn a_challenge_is_shown_clean_and_short() {
    let header = format!("Bearer error_description=\"\u{9b}31m\u{202e}{}\", realm=r", "x".repeat(999));
    let shown = format!("{:?}", one(&header));
    assert!(shown.contains("\u{fffd}31m\u{fffd}xxx") && shown.contains("realm=\"r\""), "{shown}");
    assert!(shown.chars().count() < 300 && !shown.contains('\u{202e}'), "{shown}");
    assert_eq!(one("Negotiate c2VjcmV0").to_string(), "Negotiate …");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_header_makes_the_parser_stumble(
        headers in prop::collection::vec(
            prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'='), Just(b'\\'), Just(b' '), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..80),
            0..3,
        ),
    ) {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(header::WWW_AUTHENTICATE, HeaderValue::from_bytes(&header).unwrap());
        }
        for challenge in Challenge::parse(&map) {
            prop_assert!(!challenge.scheme().is_empty());
            let shown = format!("{challenge:?}");
            prop_assert!(!shown.chars().any(char::is_control));
            let _ = (challenge.scopes(), challenge.is_insufficient_scope());
        }
    }

    /// Each value that is written as a quoted string is read back.
    #[test]
    fn a_quoted_value_reads_back(scope in "[ -~]{0,40}", url in "[ -~é]{0,40}") {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let header = format!("Basic realm=\"x\", Bearer scope=\"{}\", resource_metadata=\"{}\"", quoted(&scope), quoted(&url));
        let challenges = parsed(&[&header]);
        prop_assert_eq!(challenges.len(), 2);
        prop_assert_eq!(challenges[1].scope(), Some(scope.as_str()));
        prop_assert_eq!(challenges[1].resource_metadata(), Some(url.as_str()));
    }
}
