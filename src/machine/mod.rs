//! Grants that need no login of a person at the server: client credentials, a workload's own token, a token exchange,
//! enterprise-managed authorization, a command, and a fixed token.
//!
//! A [`MachineGrant`] describes how a session obtains its tokens. The first token request finds the authorization server by
//! discovery. The record then contains the grant and the endpoint, so that a restarted host opens the session by its identity
//! alone.
//!
//! ```no_run
//! # #[cfg(all(feature = "memory", feature = "reqwest"))]
//! # async fn host() -> Result<(), Box<dyn std::error::Error>> {
//! use tokenkeeper::issuers::Client;
//! use tokenkeeper::machine::MachineGrant;
//! use tokenkeeper::{AuthRuntime, SessionSpec, stores};
//!
//! let auth = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
//! let robot = MachineGrant::client_credentials(Client::secret_basic("our-robot", "its secret"));
//! let session = auth.session(SessionSpec::mcp("https://mcp.example.com/mcp")?.renewal(robot.plan()));
//! let lease = session.token().await?;
//! # drop(lease);
//! # Ok(())
//! # }
//! ```
//!
//! Such a request spends nothing, so it is repeated without harm (law 10). All other laws hold as for a refresh. One request
//! is in flight for a session, all callers share its result, and it outlives them.
//!
//! # The record decides
//!
//! The plan of a handle holds while the session has no record. After that the record's own plan does. New credentials for
//! a session are stored with [`AuthSession::configure`](crate::AuthSession::configure), and a session that was logged out
//! begins again with [`AuthSession::sign_in_as`](crate::AuthSession::sign_in_as).
//!
//! # Enterprise-managed authorization
//!
//! The session at the identity provider is an identity of its own ([`SessionSpec::idp`](crate::SessionSpec::idp)), and its
//! lease is the ID token. Any number of MCP servers' sessions draw from it. When a server's token is over, the ID token is
//! exchanged for an ID-JAG that is used once (RFC 8693), which the server's authorization server takes for an access token
//! (RFC 7523). When the ID token is over, the session at the identity provider refreshes it once for all. When that is not
//! possible, callers get [`SignOnRequired`](crate::Reason::SignOnRequired). If the organisation denies the access, they get
//! [`PolicyDenied`](crate::Reason::PolicyDenied). Neither opens a browser.
//!
//! Some identity providers take their refresh token as the subject of the exchange
//! ([`IssuerSettings::identity_provider_without_id_token`](crate::issuers::IssuerSettings::identity_provider_without_id_token)).
//! Each exchange then spends it, one after another, under the laws of a refresh.
//!
//! # Interaction
//!
//! A token endpoint may want a person first (`interaction_required`), such as Entra ID's for an on-behalf-of grant. Callers then
//! get [`SignOnRequired`](crate::Reason::SignOnRequired), with the page to open if the answer names one
//! ([`TokenError::interaction_url`](crate::TokenError::interaction_url)). The next request is made by a caller that asks again.

mod command;
mod credential;
mod grant;
mod idp;
mod interaction;
mod judge;
mod kinds;
mod names;
mod offload;
mod sealed;
mod source;
mod subject;

pub use command::ExecCommand;
pub use grant::MachineGrant;
pub(crate) use idp::RuntimeLink;
pub use names::sources;
pub(crate) use names::{idp_refresh_token, idp_session, machine_sources};
pub(crate) use source::{MachineSource, Parts};
pub use subject::{SubjectToken, TokenType};
