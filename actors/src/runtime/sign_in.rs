//! Logins that a person is asked for, through a session's handle, or through the runtime by the key of an answer.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::auth_runtime::AuthRuntime;
use super::request::RequestKind;
use super::session::AuthSession;
use super::timer;
use crate::law::login::LoginWish;
use crate::law::session::{LoginCause, LoginProgress, LoginRequest, LoginRequestKind};
use crate::ports::store::PendingLogin;
use crate::values::{AttemptId, Callback, LoginKey, LoginOffer, LoginReason, SignInError};

/// The time limit of the search for a prompt of another process.
const OFFER_TIMEOUT: Duration = Duration::from_secs(3);

/// The error of a request that was never answered.
const UNANSWERED: SignInError = SignInError::new(LoginReason::Aborted);

impl AuthSession {
    /// Begins a login, or joins the one that is under way in this process. Returns as soon as there is a request to
    /// show, or another process is known to ask.
    ///
    /// One prompt is open at a time, over all processes on the store (law 17). One of the callers that get it is the
    /// [first](LoginProgress::Offered::is_first), and only that caller should open a page by itself. The current lease
    /// is served until the login is stored.
    ///
    /// # Errors
    ///
    /// One of the [`LoginReason`]s. [`DeadlinePassed`](LoginReason::DeadlinePassed) after `timeout`. The attempt then goes on.
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
        self.request_login(LoginRequestKind::Begin(wish, cause), timeout).await
    }

    /// Waits until an attempt has ended. A caller that asks shortly after the end gets the result, too.
    ///
    /// [`LoginProgress::Offered`] means that the process that asked the person has died, and that this caller has to
    /// show the request again, and then to wait again.
    ///
    /// # Errors
    ///
    /// The [`LoginReason`] why no login was installed. [`UnknownLogin`](LoginReason::UnknownLogin) for an attempt of
    /// another session, or one that ended long ago.
    ///
    /// # Cancellation
    ///
    /// Safe to drop.
    pub async fn login_done(&self, attempt: AttemptId, timeout: Duration) -> Result<LoginProgress, SignInError> {
        self.request_login(LoginRequestKind::Await(attempt), timeout).await
    }

    /// Takes a person's answer, and waits until its login is stored. It may answer a prompt of another process. An answer
    /// is taken only once, over all processes on the store.
    ///
    /// # Errors
    ///
    /// As [`login_done`](Self::login_done). [`UnknownLogin`](LoginReason::UnknownLogin) if the login has expired or was
    /// answered before.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the answer is redeemed.
    pub async fn complete_login(&self, callback: Callback, timeout: Duration) -> Result<(), SignInError> {
        self.request_login(LoginRequestKind::Complete(callback), timeout).await.map(drop)
    }

    /// Cancels the login that is under way in this process, and waits for its end. If its code is already being
    /// presented, the login goes on and is stored.
    ///
    /// # Errors
    ///
    /// [`UnknownLogin`](LoginReason::UnknownLogin) if none is under way.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the login is cancelled.
    pub async fn cancel_login(&self, timeout: Duration) -> Result<LoginProgress, SignInError> {
        self.request_login(LoginRequestKind::Cancel, timeout).await
    }

    /// Returns the request with which any process asks a person to sign in to this session. It can be shown here, too,
    /// while an attempt waits [elsewhere](LoginProgress::Elsewhere). `None` if there is none, if it cannot be read, or
    /// if the store does not answer within 3 s.
    ///
    /// # Cancellation
    ///
    /// Safe to drop.
    pub async fn open_offer(&self) -> Option<LoginOffer> {
        let (core, source) = (self.core(), self.slot().plan.login.as_ref()?);
        let listed = AssertUnwindSafe(core.ports.store.pending_logins(core.ports.clock.now())).catch_unwind();
        let listed = tokio::select! {
            biased;
            listed = listed => listed.ok()?.ok()?,
            () = timer::pause(OFFER_TIMEOUT) => return None,
        };
        let own = listed.into_iter().map(|(_, pending)| pending).filter(|pending| pending.identity == *self.identity());
        source.offer(&own.max_by_key(|pending| pending.expires)?).ok()
    }

    async fn request_login(&self, kind: LoginRequestKind, timeout: Duration) -> Result<LoginProgress, SignInError> {
        let request = Box::new(LoginRequest { kind, deadline: self.now().elapsed.after(timeout) });
        self.send(|reply| RequestKind::Login(request, reply)).await.unwrap_or(Err(UNANSWERED))
    }
}

impl AuthRuntime {
    /// Takes a person's answer, and finds its session by its key. The answer may arrive at any process on the store.
    /// Otherwise like [`AuthSession::complete_login`].
    ///
    /// # Errors
    ///
    /// As [`AuthSession::complete_login`].
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once the session has received the answer, it is redeemed.
    pub async fn complete_login(&self, callback: Callback, timeout: Duration) -> Result<(), SignInError> {
        let core = self.core();
        let deadline = core.ports.clock.now().elapsed.after(timeout);
        let identity = core.identity_of_login(&callback.key, timeout).await?;
        let left = deadline.since(core.ports.clock.now().elapsed);
        self.session(identity).complete_login(callback, left).await
    }

    /// Returns the pending logins of all identities, which may be those of other processes. A restarted host binds the
    /// listeners of these logins again, and begins a login of each identity, which shows the same prompt.
    ///
    /// # Errors
    ///
    /// [`StoreTrouble`](LoginReason::StoreTrouble).
    pub async fn pending_logins(&self) -> Result<Vec<(LoginKey, PendingLogin)>, SignInError> {
        let core = self.core();
        let now = core.ports.clock.now();
        core.ports.store.pending_logins(now).await.map_err(|_| SignInError::new(LoginReason::StoreTrouble))
    }
}
