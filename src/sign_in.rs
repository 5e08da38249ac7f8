//! Logins that a person is asked for, which are begun or joined, shown by the host, and completed where the answer arrives.
//! Also the sign-in by a machine grant, for which nothing is shown.

use std::time::Duration;

use tokenkeeper_actors::law::ledger;
use tokenkeeper_actors::law::login::LoginWish;
use tokenkeeper_actors::law::session::{LoginCause, LoginProgress};
use tokenkeeper_actors::ports::store::PendingLogin;

use crate::discovery::Freshness;
use crate::machine::MachineGrant;
use crate::oauth::OAuth;
use crate::proof::ProofKey;
use crate::{
    AttemptId, AuthRuntime, AuthSession, Callback, Lease, LoginError, LoginKey, LoginMethod, OperationKey, Scopes,
    SignInError,
};

impl AuthSession {
    /// Begins a login, or joins the one that is under way. Returns as soon as there is something to show.
    ///
    /// Over all processes on one store, a person sees one prompt at a time (law 17). Every caller gets the prompt, and one
    /// of them is the [first](LoginProgress::Offered::is_first), which opens the page. The host shows the request and hands
    /// the answer to [`complete_login`](Self::complete_login), in this process or another one. The present tokens are served
    /// until the login is stored.
    ///
    /// # Errors
    ///
    /// The [`LoginReason`](crate::LoginReason) why no person can be asked, or `DeadlinePassed` after `timeout`. After
    /// `DeadlinePassed` the attempt goes on.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the attempt goes on.
    pub async fn begin_login(
        &self,
        wish: LoginWish,
        cause: LoginCause,
        timeout: Duration,
    ) -> Result<LoginProgress, SignInError> {
        self.engine.begin_login(wish, cause, timeout).await
    }

    /// Begins a login for more scopes, after the resource refused `lease` for `operation` with `insufficient_scope` (403).
    /// The login asks the same authorization server for these scopes in addition to those of the session, and the same person
    /// must sign in. Other callers keep the present lease meanwhile.
    ///
    /// [`LoginProgress::SignedIn`] means that there is a newer lease already. The caller tries that first.
    ///
    /// # Errors
    ///
    /// As [`begin_login`](Self::begin_login). `ScopeDenied` if a person declined one of the scopes a short time ago, and
    /// `ResourceRefuses` after three logins for this operation within ten minutes (law 22).
    ///
    /// # Cancellation
    ///
    /// As [`begin_login`](Self::begin_login).
    pub async fn step_up(
        &self,
        lease: &Lease,
        scopes: Scopes,
        method: LoginMethod,
        operation: OperationKey,
        timeout: Duration,
    ) -> Result<LoginProgress, SignInError> {
        let wish = LoginWish { scopes, method, same_subject: true, extends: true };
        let cause = LoginCause::Operation { refused: Some(lease.generation()), operation };
        self.engine.begin_login(wish, cause, timeout).await
    }

    /// Waits until a login has ended, and its tokens are stored. A caller that comes a little late gets the result, too.
    ///
    /// [`LoginProgress::Offered`] means that the process that asked the person has died, and that this caller is to show the
    /// request again. After that, the caller waits again.
    ///
    /// # Errors
    ///
    /// The [`LoginReason`](crate::LoginReason) why no login was stored. `UnknownLogin` for an attempt of another session,
    /// or one that ended long ago.
    ///
    /// # Cancellation
    ///
    /// Safe to drop.
    pub async fn login_done(&self, attempt: AttemptId, timeout: Duration) -> Result<LoginProgress, SignInError> {
        self.engine.login_done(attempt, timeout).await
    }

    /// Takes a person's answer, redeems it, and waits until the login is stored. An answer is taken once, whichever process
    /// gets it.
    ///
    /// # Errors
    ///
    /// As [`login_done`](Self::login_done). `UnknownLogin` if the prompt has expired or was answered before.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the answer is redeemed.
    pub async fn complete_login(&self, callback: Callback, timeout: Duration) -> Result<(), SignInError> {
        self.engine.complete_login(callback, timeout).await
    }

    /// Cancels the login that is under way in this process, and waits for its end. If the code is already being redeemed,
    /// the login is stored, and this returns [`LoginProgress::SignedIn`].
    ///
    /// # Errors
    ///
    /// `UnknownLogin` if none is under way.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the login is cancelled.
    pub async fn cancel_login(&self, timeout: Duration) -> Result<LoginProgress, SignInError> {
        self.engine.cancel_login(timeout).await
    }
}

impl AuthSession {
    /// Signs the session in with a grant that needs no person, and serves it from then on. It replaces the session's previous
    /// login and begins a new epoch (law 12). The first token is obtained by the next caller.
    ///
    /// A session without a record does not need this call. It is for a session that was logged out, or that belonged to a
    /// person or to another client. New credentials of the same client are stored with [`configure`](Self::configure), which
    /// keeps the token.
    ///
    /// # Errors
    ///
    /// [`LoginError::NoProofs`] for a grant whose tokens are to be [bound](MachineGrant::dpop) to a key, if none can be made.
    /// [`LoginError::Discovery`] if no authorization server was found, [`LoginError::Endpoint`] if the session has no MCP
    /// server and the grant names no authorization server, and [`LoginError::Refused`] if the session could not store the
    /// grant. Nothing was changed then, unless the store timed out.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once the authorization server is found, the grant is stored nevertheless.
    pub async fn sign_in_as(&self, grant: &MachineGrant) -> Result<(), LoginError> {
        let Some(OAuth { machine, .. }) = self.oauth.as_deref() else {
            return Err(LoginError::Endpoint { member: "token endpoint" });
        };
        let binding = machine.bind(self.identity(), grant, Freshness::RetryFailure).await?;
        let dpop_key = match grant.is_bound() {
            true => Some(ProofKey::draw().ok_or(LoginError::NoProofs)?),
            false => None,
        };
        let login = ledger::Login {
            binding,
            requested: grant.requested_scopes().clone(),
            granted: Scopes::default(),
            subject: None,
            dpop_key,
            renewal: grant.plan(),
            refresh: None,
            access: None,
            at: self.engine.now(),
            begun_on: None,
        };
        self.engine.install(login).await?;
        Ok(())
    }
}

impl AuthRuntime {
    /// Takes a person's answer, and finds the session by the answer's `state`, for a route that serves the answers of all
    /// sessions. Otherwise like [`AuthSession::complete_login`].
    ///
    /// # Errors
    ///
    /// As [`AuthSession::complete_login`].
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once the session has the answer, it is redeemed.
    pub async fn complete_login(&self, callback: Callback, timeout: Duration) -> Result<(), SignInError> {
        self.engine.complete_login(callback, timeout).await
    }

    /// Returns the pending logins of all sessions and processes on the store. A host that was restarted listens at their
    /// addresses again, and begins a login for each of these sessions, which shows the same prompt again.
    ///
    /// # Errors
    ///
    /// `StoreTrouble` if the store cannot be read.
    pub async fn pending_logins(&self) -> Result<Vec<(LoginKey, PendingLogin)>, SignInError> {
        self.engine.pending_logins().await
    }
}
