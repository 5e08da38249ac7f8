//! `tokenkeeper name`: gives a session a short name.

use std::io::Write;

use serde_json::json;
use tokenkeeper::stores::file::FileStore;

use crate::failure::Failure;
use crate::home::{self, HomeArguments};
use crate::neighbour;
use crate::paint::print_json;
use crate::who::{self, Who};

/// Gives a session a short name, which every command takes in the place of the server's URL
///
/// A URL with a key in it should not stand in a command line, where every user of the machine can see it. Its
/// session can be named, and then be used by its name. The name is kept in the home, sealed. A session has one
/// name, and keeps it when it is logged out.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// The name: up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit
    #[arg(required_unless_present = "remove", value_parser = parse)]
    name: Option<String>,
    /// Take the session's name away
    #[arg(long, conflicts_with = "name")]
    remove: bool,
    /// Print one JSON object with the members server, account and name
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  tokenkeeper name https://mcp.example.com/mcp example
  tokenkeeper name - example < url.txt
  tokenkeeper token example

Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: an argument, or what came on standard input, is not acceptable
  4  refused: another session has this name
  6  store trouble: the home cannot be read or written";

/// Checks a name.
pub(crate) fn parse(text: &str) -> Result<String, &'static str> {
    match who::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("write up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit"),
    }
}

/// Gives the session that `arguments` select its name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.who.select()?;
    let store = home.required()?;
    let identity = home::block_on(async {
        let identity = selected.identity(Some(&store)).await?;
        match &arguments.name {
            None => drop(store.remove_name(&identity).await?),
            Some(_) if store.inspect(&identity).await?.is_none() => {
                let hint = neighbour::hint(&store, &identity).await;
                let told = format!("there is no session of {identity} in this home: sign in first");
                return Err(Failure::Usage(told).with(hint));
            }
            Some(name) => give(&store, name, &identity).await?,
        }
        Ok(identity)
    })?;
    if arguments.json {
        let object = json!({
            "server": who::server(&identity),
            "account": identity.account().as_str(),
            "name": arguments.name,
        });
        print_json(out, &object)?;
    } else if let Some(name) = &arguments.name {
        writeln!(out, "{identity} is named {name}")?;
    } else {
        writeln!(out, "{identity} has no name")?;
    }
    Ok(())
}

/// Gives the session this name, unless another one has it.
pub(crate) async fn give(store: &FileStore, name: &str, identity: &tokenkeeper::ServerIdentity) -> Result<(), Failure> {
    if store.set_name(name, identity).await? {
        return Ok(());
    }
    let owner = store.names().await?.remove(name);
    let owner = owner.map_or_else(|| "another session".to_owned(), |owner| owner.to_string());
    Err(Failure::Refused(format!("{name} is the name of {owner}: choose another, or take it away with --remove")))
}
