//! A request that was read completely.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::parse;
use serde_json::Value;

use crate::hostile::dispatcher::Head;
use crate::hostile::form::{Form, Malformed};

/// A request's head and body.
pub(in crate::hostile) struct Incoming<'a> {
    pub(in crate::hostile) head: &'a Head,
    pub(in crate::hostile) body: &'a [u8],
}

impl<'a> Incoming<'a> {
    pub(super) fn method(&self) -> &'a str {
        &self.head.method
    }

    /// The path without the query.
    pub(in crate::hostile) fn path(&self) -> &'a str {
        self.head.path.split('?').next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> impl Iterator<Item = (String, String)> + use<'a> {
        let query = self.head.path.split_once('?').map_or("", |(_, query)| query);
        parse(query.as_bytes()).into_owned()
    }

    /// The parameters of a form, and none of any other body.
    pub(super) fn form(&self) -> impl Iterator<Item = (String, String)> + use<'a> {
        parse(if self.is("application/x-www-form-urlencoded") { self.body } else { b"" }).into_owned()
    }

    pub(super) fn json(&self) -> Option<Value> {
        if self.is("application/json") { serde_json::from_slice(self.body).ok() } else { None }
    }

    /// The form of a request to an endpoint where clients authenticate.
    pub(super) fn client_form(&self) -> Result<Form, Malformed> {
        Form::read(&self.head.content_type, self.head.authorization.as_deref(), self.body)
    }

    /// The scheme of `Authorization`, in lower case.
    pub(super) fn scheme(&self) -> Option<String> {
        Some(self.head.authorization.as_deref()?.split(' ').next()?.to_ascii_lowercase())
    }

    /// The token of a bearer header (RFC 6750 section 2.1).
    pub(super) fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.head.authorization.as_deref()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Whether an access token is presented, in either way.
    pub(super) fn has_token(&self) -> bool {
        self.bearer().is_some() || self.scheme().as_deref() == Some("dpop")
    }

    /// The client that authenticates by HTTP Basic, form-decoded (RFC 6749 section 2.3.1).
    pub(super) fn basic_client(&self) -> Option<String> {
        let (scheme, encoded) = self.head.authorization.as_deref()?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let user = decoded.split(|byte| *byte == b':').next()?;
        parse(user).next().map(|(name, _)| name.into_owned())
    }

    fn is(&self, essence: &str) -> bool {
        self.head.content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(essence)
    }
}

/// The parameters as a map. `None` if one is repeated (RFC 6749 section 3.1).
pub(super) fn unique(parameters: impl Iterator<Item = (String, String)>) -> Option<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (name, value) in parameters {
        if map.insert(name, value).is_some() {
            return None;
        }
    }
    Some(map)
}
