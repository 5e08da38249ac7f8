//! Odd, damaged and malicious answers.

use std::time::Duration;

use http::Response;
use tokenkeeper_actors::law::profile::Evidence;
use tokenkeeper_actors::values::TokenKind;

use super::super::is_of_unknown_type;
use super::{ASKED, answer, lifetime, refresh, refusal, said, scopes, tokens, word};
use crate::http::Body;

const BOTH: &str = r#""access_token":"at","refresh_token":"rt""#;

/// Asserts that both tokens were read.
#[track_caller]
fn both(body: impl AsRef<[u8]>) {
    let tokens = tokens(body);
    assert_eq!((tokens.access.expose(), refresh(&tokens)), ("at", Some("rt")));
}

#[test]
fn a_missing_type_and_a_form_do_not_lose_the_rotated_token() {
    both(format!(r#"{{{BOTH},"expires_in":"3600"}}"#));
    both("access_token=at&refresh_token=rt&expires_in=3600");
    both("refresh_token=rt&x&=&access_token=at&&");
}

#[test]
fn an_error_within_200_is_a_refusal_with_its_word() {
    assert_eq!(word(200, r#"{"error":"invalid_grant"}"#), said(200, "invalid_grant"));
    assert_eq!(word(200, "error=invalid_grant"), said(200, "invalid_grant"));
    assert_eq!(word(200, r#"{"error":"invalid_grant","refresh_token":"rt-echoed"}"#), said(200, "invalid_grant"));
    assert_eq!(word(200, r#"{"ok":false,"refresh_token":"rt-echoed"}"#), (200, None));
}

#[test]
fn tokens_beside_an_error_are_tokens() {
    both(format!(r#"{{{BOTH},"error":null}}"#));
    both(format!(r#"{{{BOTH},"error":""}}"#));
    both(format!(r#"{{{BOTH},"error":"warning"}}"#));
    both(format!(r#"{{{BOTH},"ok":false}}"#));
}

#[test]
fn the_type_is_read_whatever_its_case_and_is_bearer_if_unknown() {
    let kind = |json: &str| tokens(format!(r#"{{"access_token":"at","token_type":{json}}}"#)).kind;
    for dpop in [r#""DPoP""#, r#""dpop""#, r#""DPOP""#] {
        assert_eq!(kind(dpop), TokenKind::Dpop, "{dpop}");
    }
    for bearer in [r#""Bearer""#, r#""bearer""#, r#""bot""#, r#""""#, "null", "7"] {
        assert_eq!(kind(bearer), TokenKind::Bearer, "{bearer}");
    }
}

/// A login refuses such tokens. A refresh does not, because it would lose the rotated one.
#[test]
fn a_type_that_is_not_understood_is_noticed_wherever_it_stands() {
    let is_unknown = |body: &str| is_of_unknown_type(&Response::new(Body::new(body.as_bytes())));
    for body in [
        r#"{"access_token":"at","token_type":"mac"}"#,
        r#"{"token_type":"N_A","access_token":"at"}"#,
        r#"{"ok":true,"authed_user":{"access_token":"at","token_type":"saml"}}"#,
        "access_token=at&token_type=mac",
    ] {
        assert!(is_unknown(body), "{body}");
    }
    for body in [
        r#"{"access_token":"at","token_type":"bearer"}"#,
        r#"{"access_token":"at","token_type":" DPoP "}"#,
        r#"{"access_token":"xoxb","token_type":"bot"}"#,
        r#"{"access_token":"at"}"#,
        r#"{"access_token":"at","token_type":7}"#,
        "access_token=at&token_type=Bearer",
        "no answer",
    ] {
        assert!(!is_unknown(body), "{body}");
    }
}

#[test]
fn a_refresh_token_that_is_none_leaves_the_old_one() {
    for none in [r#""""#, r#""  ""#, "null", "7", "{}", r#"["rt"]"#, r#""\ud800""#] {
        let tokens = tokens(format!(r#"{{"access_token":"at","refresh_token":{none}}}"#));
        assert_eq!(refresh(&tokens), None, "{none}");
    }
    assert_eq!(refresh(&tokens("access_token=at&refresh_token=")), None);
}

#[test]
fn scopes_in_every_form() {
    let granted = |json: &str| {
        let tokens = tokens(format!(r#"{{{BOTH},"scope":{json}}}"#));
        scopes(&tokens).map(|scopes| scopes.join("|"))
    };
    for (json, scopes) in [
        (r#""a""#, "a"),
        (r#""a b""#, "a|b"),
        (r#""  a \t b\n""#, "a|b"),
        (r#""a,b""#, "a|b"),
        (r#""a, b""#, "a|b"),
        (r#"",a,,b,""#, "a|b"),
        (r#""a,b c""#, "a,b|c"),
        (r#"["a","b"]"#, "a|b"),
        (r#"["a b",null,7,["x"],"c",""]"#, "a|b|c"),
    ] {
        assert_eq!(granted(json).as_deref(), Some(scopes), "{json}");
    }
    for none in [r#""""#, r#"" ""#, r#"",""#, "null", "7", "[]", "{}", "[null]"] {
        assert_eq!(granted(none), None, "{none}");
    }
    let longest = "a".repeat(65_536);
    assert_eq!(granted(&format!("{longest:?}")), Some(longest));
    assert_eq!(granted(&format!("{:?}", "a ".repeat(1_000))), Some(vec!["a"; 1_000].join("|")));
    assert_eq!(granted(&format!("{:?}", vec!["a"; 1_000])), Some(vec!["a"; 1_000].join("|")));
    assert_eq!(granted(&format!("{:?}", "a ".repeat(1_001))), None, "a longer list is treated as absent");
    assert_eq!(granted(&format!("{:?}", "a".repeat(65_537))), None);
    assert_eq!(granted(&format!("{:?}", vec!["a"; 1_001])), None);
}

#[test]
fn an_answer_is_what_its_first_character_says_whatever_its_type() {
    for kind in ["text/html", "application/x-www-form-urlencoded", "text/plain; charset=latin1", "nonsense"] {
        for body in [format!("{{{BOTH}}}"), "access_token=at&refresh_token=rt".to_owned()] {
            let Evidence::Tokens(tokens) = answer(200, &[("content-type", kind)], &body) else { panic!("{body}") };
            assert_eq!(refresh(&tokens), Some("rt"), "{kind} {body}");
        }
    }
    both(format!("\u{feff}{{{BOTH}}}"));
    both(format!("\r\n \t{{{BOTH}}}"));
    both("\u{feff}access_token=at&refresh_token=rt");
}

#[test]
fn text_after_the_object_is_ignored() {
    for tail in ["\n", "<!-- 3 ms -->", "{\"access_token\":\"other\"}", "\0\0\0", ")]}'"] {
        both(format!("{{{BOTH}}}{tail}"));
    }
}

#[test]
fn the_last_readable_of_repeated_members_counts() {
    both(r#"{"access_token":"old","access_token":"at","refresh_token":"old","refresh_token":"rt"}"#);
    both(r#"{"access_token":"at","access_token":null,"refresh_token":"rt","refresh_token":""}"#);
    both(r#"{"access_token":"at","access_token":"a\nb","refresh_token":"rt","refresh_token":[]}"#);
}

#[test]
fn one_unreadable_member_spoils_no_other() {
    for member in [
        r#""expires_in":1e99999"#,
        r#""expires_in":[[[]]]"#,
        r#""id":1e99999"#,
        r#""scope":"\ud800""#,
        r#""token_type":"\udfff""#,
        r#""note":"\ud800\ud800""#,
        r#""authed_user":7"#,
        r#""authed_user":{"authed_user":{"authed_user":{}}}"#,
        r#""authed_user":[]"#,
        r#""a\"b":"c""#,
    ] {
        both(format!("{{{member},{BOTH}}}"));
    }
    let mut latin1 = br#"{"name":"J"#.to_vec();
    latin1.extend(b"\xfcrgen\",");
    latin1.extend(format!("{BOTH}}}").bytes());
    both(latin1);
}

#[test]
fn escapes_in_names_and_values_are_understood() {
    both(r#"{"\u0061ccess_token":"\u0061t","refresh\u005ftoken":"r\u0074"}"#);
}

#[test]
fn damage_after_both_tokens_loses_neither() {
    for tail in ["", ",", ",\"sco", ",\"scope\":\"a", ",\"x\":tru", ",\"x\":1e,", ", trailing", "]"] {
        both(format!("{{{BOTH}{tail}"));
    }
}

/// `3600` may arrive as `36`.
#[test]
fn a_number_whose_end_did_not_arrive_is_absent() {
    let lifetime = |tail: &str| lifetime(&tokens(format!("{{{BOTH},{tail}")));
    for cut in [r#""expires_in":3"#, r#""expires_in":3600"#, r#""expires_in":"36"#] {
        assert_eq!(lifetime(cut), None, "{cut}");
    }
    for whole in [r#""expires_in":3600 "#, r#""expires_in":3600,"#, r#""expires_in":3600}"#, r#""expires_in":"3600""#] {
        assert_eq!(lifetime(whole), Some(3600), "{whole}");
    }
}

#[test]
fn damage_before_the_refresh_token_is_a_doubt_and_no_old_token_kept() {
    for body in [
        r#"{"access_token":"at""#,
        r#"{"access_token":"at","refresh_token":"r"#,
        r#"{"access_token":"at","refresh_token":"#,
        r#"{"access_token":"at","x":tru,"refresh_token":"rt"}"#,
        r#"{"refresh_token":"rt","access_token":"a"#,
        "{",
        "{]",
    ] {
        assert_eq!(word(200, body), (200, None), "{body}");
    }
}

#[test]
fn what_breaks_off_is_not_pieced_together_from_two_tokens() {
    let body = r#"{"authed_user":{"access_token":"other"},"refresh_token":"rt","access_tok"#;
    assert_eq!(word(200, body), (200, None));
}

#[test]
fn what_is_no_object_is_unreadable() {
    let bodies: [&[u8]; 9] = [
        b"",
        b" ",
        b"null",
        b"[]",
        b"\"access_token\"",
        b"<html>access_token=at</html>",
        b"\xff\xfe{\0\"\0",
        b"at",
        b"{}",
    ];
    for body in bodies {
        assert_eq!(word(200, body), (200, None), "{body:?}");
    }
}

#[test]
fn an_access_token_that_fits_no_header_is_none() {
    for bad in [r#""""#, r#"" ""#, r#""a\r\nb""#, r#""a\u0000""#, r#""ä""#, r#""a\u007f""#, "null", "5", "{}"] {
        assert_eq!(word(200, format!(r#"{{"access_token":{bad}}}"#)), (200, None), "{bad}");
    }
}

#[test]
fn a_refresh_token_without_an_access_token_is_kept_with_one_that_is_over() {
    for body in [
        r#"{"refresh_token":"rt"}"#,
        r#"{"access_token":"","refresh_token":"rt"}"#,
        r#"{"access_token":"at\r\nX-Injected: 1","refresh_token":"rt"}"#,
        "refresh_token=rt&access_token=",
    ] {
        let tokens = tokens(body);
        assert_eq!((tokens.access.expose(), refresh(&tokens)), ("", Some("rt")), "{body}");
        assert_eq!(tokens.validity.remaining(&ASKED).map(|left| left.as_millis()), Some(0), "{body}");
        let anchored = tokens.validity.anchored();
        assert_eq!(ASKED.wall.since(anchored.wall), Duration::from_secs(60), "{body}");
        assert_eq!(ASKED.elapsed_since(&anchored), Some(Duration::from_secs(60)), "{body}");
    }
    // The missing part of a truncated answer may have held an error.
    assert_eq!(word(200, r#"{"refresh_token":"rt","#), (200, None));
}

#[test]
fn any_2xx_may_bring_tokens_and_nothing_else_does() {
    let body = format!("{{{BOTH}}}");
    for status in [200, 201, 203, 299] {
        assert!(matches!(answer(status, &[], &body), Evidence::Tokens(_)), "{status}");
    }
    for status in [302, 304, 400, 401, 500, 503, 999] {
        assert_eq!(word(status, &body), (status, None));
    }
}

#[test]
fn an_errors_word_is_a_word() {
    assert_eq!(word(400, r#"{"error":"invalid_grant"}"#), said(400, "invalid_grant"));
    assert_eq!(word(400, r#"{"error":" invalid_grant "}"#), said(400, "invalid_grant"));
    assert_eq!(word(400, r#"{"error":"Bad Request","error_code":"a-b.c_1"}"#), said(400, "a-b.c_1"));
    assert_eq!(word(400, r#"{"error":{"x":1},"code":"c"}"#), said(400, "c"));
    assert_eq!(word(400, "error=invalid_client"), said(400, "invalid_client"));
    assert_eq!(word(400, r#"{"error":"invalid_grant","#), said(400, "invalid_grant"));
    let longest = "a".repeat(64);
    assert_eq!(word(400, format!(r#"{{"error":"{longest}"}}"#)), said(400, &longest));
    let too_long = "a".repeat(65);
    for none in [&too_long, "two words", "ünï", "a\\nb", "<b>", "a/b", "", "a\\u0000"] {
        assert_eq!(word(400, format!(r#"{{"error":"{none}"}}"#)), (400, None), "{none}");
    }
    assert_eq!(word(500, "<html>error=invalid_grant</html>"), (500, None));
}

#[test]
fn neither_depth_nor_size_is_a_danger() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    for nested in [deep("[", "]"), deep(r#"{"a":"#, "}").replace(":}", ":1}")] {
        for name in ["x", "scope", "expires_in", "error", "authed_user", "access_token"] {
            both(format!(r#"{{"{name}":{nested},{BOTH}}}"#));
        }
    }
    assert_eq!(word(200, "[".repeat(1_000_000)), (200, None));
    assert_eq!(word(200, r#"{"a":"#.repeat(100_000)), (200, None));
    both(format!(r#"{{{BOTH},{}"x":1}}"#, r#""k":"v","#.repeat(100_000)));
    both(format!("{}access_token=at&refresh_token=rt", "k=v&".repeat(200_000)));
    let large = "r".repeat(900_000);
    assert_eq!(refresh(&tokens(format!(r#"{{"access_token":"at","refresh_token":"{large}"}}"#))), Some(&*large));
}

#[test]
fn evidence_shows_no_secret() {
    let shown = format!(
        "{:?} {:?}",
        answer(200, &[], r#"{"access_token":"secret-1","refresh_token":"secret-2"}"#),
        answer(400, &[], r#"{"error":"invalid_grant","error_description":"secret-3","refresh_token":"secret-4"}"#),
    );
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(refusal(400, &[], r#"{"error":"invalid_grant"}"#).retry_after, None);
}
