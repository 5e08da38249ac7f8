//! Sessions that follow a script, for unit tests of host code that takes an [`AuthSession`].
//!
//! The host's code gets the real handle with real results: leases, errors with their reasons and times, refusals,
//! states. There are no actors, no network and no store behind it. The production law runs over a script of the results
//! of token requests.
//!
//! ```
//! use std::time::Duration;
//! use tokenkeeper::Reason;
//! use tokenkeeper_testkit::scripted::{ScriptedSession, login_required, token};
//!
//! # async fn advance(span: Duration) { tokio::time::advance(span).await }
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
//! let minute = Duration::from_secs(60);
//! let script = ScriptedSession::new().then(token("at-1").expires_in(minute)).then(login_required());
//! let session = script.session();                 // what the code under test takes
//!
//! assert_eq!(session.token().await?.token().expose(), "at-1");
//! advance(minute).await;                          // tokio::time::advance, under `start_paused = true`
//! assert_eq!(session.token().await.unwrap_err().reason(), Reason::GrantEnded);
//! assert_eq!(session.state().login_required, Some(Reason::GrantEnded));
//!
//! let counts = script.counts();
//! assert_eq!((counts.asked, counts.token_requests), (2, 2));
//! # Ok::<(), tokenkeeper::TokenError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The script
//!
//! The account is signed in, and has no access token yet. Each token request takes the next step, and the last step
//! repeats for ever. Without any step, each request returns an `access-token` that lives for an hour.
//!
//! Each *token request* uses up one step. The law decides when to make one. It makes none while a lease is fresh or
//! before a failure's pause is over, one for all waiters, one early in the last part of a lease's life (a quarter at
//! most), and one after a refusal.
//!
//! # Time
//!
//! The time is tokio's. `#[tokio::test(start_paused = true)]` and `tokio::time::advance` expire tokens at once (they
//! need the feature `test-util` in the host's own tokio). Jitter is fixed. A script also works outside a tokio runtime,
//! but without timers. A step that [takes](Token::takes) time then ends at the next call after its time.
//!
//! # External events
//!
//! [`logged_out_elsewhere`](ScriptedSession::logged_out_elsewhere), [`signed_in_elsewhere`](ScriptedSession::signed_in_elsewhere),
//! [`store_breaks`](ScriptedSession::store_breaks) and [`store_recovers`](ScriptedSession::store_recovers) may be called at any
//! time, and so may [`push`](ScriptedSession::push).

mod actor;
mod clock;
mod driver;
mod logins;
mod step;
mod world;

use std::sync::Arc;

use tokenkeeper::AuthSession;
use tokenkeeper_actors::law::session::{Policy, Refusal, SessionEvent};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::runtime::stand_in;
use tokenkeeper_actors::values::{Account, Moment, ServerIdentity, Target};

use actor::ScriptedActor;
use clock::TokioClock;
use world::Store;

pub use logins::{LoginCounts, LoginStep, PersonAnswer, ScriptedLogins};
pub use step::{Failure, Step, Token, failure, login_required, token};

/// A session that follows a script. The test uses it to write the script, change it and read the counts.
///
/// Cheap to clone; clones share one session. See the [module](self).
#[derive(Clone, Debug)]
pub struct ScriptedSession {
    session: AuthSession,
    actor: Arc<ScriptedActor>,
    clock: TokioClock,
}

/// The counts of a scripted session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of [`token`](AuthSession::token) and [`token_with`](AuthSession::token_with), whether or not a fresh lease
    /// answered them. (A call that exceeded the maximum number of waiters is not counted.)
    pub asked: u64,
    /// Token requests, which is the number of script steps used.
    pub token_requests: u64,
    /// Calls of [`invalidate`](AuthSession::invalidate).
    pub refusals: u64,
    /// Calls of [`install`](AuthSession::install).
    pub installs: u64,
    /// Calls of [`logout`](AuthSession::logout).
    pub logouts: u64,
}

impl ScriptedSession {
    /// A signed-in session without an access token, for the account `test` at `https://mcp.example.com/mcp`, with the
    /// default [`Policy`].
    ///
    /// ```
    /// use tokenkeeper_testkit::scripted::ScriptedSession;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let script = ScriptedSession::new();
    /// assert_eq!(script.session().token().await?.token().expose(), "access-token");
    /// # Ok::<(), tokenkeeper::TokenError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::new_without_default, reason = "somebody who has signed in is no default")]
    pub fn new() -> Self {
        Self::with(identity(), Policy::default())
    }

    /// Like [`new`](Self::new), with `identity` and `policy`. The policy's `renewal` has no effect here.
    ///
    /// ```
    /// use tokenkeeper::{Account, Policy, ServerIdentity, Target};
    /// use tokenkeeper_testkit::scripted::ScriptedSession;
    ///
    /// let work = ServerIdentity::new(Account::new("work")?, Target::mcp("https://files.example.com/mcp")?);
    /// let script = ScriptedSession::with(work.clone(), Policy { max_waiters: 2, ..Policy::default() });
    /// assert_eq!(script.session().identity(), &work);
    /// # Ok::<(), tokenkeeper::IdentityError>(())
    /// ```
    pub fn with(identity: ServerIdentity, policy: Policy) -> Self {
        let script = Self::vacant(identity, policy);
        script.signed_in_elsewhere();
        script
    }

    /// Like [`new`](Self::new), but never signed in
    /// ([`NeverSignedIn`](tokenkeeper::Reason::NeverSignedIn)).
    ///
    /// ```
    /// use tokenkeeper::Reason;
    /// use tokenkeeper_testkit::scripted::ScriptedSession;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let script = ScriptedSession::never_signed_in();
    /// assert_eq!(script.session().token().await.unwrap_err().reason(), Reason::NeverSignedIn);
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn never_signed_in() -> Self {
        Self::vacant(identity(), Policy::default())
    }

    fn vacant(identity: ServerIdentity, policy: Policy) -> Self {
        let clock = TokioClock::new();
        let (session, actor) = stand_in::session(identity, policy.clone(), Arc::new(clock.clone()), |stage| {
            ScriptedActor::new(stage, Store::new(), policy, clock.clone())
        });
        Self { session: session.into(), actor, clock }
    }

    /// Appends `step` to the script, and returns the session.
    #[must_use]
    pub fn then(self, step: impl Into<Step>) -> Self {
        self.push(step);
        self
    }

    /// Appends `step` to the script.
    ///
    /// ```
    /// use tokenkeeper::TokenOptions;
    /// use tokenkeeper_testkit::scripted::{ScriptedSession, token};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let script = ScriptedSession::new().then(token("at-1"));
    /// let session = script.session();
    /// session.token().await?;
    /// script.push(token("at-2"));
    /// let forced = session.token_with(TokenOptions { force: true, ..TokenOptions::default() }).await?;
    /// assert_eq!(forced.token().expose(), "at-2");
    /// # Ok::<(), tokenkeeper::TokenError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push(&self, step: impl Into<Step>) {
        self.actor.update(|driver| driver.script.push(step.into()));
    }

    /// A handle on the session, for the host's code. All handles share one session.
    pub fn session(&self) -> AuthSession {
        self.session.clone()
    }

    // --- external events ---------------------------------------------------------------------------------------------

    /// Signs in again, as a login page or another process does. The previous grant is replaced, and the next token
    /// request takes the script's next step.
    ///
    /// ```
    /// use tokenkeeper_testkit::scripted::{ScriptedSession, login_required, token};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let script = ScriptedSession::new().then(login_required()).then(token("at-2"));
    /// let session = script.session();
    /// assert!(session.token().await.unwrap_err().is_login_required());
    /// script.signed_in_elsewhere();
    /// assert_eq!(session.token().await?.token().expose(), "at-2");
    /// # Ok::<(), tokenkeeper::TokenError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn signed_in_elsewhere(&self) {
        let resource = self.session.identity().resource().map(ToString::to_string);
        let now = self.now();
        self.actor.update(|driver| {
            driver.store.sign_in(resource, now);
            driver.handle(SessionEvent::StoreChanged);
        });
    }

    /// Logs out, as another process does. No lease is served from now on, not even a fresh one, and callers get
    /// [`LoggedOut`](tokenkeeper::Reason::LoggedOut).
    ///
    /// ```
    /// use tokenkeeper::Reason;
    /// use tokenkeeper_testkit::scripted::ScriptedSession;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let script = ScriptedSession::new();
    /// let session = script.session();
    /// session.token().await?;
    /// script.logged_out_elsewhere();
    /// assert_eq!(session.token().await.unwrap_err().reason(), Reason::LoggedOut);
    /// # Ok::<(), tokenkeeper::TokenError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn logged_out_elsewhere(&self) {
        self.actor.update(|driver| {
            driver.store.logout();
            driver.handle(SessionEvent::StoreChanged);
        });
    }

    /// Makes the store fail from now on. The present token is served while it is good, no token request begins, a
    /// request in flight becomes *degraded* (its token cannot be saved), and logins and logouts are not durable.
    ///
    /// ```
    /// use tokenkeeper::{LogoutError, StoreFault};
    /// use tokenkeeper_testkit::scripted::ScriptedSession;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let script = ScriptedSession::new();
    /// script.store_breaks();
    /// assert_eq!(script.session().logout().await, Err(LogoutError::NotDurable(StoreFault::Failed)));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn store_breaks(&self) {
        self.actor.update(|driver| driver.store.broken = true);
    }

    /// Makes the store work again. The next attempt to save an unsaved token succeeds, 30 s later at most.
    ///
    /// ```
    /// use tokenkeeper_testkit::scripted::{ScriptedSession, token};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
    /// let script = ScriptedSession::new().then(token("at-1").unsaved());
    /// let session = script.session();
    /// session.token().await?;
    /// assert!(session.state().unsaved);
    /// let mut watch = session.watch();
    /// script.store_recovers();
    /// while watch.now().unsaved {
    ///     watch.next().await;
    /// }
    /// # Ok::<(), tokenkeeper::TokenError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn store_recovers(&self) {
        self.actor.update(|driver| driver.store.broken = false);
    }

    // --- counts ------------------------------------------------------------------------------------------------------

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.actor.update(|driver| driver.counts)
    }

    /// The refusals reported to the session, in order, with their operations and challenges.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.actor.update(|driver| driver.refusals.clone())
    }

    /// The number of unused script steps. The last step repeats for ever, and is not counted after its first use.
    pub fn steps_left(&self) -> usize {
        self.actor.update(|driver| driver.script.left())
    }

    /// The current time of the session. Leases are compared with it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokenkeeper_testkit::scripted::{ScriptedSession, token};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
    /// let script = ScriptedSession::new().then(token("at-1").expires_in(Duration::from_secs(60)));
    /// let lease = script.session().token().await?;
    /// assert_eq!(lease.validity().remaining(&script.now()), Some(Duration::from_secs(60)));
    /// # Ok::<(), tokenkeeper::TokenError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn now(&self) -> Moment {
        self.clock.now()
    }
}

#[expect(clippy::expect_used, reason = "a valid constant: every test meets it")]
fn identity() -> ServerIdentity {
    let target = Target::mcp("https://mcp.example.com/mcp").expect("a canonical URI");
    ServerIdentity::new(Account::new("test").expect("an account"), target)
}
