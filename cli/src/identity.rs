//! `tokenkeeper identity`: shows how a server's URL is understood.

use std::io::Write;

use crate::failure::{EXIT_CODES, Failure};
use crate::paint::{harmless, print_json};
use crate::who;

/// Shows how an MCP server's URL is understood: nothing is sent, read or written
///
/// Prints the server's canonical URL, the "resource" of token requests (RFC 8707), which has no query
/// unless the login names another, the account, the key under which stores keep the session, and the
/// name that logs show. All but the name may hold a secret, if the URL has one in it.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The MCP server's URL, such as https://mcp.example.com/mcp, or - to read it from standard input
    server: String,
    /// Whose session it is, where you have more than one at this server (otherwise that of the account named default)
    #[arg(long)]
    account: Option<String>,
    /// Print one JSON object with the members server, resource, account, key and name
    #[arg(long)]
    json: bool,
}

/// Prints the identity that `arguments` name.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let identity = who::at(&arguments.server, arguments.account.as_deref())?;
    let resource = identity.resource();
    let resource = resource.ok_or_else(|| Failure::Usage("this is no MCP server: give the URL of one".to_owned()))?;
    let (server, resource) = (resource.as_str(), resource.without_query());
    let (account, key, name) = (identity.account().as_str(), identity.key(), identity.to_string());
    if arguments.json {
        let object = serde_json::json!({
            "server": server, "resource": resource, "account": account, "key": key, "name": name,
        });
        print_json(out, &object)?;
    } else {
        writeln!(out, "server    {server}")?;
        writeln!(out, "resource  {resource}")?;
        writeln!(out, "account   {}", harmless(account))?;
        writeln!(out, "key       {key}")?;
        writeln!(out, "name      {name}")?;
    }
    Ok(())
}
