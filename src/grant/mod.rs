//! The refresh grant (RFC 6749 section 6). It sends one request to the token endpoint of the grant and reports the
//! outcome.
//!
//! [`RefreshGrant`] is a [`TokenSource`] over any [`HttpClient`]. It decides nothing. [`read_answer`] turns an answer into
//! neutral [`Evidence`], and the engine (`tokenkeeper-actors`) decides the consequences for the refresh token by the issuer's
//! profile.

mod answer;
#[cfg(feature = "assertions")]
mod assertion;
mod endpoint;
mod errand;
mod id_token;
mod introspection;
mod proving;
mod request;
mod retry_after;
mod revocation;
mod time;

use std::sync::Arc;

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent, Profile, Profiles, Refused, Trouble};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::source::{NotRevoked, SourceConnection, TokenSource};
use tokenkeeper_actors::values::record::{Binding, Client, Grant, Refresh, RenewalPlan};
use tokenkeeper_actors::values::{Reason, RefreshToken, ServerIdentity, Target};

use crate::http::{
    Body, DEFAULT_ANSWER_MOST, Departure, Exchange, HttpClient, HttpConnection, HttpError, MaybeSent, Reach, decode,
};
use crate::issuers::providers::Providers;
use crate::proof::Proofs;

pub use crate::issuers::{Dialect, ResourceOnRefresh, ScopeOnRefresh};
pub(crate) use answer::{is_of_unknown_type, jwt_lifetime, read_for as answer_for};
pub use answer::{read as read_answer, split_scopes};
#[cfg(feature = "assertions")]
pub use assertion::{AssertionAudience, ClientKey, ClientKeyError};
pub use endpoint::may_receive_secrets;
pub(crate) use errand::{Errands, ID_JAG, TOKEN_EXCHANGE, Wanted};
pub(crate) use id_token::MAX_ID_TOKEN;
use proving::TokenProofs;
pub use request::BodyFormat;
pub(crate) use request::{Signing, build as token_request};
pub use retry_after::longest as retry_after;
pub(crate) use retry_after::{is_of_limit, of_answer as pause_of_answer, server_time};
pub(crate) use time::until as time_until;

/// The scope that asks for a refresh token (OpenID Connect Core section 11). A server that wants scopes with each refresh
/// may leave this scope out of its answers. Such a server sends no new refresh token unless the scope is requested again.
const OFFLINE_ACCESS: &str = "offline_access";

/// Renews tokens with a refresh token, over HTTP.
///
/// The [`Grant`] of each request holds the token endpoint (`https`, or `http` on loopback), the client with its secret and
/// authentication method (`none`, `client_secret_basic`, `client_secret_post`, and `private_key_jwt` with the feature
/// `assertions`), and the `resource` (RFC 8707), which is sent if it is present, unless the provider's dialect leaves it
/// out. One source serves any number of identities.
///
/// The runtime builds one over its HTTP client:
///
/// ```no_run
/// # #[cfg(all(feature = "memory", feature = "reqwest"))]
/// # async fn host() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use tokenkeeper::http::ReqwestClient;
/// use tokenkeeper::{AuthRuntime, stores};
///
/// let http = Arc::new(ReqwestClient::new()?);
/// let auth = AuthRuntime::builder(stores::memory::open()?).http(http).spawn().await?;
/// # Ok(())
/// # }
/// ```
///
/// The requests of a grant that is bound to a key carry proofs of possession (RFC 9449), with the feature `dpop`. A bearer
/// token in the answer to such a request is not used, but the refresh token of the answer is kept.
///
/// A request that cannot be made is reported as [`NotSent::Unbuildable`], and nothing is sent. The causes are a missing secret
/// or key, an endpoint that is not allowed, and a bound grant without the feature `dpop`.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    providers: Providers,
    profiles: Profiles,
    /// The addresses that requests to URLs named by servers may connect to, if the host sets them.
    reach: Option<Reach>,
    /// Whether the ID token of an answer is the token of the session.
    reads_id_token: bool,
    /// The token exchanges (RFC 8693) that wait for a flight, if this source makes exchanges instead of refreshes.
    errands: Option<Arc<Errands>>,
    proofs: TokenProofs,
}

impl RefreshGrant {
    /// Refreshes over `http`. `clock` must be the runtime's clock. It anchors lifetimes and holds back requests that
    /// would leave too late.
    ///
    /// A grant whose record names a provider is refreshed in the dialect of that provider ([`Providers::builtin`]), and any
    /// other by the standard. If an answer has several error codes, the one that the profile of the grant knows is
    /// reported.
    pub fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        let (proofs, providers) = (TokenProofs::new(&clock), Providers::builtin());
        Self {
            http,
            clock,
            profiles: providers.profiles(),
            providers,
            reach: None,
            reads_id_token: false,
            errands: None,
            proofs,
        }
    }

    /// Returns the same source for a runtime with these `profiles`. Default: the profiles of the source's providers.
    #[must_use]
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.profiles = profiles;
        self
    }

    /// Returns the same source with this table of providers, their profiles included. Default: [`Providers::builtin`].
    #[must_use]
    pub fn providers(self, providers: Providers) -> Self {
        Self { profiles: providers.profiles(), providers, ..self }
    }

    /// Returns the same source for a host that sets the addresses that requests to URLs named by servers may connect to.
    #[must_use]
    pub(crate) fn reach(self, reach: Option<Reach>) -> Self {
        Self { reach, ..self }
    }

    /// Returns the same source, which makes its proofs of possession with the keys and nonces of a runtime.
    #[must_use]
    pub(crate) fn proofs(self, proofs: Proofs) -> Self {
        Self { proofs: proofs.into(), ..self }
    }

    /// The proofs of token requests.
    pub(crate) fn token_proofs(&self) -> &TokenProofs {
        &self.proofs
    }

    /// Returns the same source for sessions at identity providers, whose lease is the ID token.
    #[must_use]
    pub(crate) fn for_id_tokens(self) -> Self {
        Self { reads_id_token: true, ..self }
    }

    /// Returns the same source for sessions at identity providers whose refresh token is the subject of token exchanges.
    #[must_use]
    pub(crate) fn for_errands(self, errands: Arc<Errands>) -> Self {
        Self { errands: Some(errands), ..self }
    }

    /// The request of a token exchange with `token` as its subject, or `None` if it cannot be built.
    fn exchange(&self, token: &RefreshToken, grant: &Grant, wanted: &Wanted) -> Option<http::Request<Body>> {
        let Binding { issuer, client, token_endpoint, .. } = &grant.binding;
        let mut parameters = vec![
            ("grant_type", errand::TOKEN_EXCHANGE),
            ("subject_token", token.expose()),
            ("subject_token_type", errand::REFRESH_TOKEN),
        ];
        parameters.extend(wanted.iter().map(|(name, value)| (*name, value.as_str())));
        let signing = Signing { issuer: &issuer.0, now: self.clock.now().wall };
        request::build(token_endpoint, client, parameters, BodyFormat::Form, signing)
    }

    /// The addresses that the requests of a plan may connect to (law 24).
    pub(crate) fn reach_of(&self, renewal: &RenewalPlan, identity: &ServerIdentity) -> Reach {
        match (self.reach, identity.resource()) {
            _ if !renewal.server_named => Reach::Any,
            (Some(reach), _) => reach,
            (None, Some(resource)) => Reach::beside(resource),
            (None, None) => Reach::Public,
        }
    }

    /// Whether the session is with the API of a provider that has no row in the table of providers. Its row may be in a file
    /// that this process was not given. No request is made then, because a request in the wrong form could use up the refresh
    /// token.
    fn lacks_provider(&self, identity: &ServerIdentity) -> bool {
        matches!(identity.target(), Target::Api { provider } if self.providers.named(provider.as_str()).is_none())
    }

    /// The refresh request for `token` without a proof, or `None` if it cannot be built.
    fn refresh(&self, token: &RefreshToken, grant: &Grant) -> Option<http::Request<Body>> {
        let dialect = self.providers.dialect(grant.renewal.provider.as_ref());
        let scopes = match dialect.scope {
            ScopeOnRefresh::Omit => None,
            ScopeOnRefresh::Granted => {
                let scopes = if grant.granted.is_empty() { &grant.requested } else { &grant.granted };
                let offline = grant.requested.iter().find(|scope| *scope == OFFLINE_ACCESS);
                let lost = offline.filter(|offline| scopes.iter().all(|scope| scope != *offline));
                Some(scopes.iter().chain(lost).collect::<Vec<_>>().join(" ")).filter(|scopes| !scopes.is_empty())
            }
        };
        let Binding { issuer, client, token_endpoint, resource, .. } = &grant.binding;
        let mut parameters = vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        let resource = resource.as_deref().filter(|_| dialect.resource == ResourceOnRefresh::Send);
        parameters.extend(resource.map(|resource| ("resource", resource)));
        parameters.extend(scopes.as_deref().map(|scopes| ("scope", scopes)));
        parameters.extend(dialect.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let signing = Signing { issuer: &issuer.0, now: self.clock.now().wall };
        request::build(token_endpoint, client, parameters, dialect.body, signing)
    }
}

#[async_trait]
impl TokenSource for RefreshGrant {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    /// Connects over its HTTP client, before the request is made. A request that cannot be built needs no connection.
    async fn connect(
        &self,
        identity: &ServerIdentity,
        grant: &Grant,
    ) -> Result<Option<Box<dyn SourceConnection>>, NotSent> {
        let Refresh::Held(held) = &grant.refresh else { return Err(NotSent::Unbuildable) };
        if grant.dpop_key.as_ref().is_some_and(|key| !self.proofs.can_use(key)) {
            return Err(NotSent::Unbuildable);
        }
        if self.lacks_provider(identity) {
            return Ok(None);
        }
        let endpoint = self.refresh(held.credential.token(), grant).map(|request| request.uri().clone());
        let connection =
            self.http.connect(&endpoint.ok_or(NotSent::Unbuildable)?, self.reach_of(&grant.renewal, identity)).await?;
        let over = |connection| Box::new(GrantConnection { grant: self.clone(), connection }) as Box<_>;
        Ok(connection.map(over))
    }

    async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        self.present(identity, request, None).await
    }

    /// Revokes the refresh token (RFC 7009), or what the provider's [form](crate::issuers::RevocationForm) revokes. Takes at most
    /// ten seconds.
    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked> {
        self.revoke_tokens(identity, revocation).await
    }
}

/// A connection of a [`RefreshGrant`] to a token endpoint.
#[derive(Debug)]
struct GrantConnection {
    grant: RefreshGrant,
    connection: Box<dyn HttpConnection>,
}

#[async_trait]
impl SourceConnection for GrantConnection {
    async fn request(self: Box<Self>, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        let Self { grant, connection } = *self;
        grant.present(identity, request, Some(connection)).await
    }
}

impl RefreshGrant {
    /// Makes the request, over `connection` if there is one.
    async fn present(
        &self,
        identity: &ServerIdentity,
        request: TokenRequest,
        connection: Option<Box<dyn HttpConnection>>,
    ) -> Evidence {
        let TokenRequest { refresh, grant, not_after, timeout, .. } = request;
        let (Some(token), Some(grant)) = (refresh, grant) else { return Evidence::NotSent(NotSent::Unbuildable) };
        if self.lacks_provider(identity) {
            return Evidence::Unavailable(Trouble::new(Reason::SourceMissing));
        }
        let errands = self.errands.as_ref().and_then(|errands| Some((errands, errands.next(identity)?)));
        let request = match &errands {
            Some((_, wanted)) => self.exchange(&token, &grant, wanted),
            // No exchange waits any more, because an earlier flight has made the one for which this flight began. A refresh
            // would spend the token for nothing.
            None if self.errands.is_some() => return Evidence::Unavailable(Trouble::new(Reason::Aborted)),
            None => self.refresh(&token, &grant),
        };
        let Some(mut request) = request else { return Evidence::NotSent(NotSent::Unbuildable) };
        let endpoint = grant.binding.token_endpoint.as_str();
        if self.proofs.prove(&mut request, endpoint, grant.dpop_key.as_ref()).is_none() {
            return Evidence::NotSent(NotSent::Unbuildable);
        }
        let departure = Departure::by(Arc::clone(&self.clock), not_after);
        let asked = self.clock.now();
        let max_answer = DEFAULT_ANSWER_MOST;
        let exchange =
            Exchange { request, timeout, max_answer, departure, reach: self.reach_of(&grant.renewal, identity) };
        let answer = match connection {
            Some(connection) => connection.send(exchange).await,
            None => self.http.send(exchange).await,
        };
        match answer.and_then(|answer| decode(answer, max_answer).map_err(HttpError::MaybeSent)) {
            Ok(answer) => {
                let profile = self.profiles.of(&grant.renewal);
                let now = self.clock.now();
                self.proofs.learn(endpoint, grant.dpop_key.as_ref(), answer.headers());
                let mut evidence = answer::read_for(&profile, &answer, asked, now.wall);
                if let (true, Evidence::Tokens(tokens)) = (self.reads_id_token, &mut evidence) {
                    id_token::replace_access(tokens, answer.body().as_bytes(), &grant, now);
                }
                if let (false, None, Some(_), Evidence::Tokens(tokens)) =
                    (self.reads_id_token, &self.errands, &grant.dpop_key, &mut evidence)
                {
                    proving::withhold_unbound(tokens);
                }
                if let (false, None, Evidence::Tokens(tokens)) = (self.reads_id_token, &self.errands, &mut evidence) {
                    self.look_up_lifetime(identity, &grant, tokens).await;
                }
                // If the server demands a nonce, the request is made again, so the exchange stays in the queue.
                if let Some((errands, _)) = errands.filter(|_| !proving::wants_nonce(&evidence)) {
                    errands.conclude(identity, &mut evidence, &answer);
                }
                discreet(evidence, &profile, &token, &grant.binding.client)
            }
            Err(HttpError::NotSent(why)) => Evidence::NotSent(why),
            Err(HttpError::MaybeSent(MaybeSent::TimedOut)) => Evidence::Lost(Lost::TimedOut),
            Err(HttpError::MaybeSent(MaybeSent::Broken | MaybeSent::TooLarge)) => Evidence::Lost(Lost::Broken),
        }
    }
}

/// Clears an error code that contains one of our own secrets, or is a part of one, because evidence may be logged.
///
/// A code that the profile knows stays. It is one of a known list, so it reveals nothing. Without it a dead token would be
/// presented again.
fn discreet(evidence: Evidence, profile: &Profile, token: &RefreshToken, client: &Client) -> Evidence {
    let secrets = [Some(token.expose()), client.secret.as_ref().map(|secret| secret.expose())];
    let tells =
        |word: &String| secrets.iter().flatten().any(|secret| secret.contains(word.as_str()) || word.contains(secret));
    match evidence {
        Evidence::Refused(refused) => {
            let error = refused.error.filter(|word| profile.knows(word) || !tells(word));
            Evidence::Refused(Refused { error, ..refused })
        }
        evidence => evidence,
    }
}

#[cfg(test)]
mod tests;
