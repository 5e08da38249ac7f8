//! An authorization server and an MCP resource with everything that a login needs, on loopback in the test's own process,
//! with a switch for each flaw.
//!
//! It is the [`HostileAs`] with more endpoints. Rotation, detection of reuse, faults and counts of the token endpoint are
//! that server's own, at [`LoginServer::hostile`].
//!
//! ```
//! use tokenkeeper_testkit::login_server::{Browser, Endpoint, Flaw, LoginServer};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let server = LoginServer::builder()
//!     .issuer_path("/tenant1")
//!     .scopes(["files:read", "files:write"])
//!     .tool("delete", ["files:write"])
//!     .flaw(Flaw::IssWrong)
//!     .start()
//!     .await?;
//!
//! // Let the client under test begin a login at `server.resource_url()` here, and open its authorization URL:
//! // `Browser::complete(url).await?` answers as the person does, and calls the client back.
//!
//! assert_eq!(server.counts().of(Endpoint::Token), 0, "a code of another issuer was sent");
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Flaws of metadata are those of the authorization server's. [`LoginServer::next_at`] puts any [`Fault`] on any endpoint, for
//! example [`Fault::huge`] on the resource's metadata.
//!
//! | path | purpose |
//! |---|---|
//! | `/mcp`, and below it | the resource, with a challenge (401) and `insufficient_scope` (403) |
//! | `/.well-known/…`, `/metadata/of-the-resource` | metadata (RFC 9728, RFC 8414, OpenID Connect Discovery) |
//! | `/authorize`, `/decide` | authorization with PKCE (RFC 6749, RFC 7636, RFC 9207), at once or by a page |
//! | `/par` | pushed requests (RFC 9126) |
//! | `/register`, `/register/…` | registration (RFC 7591) and its management (RFC 7592) |
//! | `/device_authorization`, `/device` | device logins (RFC 8628) |
//! | `/token`, `/revoke` | tokens for codes, device codes, refresh tokens and client credentials; revocation (RFC 7009) |
//!
//! The endpoints are at the origin, also where the issuer has a path, so that a client of the revision of 2025-03-26 finds them.

mod authorize;
mod browser;
mod builder;
mod device;
mod documents;
mod flaw;
mod grants;
mod incoming;
mod pages;
mod registration;
mod resource;
mod settings;
mod site;
mod tally;
mod userinfo;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::values::record::{Client, ClientAuth};

use super::script::Step;
use super::{ChainId, Fault, Gate, HostileAs, Verifier, When};
use registration::Known;
use settings::words;

pub(super) use incoming::Incoming;
pub(super) use site::{Served, Site};

pub use browser::{Browser, Visit};
pub use builder::LoginServerBuilder;
pub use flaw::{Blame, Flaw};
pub use settings::{Consent, ResourceMetadata, ServerMetadata};
pub use tally::{Endpoint, LoggedRequest, LoginCounts};

/// The server. Dropping it ends it, like [`HostileAs`].
///
/// Its methods may be called at any time and from any thread. Their changes apply to later requests.
pub struct LoginServer {
    hostile: HostileAs,
}

/// The grant of one login.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginGrant {
    /// The chain of its refresh tokens, for [`HostileAs::is_alive`] and [`HostileAs::newest`].
    pub chain: ChainId,
    /// The client.
    pub client: String,
    /// The person.
    pub subject: String,
}

impl LoginServer {
    /// A builder of a server with the default settings.
    pub fn builder() -> LoginServerBuilder {
        LoginServerBuilder::default()
    }

    /// Starts a server with the default settings on the current runtime, which needs I/O and time enabled.
    ///
    /// # Errors
    ///
    /// If no port on 127.0.0.1 is available.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    // --- addresses ---------------------------------------------------------------------------------------------------

    /// The origin, `http://127.0.0.1:…` without a trailing slash.
    pub fn origin(&self) -> &str {
        &self.hostile.dispatcher.origin
    }

    /// The protected resource `…/mcp`.
    pub fn resource_url(&self) -> String {
        self.hostile.resource()
    }

    /// The issuer identifier, without flaws.
    pub fn issuer(&self) -> String {
        self.site(|site| site.issuer())
    }

    /// The server of tokens, with its rules, faults, chains and timeline. Its `issuer()` and its first grants know nothing
    /// of the issuer's path.
    pub fn hostile(&self) -> &HostileAs {
        &self.hostile
    }

    /// A handle that checks access tokens for another server of the test. See [`Verifier::add_resource`].
    pub fn verifier(&self) -> Verifier {
        self.hostile.verifier()
    }

    // --- the person --------------------------------------------------------------------------------------------------

    /// Sets how the person answers from now on.
    pub fn consents(&self, consent: Consent) {
        self.site(|site| site.settings.consent = consent);
    }

    /// Sets the person who answers from now on. It is the `sub` of ID tokens.
    pub fn subject(&self, subject: impl Into<String>) {
        self.site(|site| site.settings.subject = subject.into());
    }

    /// Leaves these scopes out of later grants, as a person who declines them.
    pub fn withhold(&self, scopes: impl IntoIterator<Item = impl Into<String>>) {
        self.site(|site| site.settings.withheld = words(scopes).into_iter().collect());
    }

    /// Allows a device login. Returns false for an unknown code, and for one that was answered.
    #[must_use = "an unknown code is not allowed"]
    pub fn approve_device(&self, user_code: &str) -> bool {
        self.site(|site| device::answer(site, user_code, true))
    }

    /// Declines a device login. Returns false for an unknown code, and for one that was answered.
    #[must_use = "an unknown code is not declined"]
    pub fn deny_device(&self, user_code: &str) -> bool {
        self.site(|site| device::answer(site, user_code, false))
    }

    /// Lets a device login expire. Returns false for an unknown code.
    #[must_use = "an unknown code does not expire"]
    pub fn expire_device(&self, user_code: &str) -> bool {
        self.site(|site| device::expire(site, user_code))
    }

    /// Answers the next `times` polls of a device login with `slow_down`. Returns false for an unknown code.
    #[must_use = "an unknown code is not slowed down"]
    pub fn slow_device(&self, user_code: &str, times: u32) -> bool {
        self.site(|site| device::slow_down(site, user_code, times))
    }

    /// The user codes of all device logins, oldest first.
    pub fn user_codes(&self) -> Vec<String> {
        self.site(|site| device::user_codes(site))
    }

    // --- clients and grants ------------------------------------------------------------------------------------------

    /// Registers a client as an operator does, with these redirect addresses. The port of a loopback address may differ.
    pub fn pre_register(&self, auth: ClientAuth, redirects: impl IntoIterator<Item = impl Into<String>>) -> Client {
        let client = self.hostile.register(auth);
        self.site(|site| site.clients.insert(client.id.clone(), Known::pre_registered(words(redirects))));
        client
    }

    /// Adds a client whose identifier is the URL of its metadata document. This server fetches no documents, so the test
    /// names its redirect addresses.
    pub fn add_metadata_document(&self, url: &str, redirects: impl IntoIterator<Item = impl Into<String>>) {
        let mut state = self.hostile.dispatcher.state();
        state.authority.register_as(url.to_owned(), ClientAuth::None);
        if let Some(site) = &mut state.site {
            site.clients.insert(url.to_owned(), Known::pre_registered(words(redirects)));
        }
    }

    /// Forgets all clients that registered themselves. The authorization page does not know them and never calls back, and
    /// other endpoints answer `invalid_client`. Their grants stay alive, but no client can use them.
    pub fn forget_clients(&self) {
        let mut state = self.hostile.dispatcher.state();
        let super::dispatcher::State { authority, site, .. } = &mut *state;
        if let Some(site) = site {
            site.forget_clients(authority);
        }
    }

    /// The grants of all logins, oldest first.
    pub fn grants(&self) -> Vec<LoginGrant> {
        self.site(|site| site.grants.all())
    }

    /// The person of a chain, as of an [`Admission`](super::Admission).
    pub fn subject_of(&self, chain: ChainId) -> Option<String> {
        self.site(|site| site.grants.subject(chain).map(str::to_owned))
    }

    // --- behaviour ---------------------------------------------------------------------------------------------------

    /// Adds a flaw.
    pub fn flaw(&self, flaw: Flaw) {
        self.site(|site| site.settings.flaws.insert(flaw));
    }

    /// Takes a flaw away.
    pub fn mend(&self, flaw: Flaw) {
        self.site(|site| site.settings.flaws.remove(&flaw));
    }

    /// Refuses authorization requests that were not pushed, from now on.
    pub fn require_par(&self) {
        self.site(|site| site.settings.requires_par = true);
    }

    /// Requires these scopes for calls of one tool, from now on.
    pub fn tool(&self, name: &str, scopes: impl IntoIterator<Item = impl Into<String>>) {
        self.site(|site| site.settings.tools.insert(name.to_owned(), words(scopes)));
    }

    /// Lists these issuers in the resource's metadata, from now on.
    pub fn list_issuers(&self, issuers: impl IntoIterator<Item = impl Into<String>>) {
        self.site(|site| site.settings.listed_issuers = Some(words(issuers)));
    }

    /// Moves this server's resource to another authorization server. Its metadata lists the other issuer only, and it
    /// takes the other's tokens only.
    pub fn migrate_to(&self, other: &Self) {
        let (resource, issuer) = (self.resource_url(), other.issuer());
        other.site(|site| site.settings.other_resources.insert(resource));
        self.site(|site| {
            site.settings.listed_issuers = Some(vec![issuer]);
            site.migrated = Some(Arc::clone(&other.hostile.dispatcher));
        });
    }

    /// Advances the server's clock, which ages access tokens, codes, pushed requests and device codes at once.
    pub fn advance(&self, time: Duration) {
        self.hostile.advance(time);
    }

    /// Injects this fault into the next `times` requests at an endpoint that have none queued. No fault reaches
    /// [`Endpoint::Elsewhere`].
    pub fn next_at(&self, endpoint: Endpoint, times: usize, when: When, fault: Fault) {
        let (mut state, step) = (self.hostile.dispatcher.state(), Step { when, fault });
        let super::dispatcher::State { token, resource, revocation, site, .. } = &mut *state;
        match endpoint {
            Endpoint::Token => token.push(times, &step),
            Endpoint::Resource => resource.push(times, &step),
            Endpoint::Revocation => revocation.push(times, &step),
            endpoint => {
                if let Some(site) = site {
                    site.scripts.entry(endpoint).or_default().push(times, &step);
                }
            }
        }
    }

    /// Holds the next request at an endpoint, before or after it is processed, until the gate is opened.
    #[must_use = "what is held waits until the gate is opened"]
    pub fn hold_at(&self, endpoint: Endpoint, when: When) -> Gate {
        let gate = Gate::closed();
        self.next_at(endpoint, 1, when, Fault::hold(&gate));
        gate
    }

    // --- counts ------------------------------------------------------------------------------------------------------

    /// The counts so far.
    pub fn counts(&self) -> LoginCounts {
        let tokens = self.hostile.counts();
        LoginCounts { tokens, ..self.site(|site| site.tally.counts.clone()) }
    }

    /// Waits until `met` returns true, and returns the counts. See [`HostileAs::until`].
    pub async fn until(&self, mut met: impl FnMut(&LoginCounts) -> bool) -> LoginCounts {
        let mut news = self.hostile.dispatcher.watch();
        loop {
            news.mark_unchanged();
            let counts = self.counts();
            // The dispatcher lives as long as `self`, so the watch does not end.
            if met(&counts) || news.changed().await.is_err() {
                return counts;
            }
        }
    }

    /// The requests that were read completely, in their order. The first 100,000 are kept.
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.site(|site| site.tally.log.clone())
    }

    /// The requests of the log at one endpoint.
    pub fn log_of(&self, endpoint: Endpoint) -> Vec<LoggedRequest> {
        let at = |request: &&LoggedRequest| request.endpoint == endpoint;
        self.site(|site| site.tally.log.iter().filter(at).cloned().collect())
    }

    fn site<T: Default>(&self, with: impl FnOnce(&mut Site) -> T) -> T {
        // Each login server has a site.
        self.hostile.dispatcher.state().site.as_mut().map(with).unwrap_or_default()
    }
}

impl fmt::Debug for LoginServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginServer").field("address", &self.hostile.address).finish_non_exhaustive()
    }
}
