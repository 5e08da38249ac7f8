//! The arguments that select a session.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Account, ServerIdentity, Target};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The longest line that is read from standard input, in bytes. No server's URL is longer.
const LONGEST: u64 = 16 * 1024;

/// The longest name of a session, in bytes.
const LONGEST_NAME: usize = 64;

/// A server, and an account at it.
#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    /// The MCP server's URL, or the name of its session (tokenkeeper name), or - to read one of them from standard input
    server: String,
    /// Whose session it is, where you have more than one at this server (otherwise that of the account named default)
    #[arg(long)]
    account: Option<String>,
}

/// A session as a person has selected it.
#[derive(Debug)]
pub(crate) enum Selected {
    Identity(ServerIdentity),
    Name(String),
}

impl Who {
    /// Whether the server is named on standard input.
    pub(crate) fn is_from_stdin(&self) -> bool {
        self.server == "-"
    }

    /// The session that the arguments select. Reads a line of standard input for `-`.
    pub(crate) fn select(&self) -> Result<Selected, Failure> {
        select(&self.server, self.account.as_deref())
    }
}

impl Selected {
    /// The identity of the session, whose name is looked up in `store`.
    pub(crate) async fn identity(self, store: Option<&FileStore>) -> Result<ServerIdentity, Failure> {
        let name = match self {
            Self::Identity(identity) => return Ok(identity),
            Self::Name(name) => name,
        };
        let named = match store {
            Some(store) => store.names().await?.remove(&name),
            None => None,
        };
        named.ok_or_else(|| {
            Failure::Usage(format!(
                "no session in this home is named {name}: tokenkeeper status shows the names, and a server's URL begins \
                 with https://"
            ))
        })
    }
}

/// The session of `account` at `server`, which is a URL, a name, or `-` for a line of standard input.
pub(crate) fn select(server: &str, account: Option<&str>) -> Result<Selected, Failure> {
    let server = text(server)?;
    match account {
        None if is_name(&server) => Ok(Selected::Name(server.to_string())),
        Some(_) if is_name(&server) => Err(Failure::Usage(
            "the name of a session stands for its account too: leave --account out, or give the server's URL"
                .to_owned(),
        )),
        account => identity(&server, account.unwrap_or(Account::default().as_str())).map(Selected::Identity),
    }
}

/// The identity of `account` at `server`, which is a URL, or `-` for a line of standard input.
pub(crate) fn at(server: &str, account: Option<&str>) -> Result<ServerIdentity, Failure> {
    identity(&text(server)?, account.unwrap_or(Account::default().as_str()))
}

/// The argument, or a line of standard input if it is `-`.
fn text(server: &str) -> Result<Zeroizing<String>, Failure> {
    if server != "-" {
        return Ok(Zeroizing::new(server.to_owned()));
    }
    let line = line()?;
    match line.trim() {
        "" => Err(Failure::Usage("standard input is empty: write the server's URL or the session's name".to_owned())),
        server => Ok(Zeroizing::new(server.to_owned())),
    }
}

/// Whether the text is a valid name of a session. A URL never is.
pub(crate) fn is_name(text: &str) -> bool {
    let is_mark = |c: char| matches!(c, '.' | '-' | '_');
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || is_mark(c))
        && text.len() <= LONGEST_NAME
}

/// A line of standard input, in a buffer that is wiped when dropped.
fn line() -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let _ = writeln!(io::stderr(), "reading the server's URL or the session's name from the terminal");
    }
    let mut line = Zeroizing::new(String::with_capacity(16 * 1024));
    stdin.lock().take(LONGEST).read_line(&mut line)?;
    Ok(line)
}

/// The target of a session in the form that commands accept, with all secrets in its URL.
pub(crate) fn server(identity: &ServerIdentity) -> Option<String> {
    match identity.target() {
        Target::Mcp(resource) => Some(resource.as_str().to_owned()),
        Target::Idp { issuer } => Some(format!("{IDP}{}", issuer.as_str())),
        Target::Api { provider } => Some(format!("{API}{}", provider.as_str())),
        _ => None,
    }
}

/// The prefix of an identity provider's issuer, as in the keys of identities.
pub(crate) const IDP: &str = "idp:";

/// The prefix of a provider's name, as in the keys of identities.
pub(crate) const API: &str = "api:";

/// The identity of `account` at the MCP server with this URL, at the identity provider with this issuer after `idp:`, or at the
/// API of the provider with this name after `api:`.
pub(crate) fn identity(url: &str, account: &str) -> Result<ServerIdentity, Failure> {
    let usage = |error: tokenkeeper::IdentityError| Failure::Usage(error.to_string());
    let target = match (url.strip_prefix(IDP), url.strip_prefix(API)) {
        (Some(issuer), _) => Target::idp(issuer),
        (None, Some(provider)) => Target::api(provider),
        (None, None) => Target::mcp(url),
    };
    let target = target.map_err(usage)?;
    Ok(ServerIdentity::new(Account::new(account).map_err(usage)?, target))
}
