//! Reads the answer of a registration endpoint and of a client configuration endpoint.

use std::fmt;

use http::{Response, StatusCode, header};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenkeeper_actors::values::issuer::{ApplicationType, RegistrationManagement};
use tokenkeeper_actors::values::{RegistrationToken, WallTime, is_plain};
use zeroize::Zeroizing;

use crate::grant::split_scopes;
use crate::http::Body;
use crate::{ClientSecret, Scopes};

/// The maximum number of elements of a list that are read. A longer list is cut.
const MAX_ELEMENTS: usize = 100;

/// The longest client identifier, in bytes.
const MAX_ID: usize = 2 * 1024;

/// The longest description of a refusal, in characters.
const MAX_DESCRIPTION: usize = 200;

/// The smallest number that is a time in milliseconds since 1970, and not in seconds. As seconds it is in the year 5138.
const FIRST_MILLIS: f64 = 1e11;

/// An answer of a registration endpoint (RFC 7591 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationAnswer {
    /// The client was registered.
    Registered(Box<ClientInformation>),
    /// The server did not register a client.
    Refused(Refusal),
    /// The status reports success, but the body is no client information. It is no JSON object, has no usable `client_id`, or
    /// has a secret that cannot be sent.
    Unreadable,
}

/// The client as the server registered it (RFC 7591 section 3.2.1), which may differ from the request. Members that are
/// absent or unreadable are `None`. Its texts are the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInformation {
    /// `client_id`. Visible ASCII and spaces, at most 2 KiB.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: Option<ClientSecret>,
    /// `client_secret_expires_at`. `None` for a secret that does not end (0).
    pub secret_expires_at: Option<WallTime>,
    /// `token_endpoint_auth_method`.
    pub auth_method: Option<String>,
    /// `redirect_uris`.
    pub redirect_uris: Option<Vec<String>>,
    /// `grant_types`.
    pub grant_types: Option<Vec<String>>,
    /// `scope`.
    pub scopes: Option<Scopes>,
    /// `application_type` (OpenID Connect Registration section 2).
    pub application_type: Option<ApplicationType>,
    /// `registration_client_uri` and `registration_access_token` (RFC 7592 section 3), if there are both. The address has
    /// not been checked.
    pub management: Option<RegistrationManagement>,
}

/// The refusal of a registration (RFC 7591 section 3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// `error`, if it is a word of at most 64 letters, digits, `_`, `-` and `.`.
    pub error: Option<String>,
    /// `error_description`, as far as it can be shown. It has at most 200 characters, none of which acts on a terminal, is
    /// invisible, or changes the direction of reading.
    pub description: Option<String>,
}

/// Reads a complete answer of a registration endpoint, or of a client configuration endpoint (RFC 7592 section 3).
///
/// The function is pure, and its time is linear in the size of the answer. The caller bounds that size. Any 2xx with a
/// usable `client_id` is a registration. Everything beside the identifier and the secret is read leniently:
///
/// | received | interpretation |
/// |---|---|
/// | a byte order mark before the object, text after it | ignored |
/// | a member twice, or an object that breaks off | unreadable |
/// | `client_id` as integer | its digits |
/// | an empty `client_secret`, or `null` | none |
/// | `client_secret_expires_at` as number or string, in seconds or milliseconds | that time. A secret does not end if the value is 0, negative or unreadable |
/// | a list where the elements are no texts | without these elements |
/// | `scope` as array, or with commas | several scopes |
/// | `registration_access_token` without `registration_client_uri`, or the reverse | none |
pub fn read_registration(answer: &Response<Body>) -> RegistrationAnswer {
    let status = answer.status();
    let members = parse(answer.body().as_bytes());
    if status.is_success() && status != StatusCode::NO_CONTENT {
        return match members.and_then(information) {
            Some(client) => RegistrationAnswer::Registered(Box::new(client)),
            None => RegistrationAnswer::Unreadable,
        };
    }
    let members = members.filter(|_| !is_page(answer)).unwrap_or_default();
    RegistrationAnswer::Refused(Refusal {
        status: status.as_u16(),
        error: members.error.into_text().filter(|word| is_word(word)),
        description: members.error_description.into_text().and_then(|text| shown(&text)),
    })
}

/// Whether the answer is an HTML page.
fn is_page(answer: &Response<Body>) -> bool {
    answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// The members of the JSON object at the beginning of a body.
fn parse(body: &[u8]) -> Option<Members> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    if !body.starts_with(b"{") {
        return None;
    }
    serde_json::Deserializer::from_slice(body).into_iter().next()?.ok()
}

fn information(members: Members) -> Option<ClientInformation> {
    let client_id = match members.client_id {
        Loose::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => format!("{number:.0}"),
        id => id.into_text()?,
    };
    if client_id.len() > MAX_ID || !is_sendable(&client_id) {
        return None;
    }
    let secret = members.client_secret.into_secret().filter(|secret| !secret.is_empty());
    if secret.as_ref().is_some_and(|secret| !is_sendable(secret)) {
        return None;
    }
    let management = members.registration_client_uri.into_text().zip(members.registration_access_token.into_secret());
    let management = management.filter(|(_, token)| is_sendable(token));
    Some(ClientInformation {
        client_id,
        client_secret: secret.map(|secret| ClientSecret::new(secret.as_str())),
        secret_expires_at: expiry(members.client_secret_expires_at),
        auth_method: members.token_endpoint_auth_method.into_text().filter(|word| is_word(word)),
        redirect_uris: members.redirect_uris.into_texts(),
        grant_types: members.grant_types.into_texts(),
        scopes: match members.scope {
            Loose::Texts(scopes) if !scopes.is_empty() => Some(Scopes::new(scopes)),
            scope => {
                let scopes = scope.into_text().map(|scope| Scopes::new(split_scopes(&scope)));
                scopes.filter(|scopes| !scopes.is_empty())
            }
        },
        application_type: match members.application_type.into_text().as_deref() {
            Some("native") => Some(ApplicationType::Native),
            Some("web") => Some(ApplicationType::Web),
            _ => None,
        },
        management: management
            .map(|(uri, token)| RegistrationManagement { uri, token: RegistrationToken::new(token.as_str()) }),
    })
}

/// The time at which a secret expires, or `None` if it does not end.
fn expiry(value: Loose) -> Option<WallTime> {
    let number = match value {
        Loose::Number(number) => number,
        value => value.into_text()?.trim().parse().ok()?,
    };
    let millis = if number < FIRST_MILLIS { number * 1000.0 } else { number };
    // The conversion saturates, and NaN becomes 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let millis = millis as u64;
    (millis > 0).then(|| WallTime::from_millis(millis))
}

/// Whether the text can be sent as a client identifier or secret (RFC 6749 appendix A.1, A.2).
fn is_sendable(text: &str) -> bool {
    !text.trim().is_empty() && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

/// Whether the text has the form of an error code that may be shown.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The part of a text that may be shown, or `None` if nothing is left of it.
pub(super) fn shown(text: &str) -> Option<String> {
    let plain: String = text.chars().map(|c| if is_plain(c) { c } else { ' ' }).take(MAX_DESCRIPTION * 4).collect();
    let mut words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(MAX_DESCRIPTION) {
        let cut = words.char_indices().nth(MAX_DESCRIPTION - 1).map_or(end, |(cut, _)| cut);
        words.truncate(cut);
        words.push('…');
    }
    (!words.is_empty()).then_some(words)
}

/// The members that are read. Each may have any type.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Members {
    client_id: Loose,
    client_secret: Loose,
    client_secret_expires_at: Loose,
    token_endpoint_auth_method: Loose,
    redirect_uris: Loose,
    grant_types: Loose,
    scope: Loose,
    application_type: Loose,
    registration_access_token: Loose,
    registration_client_uri: Loose,
    error: Loose,
    error_description: Loose,
}

/// A value of any type.
#[derive(Default)]
enum Loose {
    Text(Zeroizing<String>),
    Number(f64),
    /// The texts of a list. Its other elements are left out.
    Texts(Vec<String>),
    #[default]
    Other,
}

impl Loose {
    fn into_secret(self) -> Option<Zeroizing<String>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Texts(_) | Self::Other => None,
        }
    }

    fn into_text(self) -> Option<String> {
        self.into_secret().map(|text| text.as_str().to_owned())
    }

    fn into_texts(self) -> Option<Vec<String>> {
        match self {
            Self::Texts(texts) => Some(texts),
            Self::Text(_) | Self::Number(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

/// Reads a [`Loose`] value with serde.
struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::Text(Zeroizing::new(text.to_owned())))
    }

    #[allow(clippy::cast_precision_loss, reason = "only times and small identifiers are read as numbers")]
    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f64))
    }

    #[allow(clippy::cast_precision_loss, reason = "only times and small identifiers are read as numbers")]
    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Loose, E> {
        Ok(Loose::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Loose, A::Error> {
        let mut texts = Vec::new();
        // serde_json bounds the depth of nested lists.
        while let Some(element) = elements.next_element::<Loose>()? {
            if let Some(text) = element.into_text().filter(|_| texts.len() < MAX_ELEMENTS) {
                texts.push(text);
            }
        }
        Ok(Loose::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Loose, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}

#[cfg(test)]
mod tests;
