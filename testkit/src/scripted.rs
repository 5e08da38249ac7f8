//! Sessions that follow a script: unit tests for host code that takes an [`AuthSession`].
//!
//! A host's code gets the real handle, with the real answers: leases, errors with their reasons and times, refusals, states.
//! Behind it are no actors, no network and no store, only the law that runs in production, over a script of what each token
//! request comes to.
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
//! Somebody has signed in, and there is no access token yet. Each token request comes to the next step, and the last step goes
//! on for ever. Without any step, each request brings an `access-token` for an hour.
//!
//! A step is used up by a *token request*, and the law says when one is made: not while a lease is fresh, one for all who wait,
//! early in the last part of a lease's life (a quarter at most), after a refusal, and not before a failure's pause is over.
//!
//! # Time
//!
//! Tokio's: `#[tokio::test(start_paused = true)]` and `tokio::time::advance` let tokens expire at once (of a host's own tokio,
//! with its feature `test-util`). Entropy always fall the same way. Outside a tokio runtime a script works as well, but nothing
//! happens by itself there: a step that [takes](Token::takes) time is over when somebody asks next.
//!
//! # What happens elsewhere
//!
//! [`logged_out_elsewhere`](ScriptedSession::logged_out_elsewhere), [`signed_in_elsewhere`](ScriptedSession::signed_in_elsewhere),
//! [`store_breaks`](ScriptedSession::store_breaks) and [`store_recovers`](ScriptedSession::store_recovers) may be called at any
//! time, and so may [`push`](ScriptedSession::push).

mod clock;
mod desk;
mod play;
mod step;
mod world;

use std::sync::Arc;

use tokenkeeper_actors::law::session::{Policy, Refusal, SessionEvent};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::runtime::stand_in;
use tokenkeeper_actors::values::{Account, Moment, ServerIdentity, Target};

use tokenkeeper::AuthSession;

use clock::TokioClock;
use desk::Desk;
use world::Store;

pub use step::{Failure, Step, Token, failure, login_required, token};

/// A session that follows a script, and the test's way to write it, to change it and to count what it met.
///
/// Cheap to clone; clones are one session. See the [module](self).
#[derive(Clone, Debug)]
pub struct ScriptedSession {
    session: AuthSession,
    desk: Arc<Desk>,
    clock: TokioClock,
}

/// What a scripted session met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of [`token`](AuthSession::token) and [`token_with`](AuthSession::token_with), answered from a fresh lease or
    /// not. (One that found too many others waiting is not counted.)
    pub asked: u64,
    /// Requests to the token endpoint: steps of the script that were used.
    pub token_requests: u64,
    /// Calls of [`invalidate`](AuthSession::invalidate).
    pub refusals: u64,
    /// Calls of [`install`](AuthSession::install).
    pub installs: u64,
    /// Calls of [`logout`](AuthSession::logout).
    pub logouts: u64,
}

impl ScriptedSession {
    /// A session that somebody has signed in to, without an access token, of the account `test` at
    /// `https://mcp.example.com/mcp`, with the default [`Policy`].
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

    /// Like [`new`](Self::new), of `identity` and with `policy`; its `renewal` means nothing here.
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

    /// Like [`new`](Self::new), but nobody has ever signed in:
    /// [`NeverSignedIn`](tokenkeeper::Reason::NeverSignedIn).
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
        let (session, desk) = stand_in::session(identity, policy.clone(), Arc::new(clock.clone()), |stage| {
            Desk::new(stage, Store::new(), policy, clock.clone())
        });
        Self { session: session.into(), desk, clock }
    }

    /// The same session, whose script goes on with `step`.
    #[must_use]
    pub fn then(self, step: impl Into<Step>) -> Self {
        self.push(step);
        self
    }

    /// From here on the script goes on with `step`, after the steps that are left.
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
        self.desk.act(|play| play.script.push(step.into()));
    }

    /// A handle on the session: what a host's code takes. All handles are on one session.
    pub fn session(&self) -> AuthSession {
        self.session.clone()
    }

    // --- what happens elsewhere --------------------------------------------------------------------------------------

    /// Somebody signs in, in a login page or another process: whatever was there is replaced, and the next token request
    /// comes to the script's next step.
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
        self.desk.act(|play| {
            play.store.sign_in(resource, now);
            play.happen(SessionEvent::StoreChanged);
        });
    }

    /// Somebody logs out in another process: nothing is served from now on, however fresh, and callers get
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
        self.desk.act(|play| {
            play.store.logout();
            play.happen(SessionEvent::StoreChanged);
        });
    }

    /// The store fails from now on: what is there is served while it is good, no token request is begun, one that is under way
    /// is *degraded* (its token cannot be saved), and logins and logouts are not durable.
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
        self.desk.act(|play| play.store.broken = true);
    }

    /// The store works again. What could not be saved is saved by itself when the next attempt is due, 30 s later at most.
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
        self.desk.act(|play| play.store.broken = false);
    }

    // --- what it met -------------------------------------------------------------------------------------------------

    /// What it met so far.
    pub fn counts(&self) -> Counts {
        self.desk.act(|play| play.counts)
    }

    /// The refusals it was told of, in order, with their operations and challenges.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.desk.act(|play| play.refusals.clone())
    }

    /// How many steps of the script are left. The last step goes on for ever, and is not left once it was used.
    pub fn steps_left(&self) -> usize {
        self.desk.act(|play| play.script.left())
    }

    /// The present, as the session sees it: what leases are compared with.
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
