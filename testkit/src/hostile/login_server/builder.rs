//! The builder of a login server.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokenkeeper_actors::values::record::ClientAuth;

use super::flaw::Flaw;
use super::settings::{Consent, ResourceMetadata, ServerMetadata, Settings, words};
use super::{LoginServer, Site};
use crate::hostile::{HostileAs, Rules};

/// The settings of a [`LoginServer`] that is to be started. The default is strict and without flaws.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LoginServerBuilder {
    settings: Settings,
    rules: Rules,
}

impl LoginServerBuilder {
    /// Starts the server on the current runtime, which needs I/O and time enabled.
    ///
    /// # Errors
    ///
    /// If no port on 127.0.0.1 is available.
    pub async fn start(self) -> io::Result<LoginServer> {
        let Self { settings, rules } = self;
        let host = settings.host.clone();
        let binds = settings.announces_dpop;
        let site = |origin: &str| Some(Site::new(origin.to_owned(), settings));
        let hostile = HostileAs::start_at(&host, rules, site).await?;
        hostile.dispatcher.state().proofs.rules.binds = binds;
        Ok(LoginServer { hostile })
    }

    /// The host in all URLs, for example `auth.example.com`. Default `127.0.0.1`. The server still listens on 127.0.0.1, so
    /// the client has to resolve the name to that address.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.settings.host);
        self
    }

    /// The `Cache-Control` of all metadata, for example `max-age=60`. Default none. Metadata always has an `ETag`, and is
    /// answered with 304 where a client has it already.
    pub fn cache_control(mut self, value: &str) -> Self {
        self.settings.cache_control = Some(value.to_owned());
        self
    }

    // --- the resource ------------------------------------------------------------------------------------------------

    /// The scopes that the resource and the authorization server list. Default `tools:read tools:call`. A request for any
    /// other scope is refused with `invalid_scope`, so list `openid` and `offline_access` here for clients to ask for them.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.scopes = words(scopes);
        self
    }

    /// The scopes that each call needs. The challenge names them, and an authorization request without scopes obtains
    /// them. Default none, and all scopes are then obtained.
    pub fn required(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.required = words(scopes);
        self
    }

    /// The additional scopes for calls of one tool (`tools/call`).
    pub fn tool(mut self, name: &str, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.tools.insert(name.to_owned(), words(scopes));
        self
    }

    /// The additional scopes for calls at one path, which is below `/mcp`.
    pub fn path(mut self, path: &str, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.paths.insert(path.to_owned(), words(scopes));
        self
    }

    /// Admits calls without a token, except those of tools and paths with scopes of their own.
    pub fn admits_anonymous(mut self) -> Self {
        self.settings.admits_anonymous = true;
        self
    }

    /// The addresses of the resource's metadata. Default [`ResourceMetadata::Path`]. The challenge names the custom one if
    /// there is one, else the one with the path, else the root.
    pub fn resource_metadata(mut self, at: impl IntoIterator<Item = ResourceMetadata>) -> Self {
        self.settings.resource_metadata = at.into_iter().collect();
        self
    }

    /// Leaves `resource_metadata` out of challenges, so that clients have to probe.
    pub fn silent_about_metadata(mut self) -> Self {
        self.settings.challenge_names_metadata = false;
        self
    }

    /// Leaves `scope` out of 401 challenges.
    pub fn silent_about_scopes(mut self) -> Self {
        self.settings.challenge_names_scope = false;
        self
    }

    // --- the authorization server ------------------------------------------------------------------------------------

    /// The path of the issuer identifier, for example `/tenant1`. Default none.
    pub fn issuer_path(mut self, path: &str) -> Self {
        path.trim_end_matches('/').clone_into(&mut self.settings.issuer_path);
        self
    }

    /// The addresses of the authorization server's metadata. Default all. Without any, the server is one of the revision
    /// of 2025-03-26.
    pub fn server_metadata(mut self, at: impl IntoIterator<Item = ServerMetadata>) -> Self {
        self.settings.server_metadata = at.into_iter().collect();
        self
    }

    /// Refuses authorization requests that were not pushed.
    pub fn require_par(mut self) -> Self {
        self.settings.requires_par = true;
        self
    }

    /// The authentication methods that the metadata lists, in this order. Registrations with another one are refused.
    /// Default `none`, `client_secret_basic` and `client_secret_post`. Others are left out.
    pub fn auth_methods(mut self, methods: impl IntoIterator<Item = ClientAuth>) -> Self {
        self.settings.auth_methods = methods.into_iter().collect();
        self
    }

    /// Has no endpoint for pushed requests.
    pub fn without_par(mut self) -> Self {
        self.settings.offers_par = false;
        self
    }

    /// Has no endpoint for device logins.
    pub fn without_devices(mut self) -> Self {
        self.settings.offers_devices = false;
        self
    }

    /// Lets the secrets of registered clients end after this time (`client_secret_expires_at`). Default never. The token
    /// endpoint still accepts them afterwards.
    pub fn secrets_expire_in(mut self, time: Duration) -> Self {
        self.settings.secret_lifetime = Some(time);
        self
    }

    /// Advertises client ID metadata documents. Add the documents with
    /// [`add_metadata_document`](LoginServer::add_metadata_document).
    pub fn metadata_documents(mut self) -> Self {
        self.settings.metadata_documents = true;
        self
    }

    /// Neither advertises nor sends `iss` in callbacks. Default: both.
    pub fn without_iss(mut self) -> Self {
        self.settings.sends_iss = false;
        self
    }

    /// Issues refresh tokens only where the scope `offline_access` was granted. Clients that registered without the grant
    /// type `refresh_token` never get any.
    pub fn refresh_needs_offline_access(mut self) -> Self {
        self.settings.refresh_needs_offline = true;
        self
    }

    /// The `interval` of device logins, in seconds. Default 5.
    pub fn device_interval(mut self, seconds: u64) -> Self {
        self.settings.device_interval = seconds;
        self
    }

    /// Answers polls that come before the interval is over with `slow_down`. Default: no, so that no test has to wait.
    pub fn enforces_interval(mut self) -> Self {
        self.settings.enforces_interval = true;
        self
    }

    /// Has a userinfo endpoint, which takes live access tokens of any resource. Its answers name the person of the token, and have
    /// these further claims. One that is named `sub`, `name`, `email` or `email_verified` replaces the server's own. Default: no
    /// such endpoint.
    pub fn userinfo(mut self, claims: Value) -> Self {
        self.settings.userinfo = Some(claims);
        self
    }

    /// The rules of the token endpoint.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Announces proofs of possession (RFC 9449), and binds all tokens to keys.
    #[cfg(feature = "dpop")]
    pub fn dpop(mut self) -> Self {
        self.settings.announces_dpop = true;
        self
    }

    // --- persons and flaws -------------------------------------------------------------------------------------------

    /// The person who answers. Default `alice`.
    pub fn subject(mut self, subject: &str) -> Self {
        subject.clone_into(&mut self.settings.subject);
        self
    }

    /// How the person answers. Default [`Consent::Allow`].
    pub fn consents(mut self, consent: Consent) -> Self {
        self.settings.consent = consent;
        self
    }

    /// Adds a flaw.
    pub fn flaw(mut self, flaw: Flaw) -> Self {
        self.settings.flaws.insert(flaw);
        self
    }
}
