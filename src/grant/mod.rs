//! The refresh grant (RFC 6749 section 6): one request to the token endpoint that the grant is bound to, and what came
//! of it.
//!
//! [`RefreshGrant`] is a [`TokenSource`] over any [`HttpClient`]. It judges nothing: [`read_answer`] turns an answer into
//! neutral [`Evidence`], and the engine's profile says what that means for the refresh token.

mod answer;
mod endpoint;
mod request;
mod retry_after;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent, Refused};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::source::TokenSource;
use tokenkeeper_actors::values::record::{Binding, Client, Grant};
use tokenkeeper_actors::values::{ProviderName, RefreshToken, ServerIdentity};

use crate::http::{Body, DEFAULT_ANSWER_MOST, Departure, Exchange, HttpClient, HttpError, MaybeSent};
use crate::issuers::providers;

pub use answer::read as read_answer;
pub use endpoint::may_receive_secrets;
pub use request::BodyFormat;
pub use retry_after::longest as retry_after;

/// How long a revocation may take: nobody's logout waits longer for a server.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(3);

/// Renews tokens with a refresh token, over HTTP.
///
/// Where and as whom is in the [`Grant`] that each request brings along: its token endpoint (`https`, or `http` on
/// loopback), its client with secret and authentication method (`none`, `client_secret_basic`, `client_secret_post`), and
/// its `resource` (RFC 8707), sent whenever there is one. One source serves any number of identities.
///
/// ```no_run
/// # #[cfg(feature = "reqwest")]
/// # fn source() -> Result<tokenkeeper::Settings, Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use tokenkeeper::engine::system::SystemClock;
/// use tokenkeeper::http::ReqwestClient;
/// use tokenkeeper::{RefreshGrant, Settings};
///
/// let http = Arc::new(ReqwestClient::new()?);
/// let settings = Settings::new(Arc::new(RefreshGrant::new(http, Arc::new(SystemClock::new()?))));
/// # Ok(settings)
/// # }
/// ```
///
/// What it cannot do it reports as [`NotSent::Unbuildable`], with nothing sent: `private_key_jwt`, tokens bound to a DPoP
/// key, a secret that is missing, an endpoint that is not allowed.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    dialects: BTreeMap<ProviderName, Dialect>,
}

/// How a token endpoint wants to be spoken to, where the standard is not enough. Data, overridable; the default is the
/// standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// How parameters are written. Default: form-encoded.
    pub body: BodyFormat,
    /// Whether scopes are named. Default: they are not.
    pub scope: ScopeOnRefresh,
}

/// Whether a refresh names scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeOnRefresh {
    /// No: what was granted stays granted (RFC 6749 section 6).
    #[default]
    Omit,
    /// Those that were granted; those that were asked for where the server never said (Entra ID).
    Granted,
}

impl RefreshGrant {
    /// Refreshes over `http`. `clock` is the runtime's: lifetimes are anchored by it, and requests held back that would
    /// leave too late.
    ///
    /// A grant whose record names a provider is refreshed in that provider's dialect, as [`providers::ALL`] has it, and
    /// any other by the standard.
    pub fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        let dialects = providers::names().map(|(name, facts)| (name, facts.dialect)).collect();
        Self { http, clock, dialects }
    }

    /// The same, speaking `dialect` to the provider `name`.
    #[must_use]
    pub fn dialect(mut self, name: ProviderName, dialect: Dialect) -> Self {
        self.dialects.insert(name, dialect);
        self
    }

    /// The request for this token, if one can be made.
    fn refresh(&self, token: &RefreshToken, grant: &Grant) -> Option<http::Request<Body>> {
        if grant.dpop_key.is_some() {
            return None;
        }
        let provider = grant.renewal.provider.as_ref();
        let dialect = provider.and_then(|name| self.dialects.get(name)).copied().unwrap_or_default();
        let scopes = match dialect.scope {
            ScopeOnRefresh::Omit => None,
            ScopeOnRefresh::Granted => {
                let scopes = if grant.granted.is_empty() { &grant.requested } else { &grant.granted };
                Some(scopes.iter().collect::<Vec<_>>().join(" ")).filter(|scopes| !scopes.is_empty())
            }
        };
        let Binding { client, token_endpoint, resource, .. } = &grant.binding;
        let mut parameters = vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        parameters.extend(resource.as_deref().map(|resource| ("resource", resource)));
        parameters.extend(scopes.as_deref().map(|scopes| ("scope", scopes)));
        request::build(token_endpoint, client, parameters, dialect.body)
    }
}

#[async_trait]
impl TokenSource for RefreshGrant {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn request(&self, _identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        let TokenRequest { refresh, grant, not_after, timeout, .. } = request;
        let (Some(token), Some(grant)) = (refresh, grant) else { return Evidence::NotSent(NotSent::Unbuildable) };
        let Some(request) = self.refresh(&token, &grant) else { return Evidence::NotSent(NotSent::Unbuildable) };
        let departure = Departure::by(Arc::clone(&self.clock), not_after);
        let asked = self.clock.now();
        match self.http.send(Exchange { request, timeout, max_answer: DEFAULT_ANSWER_MOST, departure }).await {
            Ok(answer) => discreet(read_answer(&answer, asked, self.clock.now().wall), &token, &grant.binding.client),
            Err(HttpError::NotSent(why)) => Evidence::NotSent(why),
            Err(HttpError::MaybeSent(MaybeSent::TimedOut)) => Evidence::Lost(Lost::TimedOut),
            Err(HttpError::MaybeSent(MaybeSent::Broken | MaybeSent::TooLarge)) => Evidence::Lost(Lost::Broken),
        }
    }

    /// RFC 7009, for the refresh token; a server then ends the access tokens of that grant too (section 2.1). It may take
    /// three seconds. `false` also where the server has no revocation endpoint, or there is no refresh token to name.
    async fn revoke(&self, _identity: &ServerIdentity, revocation: Revocation) -> bool {
        let Revocation { binding, refresh, .. } = revocation;
        let (Some(endpoint), Some(refresh)) = (&binding.revocation_endpoint, refresh) else { return false };
        let parameters = vec![("token", refresh.token().expose()), ("token_type_hint", "refresh_token")];
        let Some(request) = request::build(endpoint, &binding.client, parameters, BodyFormat::Form) else {
            return false;
        };
        let exchange = Exchange {
            request,
            timeout: REVOCATION_TIMEOUT,
            max_answer: DEFAULT_ANSWER_MOST,
            departure: Departure::at_any_time(),
        };
        self.http.send(exchange).await.is_ok_and(|answer| answer.status().is_success())
    }
}

/// An error's word goes into logs; a server that puts our own secrets there is not repeated.
fn discreet(evidence: Evidence, token: &RefreshToken, client: &Client) -> Evidence {
    let secrets = [Some(token.expose()), client.secret.as_ref().map(|secret| secret.expose())];
    let tells =
        |word: &String| secrets.iter().flatten().any(|secret| secret.contains(word.as_str()) || word.contains(secret));
    match evidence {
        Evidence::Refused(refused) => {
            Evidence::Refused(Refused { error: refused.error.filter(|word| !tells(word)), ..refused })
        }
        evidence => evidence,
    }
}

#[cfg(test)]
mod tests;
