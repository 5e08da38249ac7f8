//! The arguments that select a session.

use tokenkeeper::{Account, ServerIdentity, Target};

use crate::failure::Failure;

/// A server, and an account at it.
#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    /// The MCP server's URL, such as https://mcp.example.com/mcp
    url: String,
    /// Whose session it is, where you have more than one at this server
    #[arg(long, default_value_t = Account::default().as_str().to_owned())]
    account: String,
}

impl Who {
    pub(crate) fn identity(&self) -> Result<ServerIdentity, Failure> {
        identity(&self.url, &self.account)
    }
}

/// The identity of `account` at the MCP server with this URL.
pub(crate) fn identity(url: &str, account: &str) -> Result<ServerIdentity, Failure> {
    let usage = |error: tokenkeeper::IdentityError| Failure::Usage(error.to_string());
    let target = Target::mcp(url).map_err(usage)?;
    Ok(ServerIdentity::new(Account::new(account).map_err(usage)?, target))
}
