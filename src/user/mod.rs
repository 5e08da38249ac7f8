//! The person who is signed in to a session, fetched once for all callers.
//!
//! [`AuthSession::user`] returns a [`UserContext`]. It is fetched from the provider at the first call, kept for five minutes,
//! and shared by all callers. A [`UserMapping`] states, as data, where a provider describes its users.
//!
//! ```no_run
//! # async fn handle(session: &tokenkeeper::AuthSession) -> Result<(), tokenkeeper::user::UserError> {
//! let user = session.user().await?;
//! println!("{} <{}>", user.name().unwrap_or(user.subject()), user.email().unwrap_or("no address"));
//! # Ok(())
//! # }
//! ```
//!
//! # Rules
//!
//! - **One fetch.** One fetch is under way for a session, for any number of callers. It outlives them.
//! - **One login.** A context belongs to the login that it was fetched with. A refresh does not change it. After a logout, a
//!   new login or a change of the subject it is not returned again, and the result of a fetch that began before is dropped.
//! - **One refresh.** If the provider refuses the token (401), the lease is invalidated, and the request is sent once more after
//!   one refresh. A second refusal is [`UserError::Refused`]. There is no third request.
//! - **No deadlock.** A fetch asks the session for a token as any caller does. The session never waits for a fetch.
//! - **The token stays where it belongs.** It goes to the userinfo endpoint that the issuer's metadata names, or to the
//!   addresses of the mapping, which the host provides. A built-in mapping with addresses applies only if the vendor's own token
//!   endpoint issued the token. No redirect is followed. A token that is bound to a key goes with a proof.
//! - **The subject is the session's.** An answer of a userinfo endpoint about another `sub` is dropped (OpenID Connect Core
//!   section 5.3.2).
//! - **Memory is given back.** An entry is removed when its context is too old, and at a logout. Idle sessions have none.

mod cache;
mod context;
mod document;
mod error;
mod fetch;
mod mapping;
mod options;
mod providers;
mod stats;
mod task;
mod users;

use std::sync::Arc;

use crate::{AuthRuntime, AuthSession};
use fetch::SessionSource;

pub use context::UserContext;
pub use error::UserError;
pub use mapping::{
    UserElement, UserEnvelope, UserFields, UserMapping, UserMappingError, UserPick, UserPlace, UserRefusal,
    UserRefusalMeaning, UserRequest,
};
pub use options::UserOptions;
pub(crate) use providers::UserProviders;
pub use stats::UserStats;
pub(crate) use users::Users;

impl AuthSession {
    /// Returns the person who is signed in, with the options of the runtime
    /// ([`RuntimeBuilder::user_options`](crate::RuntimeBuilder::user_options)).
    ///
    /// While a context of this login is fresh, this needs no message and no allocation. Otherwise the provider is asked, once
    /// for all callers.
    ///
    /// # Errors
    ///
    /// The [`UserError`], after 30 s at the latest. The session still has its tokens then.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. The fetch goes on for other callers.
    pub async fn user(&self) -> Result<UserContext, UserError> {
        self.user_with(self.users()?.options).await
    }

    /// Returns the person who is signed in, as `options` ask for it. Otherwise like [`user`](Self::user).
    ///
    /// # Errors
    ///
    /// As [`user`](Self::user), after `options.timeout` at the latest.
    ///
    /// # Cancellation
    ///
    /// As [`user`](Self::user).
    pub async fn user_with(&self, options: UserOptions) -> Result<UserContext, UserError> {
        let users = self.users()?;
        match users.at_hand(self.identity(), &options, || self.engine.served_login()) {
            Some(context) => Ok(context),
            None => users.ask(self.identity(), Arc::new(SessionSource(self.clone())), options).await,
        }
    }

    /// The person who is signed in, if a context is at hand that is fresh enough for the options of the runtime. Nothing is
    /// requested, and there is nothing to await.
    pub fn user_at_hand(&self) -> Option<UserContext> {
        let users = self.users().ok()?;
        users.at_hand(self.identity(), &users.options, || self.engine.served_login())
    }

    /// The user contexts of the runtime that the session belongs to.
    fn users(&self) -> Result<&Users, UserError> {
        self.oauth.as_ref().map(|oauth| &oauth.users).ok_or(UserError::NoRuntime)
    }
}

impl AuthRuntime {
    /// The counts of the users of all sessions.
    pub fn user_stats(&self) -> UserStats {
        self.oauth.users.stats()
    }
}
