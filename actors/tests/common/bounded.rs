//! Test wrappers of a runtime and a session that bound each of their waits.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use tokenkeeper_actors::law::ledger::Login;
use tokenkeeper_actors::law::session::{ChallengeKey, LoggedOut, OperationKey};
use tokenkeeper_actors::runtime::{AuthRuntime, AuthSession, SessionSpec, ShutdownReport, TokenOptions};
use tokenkeeper_actors::values::record::View;
use tokenkeeper_actors::values::{InstallError, Lease, LogoutError, TokenError};

use super::within::within;

/// A runtime.
#[derive(Clone, Debug)]
pub struct BoundedRuntime(AuthRuntime);

impl From<AuthRuntime> for BoundedRuntime {
    fn from(runtime: AuthRuntime) -> Self {
        Self(runtime)
    }
}

impl Deref for BoundedRuntime {
    type Target = AuthRuntime;

    fn deref(&self) -> &AuthRuntime {
        &self.0
    }
}

impl BoundedRuntime {
    pub fn session(&self, spec: impl Into<SessionSpec>) -> BoundedSession {
        self.0.session(spec).into()
    }

    #[track_caller]
    pub fn shutdown(&self, deadline: Duration) -> impl Future<Output = ShutdownReport> {
        within("a shutdown", self.0.shutdown(deadline))
    }
}

/// A session.
#[derive(Clone, Debug)]
pub struct BoundedSession(AuthSession);

impl From<AuthSession> for BoundedSession {
    fn from(session: AuthSession) -> Self {
        Self(session)
    }
}

impl Deref for BoundedSession {
    type Target = AuthSession;

    fn deref(&self) -> &AuthSession {
        &self.0
    }
}

impl BoundedSession {
    /// The session without bounds, for crowds of callers. The test bounds the wait for their tasks.
    pub fn unbounded(&self) -> AuthSession {
        self.0.clone()
    }

    #[track_caller]
    pub fn token(&self) -> impl Future<Output = Result<Lease, TokenError>> {
        within("a token", self.0.token())
    }

    #[track_caller]
    pub fn token_with(&self, options: TokenOptions) -> impl Future<Output = Result<Lease, TokenError>> {
        within("a token", self.0.token_with(options))
    }

    #[track_caller]
    pub fn invalidate(
        &self,
        lease: &Lease,
        operation: OperationKey,
        challenge: ChallengeKey,
    ) -> impl Future<Output = Result<(), TokenError>> {
        within("the answer to a refusal", self.0.invalidate(lease, operation, challenge))
    }

    #[track_caller]
    pub fn install(&self, login: Login) -> impl Future<Output = Result<Box<View>, InstallError>> {
        within("the answer to a login", self.0.install(login))
    }

    #[track_caller]
    pub fn logout(&self) -> impl Future<Output = Result<LoggedOut, LogoutError>> {
        within("the answer to a logout", self.0.logout())
    }
}
