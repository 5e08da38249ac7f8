//! Tokens inside other objects, and under other names.

use super::{lifetime, refresh, scopes, tokens, word};

#[track_caller]
fn both(body: impl AsRef<[u8]>) {
    let tokens = tokens(body);
    assert_eq!((tokens.access.expose(), refresh(&tokens)), ("at", Some("rt")));
}

#[test]
fn tokens_inside_an_object_are_tokens() {
    let withings = tokens(
        r#"{"status":0,"body":{"userid":"1","access_token":"at","refresh_token":"rt","scope":"user.info",
            "expires_in":10800,"token_type":"Bearer"}}"#,
    );
    assert_eq!((withings.access.expose(), refresh(&withings)), ("at", Some("rt")));
    assert_eq!((lifetime(&withings), scopes(&withings)), (Some(10_800), Some(vec!["user.info"])));

    const BOTH: &str = r#""access_token":"at","refresh_token":"rt""#;
    for body in [
        format!(r#"{{"data":{{{BOTH}}}}}"#),
        format!(r#"{{"code":0,"msg":"success","data":{{{BOTH}}},"error":null}}"#),
        format!(r#"{{"any name":{{{BOTH}}}}}"#),
        format!(r#"{{"data":{{"attributes":{{{BOTH}}}}}}}"#),
        format!(r#"{{"data":[{{{BOTH}}}]}}"#),
        format!(r#"[{{{BOTH}}}]"#),
        format!(r#"{{"data":{{{BOTH}}},"user":{{"id":1,"name":"x"}},"links":[{{}},[]]}}"#),
        r#"{"refresh_token":"rt","data":{"access_token":"at"}}"#.to_owned(),
    ] {
        both(body);
    }
    let outer = tokens(r#"{"expires_in":60,"scope":"a","tokens":{"access_token":"at","refresh_token":"rt"}}"#);
    assert_eq!((lifetime(&outer), scopes(&outer)), (Some(60), Some(vec!["a"])));
}

#[test]
fn tokens_under_other_spellings_are_tokens() {
    both(r#"{"accessToken":"at","refreshToken":"rt","expireIn":7200}"#);
    both(r#"{"AuthenticationResult":{"AccessToken":"at","ExpiresIn":3600,"RefreshToken":"rt","TokenType":"Bearer"}}"#);
    both("accessToken=at&refresh-token=rt");
    // The standard's name counts, wherever it stands.
    both(r#"{"access_token":"at","accessToken":"x","refreshToken":"x","refresh_token":"rt"}"#);
}

#[test]
fn other_spellings_that_break_off_are_a_doubt() {
    for body in [
        r#"{"access_token":"at","refreshToken":"x","refresh_tok"#,
        r#"{"accessToken":"x","refreshToken":"x","access_token":"a"#,
        r#"{"accessToken":"x","refresh_token":"rt","#,
    ] {
        assert_eq!(word(200, body), (200, None), "{body}");
    }
}

#[test]
fn one_of_several_tokens_is_not_guessed() {
    for body in [
        r#"{"a":{"access_token":"at"},"b":{"access_token":"at"}}"#,
        r#"{"data":[{"access_token":"at"},{"access_token":"at"}]}"#,
        r#"{"data":{"a":{"access_token":"at"},"b":{"access_token":"at"}}}"#,
    ] {
        assert_eq!(word(200, body), (200, None), "{body}");
    }
}

#[test]
fn tokens_outside_count_before_those_inside() {
    let tokens = tokens(r#"{"data":{"access_token":"x","refresh_token":"y"},"access_token":"at"}"#);
    assert_eq!((tokens.access.expose(), refresh(&tokens)), ("at", None));
}

#[test]
fn an_envelope_that_breaks_off_is_a_doubt() {
    let whole = r#"{"status":0,"body":{"access_token":"at","refresh_token":"rt","expires_in":10800}}"#;
    both(whole);
    for end in 0..whole.len() {
        assert_eq!(word(200, &whole[..end]), (200, None), "{end}");
    }
}

#[test]
fn text_in_another_encoding_hides_no_token() {
    let mut body = b"{\"error_description\":\"verr\xfcckt\",\"data\":{\"name\":\"J\xfcrgen\",".to_vec();
    body.extend(br#""access_token":"at","refresh_token":"rt"}}"#);
    both(body);
    // A refresh token that cannot be read may be the new one.
    assert_eq!(word(200, b"{\"access_token\":\"at\",\"refresh_token\":\"r\xfc\"}"), (200, None));
}

#[test]
fn an_error_in_an_envelope_leaves_no_lone_refresh_token() {
    for body in [
        r#"{"refresh_token":"echoed","success":false}"#,
        r#"{"refresh_token":"echoed","errors":[{"message":"no"}]}"#,
        r#"{"refresh_token":"echoed","error_code":"x"}"#,
    ] {
        assert_eq!(word(200, body).0, 200, "{body}");
    }
}

#[test]
fn an_error_that_repeats_the_request_is_an_error() {
    for error in [r#""error":"invalid_code""#, r#""ok":false"#, r#""errors":[{}]"#] {
        let body = format!(r#"{{{error},"request":{{"access_token":"old","refresh_token":"old"}}}}"#);
        let (status, _) = word(200, &body);
        assert_eq!(status, 200, "{body}");
    }
}
