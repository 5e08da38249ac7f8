//! Discovery of the authorization server of an MCP server (RFC 9728, RFC 8414, OpenID Connect Discovery).

mod challenge;
mod documents;
mod error;
mod json;
mod read;
mod untrusted;
mod well_known;

pub use challenge::Challenge;
pub use documents::{AuthorizationServer, Discovered, ProtectedResource};
pub use error::DiscoveryError;
