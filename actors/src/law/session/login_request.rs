//! Requests about logins that a person is asked for, and their answers.

use super::OperationKey;
use crate::law::login::LoginWish;
use crate::values::{AttemptId, Callback, ElapsedTime, Generation, LoginKey, LoginOffer};

/// A request about logins.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// The request.
    pub kind: LoginRequestKind,
    /// When the caller must have been answered. The attempt itself goes on.
    pub deadline: ElapsedTime,
}

/// The kinds of requests about logins.
#[derive(Clone, Debug)]
pub enum LoginRequestKind {
    /// Begin a login, or join the one that is under way. Answered as soon as there is something to show.
    Begin(LoginWish, LoginCause),
    /// Wait for the end of an attempt.
    Await(AttemptId),
    /// Take a person's answer, and wait for the end of its attempt.
    Complete(Callback),
    /// Cancel the login that is under way, and wait for its end.
    Cancel,
}

/// Why a login is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginCause {
    /// A person asks to sign in. A session that is signed in stays as it is.
    Person,
    /// A person asks to sign in again, although the session is signed in.
    Again,
    /// A resource refused a lease for this operation, and only a login can bring another one (401), or one with more scopes
    /// (403, `insufficient_scope`).
    Operation {
        /// The lease that was refused; `None` if there was none.
        refused: Option<Generation>,
        /// The operation.
        operation: OperationKey,
    },
}

/// The answer to a request about logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginProgress {
    /// The session is signed in. The caller asks for a token.
    SignedIn,
    /// A person is to be asked.
    Offered {
        /// The attempt, to wait for.
        attempt: AttemptId,
        /// The key of the pending login.
        key: LoginKey,
        /// The request to show.
        offer: Box<LoginOffer>,
        /// Whether this is the first answer with this request. Only the caller that gets it should open a page.
        is_first: bool,
    },
    /// Another process asks the person.
    Elsewhere {
        /// The attempt, to wait for.
        attempt: AttemptId,
    },
    /// The login was cancelled, as requested.
    Cancelled,
}
