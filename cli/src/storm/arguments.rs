//! What `tokenkeeper storm` can be told.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

/// Lets many callers find a dead token at once: naively, then through tokenkeeper
///
/// Starts a strict authorization server with an MCP server behind it, on loopback, in this process. Its refresh tokens
/// are single-use; one that is presented again ends the whole chain, as it would a stolen one's.
///
/// In each round the access token dies, all callers find out, and each wants a token and calls the MCP server with it:
/// half of them over HTTP/1.1, half over HTTP/2. First naively, as most clients do it: who finds the token dead reads
/// the stored refresh token, presents it and writes back what comes. Then the same through tokenkeeper. A caller has
/// failed that ends the round without the MCP server's answer. Where a chain was revoked a person would have to sign in
/// again; here that is done before the next round, and counted.
///
/// With --processes it is a storm of another kind: so many processes share one home (--home DIR) and its one session,
/// whose access tokens live 2 seconds, and the callers of each call the MCP server again and again, for --minutes. With
/// --kills processes are killed and stopped at random moments meanwhile, and others are started in their place.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// How many callers find the token dead at the same time, from 1 to 65536; with --processes, in each of them
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) callers: u32,
    /// How many times the token dies, from 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000),
        conflicts_with = "processes")]
    pub(super) rounds: u32,
    /// How callers find out: by the token's lifetime, or by the MCP server's refusal (401)
    #[arg(long, value_enum, default_value_t = By::Expiry, conflicts_with = "processes")]
    pub(super) by: By,
    /// Let something go wrong with token requests as well, drawn from the seed: see below
    #[arg(long, conflicts_with_all = ["against", "processes"])]
    pub(super) faults: bool,
    /// What faults, kills and stops are drawn from: the same seed draws the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Storm a running oidc-provider rig instead: a file with the line it printed when it was ready, or - for stdin
    #[arg(long, value_name = "READY.json")]
    pub(super) against: Option<PathBuf>,
    /// Print one JSON object per round, or per kill, stop and login, and the summary as the last line
    #[arg(long)]
    pub(super) json: bool,
    /// Write a page with the comparison and both timelines, which needs nothing beside itself
    #[arg(long, value_name = "FILE.html", conflicts_with = "processes")]
    pub(super) report: Option<PathBuf>,
    /// Storm one home with so many processes, from 1 to 64, each with its own callers; --home says which
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), help_heading = PROCESSES)]
    pub(super) processes: Option<u32>,
    /// How long they storm it, such as 5 or 0.1
    #[arg(long, value_name = "M", default_value_t = 1.0, value_parser = minutes, requires = "processes",
        help_heading = PROCESSES)]
    pub(super) minutes: f64,
    /// Kill and stop processes at moments drawn from the seed, and start others
    #[arg(long, requires = "processes", help_heading = PROCESSES)]
    pub(super) kills: bool,
    /// Let them never present a refresh token again whose answer was lost: a login is required instead
    #[arg(long, requires = "processes", help_heading = PROCESSES)]
    pub(super) never_replay: bool,
}

const PROCESSES: &str = "Storms of processes";

/// More than nothing, and no more than a week.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number of minutes".to_owned())?;
    let week = 7.0 * 24.0 * 60.0;
    if minutes > 0.0 && minutes <= week { Ok(minutes) } else { Err("not above 0, or longer than a week".to_owned()) }
}

/// How callers find out that their token is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// Its lifetime is over.
    Expiry,
    /// The MCP server answers 401.
    Refusal,
}

impl By {
    /// Completes "callers find the token …".
    pub(super) fn as_str(self) -> &'static str {
        match self {
            By::Expiry => "expired",
            By::Refusal => "refused",
        }
    }
}

const AFTER_HELP: &str = "\
Time:
  Nobody waits for a token to expire. Clocks are put forward, the server's and the runtime's alike.
  Between refusals ten minutes pass on them: a token that is refused right after it was obtained
  because of a refusal is one that refreshing does not help. A rig's clock cannot be put forward:
  it is told to expire all access tokens.

Sockets:
  At most 192 connections of HTTP/1.1 and 1024 streams of HTTP/2 are open at once. Callers beyond
  that wait for a place, and what they wait is in their milliseconds; those of tokenkeeper need none.

Laws, without --faults:
  one token request per expiry, never two at once, none replayed, no caller failed, chain alive

Laws, with --faults (delays, 503, 429, lost connections, half answers, before the refresh token was
spent or after):
  never two token requests at once; a refresh token is presented a second time only where its answer
  was lost, and never a third time; every caller is answered in time, with a token or a reason; no
  caller fails in a round in which nothing is wrong and nothing was before. Callers may fail in all
  other rounds, because the server gave no token, or because its answer with the new refresh token
  was lost and only a login brings another.

Storms of processes:
  Each call of a caller is a token from the shared home, and a request at the MCP server with it; then
  it pauses for 50 to 250 ms. In between the home is swept, and `status` and `why` are run on it. A token
  request may take 3 s here; for 7 s nobody presents a refresh token that a process marked which then
  died, and whoever needs a token waits. The home keeps what was stored: take a folder for it that can
  be thrown away. At a rig access tokens live 4 s, because it counts in whole seconds.
  Kills (SIGKILL) strike at random, at named points of a refresh (before or after it reads, claims,
  marks, sends, stores, ends its claim or reports), and up to 80 ms after it was sent. Stops (SIGSTOP)
  last up to 1.2 s; now and then one outlasts the request it interrupts, and somebody signs in anew
  meanwhile. Where a login is required, somebody signs in. Ctrl-C ends it, with the verdict so far.

Token requests, with --processes:
  A process needs a new token when its callers are given one that none of them had before. It takes
  over what another process or a login has stored, or its own token request brings it. All other
  token requests brought a token too late for their process, which had been killed or had ended, or
  whose session a login had replaced; or they brought none.

Laws, with --processes:
  never two token requests at once, over all processes; no more of them than one process alone would
  make (one for each three quarters of a token's life); none replayed; no caller failed; no process
  died; the home was readable throughout; nobody had to wait for anything but a refresh

Laws, with --processes and --kills:
  never two at once; one more at most for each login and each death that left a mark; a refresh token
  is presented again only where a process died with the answer that the server had given (with
  --never-replay: never), and no more than once; a login is required only where that happened (with
  --never-replay: where a process died with its mark written); whoever else calls is served within 60 s

Exit codes:
  0  done: every law held
  1  failed: a law broke (the last line says which), or the storm could not be held
  2  usage: an argument is missing, unknown or not acceptable";
