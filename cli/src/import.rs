//! `tokenkeeper import`: stores a login that was made elsewhere.

mod bundle;
mod completion;
mod source;

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use serde_json::json;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::Record;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Account, InstallError, LoginError, RefreshToken, ServerIdentity, StoreFault};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::paint::print_json;
use crate::{name, providers, when, who};
use bundle::Bundle;
use source::{Program, Taken, Wanted};

/// The maximum size of standard input, in bytes. No login is larger.
const MAX_INPUT: u64 = 1024 * 1024;

/// Takes over a login that was made elsewhere: one JSON object on standard input
///
/// From then on this home owns the refresh token. Two owners of one refresh token kill it. The server takes the
/// second use of a single-use token for theft, and ends the session of both. So remove it from where it came
/// from, or let that program ask `tokenkeeper token` from now on.
///
/// With --from, the login comes from the files of another program, which are only read. The authorization server is found as
/// `tokenkeeper login` finds it, and must be the one that gave the tokens, if the program keeps its name.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// With --from, the MCP server's URL, as the other program has it
    #[arg(requires = "from")]
    server: Option<String>,
    /// The program that made the login: mcp-remote, codex, goose, or rmcp for any program that keeps rmcp's StoredCredentials
    #[arg(long, value_name = "PROGRAM", requires = "server", hide_possible_values = true)]
    from: Option<Program>,
    /// The program's file or folder, or - for standard input [default: the program's own]
    #[arg(long, value_name = "PATH", requires = "from")]
    path: Option<PathBuf>,
    /// The server's name in the configuration of Codex, or the extension's in that of goose
    #[arg(long, value_name = "NAME", requires = "from")]
    entry: Option<String>,
    /// Whose session it becomes, where you have more than one at this server (otherwise that of the account named default)
    #[arg(long, requires = "from")]
    account: Option<String>,
    /// The authorization server that gave the tokens, where the program does not keep it
    #[arg(long, value_name = "URL", requires = "from")]
    issuer: Option<String>,
    /// Replace the session at this server, if there is one
    #[arg(long, requires = "from")]
    again: bool,
    /// The provider of the authorization server, where it is one with habits of its own (stored with the login)
    #[arg(long, value_name = "NAME")]
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

Files of --from, which --path replaces:
  mcp-remote  ~/.mcp-auth (or $MCP_REMOTE_CONFIG_DIR), a folder of one of its versions, or a file HASH_tokens.json
  codex       ~/.codex/.credentials.json (or in $CODEX_HOME), or an entry of the keychain
  goose       ~/.config/goose/secrets.yaml, or its entry of the keychain. --entry is required
  rmcp        a file with StoredCredentials as JSON. --path is required

Examples:
  tokenkeeper import < login.json && rm login.json
  tokenkeeper import --from mcp-remote https://mcp.example.com/mcp
  tokenkeeper import --from goose https://mcp.example.com/mcp --entry example

Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: what came on standard input, or the other program's file, is not acceptable
  4  refused: another session owns this refresh token or has this name, or the token is dead
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written";

/// Stores the login that is on standard input or in another program's files.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let (bundle, origin) = bundle(arguments)?;
    let now = SystemClock::new().map_err(io::Error::other)?.now().wall;
    let (identity, issuer, expires_at) = (bundle.identity()?, bundle.issuer()?, bundle.expires_at(now)?);
    let is_renewable = bundle.is_renewable();
    // Without `--provider`, a login from another program's files gets the profile of its issuer's provider. A login with
    // `tokenkeeper login` gets it as well.
    let providers = home.providers()?;
    if let Some(provider) = &arguments.provider {
        providers::require(&providers, provider)?;
    }
    let of_issuer = || providers.of_issuer(issuer).map(|name| name.as_str().to_owned());
    let provider = arguments.provider.clone().or_else(|| origin.as_ref().and_then(|_| of_issuer()));
    let login = bundle.login(provider.as_deref(), arguments.never_replay, now)?;
    let refresh = bundle.refresh_token()?;
    home::block_on(async {
        let keeper = Keeper::open(home.open()?, providers).await?;
        if origin.is_some() && !arguments.again && !holds(&keeper.store, &identity, refresh.as_ref()).await {
            vacant(&keeper.store, &identity).await?;
        }
        if let Some(refresh) = &refresh {
            unreplaced(&keeper.store, &identity, refresh).await?;
        }
        if let Some(name) = &arguments.name {
            // The name is given before the login is stored. If another session has it, nothing is stored.
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
            // The store may have taken the login after the time-out.
            Err(error)
                if fault(&error) == Some(StoreFault::TimedOut) && holds(&store, &identity, refresh.as_ref()).await =>
            {
                closed
            }
            Err(error) => {
                if arguments.name.is_some() && store.inspect(&identity).await.is_ok_and(|record| record.is_none()) {
                    store.remove_name(&identity).await?;
                }
                Err(Failure::not_installed(error, &store))
            }
        }
    })?;

    // The note goes to standard error, because programs read standard output.
    let note = match (is_renewable, origin) {
        (true, None) => {
            "this home owns the refresh token now; remove it from where it came from, because two owners kill it"
                .to_owned()
        }
        (true, Some(origin)) => origin.warning(),
        (false, _) => "there is no refresh token, so the session ends with its access token".to_owned(),
    };
    let _ = writeln!(io::stderr(), "note: {note}");
    if arguments.json {
        let object = json!({
            "server": who::server(&identity),
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

/// The other program from which a login came.
struct Origin {
    program: Program,
    place: String,
}

impl Origin {
    fn warning(&self) -> String {
        let (program, place) = (self.program.name(), &self.place);
        format!(
            "this home owns the refresh token now, and {program} still has it ({place}); the server ends the session if both \
             use it, so take the server out of {program} before it runs again, or sign in there anew"
        )
    }
}

/// The login in the input, and the program from which it came (`--from`), if one was named.
fn bundle(arguments: &Arguments) -> Result<(Bundle, Option<Origin>), Failure> {
    let (Some(program), Some(url)) = (arguments.from, arguments.server.as_deref()) else {
        return Ok((Bundle::read(&input()?)?, None));
    };
    let account = arguments.account.as_deref().unwrap_or(Account::default().as_str()).to_owned();
    let identity = who::identity(url, &account)?;
    let (path, entry) = (arguments.path.as_deref(), arguments.entry.as_deref());
    let Taken { mut bundle, issuer, place } = program.take(&Wanted { url, identity: &identity, path, entry })?;
    bundle.server = Some(url.to_owned());
    bundle.account = Some(account);
    let issuer = issuer.as_deref().or(arguments.issuer.as_deref());
    completion::complete(&mut bundle, &identity, issuer, &place)?;
    Ok((bundle, Some(Origin { program, place })))
}

/// Requires that no session is served for `identity`, so that a login from another program's file replaces none by accident.
async fn vacant(store: &FileStore, identity: &ServerIdentity) -> Result<(), Failure> {
    let record = store.inspect(identity).await?;
    match record.as_deref().and_then(Record::grant).is_some_and(|grant| grant.parked.is_none()) {
        true => Err(Failure::Refused(format!(
            "{identity} is signed in already: add --again to replace its session by this login"
        ))),
        false => Ok(()),
    }
}

/// Requires that no other session of the home has replaced this refresh token. The server would take its use for theft.
async fn unreplaced(store: &FileStore, identity: &ServerIdentity, refresh: &RefreshToken) -> Result<(), Failure> {
    let trouble = |fault| Failure::store_fault(fault, store);
    let digest = store.digest_key().await.map_err(trouble)?.digest(refresh);
    for other in store.list().await.map_err(trouble)? {
        // Damaged records of other sessions are skipped.
        let Ok(Some(record)) = store.inspect(&other).await else { continue };
        if other != *identity && record.dead.contains(&digest) {
            return Err(Failure::Refused(format!(
                "the session {other} of this home had this refresh token and has replaced it: sign in with tokenkeeper login"
            )));
        }
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
    io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Failure::Usage("standard input is longer than a login can be".to_owned()));
    }
    Ok(bytes)
}
