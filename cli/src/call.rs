//! `tokenkeeper call`: calls a tool of an MCP server.

mod content;
mod input;
mod lanes;
mod report;

use std::io::Write;
use std::time::Duration;

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Interruptions};
use crate::mcp_client::{Connection, OpenFailure, ServerArguments};
use crate::when;
use input::CallInput;
use lanes::CallPlan;
use report::CallReport;

/// Calls a tool of an MCP server, once or many times side by side
///
/// Each call is sent with the session's token, which is refreshed when it is needed, once for all processes of this home.
/// The server is asked which revision of MCP it speaks (2026-07-28, or 2025-11-25 and before). A call is sent once, and once
/// more only where the server has surely not executed it. Standard output has the content of the results.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// The name of the tool
    tool: String,
    /// The arguments as a JSON object, or @FILE to read them from a file, or - for standard input [default: {}]
    arguments: Option<String>,
    /// Make this many calls side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    parallel: u16,
    /// Spread them over this many clients, each with connections and an MCP session of its own (at most --parallel)
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    transports: u16,
    /// Repeat each of the calls, so that there are N times M in all
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Begin the repetitions of a call no faster than once in this span, such as 1s
    #[arg(long, value_name = "SPAN", value_parser = when::parse_span)]
    interval: Option<Duration>,
    /// Print one JSON object a line, for each call and at the end (see below)
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  tokenkeeper call https://mcp.example.com/mcp search '{\"query\": \"rust\"}'
  tokenkeeper call https://mcp.example.com/mcp search @arguments.json --json
  tokenkeeper call https://mcp.example.com/mcp ping --parallel 32 --repeat 20 --transports 4 --json

Lines with --json:
  a call     n, ok, ms, generation (of its token, or null), attempts (how often it was sent), result (as the server sent
             it, or null), error (null, or an object with reason, message, and code, status or retry_after)
  the last   calls, ok, failed, token_requests (of this process), p50_ms and p99_ms (of all calls), and error if no call
             could be made

Exit codes (of several failed calls, that of the first one in this order: 3, 4, 6, 5, 1):
  0    done
  1    failed: the tool reported an error, or the server answered with one, or the tool may have run (maybe_executed)
  2    usage: an argument, or what came on standard input, is not acceptable
  3    login required: only a new login helps
  4    refused: by the server, or because it needs a login for more scopes
  5    temporarily unavailable: trying again may help, and the tool did not run
  6    store trouble: the home cannot be read or written
  130  interrupted: calls on their way were cancelled";

/// Makes the calls that `arguments` ask for.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    if arguments.transports > arguments.parallel {
        return Err(Failure::Usage("--transports: there are no more clients than calls side by side".to_owned()));
    }
    let input = CallInput::read(&arguments.tool, arguments.arguments.as_deref(), arguments.server.who.is_from_stdin())?;
    let selected = arguments.server.who.select()?;
    let plan = CallPlan {
        input,
        parallel: arguments.parallel.into(),
        repeat: arguments.repeat,
        interval: arguments.interval,
        timeout: arguments.server.timeout,
    };
    home::block_on(async {
        let mut interruptions = Interruptions::new()?;
        let mut connection = Connection::new(&arguments.server, selected, home, arguments.transports.into()).await?;
        let mut report = CallReport::new(arguments.json, plan.calls(), out);
        let opened = tokio::select! {
            opened = connection.open() => opened,
            () = interruptions.next() => Err(OpenFailure::Command(Failure::Interrupted)),
        };
        let done = match opened {
            Ok(()) => lanes::run(plan, &connection, &mut interruptions, &mut report).await,
            Err(OpenFailure::Command(failure)) => Err(failure),
            Err(OpenFailure::Request(failure)) => report.not_opened(failure, &connection).await,
        };
        // If the calls failed and a token was lost, the loss is reported.
        connection.close().await.and(done)
    })
}
