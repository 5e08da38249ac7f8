//! The known members of an answer, each read independently.

use std::borrow::Cow;
use std::time::Duration;

use tokenkeeper_actors::values::{AccessToken, RefreshToken, Scopes, TokenKind};
use url::form_urlencoded;

use super::json::{self, Value};

/// The maximum length of an error code that is repeated.
const WORD_MOST: usize = 64;

/// The maximum number of scopes. A longer list is treated as absent.
const SCOPES_MOST: usize = 1_000;

/// The maximum total length of all scopes, in bytes.
const SCOPES_BYTES_MOST: usize = 64 * 1024;

/// The known members of an answer. Unreadable members are absent.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) access: Option<AccessToken>,
    pub(super) refresh: Option<RefreshToken>,
    pub(super) kind: TokenKind,
    pub(super) lifetime: Option<Duration>,
    pub(super) scopes: Option<Scopes>,
    pub(super) authed_user: Option<Box<Members>>,
    /// Whether the answer is complete.
    pub(super) whole: bool,
    /// Whether there is an error, and its code if that may be repeated.
    pub(super) error: Option<Option<String>>,
    pub(super) error_code: Option<String>,
    pub(super) code: Option<String>,
    pub(super) not_ok: bool,
}

/// The known member names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    AccessToken,
    RefreshToken,
    TokenType,
    ExpiresIn,
    Scope,
    AuthedUser,
    Error,
    ErrorCode,
    Code,
    Ok,
}

impl Name {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "access_token" => Name::AccessToken,
            "refresh_token" => Name::RefreshToken,
            "token_type" => Name::TokenType,
            "expires_in" => Name::ExpiresIn,
            "scope" => Name::Scope,
            "authed_user" => Name::AuthedUser,
            "error" => Name::Error,
            "error_code" => Name::ErrorCode,
            "code" => Name::Code,
            "ok" => Name::Ok,
            _ => return None,
        })
    }

    /// A name inside `authed_user`. An object inside that object is ignored.
    fn nested(name: &str) -> Option<Self> {
        Self::of(name).filter(|name| *name != Name::AuthedUser)
    }
}

impl Members {
    /// Reads `body` as a JSON object if it starts like one, and as form-encoded otherwise.
    pub(super) fn of(body: &[u8]) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
        let mut members = Self::default();
        if body.starts_with(b"{") {
            members.whole = json::read_object(body, Name::of, |name, value| members.take(name, value));
        } else {
            for (name, value) in form_urlencoded::parse(body) {
                if let Some(name) = Name::of(&name) {
                    members.take(name, Value::Text(value));
                }
            }
            members.whole = true;
        }
        members
    }

    /// Reads the object `authed_user`. Returns `None` if it is truncated.
    fn nested(json: &str) -> Option<Self> {
        let mut members = Self::default();
        json::read_object(json.as_bytes(), Name::nested, |name, value| members.take(name, value)).then_some(members)
    }

    /// Stores a member if it can be read.
    fn take(&mut self, name: Name, value: Value<'_>) {
        match name {
            Name::AccessToken => {
                if let Some(token) = value.text().filter(|token| is_sendable(token)) {
                    self.access = Some(AccessToken::new(token));
                }
            }
            Name::RefreshToken => {
                if let Some(token) = value.text().filter(|token| !is_blank(token)) {
                    self.refresh = Some(RefreshToken::new(token));
                }
            }
            Name::TokenType => {
                if let Some(kind) = value.text() {
                    let dpop = kind.trim().eq_ignore_ascii_case("dpop");
                    self.kind = if dpop { TokenKind::Dpop } else { TokenKind::Bearer };
                }
            }
            Name::ExpiresIn => self.lifetime = seconds(value.plain()).or(self.lifetime),
            Name::Scope => self.scopes = scopes(&value).or(self.scopes.take()),
            Name::AuthedUser => {
                if let Value::Json(object) = value {
                    self.authed_user = Self::nested(object).map(Box::new).or(self.authed_user.take());
                }
            }
            Name::Error => {
                let nothing = match &value {
                    Value::Text(text) => is_blank(text),
                    Value::Json(json) => matches!(*json, "null" | "false" | "0"),
                };
                if !nothing {
                    self.error = Some(value.text().and_then(|text| word(&text)));
                }
            }
            Name::ErrorCode => self.error_code = value.text().and_then(|text| word(&text)).or(self.error_code.take()),
            Name::Code => self.code = value.text().and_then(|text| word(&text)).or(self.code.take()),
            Name::Ok => self.not_ok = value.plain() == "false",
        }
    }

    /// Whether the answer has an error or `ok: false`.
    pub(super) fn is_refusal(&self) -> bool {
        self.error.is_some() || self.error_code.is_some() || self.not_ok
    }

    /// The error code from any of the known members: `error` (RFC 6749 section 5.2), `error_code` (Supabase), `code`.
    pub(super) fn word(&self) -> Option<String> {
        self.error.clone().flatten().or_else(|| self.error_code.clone()).or_else(|| self.code.clone())
    }
}

impl Value<'_> {
    /// The value if it is a string.
    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Json(_) => None,
        }
    }

    /// The text of a scalar, quoted or not.
    fn plain(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Json(json) => json,
        }
    }
}

/// Whether a token can stand in a header (RFC 6749 appendix A.12).
fn is_sendable(token: &str) -> bool {
    !is_blank(token) && token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Returns `text` if it looks like a code from a fixed vocabulary. Free text might name people or tokens.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!text.is_empty() && text.len() <= WORD_MOST && text.bytes().all(sane)).then(|| text.to_owned())
}

/// A number of seconds. Negative numbers become zero.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if text.len() > 400 || !text.bytes().all(numeric) {
        return None;
    }
    let seconds: f64 = text.parse().ok()?;
    // A number too large for a duration becomes the maximum.
    Some(if seconds > 0.0 { Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX) } else { Duration::ZERO })
}

/// One or more scopes (RFC 6749 section 3.3), or `None` where none are named.
fn scopes(value: &Value<'_>) -> Option<Scopes> {
    let named: Vec<String> = match value {
        Value::Text(text) => split(text).map(str::to_owned).collect(),
        Value::Json(json) => {
            let items = json::read_texts(json, SCOPES_MOST + 1)?;
            items.iter().flat_map(|item| item.split_ascii_whitespace()).map(str::to_owned).collect()
        }
    };
    let small = named.len() <= SCOPES_MOST && named.iter().map(String::len).sum::<usize>() <= SCOPES_BYTES_MOST;
    (!named.is_empty() && small).then(|| Scopes::new(named))
}

/// Splits at whitespace if there is any, and drops adjacent commas. Otherwise it splits at commas (GitHub). The grammar
/// allows a comma within a scope, but no known provider uses one.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let spaced = text.contains(|c: char| c.is_ascii_whitespace());
    let separates = move |c: char| if spaced { c.is_ascii_whitespace() } else { c == ',' };
    text.split(separates).map(|scope| scope.trim_matches(',')).filter(|scope| !scope.is_empty())
}
