//! The canonical URI of an MCP server.

/// The canonical URI of an MCP server (RFC 8707 section 2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceUri(String);

/// Why a URI names no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad resource")]
pub struct ResourceError;

impl ResourceUri {
    /// Parses.
    pub fn parse(uri: &str) -> Result<Self, ResourceError> {
        Ok(Self(uri.to_owned()))
    }
    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
