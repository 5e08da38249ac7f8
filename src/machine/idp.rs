//! Tokens of other sessions, such as the ID token of a session at an identity provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokenkeeper_actors::law::profile::Trouble;
use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::runtime::{AuthRuntime, SessionSpec, TokenOptions, WeakRuntime};
use tokenkeeper_actors::values::record::{Binding, RenewalPlan};
use tokenkeeper_actors::values::{Lease, Reason, ServerIdentity};

/// How long a request waits for the token of another session.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The lifetime that the token of another session must have, so that it is good when it arrives.
const MARGIN: Duration = Duration::from_secs(10);

/// The way from a source to the sessions of its runtime, which is built after the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuntimeLink(Arc<OnceLock<WeakRuntime>>);

/// The token of another session, with the client and the endpoint of that session's server.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) lease: Lease,
    pub(super) server: Option<(Binding, RenewalPlan)>,
}

/// The tokens of other sessions that requests were prepared with.
#[derive(Debug)]
pub(super) struct OtherSessions {
    link: RuntimeLink,
    store: Arc<dyn TokenStore>,
    /// By the session that a request is for.
    drawn: Mutex<BTreeMap<ServerIdentity, Result<Drawn, Trouble>>>,
}

impl RuntimeLink {
    /// Joins the source to its runtime.
    pub(crate) fn join(&self, runtime: &AuthRuntime) {
        // A runtime that is started again is the same one.
        drop(self.0.set(runtime.downgrade()));
    }

    fn runtime(&self) -> Option<AuthRuntime> {
        self.0.get()?.upgrade()
    }
}

impl OtherSessions {
    pub(super) fn new(link: RuntimeLink, store: Arc<dyn TokenStore>) -> Self {
        Self { link, store, drawn: Mutex::default() }
    }

    /// Obtains the token of the session `other` for a request of `identity`.
    pub(super) async fn draw(&self, identity: &ServerIdentity, other: &ServerIdentity) {
        let drawn = self.obtain(identity, other).await;
        self.with(|all| all.insert(identity.clone(), drawn));
    }

    /// The token that the request of `identity` was prepared with.
    pub(super) fn drawn(&self, identity: &ServerIdentity) -> Result<Drawn, Trouble> {
        self.with(|all| all.get(identity).cloned()).unwrap_or(Err(Trouble::new(Reason::Aborted)))
    }

    /// Notes that the server of the session `other` does not accept the token of `lease`.
    ///
    /// # Errors
    ///
    /// The reason why there will be no better one.
    pub(super) async fn refused(&self, other: &ServerIdentity, lease: &Lease) -> Result<(), Trouble> {
        let runtime = self.link.runtime().ok_or(Trouble::new(Reason::Aborted))?;
        let session = runtime.session(SessionSpec::new(other.clone()));
        let operation = OperationKey::of("token_exchange");
        match session.invalidate(lease, operation, ChallengeKey::default()).await {
            Ok(()) => Ok(()),
            // Even a new token did not help.
            Err(error) if error.reason() == Reason::ResourceRefuses => Err(Trouble::new(Reason::SignOnRequired)),
            Err(error) => Err(Trouble { reason: error.reason(), retry_after: error.retry_after() }),
        }
    }

    async fn obtain(&self, identity: &ServerIdentity, other: &ServerIdentity) -> Result<Drawn, Trouble> {
        if identity == other {
            return Err(Trouble::new(Reason::RequestRefused));
        }
        let runtime = self.link.runtime().ok_or(Trouble::new(Reason::Aborted))?;
        let session = runtime.session(SessionSpec::new(other.clone()));
        let options = TokenOptions { timeout: TIMEOUT, min_lifetime: MARGIN, ..TokenOptions::default() };
        let lease = session.token_with(options).await.map_err(|error| Trouble {
            // A login there helps, and none at the session's own server.
            reason: if error.is_login_required() { Reason::SignOnRequired } else { error.reason() },
            retry_after: error.retry_after(),
        })?;
        let kept = || self.drawn(identity).ok().and_then(|drawn| drawn.server);
        let server = match self.store.load(other).await {
            Ok(record) => {
                let grant = record.as_ref().and_then(|record| record.grant());
                grant.map(|grant| (grant.binding.clone(), grant.renewal.clone()))
            }
            Err(_) => kept(),
        };
        Ok(Drawn { lease, server })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<ServerIdentity, Result<Drawn, Trouble>>) -> T) -> T {
        // A map is consistent between two statements, so a panic of another thread does no harm.
        act(&mut self.drawn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
