//! `tokenkeeper identity`: how a server's URL is understood.

use std::io::Write;

use tokenkeeper::{Account, IdentityError, ResourceUri, ServerIdentity, Target};

use super::{EXIT_CODES, Failure};

/// Shows how an MCP server's URL is understood: nothing is sent, read or written
///
/// Prints the server's canonical URL (RFC 8707: the "resource" of every token request), the account,
/// the key under which stores keep the session, and the name that logs show. All but the name may
/// hold a secret, if the URL has one in it.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The MCP server's URL, such as https://mcp.example.com/mcp
    url: String,
    /// Whose session it is, where you have more than one at this server
    #[arg(long, default_value_t = Account::default().as_str().to_owned())]
    account: String,
    /// Print one JSON object with the members resource, account, key and name
    #[arg(long)]
    json: bool,
}

/// Prints the identity that `arguments` name.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let usage = |error: IdentityError| Failure::Usage(error.to_string());
    let resource = ResourceUri::parse(&arguments.url).map_err(|error| usage(error.into()))?;
    let account = Account::new(arguments.account.as_str()).map_err(usage)?;
    let identity = ServerIdentity::new(account.clone(), Target::Mcp(resource.clone()));
    let (key, name) = (identity.key(), identity.to_string());
    if arguments.json {
        let object = serde_json::json!({
            "resource": resource.as_str(),
            "account": account.as_str(),
            "key": key,
            "name": name,
        });
        writeln!(out, "{object}")?;
    } else {
        writeln!(out, "resource  {}", resource.as_str())?;
        writeln!(out, "account   {}", account.as_str())?;
        writeln!(out, "key       {key}")?;
        writeln!(out, "name      {name}")?;
    }
    Ok(())
}
