//! The handle of a session, for a host's code.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ractor::RpcReplyPort;
use ractor::concurrency::{OneshotReceiver, oneshot};
use tokio::sync::watch;

use super::core::Core;
use super::messages::TokenMessage;
use super::removal;
use super::request::{Request, RequestKind};
use super::slot::{Slot, WaiterGuard};
use super::state::{SessionState, StateWatch};
use crate::law::ledger::Login;
use crate::law::session::{Ask, ChallengeKey, Hit, LoggedOut, OperationKey, Refusal, RefusalAnswer};
use crate::values::record::{Issuer, RefreshCredential, RenewalPlan, View};
use crate::values::{
    ConfigureError, Epoch, Generation, InstallError, Lease, LogoutError, Moment, Reason, RefreshToken, ServerIdentity,
    StoreFault, TokenError, WallTime,
};

/// A handle of one identity's session. Cheap to clone.
///
/// # Concurrency
///
/// Any number of tasks and threads may share a handle. All methods take `&self`, and none holds a lock over an await. Every
/// future is `Send` and safe to drop at any await. A dropped future cancels that request only, and a token request that has
/// begun continues and is stored. A future borrows its handle, because counting references would make a hit more expensive.
/// Give each task a clone of the handle. Handles survive every restart of the session's actor, and of its supervisor if a
/// host restarts it.
///
/// After [`invalidate`](Self::invalidate) has returned, no [`token`](Self::token) of any task returns the refused lease
/// or an older one.
///
/// Dropping handles ends nothing. A session lives in its runtime, sleeps when it is not used, and ends with
/// [`shutdown`](super::AuthRuntime::shutdown). Only a session whose identity has never signed in is removed from memory
/// once it has no handle.
#[derive(Clone, Debug)]
pub struct AuthSession {
    slot: Arc<Slot>,
    core: Arc<Core>,
}

/// The options of a request for a token. The defaults are in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// The time that the caller is willing to wait (30 s). After that, the caller gets
    /// [`DeadlinePassed`](Reason::DeadlinePassed). If no attempt can be made in time, the caller gets the error of the last
    /// attempt at once, with the time to [ask again](TokenError::retry_after).
    pub timeout: Duration,
    /// The remaining lifetime that the token must have (none). At most three quarters of the token's whole lifetime are
    /// required.
    pub min_lifetime: Duration,
    /// Whether the token must come from a flight that begins after this request (no).
    pub force: bool,
    /// Whether the caller takes the first failure (no). Otherwise the request is tried again after a temporary fault,
    /// such as a server that is down for a moment. It is tried as long as `timeout` allows, and at most eight times.
    pub fail_fast: bool,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), min_lifetime: Duration::ZERO, force: false, fail_fast: false }
    }
}

/// A login whose tokens are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedLogin {
    /// The epoch that it began.
    pub epoch: Epoch,
    /// The time at which it was completed, by the wall clock. `None` if it is not known.
    pub signed_in: Option<WallTime>,
}

impl ServedLogin {
    /// Whether both may be the same login. The epochs of a store that was emptied begin again. The times are therefore
    /// compared as well, if both are known. Equality (`==`) is exact.
    pub fn is_same(&self, other: &Self) -> bool {
        let times = self.signed_in.zip(other.signed_in);
        self.epoch == other.epoch && times.is_none_or(|(one, other)| one == other)
    }
}

impl AuthSession {
    pub(crate) fn new(core: Arc<Core>, slot: Arc<Slot>) -> Self {
        Self { slot, core }
    }

    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// The identity of the session.
    pub fn identity(&self) -> &ServerIdentity {
        &self.slot.identity
    }

    /// The published lease, while it is fresh. `None` if only the session's actor can answer.
    #[inline]
    pub fn at_hand(&self) -> Option<Lease> {
        self.hit(Duration::ZERO)
    }

    /// Returns a lease that is valid now.
    ///
    /// While the published lease is fresh this takes no message, no lock and no allocation. Otherwise the session's
    /// actor answers with a lease that is still valid, or with the outcome of the one flight that all callers share.
    ///
    /// # Errors
    ///
    /// One of the [`Reason`]s, after 30 s at the latest.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    #[inline]
    pub async fn token(&self) -> Result<Lease, TokenError> {
        match self.at_hand() {
            Some(lease) => Ok(lease),
            None => self.ask(TokenOptions::default())?.await,
        }
    }

    /// Returns a lease that meets `request`. Otherwise like [`token`](Self::token).
    ///
    /// # Errors
    ///
    /// One of the [`Reason`]s, after `request.timeout` at the latest, and at once if waiting cannot help.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    pub async fn token_with(&self, request: TokenOptions) -> Result<Lease, TokenError> {
        let hit = if request.force { None } else { self.hit(request.min_lifetime) };
        match hit {
            Some(lease) => Ok(lease),
            None => self.ask(request)?.await,
        }
    }

    /// Waits until no login is required, in whichever process the login is made. Returns at once if none is required.
    ///
    /// `Ok` does not mean that there is a token now, because the server may be down. A sleeping session is woken once,
    /// to read the record. After that the wait costs nothing until the session's state changes.
    ///
    /// # Errors
    ///
    /// [`ShuttingDown`](Reason::ShuttingDown) when the runtime ends, and [`NotRunning`](Reason::NotRunning) if it has no
    /// supervision tree when the wait begins.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    pub async fn signed_in(&self) -> Result<(), TokenError> {
        let mut watch = self.watch();
        loop {
            match self.token_with(TokenOptions { fail_fast: true, ..TokenOptions::default() }).await {
                Err(error) if error.is_login_required() => {}
                Err(error) if matches!(error.reason(), Reason::ShuttingDown | Reason::NotRunning) => return Err(error),
                // A temporary fault does not mean that a login is required.
                Ok(_) | Err(_) => return Ok(()),
            }
            // The request itself may have published states. Only a state in which no login is required is worth another
            // request.
            loop {
                let state = tokio::select! {
                    biased;
                    () = self.core.stopping() => None,
                    state = watch.next() => state,
                };
                match state {
                    Some(state) if state.login_required.is_some() => {}
                    Some(_) => break,
                    None => return Err(TokenError::new(Reason::ShuttingDown)),
                }
            }
        }
    }

    /// Reports that the resource refused `lease` (401) for `operation`, with `challenge`. `lease` must be a lease of
    /// this session. It is not handed out again.
    ///
    /// After `Ok` the caller asks for a [`token`](Self::token) and tries once more. If the lease was replaced
    /// meanwhile, the refusal changes nothing.
    ///
    /// # Errors
    ///
    /// [`ResourceRefuses`](Reason::ResourceRefuses) if refreshing has not helped (the lease is still served to others),
    /// [`WrongSession`](Reason::WrongSession) if the lease was handed out by the session of another identity or is newer
    /// than any that the record has, or the reason why the session cannot be reached.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. Once polled, the refusal takes effect.
    pub async fn invalidate(
        &self,
        lease: &Lease,
        operation: OperationKey,
        challenge: ChallengeKey,
    ) -> Result<(), TokenError> {
        if lease.session().is_some_and(|identity| *identity != self.slot.identity) {
            return Err(WRONG_SESSION);
        }
        self.invalidate_generation(lease.generation(), operation, challenge).await
    }

    /// Like [`invalidate`](Self::invalidate), for the lease of this `generation`. Two sessions may have equal generations,
    /// so a lease of another session is noticed only if its generation is newer than any of this session's.
    ///
    /// # Errors
    ///
    /// Those of [`invalidate`](Self::invalidate).
    ///
    /// # Cancellation
    ///
    /// As [`invalidate`](Self::invalidate).
    pub async fn invalidate_generation(
        &self,
        generation: Generation,
        operation: OperationKey,
        challenge: ChallengeKey,
    ) -> Result<(), TokenError> {
        let refusal = Refusal { generation, operation, challenge };
        match self.send(|reply| RequestKind::Refusal(refusal, reply)).await.unwrap_or(Err(UNANSWERED))? {
            RefusalAnswer::Noted | RefusalAnswer::Superseded => Ok(()),
            RefusalAnswer::Unknown => Err(WRONG_SESSION),
            RefusalAnswer::Futile(error) => Err(error),
        }
    }

    /// `token` with its digest under the key of the session's store, for a [`Login`].
    pub fn credential(&self, token: RefreshToken) -> RefreshCredential {
        RefreshCredential::new(token, &self.slot.plan.equipment.digests)
    }

    /// The present by the runtime's clock.
    pub fn now(&self) -> Moment {
        self.core.ports.clock.now()
    }

    /// Stores a completed login, and serves its tokens from then on. It begins a new epoch (law 12).
    ///
    /// # Errors
    ///
    /// The reason why the login could not be stored. Nothing was changed then, unless the store timed out.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the login is stored.
    pub async fn install(&self, login: Login) -> Result<Box<View>, InstallError> {
        let answer = self.send(|reply| RequestKind::Install(Box::new(login), reply)).await;
        answer.unwrap_or(Err(InstallError::StoreTrouble(StoreFault::TimedOut)))
    }

    /// Logs out. No lease is served from now on, the record is cleared and the tokens are revoked. Waits for the
    /// revocation up to [`Policy::revocation_timeout`](crate::law::session::Policy), and reports its outcome in the
    /// result.
    ///
    /// # Errors
    ///
    /// [`NotDurable`](LogoutError::NotDurable) if the store cannot be written. This process then serves no lease any
    /// more, and keeps trying.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the logout continues.
    pub async fn logout(&self) -> Result<LoggedOut, LogoutError> {
        self.send(RequestKind::Logout).await.unwrap_or(Err(LogoutError::NotDurable(StoreFault::TimedOut)))
    }

    /// Logs out an account that will not be used again, and removes what the store has of it. The tokens are not revoked, so
    /// that this is the end of a session whose provider would end others with it. Afterwards the account has never signed in,
    /// and its memory is given back when its handles are dropped and it has slept.
    ///
    /// The epochs of the account begin again, so a host must not sign in under its name again while a process that knows the
    /// earlier session runs. That process could take the new session for the old one. A login that was under way is dropped. An
    /// account whose source needs no login gets its record again with its next token.
    ///
    /// # Errors
    ///
    /// Those of [`logout`](Self::logout). [`Superseded`](LogoutError::Superseded) if a login came in between, which stays. After
    /// [`NotDurable`](LogoutError::NotDurable) nothing is served from this process, the record may still be stored, and the
    /// call can be repeated.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the logout continues. The record may stay, and the call can be repeated.
    pub async fn forget(&self) -> Result<(), LogoutError> {
        let answer = self.send(RequestKind::Forget).await;
        answer.unwrap_or(Err(LogoutError::NotDurable(StoreFault::TimedOut)))?;
        removal::remove(&self.core, &self.slot).await
    }

    /// Like [`forget`](Self::forget), but only if the store has no login of the account. Returns whether there was none. It is for
    /// logins that were begun and not completed, once they cannot be completed any more.
    ///
    /// # Errors
    ///
    /// Those of [`forget`](Self::forget), except for a login that came in between, which stays.
    ///
    /// # Cancellation
    ///
    /// As [`forget`](Self::forget).
    pub async fn forget_unless_signed_in(&self) -> Result<bool, LogoutError> {
        if removal::is_signed_in(&self.core, &self.slot).await? {
            return Ok(false);
        }
        match self.forget().await {
            Err(LogoutError::Superseded(_)) => Ok(false),
            forgotten => forgotten.map(|()| true),
        }
    }

    /// Changes the renewal plan of the identity, with the source that renews it and the provider whose profile applies.
    ///
    /// This is for a session that was stored with the wrong plan or none, for example by an import without a provider or by
    /// an older version, or whose source was renamed. It changes only the plan in the record. The tokens, the epoch and the
    /// published lease stay, and the next refresh of any process on the store uses the new plan. The runtime need not have
    /// the source that `renewal` names. Without it, a refresh fails with [`SourceMissing`](Reason::SourceMissing).
    ///
    /// Requests are handled in order, so a login that was installed before this call is configured by it.
    ///
    /// # Errors
    ///
    /// A [`ConfigureError`]. Nothing was changed then, unless the store timed out. While a refresh token is being
    /// presented, or is in doubt, its source and spending cannot change ([`Marked`](ConfigureError::Marked)). Its
    /// provider and `never_replay` can.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the plan is still stored.
    pub async fn configure(&self, renewal: RenewalPlan) -> Result<Box<View>, ConfigureError> {
        let answer = self.send(|reply| RequestKind::Configure(Box::new(renewal), reply)).await;
        answer.unwrap_or(Err(ConfigureError::StoreTrouble(StoreFault::TimedOut)))
    }

    /// Reports the issuers that the resource lists now (RFC 9728 section 3.2). A grant whose issuer is not among them
    /// is not served any more.
    pub fn issuers_listed(&self, issuers: Vec<Issuer>) {
        self.slot.put_issuers(issuers);
        if !self.slot.send(TokenMessage::Backlog) && self.slot.wants_actor() {
            self.core.start(&self.slot);
        }
    }

    /// Returns the session's state, as of its last event.
    pub fn state(&self) -> SessionState {
        SessionState::from(&**self.slot.cell.read())
    }

    /// The login that is served, as of the session's last event. `None` while a login is required and there is no valid lease,
    /// and while a logout is under way.
    ///
    /// This sends no message. After the answer to a login, a logout or a token request, a caller reads the login of
    /// that answer or a later one.
    pub fn served_login(&self) -> Option<ServedLogin> {
        let snapshot = self.slot.cell.read();
        let standing = &snapshot.standing;
        let is_closing = snapshot.extra_residue().is_some_and(|residue| residue.closing.is_some());
        // A lease that cannot be renewed is served until it expires.
        let is_valid = |hit: &Hit| hit.lease.validity().outlasts(Duration::ZERO, &self.core.ports.clock.now());
        let is_served = standing.login_required.is_none() || snapshot.hit.as_ref().is_some_and(is_valid);
        let login = ServedLogin { epoch: snapshot.known().epoch, signed_in: standing.signed_in };
        (is_served && !is_closing).then_some(login)
    }

    /// Follows the session's state. Meanwhile, changes of the record by other processes are read when the store reports
    /// them, even if the session sleeps.
    pub fn watch(&self) -> StateWatch {
        let watchers = self.slot.watchers.get_or_init(|| watch::channel(self.state()).0);
        let receiver = watchers.subscribe();
        // The session may have published another state while the channel was made.
        watchers.send_if_modified(|state| {
            let now = self.state();
            let changed = *state != now;
            *state = now;
            changed
        });
        StateWatch(receiver)
    }

    /// The published lease, while it is fresh.
    #[inline]
    fn hit(&self, min_lifetime: Duration) -> Option<Lease> {
        let snapshot = self.slot.cell.read();
        let hit = snapshot.hit.as_ref()?;
        let now = self.core.ports.clock.coarse()?;
        let fresh = hit.window.is_open(&now);
        if !fresh || !min_lifetime.is_zero() && !hit.lease.validity().outlasts(min_lifetime, &now) {
            return None;
        }
        self.slot.usage.note();
        Some(hit.lease.clone())
    }

    /// Asks the session's actor.
    #[cold]
    fn ask(&self, request: TokenOptions) -> Result<Answer<'_>, TokenError> {
        let guard = WaiterGuard::take(&*self.slot).ok_or(TokenError::new(Reason::TooManyWaiters))?;
        let ask = request.ask(&self.core);
        Ok(Answer { receiver: self.send(|reply| RequestKind::Token(ask, reply)), _guard: guard })
    }

    /// Sends a request. Its answer arrives at the returned receiver.
    pub(super) fn send<T>(&self, kind: impl FnOnce(RpcReplyPort<T>) -> RequestKind) -> OneshotReceiver<T> {
        let (sender, receiver) = oneshot();
        self.core.deliver(Request::new(Arc::clone(&self.slot), kind(sender.into())));
        receiver
    }
}

/// The future of a waiting caller. It is kept small, because many callers may wait at once.
struct Answer<'a> {
    receiver: OneshotReceiver<Result<Lease, TokenError>>,
    _guard: WaiterGuard<&'a Slot>,
}

impl Future for Answer<'_> {
    type Output = Result<Lease, TokenError>;

    // Not inlined, because the compiler would otherwise inline it into the path of a hit.
    #[cold]
    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|answer| answer.unwrap_or(Err(UNANSWERED)))
    }
}

/// The error of a request that was never answered. That would be a defect, and even then the caller must not wait for ever.
const UNANSWERED: TokenError = TokenError::new(Reason::Aborted);

/// The error for a refusal of a lease of another session.
const WRONG_SESSION: TokenError = TokenError::new(Reason::WrongSession);

impl TokenOptions {
    pub(crate) fn ask(self, core: &Core) -> Ask {
        let asked = core.ports.clock.now().elapsed;
        let Self { timeout, min_lifetime, force, fail_fast } = self;
        Ask { asked, timeout, min_lifetime, force, fail_fast }
    }
}
