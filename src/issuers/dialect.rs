//! The forms of a token request and of a revocation at one provider, where they differ from the standard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::providers::check::{or_standard, parameters};
use crate::grant::BodyFormat;

/// Deviations of a token endpoint from the standard. All fields are plain data; the default is the standard. In a table of
/// [providers](super::providers), it is the member `token_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Dialect {
    /// How parameters are written. Default: form-encoded.
    #[serde(deserialize_with = "or_standard")]
    pub body: BodyFormat,
    /// Whether a refresh sends `scope`. Default: it does not.
    #[serde(deserialize_with = "or_standard")]
    pub scope: ScopeOnRefresh,
    /// Whether a refresh sends `resource` (RFC 8707). Default: it does, if the login names one.
    #[serde(deserialize_with = "or_standard")]
    pub resource: ResourceOnRefresh,
    /// Further parameters of each request for a code and each refresh, such as `action`. They never replace a parameter of
    /// the standard. Default: none.
    #[serde(deserialize_with = "parameters")]
    pub parameters: BTreeMap<String, String>,
}

/// Whether a refresh sends `resource`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceOnRefresh {
    /// Sends the resource of the login, if it has one.
    #[default]
    Send,
    /// Sends none, because the server derives it from the scopes and refuses another one (Entra ID).
    Omit,
}

/// Whether a refresh sends `scope`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeOnRefresh {
    /// Sends no `scope`. The granted scopes stay granted (RFC 6749 section 6).
    #[default]
    Omit,
    /// Sends the granted scopes, or the requested ones where the server never named the granted ones (Entra ID). A
    /// requested `offline_access` is sent each time, although answers do not name it.
    Granted,
}

/// The form of a revocation at one provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationForm {
    /// The standard's (RFC 7009), which revokes the whole grant.
    #[default]
    Standard,
    /// A POST with the access token as its bearer token. The answer states success in its member `ok` (Slack). The
    /// request revokes the access token alone.
    Bearer,
    /// A DELETE at `/{client_id}/token` below the endpoint, which the client authenticates, with the access token in a JSON
    /// body (GitHub). The request revokes the access token alone.
    DeleteToken,
}
