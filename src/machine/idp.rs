//! Obtains the tokens of other sessions that a machine grant begins with, such as the ID token of a session at an identity
//! provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokenkeeper_actors::law::profile::{Evidence, Profile, Refused, Trouble};
use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::runtime::{AuthRuntime, AuthSession, SessionSpec, TokenOptions, WeakRuntime};
use tokenkeeper_actors::values::record::{Binding, RenewalPlan};
use tokenkeeper_actors::values::{AccessToken, Lease, Reason, ServerIdentity, TokenError};
use tokio::sync::oneshot::error::TryRecvError;

use super::judge;
use super::names::idp_refresh_token;
use crate::grant::{Errands, Wanted};

/// The time-out for the token of another session.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The minimum remaining lifetime of another session's token, so that it is still valid when the server reads it.
const MARGIN: Duration = Duration::from_secs(10);

/// Gives a source access to the sessions of its runtime, which is built after the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuntimeLink(Arc<OnceLock<WeakRuntime>>);

/// The credential that a request gets from another session.
#[derive(Clone, Debug)]
pub(super) enum Drawn {
    /// The token of that session, with the client and the endpoint of its server.
    Token(Box<Token>),
    /// An assertion that was made for this request, for one use.
    Assertion(AccessToken),
}

/// The token of another session.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) lease: Lease,
    pub(super) server: Option<(Binding, RenewalPlan)>,
}

/// The credentials of other sessions with which requests were prepared.
#[derive(Debug)]
pub(super) struct OtherSessions {
    link: RuntimeLink,
    store: Arc<dyn TokenStore>,
    errands: Arc<Errands>,
    /// Decides what the error codes of refusals mean.
    profile: Profile,
    /// The credentials, by the session for which the request is made.
    drawn: Mutex<BTreeMap<ServerIdentity, Result<Drawn, Trouble>>>,
}

/// The failure of a request that needs a token of another session, if that session has none.
fn trouble(error: &TokenError) -> Trouble {
    // A login of the other session helps, and a login at the session's own server does not.
    let reason = if error.is_login_required() { Reason::SignOnRequired } else { error.reason() };
    Trouble { reason, retry_after: error.retry_after() }
}

impl RuntimeLink {
    /// Connects the source with its runtime.
    pub(crate) fn join(&self, runtime: &AuthRuntime) {
        // A later call is ignored, because it names the same runtime.
        drop(self.0.set(runtime.downgrade()));
    }

    fn runtime(&self) -> Option<AuthRuntime> {
        self.0.get()?.upgrade()
    }
}

impl OtherSessions {
    pub(super) fn new(link: RuntimeLink, store: Arc<dyn TokenStore>, errands: Arc<Errands>, profile: Profile) -> Self {
        Self { link, store, errands, profile, drawn: Mutex::default() }
    }

    /// Obtains the token of the session `other` for a request of `identity`. If the request begins with a token exchange,
    /// `wanted` has the parameters of that exchange, which may present the refresh token of `other`.
    pub(super) async fn draw(&self, identity: &ServerIdentity, other: &ServerIdentity, wanted: Option<Wanted>) {
        let drawn = self.obtain(identity, other, wanted).await;
        self.with(|all| all.insert(identity.clone(), drawn));
    }

    /// The token that the request of `identity` was prepared with.
    pub(super) fn token(&self, identity: &ServerIdentity) -> Result<Token, Trouble> {
        match self.with(|all| all.get(identity).cloned()) {
            Some(Ok(Drawn::Token(token))) => Ok(*token),
            Some(Err(trouble)) => Err(trouble),
            Some(Ok(Drawn::Assertion(_))) | None => Err(Trouble::new(Reason::Aborted)),
        }
    }

    /// Takes the assertion that the request of `identity` was prepared with. `None` if it begins with a token.
    pub(super) fn assertion(&self, identity: &ServerIdentity) -> Option<AccessToken> {
        self.with(|all| match all.remove(identity) {
            Some(Ok(Drawn::Assertion(assertion))) => Some(assertion),
            Some(other) => {
                all.insert(identity.clone(), other);
                None
            }
            None => None,
        })
    }

    /// Notes that the server of the session `other` does not accept the token of `lease`.
    ///
    /// # Errors
    ///
    /// The reason why the session will get no better token.
    pub(super) async fn refused(&self, other: &ServerIdentity, lease: &Lease) -> Result<(), Trouble> {
        let runtime = self.link.runtime().ok_or(Trouble::new(Reason::Aborted))?;
        let session = runtime.session(SessionSpec::new(other.clone()));
        let operation = OperationKey::of("token_exchange");
        match session.invalidate(lease, operation, ChallengeKey::default()).await {
            Ok(()) => Ok(()),
            // The server has refused new tokens too, so another refresh does not help.
            Err(error) if error.reason() == Reason::ResourceRefuses => Err(Trouble::new(Reason::SignOnRequired)),
            Err(error) => Err(Trouble { reason: error.reason(), retry_after: error.retry_after() }),
        }
    }

    /// The credential of the session `other`, as for [`draw`](Self::draw).
    async fn obtain(
        &self,
        identity: &ServerIdentity,
        other: &ServerIdentity,
        wanted: Option<Wanted>,
    ) -> Result<Drawn, Trouble> {
        if identity == other {
            return Err(Trouble::new(Reason::RequestRefused));
        }
        let runtime = self.link.runtime().ok_or(Trouble::new(Reason::Aborted))?;
        let session = runtime.session(SessionSpec::new(other.clone()));
        let server = match self.store.load(other).await {
            Ok(record) => {
                let grant = record.as_ref().and_then(|record| record.grant());
                grant.map(|grant| (grant.binding.clone(), grant.renewal.clone()))
            }
            // If the store cannot be read, the server that an earlier request found is used.
            Err(_) => self.token(identity).ok().and_then(|token| token.server),
        };
        let is_exchanged = server.as_ref().is_some_and(|(_, plan)| plan.source == idp_refresh_token());
        if let (true, Some(wanted)) = (is_exchanged, wanted) {
            return self.exchange(&session, wanted).await.map(Drawn::Assertion);
        }
        let options = TokenOptions { timeout: TIMEOUT, min_lifetime: MARGIN, ..TokenOptions::default() };
        let lease = session.token_with(options).await.map_err(|error| trouble(&error))?;
        Ok(Drawn::Token(Box::new(Token { lease, server })))
    }

    /// Waits until a flight of `session` has exchanged its refresh token. Each flight makes one exchange, so a caller may wait
    /// for several flights.
    async fn exchange(&self, session: &AuthSession, wanted: Wanted) -> Result<AccessToken, Trouble> {
        let mut reply = self.errands.put(session.identity(), wanted);
        loop {
            let options = TokenOptions { timeout: TIMEOUT, force: true, ..TokenOptions::default() };
            // A flight that began for another caller may have made this exchange already.
            let result = tokio::select! {
                biased;
                exchanged = &mut reply => {
                    let exchanged = exchanged.map_err(|_| Trouble::new(Reason::Aborted))?;
                    return exchanged.map_err(|refused| self.refused_exchange(refused));
                }
                result = session.token_with(options) => result,
            };
            match (reply.try_recv(), result) {
                (Ok(exchanged), _) => return exchanged.map_err(|refused| self.refused_exchange(refused)),
                (Err(TryRecvError::Closed), _) => return Err(Trouble::new(Reason::Aborted)),
                (Err(TryRecvError::Empty), Err(error)) => return Err(trouble(&error)),
                (Err(TryRecvError::Empty), Ok(_)) => {}
            }
        }
    }

    /// The failure of a request whose exchange was refused.
    fn refused_exchange(&self, refused: Refused) -> Trouble {
        match judge::elsewhere(judge::refusal(&self.profile, refused)) {
            // The refresh token is dead.
            Evidence::Unavailable(Trouble { reason: Reason::CredentialRejected, .. }) => {
                Trouble::new(Reason::SignOnRequired)
            }
            Evidence::Unavailable(trouble) => trouble,
            _ => Trouble::new(Reason::RequestRefused),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<ServerIdentity, Result<Drawn, Trouble>>) -> T) -> T {
        // A map is consistent between two statements, so a panic of another thread does no harm.
        act(&mut self.drawn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
