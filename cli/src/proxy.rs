//! `tokenkeeper proxy`: an MCP server on standard input and output for a server over HTTP.

mod exchange;
mod exit;
mod lane;
mod listen;
mod logins;
mod notes;
#[cfg(target_os = "linux")]
mod pipes;
mod relay;
mod reopen;
mod schemas;
mod session;
mod stdio;
mod stream;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::login::BackgroundLogin;
use crate::remedy::Remedy;
use crate::wire::http::McpWire;
use crate::wire::options;
use crate::wire::tools::ToolFilter;
use crate::{when, who};
use logins::BackgroundLogins;
use notes::NoteWriter;
use relay::MessageRelay;
use stdio::{StdinReader, StdoutWriter};

/// Runs as an MCP server on standard input and output, and passes each message on to a server over HTTP
///
/// For hosts that start MCP servers as programs. Each request is sent with the session's token, which is refreshed when it is
/// needed, once for all processes of this home. Messages pass as they are, both ways and on both revisions of the wire
/// (2025-11-25 and before, 2026-07-28). Standard output has messages alone, and notes go to standard error.
///
/// Without a login the requests are answered with an error that names the command to run. The proxy stays, and uses a login
/// as soon as one is made, in any process.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The MCP server's URL, or the name of its session (tokenkeeper name)
    server: String,
    /// Whose session it is, where you have more than one at this server (otherwise that of the account named default)
    #[arg(long)]
    account: Option<String>,
    /// Sign in by the browser when a login is required. The first request of the host waits for it, up to 50 s
    #[arg(long)]
    login: bool,
    /// Add a header to each request. ${NAME} stands for an environment variable (may be repeated)
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// Add the headers of this file, one a line, so that other users do not see them among the arguments (may be repeated)
    #[arg(long = "header-file", value_name = "FILE")]
    header_files: Vec<PathBuf>,
    /// Offer only tools whose name matches, or with ! before it only the others. * stands for any text (may be repeated)
    #[arg(long = "tool-filter", conflicts_with = "listen", value_name = "PATTERN", allow_hyphen_values = true)]
    filters: Vec<String>,
    /// Send a ping after each span, such as 30s, so that nothing on the way closes an idle MCP session
    #[arg(long, value_name = "SPAN", value_parser = parse_ping, conflicts_with = "listen")]
    ping: Option<Duration>,
    /// Serve HTTP at 127.0.0.1:PORT (0 for any port) or unix:PATH instead, for hosts that take a URL. The URL is printed. Its
    /// path is secret, because it stands for the session. A socket is for processes of this user alone
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<listen::ListenAddress>,
}

const AFTER_HELP: &str = "\
Examples:
  tokenkeeper proxy https://mcp.example.com/mcp
  tokenkeeper proxy https://mcp.example.com/mcp --account work --login
  tokenkeeper proxy https://mcp.example.com/mcp --header 'X-Team: ${TEAM}' --tool-filter '!delete_*'

A host's configuration:
  { \"command\": \"tokenkeeper\", \"args\": [\"proxy\", \"https://mcp.example.com/mcp\"] }

It ends when standard input or output is closed, when its parent is gone, and on SIGTERM, SIGINT and SIGHUP. Requests that
are on their way are answered for up to a second, and the MCP session is ended.

Exit codes:
  0  ended by the host
  1  failed: it could not run
  2  usage: an argument is not acceptable
  3  login required: no request succeeded, because there was no login
  6  store trouble: the home cannot be read, or a new token could not be stored";

/// Relays messages to the server that `arguments` name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    if arguments.server == "-" {
        return Err(Failure::Usage("standard input has the host's messages: write the server's URL".to_owned()));
    }
    let selected = who::select(&arguments.server, arguments.account.as_deref())?;
    let headers = options::headers(&arguments.headers, &arguments.header_files)?;
    let store = match &selected {
        who::Selected::Identity(_) => home.open()?,
        // Only a home that exists has names.
        who::Selected::Name(_) => home.required()?,
    };
    let providers = home.providers()?;
    home::block_on_this_thread(async {
        let identity = selected.identity(Some(&store)).await?;
        let remedy = Remedy::of(home, &store, &identity).await;
        let keeper = Keeper::open(store, providers).await?;
        let session = keeper.session(identity);
        let wire = McpWire::new(session.clone(), headers);
        let logins = BackgroundLogins::new(arguments.login.then(BackgroundLogin::of_process));
        let done = match (wire, &arguments.listen) {
            (Err(failure), _) => Err(failure),
            (Ok(wire), Some(address)) => listen::run(wire, logins, remedy, address, out).await,
            (Ok(wire), None) => relay(arguments, wire, logins, remedy).await,
        };
        // This waits for a refresh in flight, because its answer may be the only copy of a token.
        keeper.land(&session).await?;
        done
    })
}

async fn relay(arguments: &Arguments, wire: McpWire, logins: BackgroundLogins, remedy: Remedy) -> Result<(), Failure> {
    let (output, notes) = (StdoutWriter::of_process()?, NoteWriter::of_process()?);
    let login = remedy.login().to_owned();
    let relay = Arc::new(MessageRelay::new(wire, output, notes, ToolFilter::new(&arguments.filters), logins, remedy));
    relay::run(&relay, StdinReader::of_process()?, arguments.ping).await?;
    if relay.never_signed_in() {
        return Err(Failure::LoginRequired(format!(
            "no request succeeded, because there was no login\n  {login} signs in"
        )));
    }
    Ok(())
}

fn parse_ping(text: &str) -> Result<Duration, String> {
    match when::parse_span(text)? {
        span if span < Duration::from_secs(1) => Err("a ping is sent once a second at most".to_owned()),
        span => Ok(span),
    }
}
