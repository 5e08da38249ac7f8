//! The facts about one provider, and the profile of its issuers, which is made from them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tokenkeeper_actors::law::profile::{Profile, Reuse};

use super::check;
use super::words::{default_profile, extend};
use crate::discovery::AuthorizationServer;
use crate::issuers::dialect::{Dialect, RevocationForm};
use crate::user::UserMapping;

/// The differences of one provider's token endpoint from the [default profile](default_profile) and the standard. The default
/// has none.
///
/// The members are those of the [format](super#the-format), under the same names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct ProviderFacts {
    /// The provider whose behaviour an entry begins with, while its table is read.
    #[serde(skip_serializing)]
    pub(crate) extends: Option<String>,
    /// Where these facts are documented or were observed.
    #[serde(deserialize_with = "check::source")]
    pub source: String,
    /// The hosts of the provider's issuers. A name that begins with a dot stands for every host below it. Empty if each
    /// tenant chooses a host of its own.
    #[serde(deserialize_with = "check::hosts")]
    pub hosts: Vec<String>,
    /// The provider's issuer identifier. A client is registered under it, and metadata is found by it unless the row has
    /// endpoints.
    #[serde(deserialize_with = "check::endpoint")]
    pub issuer: Option<String>,
    /// The provider's endpoints, if its metadata does not suffice. They are used for logins to its API
    /// ([`SessionSpec::provider`](crate::SessionSpec::provider)).
    #[serde(deserialize_with = "check::or_standard")]
    pub endpoints: EndpointFacts,
    /// The URLs of the provider's API. An access token may be sent to them and to all URLs below them (law 13).
    #[serde(deserialize_with = "check::endpoints")]
    pub api: Vec<String>,
    /// The ways in which the provider's clients authenticate, by the names of RFC 8414. If they are not known, the list is
    /// empty and `client_secret_basic` is used.
    #[serde(deserialize_with = "check::methods")]
    pub client_authentication: Vec<String>,
    /// The form of the authorization requests with which people are sent to the provider.
    #[serde(deserialize_with = "check::or_standard")]
    pub authorization: AuthorizationFacts,
    /// The form of token requests to the provider.
    #[serde(deserialize_with = "check::or_standard")]
    pub token_request: Dialect,
    /// The form of a revocation at its revocation endpoint.
    #[serde(deserialize_with = "check::or_standard")]
    pub revocation: RevocationForm,
    /// The provider's own error codes and statuses.
    #[serde(deserialize_with = "check::or_standard")]
    pub errors: ErrorFacts,
    /// Whether a new refresh token invalidates the old one, for how long the provider still accepts the old one, and which tokens
    /// it revokes when a client presents the old one later.
    #[serde(deserialize_with = "check::or_standard")]
    pub refresh_token: RefreshTokenFacts,
    /// Where the provider describes the person who is signed in. `None` means the [built-in
    /// mapping](UserMapping::of_provider) for this name, or else the mapping of the runtime.
    #[serde(deserialize_with = "check::user")]
    pub user: Option<UserMapping>,
}

/// The endpoints of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct EndpointFacts {
    /// The authorization page.
    #[serde(deserialize_with = "check::endpoint")]
    pub authorization: Option<String>,
    /// The token endpoint.
    #[serde(deserialize_with = "check::endpoint")]
    pub token: Option<String>,
    /// The revocation endpoint (RFC 7009). The body of a request to it is written like that of a token request, unless it has a
    /// [form](ProviderFacts::revocation) of its own.
    #[serde(deserialize_with = "check::endpoint")]
    pub revocation: Option<String>,
    /// The introspection endpoint (RFC 7662), for a provider that names no lifetimes. A refresh asks this endpoint if the
    /// token answer has neither a lifetime nor a new refresh token.
    #[serde(deserialize_with = "check::endpoint")]
    pub introspection: Option<String>,
    /// The device authorization endpoint (RFC 8628).
    #[serde(deserialize_with = "check::endpoint")]
    pub device_authorization: Option<String>,
}

/// The authorization requests of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct AuthorizationFacts {
    /// Further parameters of each request, such as `access_type`. A parameter of the same name that the host sets
    /// ([`LoginSettings::parameter`](crate::LoginSettings::parameter)) takes precedence.
    #[serde(deserialize_with = "check::parameters")]
    pub parameters: BTreeMap<String, String>,
    /// Scopes that a login to the provider's API asks for in addition to the caller's. Without them, the provider issues no
    /// refresh token.
    #[serde(deserialize_with = "check::scopes")]
    pub scopes: Vec<String>,
    /// The parameter that holds the scopes of a login to its API. `None` is `scope`.
    #[serde(deserialize_with = "check::scope_parameter")]
    pub scope_parameter: Option<String>,
    /// The separator of the scopes of a login to its API.
    #[serde(deserialize_with = "check::or_standard")]
    pub scope_separator: ScopeSeparator,
}

/// The separator of scopes in an authorization request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeSeparator {
    /// A space (RFC 6749 section 3.3).
    #[default]
    Space,
    /// A comma.
    Comma,
}

impl ScopeSeparator {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Space => " ",
            Self::Comma => ",",
        }
    }
}

/// The error codes and statuses of one provider, besides those of the [default profile](default_profile).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct ErrorFacts {
    /// The codes for a dead refresh token.
    #[serde(deserialize_with = "check::words")]
    pub dead: Vec<String>,
    /// The codes for a client that the provider does not accept.
    #[serde(deserialize_with = "check::words")]
    pub client: Vec<String>,
    /// The codes for a request that the provider did not process, so that the refresh token stays unused.
    #[serde(deserialize_with = "check::words")]
    pub unspent: Vec<String>,
    /// The HTTP statuses, besides 429, for a request that the provider did not process.
    #[serde(deserialize_with = "check::statuses")]
    pub unspent_statuses: Vec<u16>,
}

/// The provider's treatment of a presented refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[non_exhaustive]
pub struct RefreshTokenFacts {
    /// Whether issuing a new refresh token invalidates the old one. `false` if the provider issues no new one, and also
    /// if the old one stays valid beside it.
    #[serde(deserialize_with = "check::or_standard")]
    pub rotates: bool,
    /// The tokens that the provider revokes when a refresh token that was used already is presented again.
    #[serde(serialize_with = "ReuseWord::serialize", deserialize_with = "reuse")]
    pub reuse: Reuse,
    /// How long after its first presentation a used refresh token may be presented again without harm. `None` if that is
    /// unknown.
    #[serde(rename = "grace_seconds", with = "check::seconds")]
    pub grace: Option<Duration>,
}

impl Default for RefreshTokenFacts {
    fn default() -> Self {
        let Profile { rotates, reuse, grace, .. } = Profile::default();
        Self { rotates, reuse, grace }
    }
}

/// The names of [`Reuse`] in a table.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Reuse", rename_all = "snake_case")]
enum ReuseWord {
    EndsLineage,
    EndsMore,
}

fn reuse<'de, D: Deserializer<'de>>(from: D) -> Result<Reuse, D::Error> {
    #[derive(Deserialize)]
    struct Written(#[serde(with = "ReuseWord")] Reuse);
    Ok(Option::<Written>::deserialize(from)?.map(|Written(reuse)| reuse).unwrap_or_default())
}

impl ProviderFacts {
    /// The [default profile](default_profile) with the differences of this provider.
    pub fn profile(&self) -> Profile {
        let RefreshTokenFacts { rotates, reuse, grace } = self.refresh_token;
        let mut profile = Profile { reuse, grace, rotates, ..default_profile() };
        extend(&mut profile.dead_words, &self.errors.dead);
        extend(&mut profile.client_words, &self.errors.client);
        extend(&mut profile.unspent_words, &self.errors.unspent);
        profile.unspent_statuses.extend(&self.errors.unspent_statuses);
        profile
    }

    /// The authorization server of a login to the API, if the row has its endpoints.
    pub fn authorization_server(&self) -> Option<AuthorizationServer> {
        let (issuer, token) = (self.issuer.as_ref()?, self.endpoints.token.as_ref()?);
        let mut server = AuthorizationServer::unpublished(issuer, token);
        server.authorization_endpoint.clone_from(&self.endpoints.authorization);
        server.revocation_endpoint.clone_from(&self.endpoints.revocation);
        server.device_endpoint.clone_from(&self.endpoints.device_authorization);
        let methods = &self.client_authentication;
        server.auth_methods = (!methods.is_empty()).then(|| methods.clone());
        Some(server)
    }

    /// Checks that the members fit together. The error is the reason why they do not.
    pub(super) fn agree(&self) -> Result<(), String> {
        let EndpointFacts { authorization, token, revocation, introspection, device_authorization } = &self.endpoints;
        let others = [authorization, revocation, introspection, device_authorization];
        if token.is_none() && others.into_iter().any(Option::is_some) {
            return Err("the endpoints have no `token`, and a login is of no use without it: add it".to_owned());
        }
        if token.is_some() && self.issuer.is_none() {
            return Err(
                "there are endpoints without an `issuer`, under which the client is registered: add it".to_owned()
            );
        }
        let Profile { dead_words, client_words, unspent_words, .. } = self.profile();
        let is_elsewhere = |word: &&String| unspent_words.contains(word) || client_words.contains(word);
        let in_two = dead_words.iter().find(is_elsewhere);
        match in_two.or_else(|| client_words.iter().find(|word| unspent_words.contains(word))) {
            Some(word) => Err(format!(
                "the error code {word} has two meanings, of which one may be the one that it has at every server: list it once"
            )),
            None => Ok(()),
        }
    }

    /// These facts for another provider that behaves alike, without the source, the hosts and the URLs, which belong to
    /// this provider alone. `name` is the name of this provider. Its built-in mapping of users is part of its behaviour.
    pub(super) fn behaviour(self, name: &str) -> Self {
        Self {
            source: String::new(),
            hosts: Vec::new(),
            issuer: None,
            endpoints: EndpointFacts::default(),
            api: Vec::new(),
            user: self.user.or_else(|| UserMapping::of_provider(name)).filter(|user| !user.names_a_url()),
            ..self
        }
    }
}
