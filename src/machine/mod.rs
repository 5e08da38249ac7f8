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
//! Such a request spends nothing, so it can be repeated without harm (law 10). All other laws hold as for a refresh. One
//! request is in flight for a session, all callers share its result, and it outlives them.
//!
//! # The record decides
//!
//! The plan of the session's handle is used only while the session has no record. After that the plan in the record is used.
//! [`AuthSession::configure`](crate::AuthSession::configure) stores new credentials for a session, and
//! [`AuthSession::sign_in_as`](crate::AuthSession::sign_in_as) begins a session that was logged out again.
//!
//! # Enterprise-managed authorization
//!
//! The session at the identity provider is a separate identity ([`SessionSpec::idp`](crate::SessionSpec::idp)), and its
//! lease is the ID token. The sessions of any number of MCP servers use it. When a server's token expires, the ID token is
//! exchanged for an identity assertion authorization grant (ID-JAG) for one use (RFC 8693), and the server's authorization server
//! issues an access token for that (RFC 7523). When the ID token expires, the session at the identity provider refreshes it once
//! for all servers. If that is not possible, callers get [`SignOnRequired`](crate::Reason::SignOnRequired). If the organisation
//! denies the access, they get [`PolicyDenied`](crate::Reason::PolicyDenied). Neither opens a browser.
//!
//! Some identity providers take their refresh token as the subject of the exchange
//! ([`IssuerSettings::identity_provider_without_id_token`](crate::issuers::IssuerSettings::identity_provider_without_id_token)).
//! Each exchange then spends the refresh token. Exchanges run one after another, under the laws of a refresh.
//!
//! # Interaction
//!
//! A token endpoint may require that a person acts first (`interaction_required`), such as Entra ID's for an on-behalf-of
//! grant. Callers then get [`SignOnRequired`](crate::Reason::SignOnRequired), with the page to open if the answer names one
//! ([`TokenError::interaction_url`](crate::TokenError::interaction_url)). The next request is sent when a caller asks again.

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
