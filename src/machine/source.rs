//! The token source of all machine grants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper_actors::law::profile::{Evidence, NotSent, Profiles, Tokens};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::source::{NotRevoked, TokenSource};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::values::record::{Binding, Client, Issuer};
use tokenkeeper_actors::values::{DpopKey, ElapsedTime, LoginUrl, Moment, Reason, ServerIdentity, TokenKind, Validity};

use super::credential::Credential;
use super::grant::MachineGrant;
use super::idp::{OtherSessions, RuntimeLink};
use super::interaction::Interactions;
use super::judge::{self, unavailable};
use super::kinds::Kind;
use super::sealed;
use super::subject::SubjectToken;
use crate::discovery::{Discovery, DiscoveryError, Freshness};
use crate::grant::{BodyFormat, Errands, RefreshGrant, Signing, Wanted, token_request};
use crate::http::{DEFAULT_ANSWER_MOST, Departure, Exchange, HttpClient, HttpError, Reach, decode};
use crate::{LoginError, RenewalPlan};

mod exchange;

/// The parameters of a token request.
type Parameters<'a> = Vec<(&'a str, &'a str)>;

/// The source of every [`MachineGrant`]. One source serves all sessions of a runtime.
#[derive(Debug)]
pub(crate) struct MachineSource {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    profiles: Profiles,
    discovery: Discovery,
    /// Determines the addresses that a plan's requests may connect to, and makes revocations.
    refresh: RefreshGrant,
    store: Arc<dyn TokenStore>,
    /// Obtains the tokens of other sessions that requests begin with.
    others: OtherSessions,
    /// The servers that were discovered for sessions without a record, each with the plan for which it was discovered.
    found: Mutex<BTreeMap<ServerIdentity, (RenewalPlan, Binding)>>,
    /// The pages that persons have to open before the sessions get tokens.
    interactions: Interactions,
}

/// The parts of a runtime that the source uses.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) profiles: Profiles,
    pub(crate) discovery: Discovery,
    pub(crate) refresh: RefreshGrant,
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) link: RuntimeLink,
    pub(crate) errands: Arc<Errands>,
}

/// One request at a token endpoint.
struct Ask<'a> {
    /// The session for which the request is made.
    identity: &'a ServerIdentity,
    binding: &'a Binding,
    client: &'a Client,
    /// The key that the tokens are bound to.
    key: Option<&'a DpopKey>,
    reach: Reach,
    departure: Departure,
    timeout: Duration,
}

impl MachineSource {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { http, clock, profiles, discovery, refresh, store, link, errands } = parts;
        let profile = profiles.of(&RenewalPlan::default());
        let others = OtherSessions::new(link, Arc::clone(&store), errands, profile);
        Self {
            http,
            clock,
            profiles,
            discovery,
            refresh,
            store,
            others,
            found: Mutex::default(),
            interactions: Interactions::default(),
        }
    }

    /// The binding of a session of `identity` with this grant. Discovers the authorization server, unless the grant names it.
    ///
    /// # Errors
    ///
    /// The reason why there is no usable server.
    pub(crate) async fn bind(
        &self,
        identity: &ServerIdentity,
        grant: &MachineGrant,
        freshness: Freshness,
    ) -> Result<Binding, Unbound> {
        let server = identity.resource();
        let named =
            |issuer: &str, token_endpoint: &str, revocation: Option<String>, resource: Option<String>| Binding {
                issuer: Issuer(issuer.to_owned()),
                // The secret is stored in the plan's settings, so the binding does not contain it as well.
                client: Client { secret: None, ..grant.client.clone() },
                token_endpoint: token_endpoint.to_owned(),
                revocation_endpoint: revocation,
                resource: resource.filter(|_| grant.sends_resource),
            };
        if !grant.kind.has_server() {
            return Ok(named(grant.kind.source().as_str(), "", None, None));
        }
        if let Some(server_of_host) = &grant.server {
            let resource = server.map(|server| server.without_query().to_owned());
            return Ok(named(&server_of_host.issuer, &server_of_host.token_endpoint, None, resource));
        }
        let resource = server.ok_or(Unbound::NoServer)?;
        let wanted = grant.issuer.as_deref();
        let found = self.discovery.authorization_server(resource, None, wanted, freshness).await;
        let found = found.map_err(Unbound::Discovery)?;
        if wanted.is_some_and(|wanted| wanted != found.server.issuer) {
            return Err(Unbound::Discovery(DiscoveryError::IssuerMismatch));
        }
        let published = found.resource.resource;
        Ok(named(&found.server.issuer, &found.server.token_endpoint, found.server.revocation_endpoint, Some(published)))
    }

    /// The binding of a session without a record. Its server is discovered once for each plan.
    async fn found(
        &self,
        identity: &ServerIdentity,
        plan: &RenewalPlan,
        grant: &MachineGrant,
        freshness: Freshness,
    ) -> Result<Binding, Unbound> {
        // A map is consistent between two statements, so a panic of another thread does no harm.
        let all = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, binding)) = all().get(identity)
            && known == plan
        {
            return Ok(binding.clone());
        }
        let binding = self.bind(identity, grant, freshness).await?;
        all().insert(identity.clone(), (plan.clone(), binding.clone()));
        Ok(binding)
    }

    /// The parameters of the exchange for an identity assertion authorization grant (ID-JAG) that a request begins with. `None`
    /// if the session's authorization server is not known.
    async fn wanted(
        &self,
        identity: &ServerIdentity,
        plan: &RenewalPlan,
        grant: &MachineGrant,
        issuer: Option<&Issuer>,
    ) -> Option<Wanted> {
        let binding = match issuer {
            Some(_) => self.store.load(identity).await.ok()??.grant()?.binding.clone(),
            None => self.found(identity, plan, grant, Freshness::Cached).await.ok()?,
        };
        Some(grant.id_jag(&binding))
    }

    /// Obtains the tokens for a request. An error is the evidence that is reported in their place.
    async fn obtain(&self, identity: &ServerIdentity, request: &TokenRequest) -> Result<Box<Tokens>, Evidence> {
        let settings = request.renewal.settings.as_ref().and_then(sealed::open);
        let grant = settings.ok_or(Evidence::NotSent(NotSent::Unbuildable))?;
        let asked = self.clock.now();
        let (binding, departure) = match &request.grant {
            Some(kept) => (kept.binding.clone(), Departure::by(Arc::clone(&self.clock), request.not_after)),
            // The discovery takes a while. A request that leaves late spends nothing, so it has no deadline for leaving.
            None => {
                let found = self.found(identity, &request.renewal, &grant, Freshness::Cached).await;
                (found.map_err(|unbound| unavailable(unbound.reason()))?, Departure::at_any_time())
            }
        };
        let deadline = asked.elapsed.after(request.timeout);
        let mut tokens = match &grant.kind {
            Kind::Static(token) => of_credential(Credential { token: token.clone(), lifetime: None }, asked),
            Kind::Command(command) => {
                let subject = SubjectToken(super::subject::From::Command(command.clone()));
                let credential = subject.read(asked, request.timeout).await;
                of_credential(credential.ok_or_else(|| unavailable(Reason::SubjectUnavailable))?, asked)
            }
            kind => {
                let reach = self.refresh.reach_of(&request.renewal, identity);
                let key = request.grant.as_ref().and_then(|kept| kept.dpop_key.as_ref());
                // A key is stored when the session is signed in by the grant. Without that, no bound token can be
                // requested.
                if grant.is_bound() && key.is_none() {
                    return Err(Evidence::NotSent(NotSent::Unbuildable));
                }
                let (client, timeout) = (&grant.client, request.timeout);
                let ask = Ask { identity, binding: &binding, client, key, reach, departure, timeout };
                self.exchange(identity, &grant, kind, ask, deadline).await?
            }
        };
        // By RFC 6749 section 5.1, the granted scopes are the requested ones unless the answer names others.
        tokens.granted = tokens.granted.or_else(|| Some(grant.scopes.clone()).filter(|scopes| !scopes.is_empty()));
        // A refresh token is not used, because the grant itself is repeatable.
        tokens.refresh = None;
        tokens.subject = None;
        tokens.binding = Some(Box::new(binding));
        Ok(tokens)
    }

    /// Sends a token request and reads its answer.
    async fn send(
        &self,
        ask: Ask<'_>,
        parameters: Parameters<'_>,
    ) -> Result<(http::Response<crate::http::Body>, Moment), Evidence> {
        let Ask { identity, binding, client, key, reach, departure, timeout } = ask;
        let asked = self.clock.now();
        let signing = Signing { issuer: &binding.issuer.0, now: asked.wall };
        let request = token_request(&binding.token_endpoint, client, parameters, BodyFormat::Form, signing);
        let mut request = request.ok_or(Evidence::NotSent(NotSent::Unbuildable))?;
        let proven = self.refresh.token_proofs().prove(&mut request, &binding.token_endpoint, key);
        proven.ok_or(Evidence::NotSent(NotSent::Unbuildable))?;
        let exchange = Exchange { request, timeout, max_answer: DEFAULT_ANSWER_MOST, departure, reach };
        let answer = self.http.send(exchange).await;
        let answer = answer.and_then(|answer| decode(answer, DEFAULT_ANSWER_MOST).map_err(HttpError::MaybeSent));
        let answer = answer.map_err(judge::unanswered)?;
        self.refresh.token_proofs().learn(&binding.token_endpoint, key, answer.headers());
        self.interactions.note(identity, &answer);
        Ok((answer, asked))
    }

    /// The page that a person has to open before the session of `identity` gets a token, as the last answer named it.
    pub(crate) fn interaction_url(&self, identity: &ServerIdentity) -> Option<Arc<LoginUrl>> {
        self.interactions.of(identity)
    }

    /// The time that is left until `deadline`.
    fn left(&self, deadline: ElapsedTime) -> Duration {
        deadline.since(self.clock.now().elapsed)
    }
}

/// The reason why a session has no authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unbound {
    /// The session has no MCP server, and the grant names no authorization server.
    NoServer,
    /// The discovery has failed.
    Discovery(DiscoveryError),
}

impl Unbound {
    fn reason(self) -> Reason {
        match self {
            Self::Discovery(DiscoveryError::Unreachable | DiscoveryError::Aborted) => Reason::Unreachable,
            Self::Discovery(DiscoveryError::Untrusted) => Reason::Untrusted,
            Self::Discovery(DiscoveryError::ServerTrouble { .. }) => Reason::ServerTrouble,
            Self::NoServer | Self::Discovery(_) => Reason::RequestRefused,
        }
    }
}

impl From<Unbound> for LoginError {
    fn from(unbound: Unbound) -> Self {
        match unbound {
            Unbound::NoServer => Self::Endpoint { member: "token endpoint" },
            Unbound::Discovery(error) => Self::Discovery(error),
        }
    }
}

/// The tokens of a grant whose credential is used unchanged as the access token.
fn of_credential(credential: Credential, asked: Moment) -> Box<Tokens> {
    Box::new(Tokens {
        access: credential.token,
        kind: TokenKind::Bearer,
        validity: Validity::new(asked, credential.lifetime),
        refresh: None,
        granted: None,
        subject: None,
        binding: None,
    })
}

#[async_trait]
impl TokenSource for MachineSource {
    fn spending(&self) -> Spending {
        Spending::Repeatable
    }

    /// Discovers the authorization server of a session without a record, and obtains the token of another session if the grant
    /// needs it.
    async fn prepare(&self, identity: &ServerIdentity, plan: &RenewalPlan, issuer: Option<&Issuer>) {
        let Some(grant) = plan.settings.as_ref().and_then(sealed::open) else { return };
        if issuer.is_none() && grant.kind.has_server() && grant.server.is_none() {
            // A failure is remembered, and the request reports it.
            drop(self.found(identity, plan, &grant, Freshness::RetryFailure).await);
        }
        if let Some(other) = grant.kind.other_session() {
            let wanted = match grant.kind {
                Kind::Enterprise { .. } => self.wanted(identity, plan, &grant, issuer).await,
                _ => None,
            };
            self.others.draw(identity, other, wanted).await;
        }
    }

    async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        match self.obtain(identity, &request).await {
            Ok(tokens) => Evidence::Tokens(tokens),
            Err(evidence) => evidence,
        }
    }

    /// Revokes the access token (RFC 7009), where the server offers it.
    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked> {
        let grant = revocation.renewal.settings.as_ref().and_then(sealed::open).ok_or(NotRevoked::Failed)?;
        let binding = Binding { client: grant.client.clone(), ..revocation.binding };
        self.refresh.revoke(identity, Revocation { binding, ..revocation }).await
    }
}
