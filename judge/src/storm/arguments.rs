//! The arguments of `tokenkeeper-judge storm`.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::EXIT_CODES;

/// Lets many callers find an expired token at once: naively, then through tokenkeeper
///
/// Starts a strict authorization server with an MCP server behind it, on loopback, in this process. Its refresh tokens
/// are single-use. One that is presented again ends the whole chain, as a stolen one would.
///
/// In each round the access token dies, all callers find out, and each wants a token and calls the MCP server with it:
/// half of them over HTTP/1.1, half over HTTP/2. The first contestant is naive, like most clients: a caller with a dead
/// token reads the stored refresh token, presents it and writes back the answer. The second is tokenkeeper. A caller
/// has failed if it ends the round without the MCP server's answer. Where a chain was revoked, a person would have to
/// sign in again; here that is done before the next round, and counted.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = format!("{AFTER_HELP}\n{EXIT_CODES}"), verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The number of callers that find the token dead at the same time, from 1 to 65536
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) callers: u32,
    /// The number of times that the token dies, from 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) rounds: u32,
    /// How callers find out: by the token's lifetime, or by the MCP server's refusal (401)
    #[arg(long, value_enum, default_value_t = By::Expiry)]
    pub(super) by: By,
    /// Inject faults, drawn from the seed, into token requests: see below
    #[arg(long, value_enum, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "any")]
    #[arg(conflicts_with = "against")]
    pub(super) faults: Option<Faults>,
    /// The seed of the faults: the same seed draws the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Use a running oidc-provider rig instead: a file with the line it printed when it was ready, or - for stdin
    #[arg(long, value_name = "READY.json")]
    pub(super) against: Option<PathBuf>,
    /// Print one JSON object per round, and the summary as the last line
    #[arg(long)]
    pub(super) json: bool,
    /// Write a page with the comparison and both timelines, which needs no other file
    #[arg(long, value_name = "FILE.html")]
    pub(super) report: Option<PathBuf>,
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

/// The faults of token requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Faults {
    /// In half of the rounds, the first token request meets a fault of any kind, at a strict server.
    Any,
    /// One token request in ten meets a fault that passes, at a server with a grace period.
    Passing,
}

const AFTER_HELP: &str = "\
Time:
  No caller waits for a token to expire. The clocks of server and runtime are put forward together.
  Between refusals ten minutes pass on them, because a token that is refused right after a refusal
  had it replaced is one that refreshing does not help. A rig's clock cannot be put forward; its
  access tokens are expired through its admin interface.

Connections:
  At most 192 connections of HTTP/1.1 and 1024 streams of HTTP/2 are open at once. Further callers
  wait for one, and their wait counts in the milliseconds. Callers of tokenkeeper need none.

Laws, without --faults:
  one token request per expiry, never two at once, none replayed, no caller failed, chain alive

Laws, with --faults (in half of the rounds, the first token request meets a delay, 503, 429, a lost
connection, half an answer, or an answer that cannot be read, before the refresh token was spent or
after):
  never two token requests at once; a spent refresh token is presented once more only where its answer
  was lost; no more than 8 token requests for one expiry; every caller is answered in time, with a
  token or a reason; no caller fails, except in a round in which the answer with the new refresh token
  was lost, where only a login brings another

Laws, with --faults=passing (one token request in ten meets a delay of a second, 503, 429 with
Retry-After, a lost connection, half an answer or 502, before the refresh token was spent or after, at
a server where a spent refresh token may be presented again for 30 s):
  never two token requests at once; none replayed; no more than 8 for one expiry; no caller failed,
  each of which waits for 30 s at most; chain alive
";
