//! Reads the known members of a token endpoint's answer, each independently of the others, so that a damaged member spoils no
//! other.

use std::borrow::Cow;
use std::time::Duration;

use tokenkeeper_actors::values::{AccessToken, RefreshToken, Scopes, TokenKind};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::json::{self, Value};
use super::lifetime::Lifetimes;
use super::names::{Name, Spelling};
use super::words::{Place, Words};
use crate::grant::retry_after;

/// The token types that are understood, without regard to case (RFC 6749 section 5.1). `bot` and `user` are Slack's names for
/// bearer tokens.
const TOKEN_TYPES: [&str; 4] = ["Bearer", "DPoP", "bot", "user"];

/// The maximum number of scopes. A longer list is treated as absent.
const MAX_SCOPES: usize = 1_000;

/// The maximum total length of all scopes, in bytes.
const MAX_SCOPE_BYTES: usize = 64 * 1024;

/// The maximum depth of nested objects and arrays that are read.
const MAX_DEPTH: usize = 4;

/// The maximum number of elements of an array that are read.
const MAX_ELEMENTS: usize = 8;

/// The known members of one object of an answer. Unreadable members are absent.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) access: Option<AccessToken>,
    pub(super) refresh: Option<RefreshToken>,
    pub(super) kind: Option<TokenKind>,
    /// Whether a `token_type` is not one of [`TOKEN_TYPES`].
    pub(super) is_of_unknown_type: bool,
    pub(super) lifetimes: Lifetimes,
    pub(super) scopes: Option<Scopes>,
    /// Whether the object is complete.
    pub(super) whole: bool,
    /// Whether the object has an error, or a member that denies success.
    pub(super) is_refusal: bool,
    /// The error codes of this object and of the objects in it.
    pub(super) words: Words,
    /// The delay that the body asks for.
    pub(super) retry_after: Option<Duration>,
    /// The objects in this one that have an access token.
    inner: Inner,
    /// Slack's user token.
    authed_user: Option<Box<Members>>,
    /// Whether the access token and the refresh token were found under their standard names.
    standard: (bool, bool),
    /// Whether this object describes an error.
    is_error: bool,
    /// The members `field` and `code` of an error. Strava's error codes consist of both.
    field: Option<String>,
    code: Option<String>,
}

/// The number of objects with an access token, and the last of them.
#[derive(Debug, Default)]
struct Inner {
    count: usize,
    last: Option<Box<Members>>,
}

impl Members {
    /// Reads `body` as JSON if it starts as JSON does, and as form-encoded otherwise.
    pub(super) fn of(body: &[u8]) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
        match body.first() {
            Some(b'{' | b'[' | b'"') => Self::of_json(body),
            // An HTML page is not form-encoded, although its links may contain parameters.
            Some(b'<') => Self { whole: true, ..Self::default() },
            _ => Self::of_form(body),
        }
    }

    fn of_json(body: &[u8]) -> Self {
        let mut members = Self::default();
        // Names and messages in another encoding must not hide the tokens.
        let lossy =
            std::str::from_utf8(body).is_err().then(|| Zeroizing::new(String::from_utf8_lossy(body).into_owned()));
        let text = lossy.as_deref().map_or_else(|| std::str::from_utf8(body).unwrap_or_default(), String::as_str);
        members.whole = match body.first() {
            Some(b'{') => members.read(text, 0),
            Some(b'[') => members.read_array(Name::Errors, text, 0),
            _ => json::read_text(text, |text| members.words.add(Place::Text, text)),
        };
        // If the object is truncated, members with the standard's names may be in the missing part, and would take
        // precedence.
        if !members.whole && members.standard != (true, true) {
            (members.access, members.refresh) = (None, None);
        }
        // A refresh token that is not UTF-8 cannot be used. It may be the new one, so the answer counts as truncated.
        let is_spoilt = |token: Option<&str>| token.is_some_and(|token| token.contains(char::REPLACEMENT_CHARACTER));
        if lossy.is_some() && is_spoilt(members.refresh.as_ref().map(|token| token.expose())) {
            members.refresh = None;
            members.whole = false;
        }
        members
    }

    fn of_form(body: &[u8]) -> Self {
        let mut members = Self { whole: true, ..Self::default() };
        for (name, value) in form_urlencoded::parse(body) {
            if let Some((name, spelling)) = Name::of(&name) {
                members.take(name, spelling, Value::Text(value), MAX_DEPTH);
            }
        }
        if let Ok(text) = std::str::from_utf8(body)
            && !text.contains('=')
        {
            members.words.add(Place::Text, text);
        }
        members
    }

    /// Reads the object at the start of `json`, and returns whether it is complete.
    fn read(&mut self, json: &str, depth: usize) -> bool {
        let whole = json::read_object(json, |name, value| match Name::of(name) {
            Some((name, spelling)) => self.take(name, spelling, value, depth),
            None => self.search(Name::Unknown, &value, depth),
        });
        if let (Some(field), Some(code)) = (&self.field, &self.code) {
            self.words.add(Place::Text, &format!("{field} {code}"));
        }
        whole
    }

    fn read_array(&mut self, name: Name, json: &str, depth: usize) -> bool {
        json::read_array(json, MAX_ELEMENTS, |value| match &value {
            Value::Text(text) if name.holds_errors() => self.words.add(Place::Text, text),
            value => self.search(name, value, depth),
        })
    }

    /// Reads the objects in `value`, the value of the member `name`.
    fn search(&mut self, name: Name, value: &Value<'_>, depth: usize) {
        let json = match value {
            Value::Json(json) => json,
            // Gateways put the whole answer of another server into a string.
            Value::Text(text) if name.holds_errors() && text.trim_start().starts_with('{') => text.as_ref(),
            Value::Text(_) => return,
        };
        if depth >= MAX_DEPTH {
            return;
        }
        let json = json.trim_start();
        if json.starts_with('[') {
            self.read_array(name, json, depth + 1);
        } else if json.starts_with('{') {
            let mut object = Self { is_error: name.holds_errors(), ..Self::default() };
            object.whole = object.read(json, depth + 1);
            self.absorb(name, object);
        }
    }

    /// Takes the tokens and the error codes of `object`, the value of the member `name`, into these members.
    fn absorb(&mut self, name: Name, mut object: Self) {
        if name.holds_errors() || name == Name::Envelope {
            self.words.append(std::mem::take(&mut object.words));
            self.retry_after = self.retry_after.or(object.retry_after);
        }
        if object.whole && object.access.is_some() {
            if name == Name::AuthedUser {
                self.authed_user = Some(Box::new(object));
            } else {
                self.inner.count += 1;
                self.inner.last = Some(Box::new(object));
            }
        } else {
            self.inner.count += object.inner.count;
            self.inner.last = object.inner.last.or(self.inner.last.take());
        }
    }

    /// Returns the tokens of Slack's `authed_user`, or of the only object inside that has an access token. Members that the
    /// object inside lacks are taken from the outer object.
    ///
    /// Returns these members unchanged if they have an access token, or if the answer is truncated. In a truncated
    /// answer, the access token that belongs to the refresh token may have been in the missing part. In an error, an
    /// object with tokens may be a copy of the request, so only `authed_user` counts.
    pub(super) fn unwrap(mut self) -> Self {
        if self.access.is_some() || !self.whole {
            return self;
        }
        let only = self.inner.last.take().filter(|_| self.inner.count == 1 && !self.is_refusal);
        let Some(inner) = self.authed_user.take().or(only) else { return self };
        Self {
            access: inner.access,
            refresh: inner.refresh.or(self.refresh),
            kind: inner.kind.or(self.kind),
            is_of_unknown_type: inner.is_of_unknown_type || self.is_of_unknown_type,
            lifetimes: inner.lifetimes.or(self.lifetimes),
            scopes: inner.scopes.or(self.scopes),
            ..self
        }
    }

    /// Stores a member if it can be read.
    fn take(&mut self, name: Name, spelling: Spelling, value: Value<'_>, depth: usize) {
        let standard = spelling == Spelling::Standard;
        match name {
            Name::AccessToken => match value.text().map(AccessToken::new).filter(AccessToken::is_well_formed) {
                Some(token) if standard || !self.standard.0 => {
                    self.access = Some(token);
                    self.standard.0 = standard;
                }
                _ => {}
            },
            Name::RefreshToken => match value.text().filter(|token| !is_blank(token)) {
                Some(token) if standard || !self.standard.1 => {
                    self.refresh = Some(RefreshToken::new(token));
                    self.standard.1 = standard;
                }
                _ => {}
            },
            Name::TokenType => {
                if let Some(kind) = value.text() {
                    let is_known = |known: &str| kind.trim().eq_ignore_ascii_case(known);
                    self.is_of_unknown_type |= !TOKEN_TYPES.into_iter().any(is_known);
                    let dpop = is_known("DPoP");
                    self.kind = Some(if dpop { TokenKind::Dpop } else { TokenKind::Bearer });
                }
            }
            Name::Lifetime(member) => self.lifetimes.take(member, &value),
            Name::Scope => self.scopes = scopes(&value).or(self.scopes.take()),
            Name::RetryAfter => self.retry_after = retry_after::of_member(value.plain()).or(self.retry_after),
            Name::Success => self.is_refusal |= value.plain() == "false",
            Name::Field => self.field = value.text().map(Cow::into_owned),
            Name::Error => {
                let nothing = match &value {
                    Value::Text(text) => is_blank(text),
                    Value::Json(json) => matches!(*json, "null" | "false" | "0" | "[]" | "{}"),
                };
                self.is_refusal |= !nothing;
                self.word(name, Place::Error, &value, depth);
            }
            Name::Errors => {
                self.is_refusal |= !matches!(value.plain(), "" | "null" | "false" | "0" | "[]" | "{}");
                self.word(name, Place::Text, &value, depth);
            }
            Name::ErrorCode => {
                self.is_refusal |= matches!(&value, Value::Text(text) if !is_blank(text));
                self.word(name, Place::Code, &value, depth);
            }
            Name::Code => {
                self.code = value.text().map(Cow::into_owned);
                self.word(name, Place::Code, &value, depth);
            }
            Name::ErrorType => self.word(name, Place::Type, &value, depth),
            // Outside an error, `type` may be the kind of the answer and `name` a person's name. These count as text.
            Name::Type if self.is_error => self.word(name, Place::Type, &value, depth),
            Name::Type | Name::Text => self.word(name, Place::Text, &value, depth),
            Name::AuthedUser | Name::Envelope | Name::Unknown => self.search(name, &value, depth),
        }
    }

    /// Adds the value of an error member to the candidates for the reported error code.
    fn word(&mut self, name: Name, place: Place, value: &Value<'_>, depth: usize) {
        match value {
            Value::Text(text) if text.trim_start().starts_with('{') => self.search(name, value, depth),
            Value::Text(text) => self.words.add(place, text),
            Value::Json(json) if json.bytes().all(|byte| byte.is_ascii_digit()) => self.words.add(Place::Text, json),
            Value::Json(_) => self.search(name, value, depth),
        }
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
    pub(super) fn plain(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Json(json) => json,
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// One or more scopes (RFC 6749 section 3.3), or `None` where none are named.
fn scopes(value: &Value<'_>) -> Option<Scopes> {
    let mut named: Vec<String> = Vec::new();
    match value {
        Value::Text(text) => named.extend(split_scopes(text).map(str::to_owned)),
        Value::Json(json) => {
            let whole = json::read_array(json, MAX_SCOPES + 1, |item| {
                let item = item.text();
                named.extend(item.iter().flat_map(|item| item.split_ascii_whitespace()).map(str::to_owned));
            });
            named.truncate(if whole { named.len() } else { 0 });
        }
    }
    let small = named.len() <= MAX_SCOPES && named.iter().map(String::len).sum::<usize>() <= MAX_SCOPE_BYTES;
    (!named.is_empty() && small).then(|| Scopes::new(named))
}

/// The scopes in `text` (RFC 6749 section 3.3), in any of the notations of an answer.
///
/// Splits at whitespace if there is any, and drops adjacent commas. Otherwise it splits at commas (GitHub). The grammar
/// allows a comma within a scope, but no known provider uses one.
pub fn split_scopes(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let spaced = text.contains(|c: char| c.is_ascii_whitespace());
    let separates = move |c: char| if spaced { c.is_ascii_whitespace() } else { c == ',' };
    text.split(separates).map(|scope| scope.trim_matches(',')).filter(|scope| !scope.is_empty())
}
