//! OAuth sessions for MCP clients on rmcp 3.
//!
//! [`SessionClient`] is an rmcp [`StreamableHttpClient`] whose requests carry the tokens of one tokenkeeper session. Any
//! number of transports share one session. However many of their calls meet an expired or refused token, one refresh
//! serves them all, and it goes on if they are cancelled.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # async fn connect(session: tokenkeeper::AuthSession) -> Result<(), Box<dyn std::error::Error>> {
//! use rmcp::ServiceExt;
//! use rmcp::transport::StreamableHttpClientTransport;
//! use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
//! use tokenkeeper_rmcp::SessionClient;
//!
//! let client = SessionClient::new(session.clone())?;
//! let config = StreamableHttpClientTransportConfig::with_uri("https://mcp.example.com/mcp").max_concurrent_requests(256);
//! session.token().await?; // have a lease before you connect
//! let mcp = ().serve(StreamableHttpClientTransport::with_client(client.clone(), config)).await?;
//! let tools = mcp.list_all_tools().await?;
//! # drop(tools);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! A request for which the session has no token fails with an error that holds a [`SessionError`]. [`session_error`] finds
//! it in every error of rmcp. rmcp's own methods work as well. `ServiceError::is_authorization_required()` is true if a login
//! is required, and `auth_challenge()` is the server's challenge.
//!
//! If the session has never signed in, its requests are sent without a token, and a 401 of the server asks for the login. If
//! the session was logged out or its grant has ended, its requests fail before they are sent.
//!
//! # Advice for hosts
//!
//! - **Have a lease before you connect.** Call [`AuthSession::token`] first, and wait for logins
//!   ([`AuthSession::signed_in`]) outside `serve`. rmcp's `Auto` lifecycle gives the server 10 s to answer its discovery and
//!   then sends `initialize` on the same connection. A refresh that takes longer loses the connection.
//! - **Raise `max_concurrent_requests`.** A transport sends 16 requests at once by default and queues the rest.
//! - **Bound `ExponentialBackoff::max_delay`** in `retry_config`. It has no bound by default, so after an hour without the
//!   server the standing stream may come back only half an hour later.
//! - **Do not restart a transport after a login.** Its next request and its standing stream use the new token.
//! - **Servers need `TCP_NODELAY`.** With a pooled HTTP/1.1 connection and a server that streams its answers without it
//!   (the default of axum's `serve`), each call takes 40 ms longer. rmcp's own client avoids this with a new connection for
//!   each request. The client of [`SessionClient::new`] pools connections. Where the server cannot be changed, take
//!   `pool_max_idle_per_host(0)` in [`SessionClient::with`].
//! - **End the MCP sessions first**, and the auth runtime after them. Otherwise their DELETE has no token.
//!
//! # Cancelled calls
//!
//! rmcp reports a call as timed out only after its cancellation was delivered. On the protocols before 2026-07-28, the
//! cancellation is a separate request and needs a token. If the call was waiting for that token, its time-out would wait for
//! it, too. Therefore the cancellation of a call that never left, or that was refused and not sent again, is accepted and not
//! sent. A cancellation for which no token is at hand is accepted at once, and a task sends it within 5 s or drops it.
//!
//! rmcp sends answers to the server's own requests in the same way, one after another, and gives up each after 5 s. An answer
//! for which no token is at hand is therefore accepted at once, too, and a task sends it within 60 s or drops it.
//!
//! # Limits of a wrapper
//!
//! rmcp passes on only one challenge of a refusal, and some refusals without their status. The consequences are these:
//!
//! - A second `WWW-Authenticate` header is lost. If it contains `Bearer` with `insufficient_scope`, the step-up is not noticed,
//!   and the host gets rmcp's `InsufficientScope` error with the first challenge.
//! - The host gets a 403 without a challenge like any other error.
//! - If a challenge is not ASCII, rmcp drops the status. The refusal is read as a 401, so a 403 causes one useless refresh.
//!
//! [`StreamableHttpClient`]: rmcp::transport::streamable_http_client::StreamableHttpClient
//! [`AuthSession::token`]: tokenkeeper::AuthSession::token
//! [`AuthSession::signed_in`]: tokenkeeper::AuthSession::signed_in

mod attempts;
mod client;
mod destinations;
mod error;
#[cfg(feature = "import")]
pub mod import;
mod messages;
mod operations;
#[cfg(feature = "reqwest")]
mod over_reqwest;
mod refusal;
mod streams;
mod unsent;

pub use client::SessionClient;
pub use error::{SessionError, session_error};
pub use refusal::RefusalOf;

/// The code in the README compiles.
#[cfg(all(doctest, feature = "reqwest"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
