//! OAuth sessions for MCP agent hosts: one owner for each server identity, one refresh in flight, no lost token.
//!
//! An agent host calls tools in parallel. When the access token expires, every call refreshes with the same refresh
//! token; the authorization server takes the second presentation for theft and revokes the session. And when the one
//! caller that did refresh is cancelled after the server has rotated the token, the successor is lost. `tokenkeeper`
//! gives each server identity one owner that outlives its callers.
//!
//! **What is here now** is that owner and what it stands on (the values, the law, and the runtime that drives it), and the
//! refresh grant over HTTP. Login follows.
//!
//! - [`AuthRuntime`] runs in a host and owns every session, [`AuthSession`] is the handle that a host's code holds.
//! - [`ServerIdentity`], of an [`Account`] and a [`Target`]: whose session it is, with what. An MCP server is named by
//!   its canonical URI, a [`ResourceUri`].
//! - [`Lease`]: an access token as callers get it, with its [`Generation`], [`TokenKind`], [`Scopes`] and [`Validity`].
//! - [`OperationKey`] and [`ChallengeKey`]: what a resource refused a lease for
//!   ([`AuthSession::refused`]).
//! - [`RenewalPlan`]: which source renews an identity, and which provider's profile applies. It is stored with the
//!   login, and changed by [`AuthSession::configure`].
//! - [`TokenError`], [`InstallError`], [`LogoutError`] and [`ConfigureError`], with [`Reason`] as their fixed vocabulary.
//! - [`RefreshGrant`]: the source that renews tokens at a token endpoint, over the HTTP port ([`http`]). With the feature
//!   `reqwest` there is a client for it; a host's own does as well. [`providers`] is what is known of some endpoints.
//! - `stores::file`, with the feature `file`: the embedded store, one sealed file for each identity in a private folder,
//!   safe across processes.
//! - [`engine`]: for those who write stores, sources and drivers. The two state machines are in [`engine::law`], what
//!   they ask of the world in [`engine::ports`].
//!
//! ```
//! use tokenkeeper::{Account, ServerIdentity, Target};
//!
//! let work = ServerIdentity::new(Account::new("work")?, Target::mcp("HTTPS://MCP.example.com:443/mcp")?);
//! assert_eq!(work.key(), "mcp:https://mcp.example.com/mcp#work");
//! assert_eq!(work.to_string(), "https://mcp.example.com/mcp (work)");
//! # Ok::<(), tokenkeeper::IdentityError>(())
//! ```

pub mod grant;
pub mod http;
#[path = "issuers/providers.rs"]
pub mod providers;
#[cfg(all(feature = "file", unix))]
pub mod stores;

pub use tokenkeeper_actors as engine;

pub use grant::{BodyFormat, Dialect, RefreshGrant, ScopeOnRefresh};

pub use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey};
pub use tokenkeeper_actors::runtime::{
    AuthEvent, AuthMessage, AuthRuntime, AuthSession, AuthSpec, BuildError, EventStream, SessionSpec, SessionState,
    Settings, ShutdownReport, Sources, StateWatch, TokenOptions, Unsaved,
};
pub use tokenkeeper_actors::values::{
    AccessToken, Account, ConfigureError, Generation, IdentityError, IdpIssuer, InstallError, Lease, LogoutError,
    NameError, Provider, ProviderName, Reason, RefreshToken, RenewalPlan, ResourceError, ResourceUri, Scopes,
    ServerIdentity, SourceName, Spending, StoreFault, Target, TokenError, TokenKind, Validity,
};

/// The code in the README compiles and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
