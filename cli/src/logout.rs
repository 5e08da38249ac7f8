//! `tokenkeeper logout`: ends a session.

use std::io::{self, Write};

use serde_json::json;
use tokenkeeper::engine::values::record::Content;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{LoggedOut, LogoutError, RevocationOutcome, ServerIdentity, StoreFault};

use crate::failure::{EXIT_CODES, Failure};
use crate::home::{self, HomeArguments, Keeper};
use crate::neighbour;
use crate::paint::print_json;
use crate::who::{self, Who};

/// Logs out: the stored tokens are removed, and no process serves them any more
///
/// Other processes on the same home notice within a second. The tokens are then revoked at the authorization
/// server, if the login names a revocation endpoint, and the command reports whether that was done. It waits
/// for the server's answer for 3 s. A tombstone stays, so that no late answer brings the
/// session back (tokenkeeper status --all shows it, and tokenkeeper forget hides it for good).
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// Print one JSON object with the members server, account, may_still_live and revocation (done, not_offered,
    /// failed, in_the_air, or null if there was no token to revoke)
    #[arg(long)]
    json: bool,
}

/// Logs out of the session that `arguments` name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.who.select()?;
    let (identity, done) = home::block_on(async {
        let keeper = Keeper::open(home.required()?, home.providers()?).await?;
        let identity = selected.identity(Some(&keeper.store)).await?;
        if keeper.store.inspect(&identity).await.is_ok_and(|record| record.is_none())
            && let Some(hint) = neighbour::hint(&keeper.store, &identity).await
        {
            let _ = writeln!(io::stderr(), "note: {hint}");
        }
        let session = keeper.session(identity.clone());
        let fault = |error: &LogoutError| match error {
            LogoutError::NotDurable(fault) => Some(*fault),
            _ => None,
        };
        let done = keeper.persist(async || session.logout().await, fault).await?;
        let store = keeper.store.clone();
        // The logout does not wait for a write that the store has not answered. Closing the runtime waits for it.
        let closed = match done {
            // The command has waited for the revocation already.
            Ok(LoggedOut { revocation: Some(RevocationOutcome::InTheAir), .. }) => keeper.close_now().await,
            _ => keeper.close().await,
        };
        let done = match done {
            Ok(done) => closed.map(|()| done),
            // The store may have taken the logout after the time-out.
            Err(error) if fault(&error) == Some(StoreFault::TimedOut) && is_logged_out(&store, &identity).await => {
                Ok(LoggedOut { has_unknown_token: true, revocation: None })
            }
            Err(error) => Err(Failure::not_logged_out(error, &store)),
        };
        Ok((identity, done?))
    })?;
    if arguments.json {
        let object = json!({
            "server": who::server(&identity),
            "account": identity.account().as_str(),
            "may_still_live": done.may_still_live(),
            "revocation": done.revocation.map(name),
        });
        print_json(out, &object)?;
    } else {
        writeln!(out, "logged out of {identity}")?;
        if let Some(outcome) = done.revocation {
            writeln!(out, "{}", words(outcome))?;
        }
        if done.has_unknown_token {
            writeln!(out, "A token that never arrived here may still live: the server's own pages can end it.")?;
        }
    }
    Ok(())
}

/// Whether the store has the tombstone of a logout.
async fn is_logged_out(store: &FileStore, identity: &ServerIdentity) -> bool {
    matches!(store.inspect(identity).await, Ok(Some(record)) if record.content == Content::Tombstone)
}

/// The outcome in JSON.
const fn name(outcome: RevocationOutcome) -> &'static str {
    match outcome {
        RevocationOutcome::Done => "done",
        RevocationOutcome::NotOffered => "not_offered",
        RevocationOutcome::AccessTokenAlone => "access_token_alone",
        RevocationOutcome::Failed => "failed",
        RevocationOutcome::InTheAir => "in_the_air",
    }
}

/// The outcome, and the remedy.
const fn words(outcome: RevocationOutcome) -> &'static str {
    match outcome {
        RevocationOutcome::Done => "The server has revoked the tokens.",
        RevocationOutcome::NotOffered => {
            "The server offers no revocation, so the tokens may still live: its own pages can end them."
        }
        RevocationOutcome::AccessTokenAlone => {
            "The server has revoked the access token. It offers no revocation of the refresh token, which may still live: its \
             own pages can end it."
        }
        RevocationOutcome::Failed => {
            "The server did not revoke the tokens, so they may still live: its own pages can end them."
        }
        RevocationOutcome::InTheAir => {
            "The server has not confirmed within 3 s that it revoked the tokens, so they may still live: its own pages \
             can end them."
        }
    }
}
