//! Discovery of the authorization server of an MCP server (RFC 9728, RFC 8414, OpenID Connect Discovery).

mod challenge;
mod documents;
mod untrusted;

pub use challenge::Challenge;
pub use documents::{AuthorizationServer, ProtectedResource};
