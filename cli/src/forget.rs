//! `tokenkeeper forget`: hides sessions that were logged out.

use std::io::Write;

use serde_json::json;
use tokenkeeper::ServerIdentity;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::stores::file::FileStore;

use crate::failure::{EXIT_CODES, Failure};
use crate::home::{self, HomeArguments};
use crate::neighbour;
use crate::paint::print_json;
use crate::who;

/// Forgets sessions that were logged out, so that no status shows them any more
///
/// Their journals and names are removed. A tombstone stays in the home. It names the server and the account, and holds no
/// token. It has the numbers from which a later login counts on. Without them another process, or a refresh that
/// is still under way, could take a new login for an old one. It also has digests of refresh tokens that must not
/// be used again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The MCP server's URL, or the name of its session, or - to read one of them from standard input
    #[arg(required_unless_present = "logged_out", conflicts_with = "logged_out")]
    server: Option<String>,
    /// Whose session it was, where you had more than one at this server (otherwise that of the account named default)
    #[arg(long, conflicts_with = "logged_out")]
    account: Option<String>,
    /// All sessions that were logged out
    #[arg(long)]
    logged_out: bool,
    /// Print one JSON object with the member forgotten, an array of objects with server and account
    #[arg(long)]
    json: bool,
}

/// Forgets the sessions that `arguments` name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.server.as_deref().map(|server| who::select(server, arguments.account.as_deref()));
    let selected = selected.transpose()?;
    let store = home.required()?;
    let forgotten = home::block_on(async {
        match selected {
            Some(selected) => one(&store, selected.identity(Some(&store)).await?).await,
            None => all(&store).await,
        }
    })?;
    if arguments.json {
        let forgotten = forgotten.iter().map(|identity| {
            json!({
                "server": who::server(identity),
                "account": identity.account().as_str(),
            })
        });
        print_json(out, &json!({ "forgotten": forgotten.collect::<Vec<_>>() }))?;
        return Ok(());
    }
    if forgotten.is_empty() {
        writeln!(out, "nothing to forget")?;
    }
    for identity in forgotten {
        writeln!(out, "forgot {identity}")?;
    }
    Ok(())
}

async fn one(store: &FileStore, identity: ServerIdentity) -> Result<Vec<ServerIdentity>, Failure> {
    if store.forget(&identity).await? {
        store.remove_name(&identity).await?;
        return Ok(vec![identity]);
    }
    if store.inspect(&identity).await?.is_some() {
        return Err(Failure::Refused(format!("{identity} was not logged out: tokenkeeper logout does that")));
    }
    let hint = neighbour::hint(store, &identity).await;
    let told = format!("there is no session of {identity} in this home: tokenkeeper status --all");
    Err(Failure::Usage(told).with(hint))
}

/// The sessions that `status --all` shows as logged out.
async fn all(store: &FileStore) -> Result<Vec<ServerIdentity>, Failure> {
    let mut identities = store.list().await.map_err(|fault| Failure::store_fault(fault, store))?;
    identities.sort_by_key(ServerIdentity::key);
    let mut forgotten = Vec::new();
    for identity in identities {
        if !store.history(&identity, 1).await?.is_empty() && store.forget(&identity).await? {
            store.remove_name(&identity).await?;
            forgotten.push(identity);
        }
    }
    Ok(forgotten)
}
