//! `tokenkeeper whoami`: shows the person who is signed in.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::user::{UserContext, UserError, UserMapping, UserOptions};
use tokenkeeper::{RuntimeBuilder, ServerIdentity};

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::paint::{harmless, print_json};
use crate::remedy::Remedy;
use crate::who::{self, Who};
use crate::{providers, when};

/// Shows the person who is signed in to a session, as the provider describes them
///
/// The provider is asked with the session's token, which is refreshed if it is needed. Where it describes its users
/// is known for some providers, and found in the metadata of the others (OpenID Connect). No token is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// How long to wait for the answer, and for a token before
    #[arg(long, value_name = "SPAN", default_value = "45s", value_parser = when::parse_span)]
    timeout: Duration,
    /// A JSON file that states where the provider describes its users (docs/user-context.md). The session's token goes to the
    /// addresses in it
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Print one JSON object: subject, name, email, email_verified, groups, claims, generation, fetched_at (RFC 3339), server,
    /// account
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  tokenkeeper whoami https://mcp.example.com/mcp
  tokenkeeper whoami https://mcp.example.com/mcp --json | jq -r .email

Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: an argument, or what came on standard input, is not acceptable
  3  login required: only a new login helps
  4  refused: by the provider, which may want a login for more scopes, or because nothing describes its users
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written";

/// Shows the person of the session that `arguments` select.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.who.select()?;
    let mapping = arguments.mapping.as_deref().map(read).transpose()?;
    let known = home.providers()?;
    home::block_on(async {
        let configure = |builder| match mapping {
            Some(mapping) => with_mapping(builder, &known, &mapping),
            None => builder,
        };
        let keeper = Keeper::open_with(home.required()?, known.clone(), configure).await?;
        let identity = selected.identity(Some(&keeper.store)).await?;
        let session = keeper.session(identity.clone());
        let options = UserOptions { timeout: arguments.timeout, ..UserOptions::default() };
        let user = keeper.unless_interrupted(session.user_with(options)).await?;
        let shown = match user {
            Ok(user) => show(&user, &identity, arguments, out),
            Err(error) => Err(failure(error, home, &keeper.store, &identity).await),
        };
        // If the person could not be found out and a token was lost, the loss is reported.
        keeper.land(&session).await.and(shown)
    })
}

/// Reads a mapping, which decides where tokens are sent.
fn read(file: &Path) -> Result<UserMapping, Failure> {
    providers::guarded(file)?;
    let told = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| told(&error))?;
    UserMapping::from_json(&text).map_err(|error| told(&error))
}

/// Uses `mapping` with each provider.
fn with_mapping(builder: RuntimeBuilder, known: &Providers, mapping: &UserMapping) -> RuntimeBuilder {
    let builder = builder.default_user_mapping(mapping.clone());
    known.iter().fold(builder, |builder, (name, _)| builder.user_mapping(name.clone(), mapping.clone()))
}

fn show(
    user: &UserContext,
    identity: &ServerIdentity,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if arguments.json {
        let object = json!({
            "server": who::server(identity),
            "account": identity.account().as_str(),
            "subject": user.subject(),
            "name": user.name(),
            "email": user.email(),
            "email_verified": user.is_email_verified(),
            "groups": user.groups(),
            "claims": user.claims(),
            "generation": user.generation().to_string(),
            "fetched_at": when::stamp(user.fetched_at()),
        });
        return Ok(print_json(out, &object)?);
    }
    writeln!(out, "subject  {}", harmless(user.subject()))?;
    if let Some(name) = user.name() {
        writeln!(out, "name     {}", harmless(name))?;
    }
    if let Some(email) = user.email() {
        let verified = match user.is_email_verified() {
            Some(true) => " (verified)",
            Some(false) => " (not verified)",
            None => "",
        };
        writeln!(out, "email    {}{verified}", harmless(email))?;
    }
    if !user.groups().is_empty() {
        writeln!(out, "groups   {}", harmless(&user.groups().join(", ")))?;
    }
    Ok(())
}

async fn failure(error: UserError, home: &HomeArguments, store: &FileStore, identity: &ServerIdentity) -> Failure {
    let told = error.to_string();
    match error {
        UserError::Token(error) => {
            let reason = error.reason();
            let hint = Remedy::of(home, store, identity).await.hint(store, identity, reason).await;
            Failure::no_token(error, store).with(hint)
        }
        UserError::StoreTrouble => Failure::store_fault(tokenkeeper::StoreFault::Failed, store).after(&told),
        // It is the provider's word, and a login with the same scopes helps no more than none.
        UserError::ScopeMissing { .. } => Failure::Refused(told),
        error if error.is_login_required() => Failure::LoginRequired(told),
        error if error.is_transient() => Failure::Unavailable(told),
        UserError::NoRuntime | UserError::Unreadable { .. } | UserError::TooLarge | UserError::NoSubject => {
            Failure::Failed(io::Error::other(told))
        }
        _ => Failure::Refused(told),
    }
}
