//! OAuth sessions for MCP agent hosts: one owner for each server identity, one refresh in flight, no lost token.
//!
//! An agent host calls tools in parallel. When the access token expires, every call refreshes with the same refresh
//! token. The authorization server takes the second presentation for theft and revokes the session. If the one caller
//! that did refresh is cancelled after the server has rotated the token, the new token is lost. `tokenkeeper` gives
//! each server identity one owner that outlives its callers.
//!
//! # Where to start
//!
//! - [`AuthRuntime`] runs in a host and owns every session. [`RuntimeBuilder`] builds it over a store.
//! - [`SessionSpec`] names a session, and [`AuthSession`] is the handle on it: [`token`](AuthSession::token),
//!   [`invalidate`](AuthSession::invalidate) after a 401, [`log_in`](AuthSession::log_in) for hosts with one person,
//!   [`begin_login`](AuthSession::begin_login) and [`complete_login`](AuthSession::complete_login) for the others,
//!   [`install`](AuthSession::install) for a login from elsewhere, [`logout`](AuthSession::logout).
//! - [`Login`] carries the tokens of a sign-in or an import. [`issuers`] describes authorization servers.
//! - [`Lease`] is an access token as a caller gets it.
//! - [`Call`] takes one request to its [`Destination`], and interprets the server's refusals.
//! - [`TokenError`] is the reason why a caller gets no lease, with [`Reason`] as its fixed vocabulary.
//! - [`AuthEvent`] reports a change of a session, and [`SessionState`] its state.
//!
//! # Modules
//!
//! - [`http`]: the port that token requests go through, and its client over reqwest (feature `reqwest`).
//! - [`callback`]: the answer that a browser brings back, and a listener for it (feature `loopback`).
//! - `child`: access tokens for child processes and sandboxes (feature `child`, Unix).
//! - [`discovery`]: the authorization server of an MCP server, from its challenge and its metadata.
//! - [`registration`]: the clients that logins use at authorization servers.
//! - [`grant`]: the refresh grant over the port of [`http`].
//! - [`machine`]: grants that need no login of a person, such as client credentials and enterprise-managed authorization.
//! - [`user`]: the person who is signed in, fetched once for all callers.
//! - [`stores`]: one sealed file for each identity, safe across processes (feature `file`), and one in memory (feature
//!   `memory`).
//! - [`actor`]: the runtime in a ractor supervision tree.
//! - [`engine`]: for authors of stores, token sources and drivers.
//!
#![doc = include_str!("../docs/features.md")]

pub mod actor;
mod authorization;
mod call;
pub mod callback;
#[cfg(all(unix, feature = "child"))]
pub mod child;
pub mod discovery;
mod error;
pub mod grant;
pub mod http;
pub mod issuers;
mod keyed;
mod lease;
mod log_in;
mod login;
pub mod machine;
mod oauth;
mod proof;
pub mod registration;
mod runtime;
mod session;
mod sign_in;
pub mod stores;
pub mod user;

pub use tokenkeeper_actors as engine;

pub use authorization::LoginSettings;
pub use call::{Authorization, Call, CallError, Destination, Misdirected, Next, StepUp};
pub use error::{BuildError, LoginError, TokenError};
pub use lease::Lease;
pub use log_in::{Interaction, InteractionError, LogIn, LoggedIn, Prompt, Step, Way};
pub use login::Login;
pub use proof::{ClockSkew, Dpop, ProofError};
pub use runtime::{AuthRuntime, RuntimeBuilder};
pub use session::{AuthSession, SessionSpec};
pub use user::UserContext;

pub use tokenkeeper_actors::law::flight::StoreTimeouts;
pub use tokenkeeper_actors::law::issuer::IssuerPolicy;
pub use tokenkeeper_actors::law::login::{LoginLimits, LoginWish};
pub use tokenkeeper_actors::law::session::{
    ChallengeKey, LoggedOut, LoginCause, LoginProgress, OperationKey, Policy, RefreshPolicy, RevocationOutcome,
};
pub use tokenkeeper_actors::ports::store::EventKind;
pub use tokenkeeper_actors::runtime::{
    AuthEvent, EventStream, SessionState, ShutdownReport, StateWatch, TokenOptions, Unsaved,
};
pub use tokenkeeper_actors::values::{
    AccessToken, Account, AttemptId, BrowserBinding, Callback, ClientSecret, ConfigureError, DpopKey, Generation,
    IdentityError, IdpIssuer, InstallError, LoginKey, LoginMethod, LoginOffer, LoginReason, LoginUrl, LogoutError,
    NameError, OfferedPrompt, Provider, ProviderName, Reason, RefreshToken, RenewalPlan, ResourceError, ResourceUri,
    Scopes, ServerIdentity, SignInError, SourceName, SourceSettings, Spending, StoreFault, Target, TokenKind, Validity,
};

/// The code in the README compiles and runs as described.
#[cfg(all(doctest, feature = "memory", feature = "reqwest"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
