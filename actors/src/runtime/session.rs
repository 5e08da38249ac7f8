//! The handle on a session: what a host's code holds.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use ractor::RpcReplyPort;
use ractor::concurrency::{OneshotReceiver, oneshot};
use tokio::sync::watch;

use super::core::Core;
use super::request::{Request, RequestKind};
use super::slot::Slot;
use super::state::{SessionState, StateWatch};
use super::token_actor::TokenMessage;
use crate::law::ledger::Login;
use crate::law::session::{Ask, ChallengeKey, LoggedOut, OperationKey, Refusal, RefusalAnswer};
use crate::values::record::{Issuer, RenewalPlan, View};
use crate::values::{ConfigureError, InstallError, Lease, LogoutError, Reason, ServerIdentity, StoreFault, TokenError};

/// A handle on one identity's session. Cheap to clone.
///
/// # Concurrency
///
/// Shared by any number of tasks and threads: all methods take `&self`, and none holds a lock over an await. Every
/// future is `Send` and safe to drop at any await: a caller that goes away takes nothing with it, and a token request that
/// has begun goes on and is stored. A future borrows its handle, because a hit that counted references would not be free;
/// a task takes a clone of the handle along. Handles survive every restart of the session's actor, and of its supervisor
/// where a host starts that again.
///
/// After [`refused`](Self::refused) has returned, no [`token`](Self::token) of any task returns the refused lease or an
/// older one.
///
/// Dropping handles ends nothing: a session lives in its runtime, sleeps by itself when nobody uses it, and ends with
/// [`shutdown`](super::AuthRuntime::shutdown).
#[derive(Clone, Debug)]
pub struct AuthSession {
    slot: Arc<Slot>,
    core: Arc<Core>,
}

/// What a caller asks for. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// How long the caller waits (30 s). Past it, it is told [`DeadlinePassed`](Reason::DeadlinePassed).
    pub timeout: Duration,
    /// What must be left of the token (nothing in particular). Capped at three quarters of its lifetime.
    pub min_lifetime: Duration,
    /// Insist on a token from a flight that begins after this request (no).
    pub force: bool,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), min_lifetime: Duration::ZERO, force: false }
    }
}

impl AuthSession {
    pub(crate) fn new(core: Arc<Core>, slot: Arc<Slot>) -> Self {
        Self { slot, core }
    }

    /// Whose session it is.
    pub fn identity(&self) -> &ServerIdentity {
        &self.slot.identity
    }

    /// A lease that is fit for use now.
    ///
    /// Where the published lease is fresh this takes no message, no lock and no allocation. Otherwise the session's
    /// actor answers: with a lease that is still good, or with the outcome of the one flight that all callers share.
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
        match self.hit(Duration::ZERO) {
            Some(lease) => Ok(lease),
            None => self.ask(TokenOptions::default())?.await,
        }
    }

    /// A lease as `request` wants it. Otherwise like [`token`](Self::token).
    ///
    /// # Errors
    ///
    /// One of the [`Reason`]s, once `request.timeout` is over at the latest; at once where waiting cannot help.
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

    /// The resource refused `lease` (401) for `operation`, with `challenge`: it is not handed out again.
    ///
    /// `Ok` means: ask for a [`token`](Self::token) and try once more. A refusal of a lease that has been replaced
    /// meanwhile changes nothing.
    ///
    /// # Errors
    ///
    /// [`ResourceRefuses`](Reason::ResourceRefuses) where refreshing was seen not to help (the lease is still served to
    /// others); otherwise why the session cannot be reached.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await; once polled, the refusal is noted all the same.
    pub async fn invalidate(
        &self,
        lease: &Lease,
        operation: OperationKey,
        challenge: ChallengeKey,
    ) -> Result<(), TokenError> {
        let refusal = Refusal { generation: lease.generation(), operation, challenge };
        match self.send(|reply| RequestKind::Refusal(refusal, reply)).await.unwrap_or(Err(UNANSWERED))? {
            RefusalAnswer::Noted | RefusalAnswer::Superseded => Ok(()),
            RefusalAnswer::Futile(error) => Err(error),
        }
    }

    /// Stores a login that was completed, and serves it from then on. Law 12: it begins a new epoch.
    ///
    /// # Errors
    ///
    /// Why it could not be stored. Nothing was changed then, unless the store timed out.
    ///
    /// # Cancellation
    ///
    /// Safe to drop: once polled, the login is stored all the same.
    pub async fn install(&self, login: Login) -> Result<Box<View>, InstallError> {
        let answer = self.send(|reply| RequestKind::Install(Box::new(login), reply)).await;
        answer.unwrap_or(Err(InstallError::StoreTrouble(StoreFault::TimedOut)))
    }

    /// Logs out: nothing is served from now on, the record is cleared and the tokens are revoked.
    ///
    /// # Errors
    ///
    /// [`NotDurable`](LogoutError::NotDurable) where the store cannot be written: this process serves nothing any more
    /// and keeps trying.
    ///
    /// # Cancellation
    ///
    /// Safe to drop: once polled, the logout goes on.
    pub async fn logout(&self) -> Result<LoggedOut, LogoutError> {
        self.send(RequestKind::Logout).await.unwrap_or(Err(LogoutError::NotDurable(StoreFault::TimedOut)))
    }

    /// Changes which source renews the identity, and under which provider's profile.
    ///
    /// For a session that was stored with the wrong plan, or with none: a login imported without its provider, a record
    /// of an older version, a source that was renamed. It changes the plan in the record and nothing else. The tokens, the
    /// epoch and what is published stay, and the next refresh of any process on the store goes by the new plan. The
    /// runtime need not have the source that `renewal` names; without it, a refresh fails with
    /// [`SourceMissing`](Reason::SourceMissing).
    ///
    /// Requests are taken in order, so a login that was installed before this call is the one that is configured.
    ///
    /// # Errors
    ///
    /// A [`ConfigureError`]. Nothing was changed then, unless the store timed out. While a refresh token is being
    /// presented, or is in doubt, its source and spending cannot change ([`Marked`](ConfigureError::Marked)); its provider
    /// and `never_replay` can.
    ///
    /// # Cancellation
    ///
    /// Safe to drop: once polled, the plan is stored all the same.
    pub async fn configure(&self, renewal: RenewalPlan) -> Result<Box<View>, ConfigureError> {
        let answer = self.send(|reply| RequestKind::Configure(Box::new(renewal), reply)).await;
        answer.unwrap_or(Err(ConfigureError::StoreTrouble(StoreFault::TimedOut)))
    }

    /// The resource lists these issuers now (RFC 9728 section 3.2): nothing more is served from a grant whose issuer is
    /// not among them.
    pub fn issuers_listed(&self, issuers: Vec<Issuer>) {
        self.slot.hear_issuers(issuers);
        if !self.slot.tell(TokenMessage::Backlog) && self.slot.wants_actor() {
            self.core.start(&self.slot);
        }
    }

    /// How the session stands, as of its last event.
    pub fn state(&self) -> SessionState {
        SessionState::from(&**self.slot.cell.read())
    }

    /// Follows how the session stands.
    pub fn watch(&self) -> StateWatch {
        let watchers = self.slot.watchers.get_or_init(|| watch::channel(self.state()).0);
        let receiver = watchers.subscribe();
        // What was published while the channel was made.
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
        let posted = self.slot.cell.read();
        let hit = posted.hit.as_ref()?;
        let now = self.core.ports.clock.coarse()?;
        let fresh = hit.window.is_open(&now);
        if !fresh || !min_lifetime.is_zero() && !hit.lease.validity().outlasts(min_lifetime, &now) {
            return None;
        }
        self.slot.note_use();
        Some(hit.lease.clone())
    }

    /// The slow way: through the mailbox.
    #[cold]
    fn ask(&self, request: TokenOptions) -> Result<Answer<'_>, TokenError> {
        let place = WaiterGuard::take(&*self.slot).ok_or(TokenError::new(Reason::TooManyWaiters))?;
        let ask = request.ask(&self.core);
        Ok(Answer { told: self.send(|reply| RequestKind::Token(ask, reply)), _place: place })
    }

    /// Sends a kind; its answer comes to the returned end.
    fn send<T>(&self, kind: impl FnOnce(RpcReplyPort<T>) -> RequestKind) -> OneshotReceiver<T> {
        let (tell, told) = oneshot();
        self.core.deliver(Request::new(Arc::clone(&self.slot), kind(tell.into())));
        told
    }
}

/// The answer to a caller who waits for it in a place of its own. As small as can be: a crowd of callers is a crowd of these.
struct Answer<'a> {
    told: OneshotReceiver<Result<Lease, TokenError>>,
    _place: WaiterGuard<&'a Slot>,
}

impl Future for Answer<'_> {
    type Output = Result<Lease, TokenError>;

    // Out of line: the compiler would otherwise mix the slow way into the hit.
    #[cold]
    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.told).poll(context).map(|answer| answer.unwrap_or(Err(UNANSWERED)))
    }
}

/// A request always answers; should it not, that is a defect, and no reason to hang.
const UNANSWERED: TokenError = TokenError::new(Reason::Aborted);

impl TokenOptions {
    pub(crate) fn ask(self, core: &Core) -> Ask {
        let asked = core.ports.clock.now().elapsed;
        Ask { asked, timeout: self.timeout, min_lifetime: self.min_lifetime, force: self.force }
    }
}

/// A caller's place among those who wait: taken before anything is queued, given back when it is answered or goes away.
#[derive(Debug)]
pub(crate) struct WaiterGuard<S: Deref<Target = Slot>>(S);

impl<S: Deref<Target = Slot>> WaiterGuard<S> {
    /// `None` where all places are taken.
    pub(crate) fn take(slot: S) -> Option<Self> {
        let most = u32::try_from(slot.plan.policy.max_waiters).unwrap_or(u32::MAX);
        let taken = slot
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| (waiting < most).then_some(waiting + 1));
        taken.is_ok().then(|| Self(slot))
    }
}

impl<S: Deref<Target = Slot>> Drop for WaiterGuard<S> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
