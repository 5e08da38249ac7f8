//! The login of a person at the authorization server of an MCP server, or at an identity provider. A login consists of
//! discovery, registration, the authorization request, its answer, and the exchange of the code (RFC 6749 section 4.1, MCP
//! authorization).
//!
//! [`AuthorizationLogins`] is the engine's [`LoginSource`] over HTTP. It keeps no state between its calls. The pending
//! login holds all that a later call needs, so any process that shares the store can complete it.

mod device;
mod exchange;
mod external;
mod keys;
mod pending;
mod proof_key;
mod request;
mod response;
mod scopes;
mod settings;
mod sign_on;
mod subject;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokenkeeper_actors::ports::login::{
    AuthorizationCode, LoginSource, Polled, Preparation, Prepared, Redeemed, Redemption,
};
use tokenkeeper_actors::ports::store::{PendingLogin, TokenStore};
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::issuer::IssuerKey;
use tokenkeeper_actors::values::record::{Binding, ClientAuth, Grant, Issuer, Parked, RenewalPlan};
use tokenkeeper_actors::values::{
    Callback, DpopKey, LoginMethod, LoginOffer, LoginReason, Scopes, ServerIdentity, StoreFault,
};
use zeroize::Zeroizing;

pub(crate) use self::exchange::Exchanges;
use self::exchange::{Endpoint, Unanswered};
use self::keys::KeySettings;
use self::pending::{Parts, PendingAuthorization, Way};
use self::proof_key::Draw;
use self::request::AuthorizationRequest;
use self::response::Expected;
use self::scopes::ScopeSources;
use crate::callback;
use crate::discovery::{AuthorizationServer, Challenge, Discovered, Discovery, DiscoveryError, Freshness, Probe};
use crate::grant::BodyFormat;
use crate::http::Reach;
use crate::proof::ProofKey;
use crate::registration::{Registered, Registrar, Wanted};

pub use settings::LoginSettings;

/// The time-out of a pushed authorization request.
const PUSH_TIMEOUT: Duration = Duration::from_secs(15);

/// The maximum length of a `request_uri`, in bytes. It becomes a part of an address that a person opens.
const MAX_REQUEST_URI: usize = 2 * 1024;

/// The maximum number of new registrations in one login, for a server that has forgotten the client.
const MAX_RENEWALS: u32 = 1;

/// Logs people in over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationLogins {
    discovery: Discovery,
    registrar: Registrar,
    exchanges: Exchanges,
    settings: Arc<LoginSettings>,
    /// The DPoP settings of the sessions that have their own.
    pub(crate) keys: KeySettings,
}

impl AuthorizationLogins {
    /// Logs people in as `settings` say, through `exchanges`, and keeps registrations in `store`.
    ///
    /// # Errors
    ///
    /// The error of the host's own configuration of the discovery.
    pub(crate) fn new(
        settings: LoginSettings,
        store: Arc<dyn TokenStore>,
        exchanges: Exchanges,
        entropy: Entropy,
    ) -> Result<Self, DiscoveryError> {
        let (http, clock) = (Arc::clone(&exchanges.http), Arc::clone(&exchanges.clock));
        let discovery = settings.configure(Discovery::new(Arc::clone(&http), Arc::clone(&clock)))?;
        let clients = settings.all_clients().clone();
        let registrar = Registrar::new(clients, store, http, clock, entropy);
        Ok(Self { discovery, registrar, exchanges, settings: Arc::new(settings), keys: KeySettings::default() })
    }

    /// The look-ups of metadata. Sessions report their challenges to them.
    pub(crate) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Whether a client that a server rejects may be registered anew.
    pub(crate) fn registers_clients(&self) -> bool {
        self.registrar.registers_clients()
    }

    /// The loopback redirect addresses that are registered for `identity`, the best first.
    pub(crate) async fn registered_redirects(&self, identity: &ServerIdentity) -> Vec<String> {
        self.registrar.registered_redirects(identity, None).await
    }

    /// Finds the authorization server of `identity`. Before that, the resource is asked for its challenge, which may name
    /// scopes and the place of the resource's metadata.
    async fn discover(&self, identity: &ServerIdentity, preparation: &Preparation) -> Result<Found, LoginReason> {
        if let Some(issuer) = sign_on::issuer(identity) {
            let (discovered, reach) = sign_on::discover(&self.discovery, issuer).await?;
            return Ok(Found { discovered, challenged: Some(Scopes::new([sign_on::OPENID])), reach });
        }
        if let Some(provider) = external::provider(identity) {
            let (discovered, reach) = external::discover(&self.exchanges.providers, &self.discovery, provider).await?;
            return Ok(Found { discovered, challenged: None, reach });
        }
        let resource = identity.resource().ok_or(LoginReason::NoAuthorizationServer)?;
        let bound = preparation.grant.as_deref().map(|grant| grant.binding.issuer.0.as_str());
        let failed = |error: DiscoveryError| {
            tracing::info!(%identity, %error, "no authorization server was found");
            error.reason()
        };
        // A failed probe is no error. A server that answers it with a stream that does not end may still publish metadata.
        let probe = self.discovery.probe(resource).await.ok();
        let challenge = probe.as_ref().and_then(Probe::challenge);
        let found = self.discovery.authorization_server(resource, challenge, bound, Freshness::RetryFailure).await;
        let discovered = found.map_err(failed)?;
        // A step-up extends the present grant, so it must go to the issuer of that grant.
        if bound.is_some_and(|bound| preparation.extends && bound != discovered.server.issuer) {
            return Err(LoginReason::NoAuthorizationServer);
        }
        let challenged = challenge.and_then(Challenge::scopes);
        Ok(Found { discovered, challenged, reach: self.discovery.reach_for(resource) })
    }

    /// The scopes to ask for.
    fn scopes(preparation: &Preparation, found: &Found) -> Scopes {
        let Found { discovered, challenged, .. } = found;
        let is_foreign = |grant: &Grant| grant.binding.issuer.0 != discovered.server.issuer;
        // The scopes of a grant at another issuer mean nothing at this one. The scopes that the caller wished for still
        // apply.
        let wanted = match preparation.grant.as_deref() {
            Some(grant) if is_foreign(grant) => &preparation.wished,
            _ => &preparation.scopes,
        };
        ScopeSources {
            wanted: Some(wanted),
            challenged: challenged.as_ref(),
            resource: discovered.resource.scopes.as_ref(),
            server: discovered.server.scopes.as_ref(),
        }
        .select()
    }

    /// The renewal plan of a login of `identity` at `issuer`.
    fn renewal_at(&self, identity: &ServerIdentity, issuer: &str, reach: Reach) -> RenewalPlan {
        sign_on::renewal_at(&self.exchanges.providers, identity, issuer, reach)
    }

    async fn retire(&self, key: &IssuerKey, client_id: &str) {
        log_failed_note(self.registrar.retire(key, client_id).await);
    }

    /// Chooses a client and prepares the request as this client. If the server has forgotten the client, a new one is
    /// registered, and the request is prepared once more.
    async fn arrange(
        &self,
        identity: &ServerIdentity,
        preparation: &Preparation,
        target: &Target<'_>,
        redirect: Option<&str>,
        draw: &Draw,
    ) -> Result<(Registered, Way, Option<Duration>), LoginReason> {
        let mut renewals = 0;
        loop {
            let wanted = Wanted { server: target.server, identity, redirect, reach: target.reach };
            let registered = self.registrar.client_for(wanted).await.map_err(|error| {
                tracing::info!(%identity, %error, "no client can be used");
                error.reason()
            })?;
            let renewable = registered.key.as_ref().filter(|_| renewals < MAX_RENEWALS);
            let way = match (redirect, renewable) {
                (_, Some(_)) if was_rejected(preparation, target.server, &registered) => {
                    Err(LoginReason::ClientRejected)
                }
                (Some(redirect), _) => {
                    let redirect = registered.redirect_uri.as_deref().unwrap_or(redirect);
                    self.prepare_page(target, &registered, redirect, draw).await.map(|way| (way, None))
                }
                (None, _) => self.prepare_device(target, &registered).await,
            };
            match (way, renewable) {
                (Ok((way, lifetime)), _) => return Ok((registered, way, lifetime)),
                (Err(LoginReason::ClientRejected), Some(key)) => self.retire(key, &registered.client.id).await,
                (Err(reason), _) => return Err(reason),
            }
            renewals += 1;
        }
    }

    /// Asks for a device code.
    async fn prepare_device(
        &self,
        target: &Target<'_>,
        registered: &Registered,
    ) -> Result<(Way, Option<Duration>), LoginReason> {
        let endpoint = target.server.device_endpoint.as_deref().ok_or(LoginReason::MethodUnsupported)?;
        let endpoint =
            Endpoint { url: endpoint, client: &registered.client, reach: target.reach, issuer: &target.server.issuer };
        let profile = self.exchanges.profiles.of(&target.renewal);
        device::begin(&self.exchanges, endpoint, &target.scopes, target.resource, &profile).await
    }

    /// Builds the address of the authorization page. If the server accepts pushed requests and may have forgotten the
    /// client, the request is pushed first to find that out.
    async fn prepare_page(
        &self,
        target: &Target<'_>,
        registered: &Registered,
        redirect_uri: &str,
        draw: &Draw,
    ) -> Result<Way, LoginReason> {
        let server = target.server;
        let endpoint = server.authorization_endpoint.as_deref().ok_or(LoginReason::MethodUnsupported)?;
        let (state, verifier) = (draw.state(), draw.verifier());
        let thumbprint = target.proof_key.as_ref().map(|(_, key)| key.thumbprint());
        let request = AuthorizationRequest {
            client_id: &registered.client.id,
            redirect_uri,
            scopes: &target.scopes,
            state: &state,
            verifier: &verifier,
            resource: target.resource,
            proof_key: thumbprint.as_deref(),
            login_hint: target.login_hint,
            scope_form: target.form.scope,
            extra: &target.form.parameters,
        };
        let parameters = request.parameters();
        let mut page = request::page(endpoint, &parameters);
        match &server.pushed_endpoint {
            Some(pushed) if server.requires_pushed => {
                let request_uri = self.push(target, registered, pushed, &parameters).await?;
                let client_id = registered.client.id.clone();
                let short = [("client_id".to_owned(), client_id), ("request_uri".to_owned(), request_uri)];
                page = request::page(endpoint, &short);
            }
            // The page of a server that has forgotten the client shows an error and never redirects, so the request is
            // pushed to see the error here. A pushed request expires too soon for a person, so the page gets the whole
            // request.
            Some(pushed) if registered.is_reused => {
                let answer = self.push(target, registered, pushed, &parameters).await;
                // If the push failed for another reason, the page may still know the client.
                if let Err(reason @ (LoginReason::ClientRejected | LoginReason::Refused)) = answer {
                    return Err(reason);
                }
            }
            None if server.requires_pushed => return Err(LoginReason::MetadataUnusable),
            _ => {}
        }
        Ok(Way::Browser {
            url: page.ok_or(LoginReason::MetadataUnusable)?,
            state,
            verifier: verifier.to_string(),
            redirect_uri: redirect_uri.to_owned(),
            names_issuer: server.names_issuer_in_response,
            browser: target.browser,
        })
    }

    /// Pushes an authorization request (RFC 9126), and returns its `request_uri`.
    async fn push(
        &self,
        target: &Target<'_>,
        registered: &Registered,
        url: &str,
        parameters: &[(String, String)],
    ) -> Result<String, LoginReason> {
        #[derive(Deserialize)]
        struct Pushed {
            request_uri: String,
        }
        // The client identifier is a parameter of the pushed request (RFC 9126 section 2.1). The client's authentication
        // adds it to the form, except for HTTP Basic, which sends it in a header.
        let is_added = registered.client.auth != ClientAuth::Basic;
        let form = parameters.iter().filter(|(name, _)| !is_added || name != "client_id");
        let form = form.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let endpoint = Endpoint { url, client: &registered.client, reach: target.reach, issuer: &target.server.issuer };
        let answer = match self.exchanges.post(endpoint, form, BodyFormat::Form, PUSH_TIMEOUT).await {
            Ok(answer) => answer,
            Err(Unanswered::NotSent(reason)) => return Err(reason),
            Err(Unanswered::Lost) => return Err(LoginReason::ServerTrouble),
        };
        let profile = self.exchanges.profiles.of(&target.renewal);
        if answer.is_gone(&profile) {
            self.discovery.doubted_server(&target.server.issuer);
        }
        if !answer.is_success() {
            return Err(answer.refusal(&profile));
        }
        let pushed = answer.json::<Pushed>().map(|pushed| pushed.request_uri);
        pushed.filter(|uri| (1..=MAX_REQUEST_URI).contains(&uri.len())).ok_or(LoginReason::MetadataUnusable)
    }
}

/// An authorization server, as discovery has found it.
struct Found {
    discovered: Discovered,
    /// The scopes that the resource's challenge names. At an identity provider, the scope is `openid`.
    challenged: Option<Scopes>,
    /// The addresses that requests to the server's URLs may connect to.
    reach: Reach,
}

/// The authorization server that a login goes to, and the contents of the request to it.
struct Target<'a> {
    server: &'a AuthorizationServer,
    resource: Option<&'a str>,
    scopes: Scopes,
    login_hint: Option<&'a str>,
    browser: Option<[u8; 32]>,
    reach: Reach,
    renewal: RenewalPlan,
    /// The key that the tokens are to be bound to.
    proof_key: Option<(DpopKey, ProofKey)>,
    form: external::RequestForm<'a>,
}

/// Whether a refresh of the grant that the login replaces has shown that the server does not accept this client any more.
fn was_rejected(preparation: &Preparation, server: &AuthorizationServer, registered: &Registered) -> bool {
    preparation.grant.as_deref().is_some_and(|Grant { binding, parked, .. }| {
        *parked == Some(Parked::ClientRejected)
            && binding.issuer.0 == server.issuer
            && binding.client.id == registered.client.id
    })
}

/// Logs that a note about a client could not be stored. The login continues, because a later login notices the same.
fn log_failed_note(result: Result<(), StoreFault>) {
    if let Err(fault) = result {
        tracing::debug!(%fault, "a note about a client could not be stored");
    }
}

#[async_trait]
impl LoginSource for AuthorizationLogins {
    async fn prepare(&self, identity: &ServerIdentity, preparation: Preparation) -> Result<Prepared, LoginReason> {
        let found = self.discover(identity, &preparation).await?;
        let server = &found.discovered.server;
        let (redirect, browser) = match &preparation.method {
            LoginMethod::Redirect(address) => (Some(address.as_str()), None),
            LoginMethod::Hosted { redirect, browser } => (Some(redirect.as_str()), Some(browser.digest())),
            _ => (None, None),
        };
        if redirect.is_some() && !server.supports_pkce() {
            return Err(LoginReason::NoPkce);
        }
        let endpoint = if redirect.is_some() { &server.authorization_endpoint } else { &server.device_endpoint };
        if endpoint.is_none() {
            // No client is registered for a login that the server does not offer.
            return Err(LoginReason::MethodUnsupported);
        }
        let scopes = Self::scopes(&preparation, &found);
        let renewal = self.renewal_at(identity, &server.issuer, found.reach);
        let facts = self.exchanges.providers.of(renewal.provider.as_ref());
        let target = Target {
            server,
            resource: identity.resource().map(|_| found.discovered.resource.resource.as_str()),
            scopes: match identity.target() {
                tokenkeeper_actors::values::Target::Idp { .. } => sign_on::scopes(scopes),
                _ => external::scopes(identity, facts, scopes),
            },
            login_hint: self.settings.hint(identity),
            browser,
            reach: found.reach,
            renewal,
            form: external::RequestForm::of(identity, facts, self.settings.parameters()),
            proof_key: self.keys.draw(identity, &preparation, &self.settings, &found.discovered)?,
        };
        let draw = Draw::from_system().ok_or(LoginReason::Aborted)?;
        let (registered, way, lifetime) = self.arrange(identity, &preparation, &target, redirect, &draw).await?;
        if let Some(key) = registered.key.as_ref().filter(|_| registered.is_reused) {
            log_failed_note(self.registrar.opened(key, &registered.client.id).await);
        }
        let key = match &way {
            Way::Browser { state, .. } => callback::key_of_state(state),
            Way::Device { .. } => callback::key_of_state(&draw.state()),
        };
        let binding = Binding {
            issuer: Issuer(server.issuer.clone()),
            client: registered.client,
            token_endpoint: server.token_endpoint.clone(),
            revocation_endpoint: server.revocation_endpoint.clone(),
            resource: target.resource.map(str::to_owned),
        };
        let pending = PendingAuthorization::new(Parts {
            binding,
            reach: target.reach,
            requested: &target.scopes,
            registration: registered.key.as_ref(),
            way,
            proof_key: target.proof_key.map(|(stored, _)| stored),
        });
        let now = self.exchanges.clock.now().wall;
        let expires = lifetime.map_or(preparation.expires, |lifetime| preparation.expires.min(now.after(lifetime)));
        Ok(Prepared { key, expires, sealed: pending.seal().ok_or(LoginReason::Aborted)? })
    }

    fn offer(&self, pending: &PendingLogin) -> Result<LoginOffer, LoginReason> {
        let open = PendingAuthorization::open(&pending.sealed).ok_or(LoginReason::UnknownLogin)?;
        Ok(open.offer(pending.expires))
    }

    async fn read(&self, pending: &PendingLogin, callback: &Callback) -> Result<AuthorizationCode, LoginReason> {
        let open = PendingAuthorization::open(&pending.sealed).ok_or(LoginReason::UnknownLogin)?;
        let Way::Browser { state, names_issuer, browser, .. } = &open.way else { return Err(LoginReason::Forged) };
        if browser.is_some_and(|begun| callback.browser().is_none_or(|came| came.digest() != begun)) {
            return Err(LoginReason::OtherBrowser);
        }
        let expected =
            Expected { key: callback::key_of_state(state), issuer: &open.issuer, names_issuer: *names_issuer };
        let answer = callback::parameters(callback.expose()).map_err(|_| LoginReason::Forged)?;
        let judged = response::check(answer, expected);
        if let Some(key) = open.registration() {
            let client_id = &open.client().id;
            match &judged {
                // Another party's answer shows nothing about the client.
                Err(LoginReason::Forged | LoginReason::WrongIssuer) => {}
                Err(LoginReason::ClientRejected) => self.retire(&key, client_id).await,
                // Any other answer to this request shows that the server knows the client.
                Ok(_) | Err(_) => log_failed_note(self.registrar.answered(&key, client_id).await),
            }
        }
        judged
    }

    async fn redeem(&self, identity: &ServerIdentity, redemption: Redemption) -> Redeemed {
        let Redemption { pending, code, timeout } = redemption;
        let Some(open) = PendingAuthorization::open(&pending.sealed) else {
            return Redeemed::Refused(LoginReason::UnknownLogin);
        };
        let Way::Browser { verifier, redirect_uri, .. } = &open.way else {
            return Redeemed::Refused(LoginReason::UnknownLogin);
        };
        let (client, verifier) = (open.client(), Zeroizing::new(verifier.clone()));
        let renewal = self.renewal_at(identity, &open.issuer, open.reach());
        let mut parameters = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            // Servers that follow RFC 6749 section 4.1.3 compare `redirect_uri`. OAuth 2.1 servers ignore it.
            ("redirect_uri", redirect_uri.as_str()),
            ("code_verifier", verifier.as_str()),
        ];
        parameters.extend(open.resource.as_deref().map(|resource| ("resource", resource)));
        let dialect = self.exchanges.dialect(&renewal);
        parameters.extend(dialect.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let endpoint =
            Endpoint { url: &open.token_endpoint, client: &client, reach: open.reach(), issuer: &open.issuer };
        let (format, key) = (dialect.body, open.proof_key());
        let answer = match self.exchanges.post_for_tokens(endpoint, key.as_ref(), parameters, format, timeout).await {
            Ok(answer) => answer,
            Err(Unanswered::NotSent(LoginReason::Unreachable)) => return Redeemed::NotSent,
            Err(Unanswered::NotSent(reason)) => return Redeemed::Refused(reason),
            Err(Unanswered::Lost) => return Redeemed::Lost,
        };
        if answer.is_gone(&self.exchanges.profiles.of(&renewal)) {
            self.discovery.doubted_server(&open.issuer);
        }
        match self.exchanges.tokens(&answer, &open, renewal) {
            Ok(issued) => Redeemed::Issued(issued),
            Err(reason) => {
                if let (LoginReason::ClientRejected, Some(key)) = (reason, open.registration()) {
                    self.retire(&key, &client.id).await;
                }
                Redeemed::Refused(reason)
            }
        }
    }

    async fn poll(&self, identity: &ServerIdentity, pending: &PendingLogin) -> Polled {
        match PendingAuthorization::open(&pending.sealed) {
            Some(open) => {
                let renewal = self.renewal_at(identity, &open.issuer, open.reach());
                device::poll(&self.exchanges, &open, renewal).await
            }
            None => Polled::Ended(LoginReason::UnknownLogin),
        }
    }
}

#[cfg(test)]
mod tests;
