//! Inbound requests: who sends them, and the upstream sessions that they may use.

mod answers;
mod layer;
mod mcp_session;
mod upstreams;

pub use layer::{GatewayLayer, GatewayService};
pub use upstreams::{Inbound, UpstreamSession, UpstreamTrouble};
