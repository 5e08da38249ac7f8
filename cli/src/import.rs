//! `tokenkeeper import`: stores a login that was made elsewhere.

mod bundle;

use std::io::{self, IsTerminal, Read, Write};

use serde_json::json;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::Record;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{InstallError, LoginError, RefreshToken, ServerIdentity, StoreFault};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::paint::print_json;
use crate::{name, providers, when};
use bundle::Bundle;

/// The maximum size of the input in bytes. No login is larger.
const MOST: u64 = 1024 * 1024;

/// Takes over a login that was made elsewhere: one JSON object on standard input
///
/// From then on this home owns the refresh token. Two owners of one refresh token kill it. The server takes the
/// second use of a single-use token for theft, and ends the session of both. So remove it from where it came
/// from, or let that program ask `tokenkeeper token` from now on.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The provider of the authorization server, where it is one with habits of its own (stored with the login)
    #[arg(long, value_name = "NAME", value_parser = providers::names())]
    provider: Option<String>,
    /// Never present a refresh token again whose answer was lost, but require a login (stored with the login)
    #[arg(long)]
    never_replay: bool,
    /// A short name for the session, which every command takes in the place of the server's URL
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    name: Option<String>,
    /// Print one JSON object with the members server, account, issuer and expires_at
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Members of the object:
  server                      the MCP server's URL
  account                     whose session it is [default: default]
  issuer                      the authorization server's issuer identifier: https, or http on loopback
  token_endpoint              where tokens are refreshed: https, or http on loopback
  revocation_endpoint         where tokens are revoked, if anywhere
  client_id                   the client that signed in
  client_secret               its secret, if it has one
  client_secret_expires_at    when that is over, as for expires_at; 0 means never
  token_endpoint_auth_method  none, client_secret_basic or client_secret_post
                              [default: none without a secret, client_secret_basic with one]
  resource                    the resource that was asked for, or false where token requests name none
                              [default: the server's URL without its query]
  scope                       the scopes that were granted, separated by blanks or commas, or as an array
  refresh_token               the refresh token, if there is one
  access_token                the newest access token, if it is worth keeping
  expires_at                  when that is over: RFC 3339, or seconds since 1970

A member that is empty counts as missing. Without a refresh token the session ends with its access token.

Example:
  tokenkeeper import < login.json && rm login.json

Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: what came on standard input is not acceptable
  4  refused: another session owns this refresh token or has this name, or the token is dead
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written";

/// Stores the login that is on standard input.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let bundle = Bundle::read(&input()?)?;
    let now = SystemClock::new().map_err(io::Error::other)?.now().wall;
    let (identity, issuer, expires_at) = (bundle.identity()?, bundle.issuer()?, bundle.expires_at(now)?);
    let is_renewable = bundle.is_renewable();
    let login = bundle.login(arguments.provider.as_deref(), arguments.never_replay, now)?;
    let refresh = bundle.refresh_token()?;
    home::block_on(async {
        let keeper = Keeper::open(home.open()?).await?;
        if let Some(name) = &arguments.name {
            // Before the login, so that a name of another session stores nothing.
            name::give(&keeper.store, name, &identity).await?;
        }
        let session = keeper.session(identity.clone());
        let fault = |error: &LoginError| match error {
            LoginError::Refused(InstallError::StoreTrouble(fault)) => Some(*fault),
            _ => None,
        };
        let installed = keeper.persist(async || session.install(login.clone()).await, fault).await?;
        let store = keeper.store.clone();
        let closed = keeper.close().await;
        home::note_put_aside(&store);
        match installed {
            Ok(_) => closed,
            // The store may have answered since.
            Err(error)
                if fault(&error) == Some(StoreFault::TimedOut) && holds(&store, &identity, refresh.as_ref()).await =>
            {
                closed
            }
            Err(error) => Err(Failure::not_installed(error, &store)),
        }
    })?;

    // The note goes to standard error, because programs read standard output.
    let note = match is_renewable {
        true => "this home owns the refresh token now; remove it from where it came from, because two owners kill it",
        false => "there is no refresh token, so the session ends with its access token",
    };
    let _ = writeln!(io::stderr(), "note: {note}");
    if arguments.json {
        let object = json!({
            "server": identity.resource().map(|resource| resource.as_str()),
            "account": identity.account().as_str(),
            "issuer": issuer,
            "expires_at": expires_at.map(when::stamp),
        });
        print_json(out, &object)?;
    } else {
        writeln!(out, "signed in to {identity}")?;
    }
    Ok(())
}

/// Whether the store holds this refresh token for `identity`. `false` if there is none.
async fn holds(store: &FileStore, identity: &ServerIdentity, refresh: Option<&RefreshToken>) -> bool {
    let record = store.inspect(identity).await.ok().flatten();
    let held = record.as_deref().and_then(Record::held);
    held.zip(refresh).is_some_and(|(held, refresh)| held.credential.token().expose() == refresh.expose())
}

/// Reads all of standard input into a buffer that is wiped when dropped.
fn input() -> Result<Zeroizing<Vec<u8>>, Failure> {
    if io::stdin().is_terminal() {
        writeln!(io::stderr(), "reading one JSON object from the terminal; end it with Ctrl-D on a line of its own")?;
    }
    // The initial capacity suffices for most logins. A buffer that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(Failure::Usage("standard input is longer than a login can be".to_owned()));
    }
    Ok(bytes)
}
