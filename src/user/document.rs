//! Makes a user context from a provider's answers. The functions are pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use tokenkeeper_actors::values::WallTime;
use zeroize::Zeroizing;

use super::context::{Parts, UserContext};
use super::error::UserError;
use super::mapping::{UserEnvelope, UserFields, UserPick, UserRefusal, UserRefusalMeaning};
use crate::Generation;

/// The maximum length of a token whose claims are read, in bytes. Entra's tokens with many groups have 60 KB.
const MAX_TOKEN: usize = 128 * 1024;

/// The maximum length of a text of a person, in bytes.
const MAX_TEXT: usize = 1024;

/// The maximum number of groups.
const MAX_GROUPS: usize = 1024;

/// The meaning of a provider's own error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorMeaning {
    Unauthorized,
    Forbidden,
    Throttled,
    Other,
}

/// Reads the claims of a token that is a JWT. The signature is not verified.
pub(super) fn claims(token: &str) -> Option<Value> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    serde_json::from_slice(&claims).ok().filter(Value::is_object)
}

/// The meaning that a mapping gives to a refusal. `None` if its status means what it usually does.
pub(super) fn refusal_in(status: u16, body: &[u8], refusals: &[UserRefusal]) -> Option<UserRefusalMeaning> {
    refusals.iter().find(|refusal| refusal.is_met_by(status, body)).map(|refusal| refusal.means)
}

/// Reads an answer. Some servers put a byte order mark before it.
pub(super) fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()
}

/// The meaning of an answer with status 200, by the mapping's [`UserEnvelope`]. `None` for a successful one.
pub(super) fn error_in(answer: &Value, envelope: Option<&UserEnvelope>) -> Option<ErrorMeaning> {
    let envelope = envelope?;
    if answer.get(&envelope.ok) == Some(&Value::Bool(true)) {
        return None;
    }
    let word = answer.get(&envelope.error).and_then(Value::as_str).unwrap_or_default();
    let is_among = |words: &[String]| words.iter().any(|known| known == word);
    Some(if is_among(&envelope.unauthorized) {
        ErrorMeaning::Unauthorized
    } else if is_among(&envelope.forbidden) {
        ErrorMeaning::Forbidden
    } else if is_among(&envelope.throttled) {
        ErrorMeaning::Throttled
    } else {
        ErrorMeaning::Other
    })
}

/// Whether the claims name `subject` in `sub`, if the session's login has named one.
pub(super) fn check_subject(claims: &Value, subject: Option<&str>) -> Result<(), UserError> {
    match (claims.get("sub").and_then(Value::as_str), subject) {
        (Some(sub), Some(subject)) if sub != subject => Err(UserError::SubjectMismatch),
        (None, _) => Err(UserError::NoSubject),
        (Some(_), _) => Ok(()),
    }
}

/// Makes the context from the answers in `document`, which has a member for each answer.
pub(super) fn context(
    document: Map<String, Value>,
    fields: &UserFields,
    (generation, signed_in): (Generation, Option<WallTime>),
    fetched_at: WallTime,
) -> Result<UserContext, UserError> {
    let claims = Value::Object(document);
    let subject = first(&fields.subject, &claims, identifier).ok_or(UserError::NoSubject)?;
    let mut groups: Vec<String> = Vec::new();
    let mut stated = fields.more_groups.iter().flat_map(|pick| pick.values(&claims));
    let mut has_more_groups = stated.any(|value| !matches!(value, Value::Null | Value::Bool(false)));
    for group in fields.groups.iter().flat_map(|pick| pick.values(&claims)).flat_map(elements).filter_map(text) {
        match groups.contains(&group) {
            true => {}
            false if groups.len() < MAX_GROUPS => groups.push(group),
            false => has_more_groups = true,
        }
    }
    Ok(UserContext::new(Parts {
        subject,
        name: first(&fields.name, &claims, text),
        email: first(&fields.email, &claims, text),
        email_verified: first(&fields.email_verified, &claims, truth),
        groups,
        has_more_groups,
        claims,
        generation,
        signed_in,
        fetched_at,
    }))
}

/// The first value at these places that `read` understands.
fn first<T>(picks: &[UserPick], claims: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    picks.iter().flat_map(|pick| pick.values(claims)).find_map(read)
}

/// The elements of a list, or the value itself.
fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// A text that may be shown.
fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    let is_good = (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control);
    is_good.then(|| text.to_owned())
}

/// A subject, exactly as the provider writes it. Some providers number their users.
fn identifier(value: &Value) -> Option<String> {
    match value {
        Value::String(subject) => text(value).filter(|text| text == subject),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// A boolean, or its text.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(word) => word.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
