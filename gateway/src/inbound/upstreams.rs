//! The sender of an inbound request, and the upstream sessions of that person.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::user::{UserContext, UserOptions};
use tokenkeeper::{AuthSession, Lease, Reason, TokenError, TokenOptions};

use crate::gateway::Gateway;
use crate::law::Grant;
use crate::server::RETRY;

/// The sender of an inbound request, in the request's extensions.
///
/// The sender is bound to the gateway's issuer and to the subject, and not to the token of this one request, because a client
/// has another token after each refresh.
///
/// # Concurrency
///
/// Each request has its own. Clones are the same sender.
#[derive(Clone)]
pub struct Inbound(Arc<Sender>);

/// The facts about the sender of a request.
struct Sender {
    gateway: Gateway,
    grant: Grant,
    account: String,
}

impl Inbound {
    pub(super) fn new(gateway: Gateway, grant: Grant, account: String) -> Self {
        Self(Arc::new(Sender { gateway, grant, account }))
    }

    /// The issuer of the inbound token, which is the gateway's own.
    pub fn issuer(&self) -> &str {
        &self.0.gateway.0.issuer
    }

    /// The subject, as the gateway names it.
    pub fn subject(&self) -> &str {
        &self.0.grant.subject
    }

    /// The identifier of the client that the person has allowed.
    pub fn client(&self) -> &str {
        &self.0.grant.client
    }

    /// The scopes that the person has allowed the client.
    pub fn scopes(&self) -> &[String] {
        &self.0.grant.scopes
    }

    /// The person's session at the first upstream, which identified the person.
    pub(super) fn first(&self) -> Result<UpstreamSession, UpstreamTrouble> {
        let first = self.0.gateway.0.upstreams.first().ok_or(UpstreamTrouble::Unknown)?;
        self.upstream(&first.name)
    }

    /// The person's session at an upstream.
    ///
    /// # Errors
    ///
    /// [`UpstreamTrouble::Unknown`] if the gateway has no such upstream.
    pub fn upstream(&self, name: &str) -> Result<UpstreamSession, UpstreamTrouble> {
        let Sender { gateway, grant, account } = &*self.0;
        let (index, upstream) = gateway.0.upstream(name).ok_or(UpstreamTrouble::Unknown)?;
        let account = if index == 0 { account } else { &grant.subject };
        let session = gateway.0.session(upstream, account).map_err(|_| UpstreamTrouble::Unknown)?;
        let login_page = gateway.0.login_page(&upstream.name);
        let (upstream, timeout) = (upstream.label.clone(), gateway.0.upstream_timeout);
        Ok(UpstreamSession { session, upstream, login_page, timeout })
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("subject", &self.subject()).finish_non_exhaustive()
    }
}

/// A person's session at an upstream.
///
/// # Concurrency
///
/// As for [`AuthSession`], whose single owner renews the token, whichever way a request came in.
#[derive(Clone, Debug)]
pub struct UpstreamSession {
    session: AuthSession,
    upstream: String,
    login_page: String,
    timeout: Duration,
}

impl UpstreamSession {
    /// Returns a lease of the upstream's access token, as [`AuthSession::token`] does, within the gateway's
    /// [time-out](crate::GatewayBuilder::upstream_timeout).
    ///
    /// # Errors
    ///
    /// [`UpstreamTrouble`], which is the answer to the inbound request too.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    pub async fn token(&self) -> Result<Lease, UpstreamTrouble> {
        match self.session.at_hand() {
            Some(lease) => Ok(lease),
            None => {
                let options = TokenOptions { timeout: self.timeout, ..TokenOptions::default() };
                self.session.token_with(options).await.map_err(|error| self.trouble(&error))
            }
        }
    }

    /// The session itself, for [calls](AuthSession::call) that understand the upstream's refusals.
    pub fn session(&self) -> &AuthSession {
        &self.session
    }

    /// Returns the person as the provider describes them, as [`AuthSession::user`] does, within the gateway's time-out.
    ///
    /// # Errors
    ///
    /// [`UpstreamTrouble`], which is the answer to the inbound request too.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    pub async fn user(&self) -> Result<UserContext, UpstreamTrouble> {
        match self.session.user_at_hand() {
            Some(user) => Ok(user),
            None => {
                let options = UserOptions { timeout: self.timeout, ..UserOptions::default() };
                self.session.user_with(options).await.map_err(|error| {
                    self.trouble_of(
                        error.reason(),
                        error.is_login_required(),
                        error.is_transient(),
                        error.retry_after(),
                    )
                })
            }
        }
    }

    /// The answer to the inbound request for an error of the session.
    pub fn trouble(&self, error: &TokenError) -> UpstreamTrouble {
        let reason = Some(error.reason());
        self.trouble_of(reason, error.is_login_required(), error.is_transient(), error.retry_after())
    }

    /// The trouble for an error of the session. `passes` is true if trying again makes sense.
    fn trouble_of(
        &self,
        reason: Option<Reason>,
        needs_login: bool,
        passes: bool,
        retry_after: Option<Duration>,
    ) -> UpstreamTrouble {
        let upstream = self.upstream.clone();
        if needs_login {
            return UpstreamTrouble::LoginRequired { upstream, reason, login_page: self.login_page.clone() };
        }
        if passes {
            return UpstreamTrouble::Unavailable { upstream, reason, retry_after: retry_after.unwrap_or(RETRY) };
        }
        UpstreamTrouble::Refused { upstream, reason }
    }
}

/// Why an upstream has no token for a request. A handler may return it as the answer
/// ([`IntoResponse`](axum::response::IntoResponse)).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamTrouble {
    /// The upstream has trouble that passes.
    #[error("{upstream} cannot be used now: try again later")]
    Unavailable {
        /// The upstream's label.
        upstream: String,
        /// The session's reason. `None` if the trouble is not with its token, but with the person's data.
        reason: Option<Reason>,
        /// The time after which trying again makes sense.
        retry_after: Duration,
    },
    /// The person has to sign in to the upstream again.
    #[error("the person has to sign in to {upstream} again, at {login_page}")]
    LoginRequired {
        /// The upstream's label.
        upstream: String,
        /// The session's reason. `None` if the trouble is not with its token, but with the person's data.
        reason: Option<Reason>,
        /// The URL of the gateway's page at which the person signs in.
        login_page: String,
    },
    /// The upstream gives no token, and neither time nor a login changes that.
    #[error("{upstream} gives no token: tell the gateway's operator")]
    Refused {
        /// The upstream's label.
        upstream: String,
        /// The session's reason. `None` if the trouble is not with its token, but with the person's data.
        reason: Option<Reason>,
    },
    /// The gateway has no upstream of this name.
    #[error("the gateway has no such upstream: give it to the builder")]
    Unknown,
}
