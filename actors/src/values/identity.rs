//! Whose session, with what: the key of an actor.

use std::fmt;

use super::resource::ResourceUri;

/// The host's label for whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

/// What a session is with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// An MCP server.
    Mcp(ResourceUri),
}

/// Account and target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIdentity {
    account: Account,
    target: Target,
}

/// Why an identity is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad identity")]
pub struct IdentityError;

impl Account {
    /// The account with this label.
    pub fn new(label: impl Into<String>) -> Result<Self, IdentityError> {
        Ok(Self(label.into()))
    }
}

impl ServerIdentity {
    /// The identity of `account` at `target`.
    pub fn new(account: Account, target: Target) -> Self {
        Self { account, target }
    }
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.account)
    }
}
