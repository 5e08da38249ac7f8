//! `tokenkeeper identity`: shows how a server's URL is understood.

use std::io::Write;

use crate::failure::{EXIT_CODES, Failure};
use crate::paint::{harmless, print_json};
use crate::who::Who;

/// Shows how an MCP server's URL is understood: nothing is sent, read or written
///
/// Prints the server's canonical URL (RFC 8707: the "resource" of every token request), the account,
/// the key under which stores keep the session, and the name that logs show. All but the name may
/// hold a secret, if the URL has one in it.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// Print one JSON object with the members resource, account, key and name
    #[arg(long)]
    json: bool,
}

/// Prints the identity that `arguments` name.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let identity = arguments.who.identity()?;
    let resource = identity.resource().map(|resource| resource.as_str()).unwrap_or_default();
    let (account, key, name) = (identity.account().as_str(), identity.key(), identity.to_string());
    if arguments.json {
        let object = serde_json::json!({ "resource": resource, "account": account, "key": key, "name": name });
        print_json(out, &object)?;
    } else {
        writeln!(out, "resource  {resource}")?;
        writeln!(out, "account   {}", harmless(account))?;
        writeln!(out, "key       {key}")?;
        writeln!(out, "name      {name}")?;
    }
    Ok(())
}
