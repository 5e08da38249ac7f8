//! Reads the token in a file, or in the output of a command.

use std::time::Duration;

use serde::Deserialize;
use tokenkeeper_actors::values::{AccessToken, Moment};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::grant::time_until;

/// A token with its remaining lifetime, if that is known.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) token: AccessToken,
    pub(super) lifetime: Option<Duration>,
}

/// The members that are read of a JSON object. Kubernetes' credential plugins have `status` (`ExecCredential`).
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Document {
    status: Option<Status>,
    token: Option<String>,
    access_token: Option<String>,
    id_token: Option<String>,
    /// The answer of GitHub's endpoint for ID tokens.
    value: Option<String>,
    expires_in: Option<u64>,
    expires_at: Option<String>,
    expiration: Option<String>,
}

/// The member `status` of an `ExecCredential`.
#[derive(Deserialize, Zeroize)]
struct Status {
    token: Option<String>,
    #[serde(rename = "expirationTimestamp")]
    expiration: Option<String>,
}

/// Reads the token in `bytes`, which contain a JSON object with the token, or only the token. Returns `None` if there is no
/// token that a request can carry.
pub(super) fn read(bytes: &[u8], now: Moment) -> Option<Credential> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let credential = if text.starts_with('{') {
        of_document(serde_json::from_str(text).ok()?, now)?
    } else {
        Credential { token: AccessToken::new(text), lifetime: None }
    };
    let spaceless = !credential.token.expose().bytes().any(|byte| byte == b' ');
    (spaceless && credential.token.is_well_formed()).then_some(credential)
}

fn of_document(mut document: Document, now: Moment) -> Option<Credential> {
    let status = document.status.as_mut();
    let (token, end) = status.map_or((None, None), |status| (status.token.take(), status.expiration.take()));
    let ends = [end, document.expires_at.take(), document.expiration.take()];
    let until = ends.into_iter().flatten().find_map(|end| time_until(&end, now.wall));
    let lifetime = document.expires_in.filter(|seconds| *seconds > 0).map(Duration::from_secs).or(until);
    let tokens =
        [token, document.token.take(), document.access_token.take(), document.id_token.take(), document.value.take()];
    let token = tokens.into_iter().flatten().next().map(AccessToken::new)?;
    Some(Credential { token, lifetime })
}

#[cfg(test)]
mod tests {
    use tokenkeeper_actors::values::WallTime;

    use super::*;

    fn read_at(text: &str) -> Option<(String, Option<u64>)> {
        // 2026-11-30T12:00:00Z
        let now = Moment { wall: WallTime::from_millis(1_796_040_000_000), ..Moment::default() };
        let credential = read(text.as_bytes(), now)?;
        Some((credential.token.expose().to_owned(), credential.lifetime.map(|lifetime| lifetime.as_secs())))
    }

    #[test]
    fn a_token_stands_alone_or_in_a_document() {
        let is = |token: &str, lifetime| Some((token.to_owned(), lifetime));
        assert_eq!(read_at("  a.b.c\n"), is("a.b.c", None));
        assert_eq!(read_at(r#"{"access_token":"a","expires_in":60}"#), is("a", Some(60)));
        assert_eq!(read_at(r#"{"value":"a","count":1}"#), is("a", None));
        assert_eq!(read_at(r#"{"token":"a","expires_at":"2026-11-30T12:10:00Z"}"#), is("a", Some(600)));
        let exec = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
            "status":{"token":"a","expirationTimestamp":"2026-11-30T13:00:00Z"}}"#;
        assert_eq!(read_at(exec), is("a", Some(3_600)));
    }

    #[test]
    fn other_text_is_no_token() {
        for none in ["", " \n", "two words", "a\nb", "{}", r#"{"token":""}"#, r#"{"token":1}"#, "{", "é"] {
            assert_eq!(read_at(none), None, "{none:?}");
        }
        assert!(read(b"\xff\xfe", Moment::default()).is_none());
    }
}
