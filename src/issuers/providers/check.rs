//! The checks of single members, made while a table is read, so that an error has its line and column.
//!
//! A message states the rule and never repeats the value, which may be a secret in the wrong place or act on a terminal.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::grant::may_receive_secrets;
use crate::user::UserMapping;

/// The longest text, in characters.
const MAX_TEXT: usize = 4 * 1024;

/// The longest error code that is read from an answer, in bytes. A longer one in a table could never match.
const MAX_WORD: usize = 64;

/// The longest grace period. No known provider has more than half an hour.
const MAX_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a member, where `null` stands for the standard, which is the member's default. The merge of tables removes such a
/// member, so the value that is read here is not used.
pub(in super::super) fn or_standard<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Text for people, on one line.
pub(super) fn source<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text: String = or_standard(from)?;
    let is_plain = text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
    if is_plain { Ok(text) } else { Err(D::Error::custom("expected one line of text, of 4096 characters at most")) }
}

/// Hosts in the form in which a URL has them.
pub(super) fn hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let hosts: Vec<String> = or_standard(from)?;
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let is_host = |host: &String| {
        let labels = host.strip_prefix('.').unwrap_or(host);
        host.len() <= 253 && labels.contains('.') && labels.split('.').all(is_label)
    };
    if hosts.iter().all(is_host) {
        Ok(hosts)
    } else {
        Err(D::Error::custom(
            "expected host names in lower case with at least one dot inside, such as as.example.com, or .example.com for \
             every host below it",
        ))
    }
}

/// Error codes, of the length and the characters that are accepted in answers.
pub(super) fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words: Vec<String> = or_standard(from)?;
    let is_word =
        |word: &String| (1..=MAX_WORD).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic());
    if words.iter().all(is_word) {
        Ok(words)
    } else {
        Err(D::Error::custom("expected error codes of 1 to 64 characters of ASCII, without spaces"))
    }
}

/// HTTP statuses of errors, without 400 and 401, with which the standard refuses a request for good.
pub(super) fn statuses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u16>, D::Error> {
    let statuses: Vec<u16> = or_standard(from)?;
    if statuses.iter().all(|status| (402..600).contains(status)) {
        Ok(statuses)
    } else {
        Err(D::Error::custom("expected HTTP statuses from 402 to 599"))
    }
}

/// Where a provider describes its users.
pub(super) fn user<'de, D: Deserializer<'de>>(from: D) -> Result<Option<UserMapping>, D::Error> {
    let mapping = Option::<UserMapping>::deserialize(from)?;
    match mapping.as_ref().map(UserMapping::check) {
        Some(Err(error)) => Err(D::Error::custom(error)),
        _ => Ok(mapping),
    }
}

/// A URL that a client sends secrets to, or that a person is sent to.
pub(super) fn endpoint<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let url = Option::<String>::deserialize(from)?;
    if url.as_deref().is_none_or(may_receive_secrets) { Ok(url) } else { Err(D::Error::custom(NO_ENDPOINT)) }
}

/// URLs that access tokens may be sent to.
pub(super) fn endpoints<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let urls: Vec<String> = or_standard(from)?;
    let is_plain = |url: &String| may_receive_secrets(url) && !url.contains('?');
    if urls.iter().all(is_plain) { Ok(urls) } else { Err(D::Error::custom(NO_ENDPOINT)) }
}

/// The message for a URL that may not receive secrets.
const NO_ENDPOINT: &str = "expected a whole https URL (or http on loopback) without user name and fragment, and without a query \
                           where tokens are sent to all that is below it";

/// The names of the ways in which clients authenticate.
pub(super) fn methods<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    const METHODS: [&str; 4] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
    let methods: Vec<String> = or_standard(from)?;
    if methods.iter().all(|method| METHODS.contains(&method.as_str())) {
        Ok(methods)
    } else {
        Err(D::Error::custom("expected some of none, client_secret_basic, client_secret_post and private_key_jwt"))
    }
}

/// Scopes (RFC 6749 section 3.3).
pub(super) fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let scopes: Vec<String> = or_standard(from)?;
    if scopes.iter().all(|scope| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic())) {
        Ok(scopes)
    } else {
        Err(D::Error::custom("expected scopes in ASCII, without spaces"))
    }
}

/// The name of the parameter that holds the scopes.
pub(super) fn scope_parameter<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    if name.as_deref().is_none_or(|name| is_name(name) && !is_reserved(name)) {
        Ok(name)
    } else {
        Err(D::Error::custom(RESERVED))
    }
}

/// The parameters that belong to the protocol and decide who gets the tokens. No table may set one of them.
const PROTOCOL: [&str; 24] = [
    "actor_token",
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "device_code",
    "dpop_jkt",
    "grant_type",
    "nonce",
    "redirect_uri",
    "refresh_token",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "subject_token",
];

/// The message for a parameter that no table may set.
const RESERVED: &str =
    "expected the name of a parameter that is none of the protocol's own, such as state or redirect_uri";

fn is_reserved(name: &str) -> bool {
    PROTOCOL.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_name(name: &str) -> bool {
    (1..=MAX_WORD).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Further parameters of a request, which never replace one of the protocol.
pub(in super::super) fn parameters<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let written: Unique<Option<String>> = Option::deserialize(from)?.unwrap_or_default();
    // The merge of tables removes a parameter whose value is null.
    let parameters: BTreeMap<_, _> = written.0.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if parameters.keys().any(|name| !is_name(name) || is_reserved(name)) {
        return Err(D::Error::custom(RESERVED));
    }
    let is_plain = |value: &String| value.chars().count() <= MAX_TEXT && !value.chars().any(char::is_control);
    if parameters.values().all(is_plain) { Ok(parameters) } else { Err(D::Error::custom("expected one line of text")) }
}

/// A span in whole seconds.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::de::{Deserializer, Error};
    use serde::{Deserialize, Serialize, Serializer};

    use super::MAX_GRACE;

    pub(in super::super) fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        span.map(|span| span.as_secs()).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let span = Option::<u64>::deserialize(from)?.map(Duration::from_secs);
        match span {
            Some(span) if span > MAX_GRACE => Err(D::Error::custom("expected a day (86400) at most")),
            span => Ok(span),
        }
    }
}

/// A map in which no name comes twice. The second entry would replace the first in silence.
#[derive(Default)]
pub(super) struct Unique<T>(pub(super) BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = BTreeMap<String, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if entries.contains_key(&name) {
                        return Err(A::Error::custom("expected each name once"));
                    }
                    entries.insert(name, map.next_value()?);
                }
                Ok(entries)
            }
        }

        from.deserialize_map(Entries(PhantomData)).map(Self)
    }
}
