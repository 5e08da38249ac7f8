//! The server side of OAuth for MCP, for a gateway or an MCP server whose users each have sessions at upstream providers.
//!
//! MCP clients sign in to the gateway's own authorization server, and get tokens of its own. The persons sign in to the upstream
//! providers through it. Their upstream tokens are sessions of a [`tokenkeeper::AuthRuntime`], each with one owner, and no
//! inbound path reaches an upstream refresh token.
//!
//! - [`Gateway`] has the [routes](Gateway::router) of the authorization server, and the [layer](Gateway::layer) for the routes of
//!   the resource.
//! - [`Inbound`] is the sender of a request, with the [upstream sessions](Inbound::upstream) of that person.
//! - [`UpstreamTrouble`] is the answer where an upstream has no token.
//! - [`Identify`] names the person of an upstream login.
//! - [`AdmitClients`] refuses clients that the host does not want.
//! - [`store`] keeps families of tokens, persons and consents.

mod accounts;
mod build_error;
mod clients;
mod families;
mod gateway;
mod inbound;
mod law;
mod people;
mod seal;
mod server;
mod steady;
pub mod store;
mod text;

pub use build_error::BuildError;
pub use clients::{AdmitClients, AdmitError, ClientFacts, Occasion};
pub use gateway::{EnrollError, Gateway, GatewayBuilder, GatewayCounts};
pub use inbound::{GatewayLayer, GatewayService, Inbound, UpstreamSession, UpstreamTrouble};
pub use law::{Family, FamilyId, Grant, Limits, Phase};
pub use people::{Identify, IdentifyByUser, IdentifyError, Upstream, UpstreamUser};
pub use seal::{GatewayKey, NoRandomness};

/// The README's example, as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
