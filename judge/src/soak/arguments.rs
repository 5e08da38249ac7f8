//! The arguments of `tokenkeeper-judge soak`.

use std::path::PathBuf;
use std::time::Duration;

use super::SoakPlan;
use crate::failure::EXIT_CODES;

/// Lets several processes share one home for a while, and kills and stops them
///
/// The processes share the home (--home DIR) and its one session, whose access tokens live 2 seconds. The callers of
/// each process call the MCP server again and again. With --kills processes are killed and stopped at random moments
/// meanwhile, and others are started in their place. The servers are those of `storm`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = format!("{AFTER_HELP}\n{EXIT_CODES}"), verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The folder that the processes share. It keeps what is stored there: take one that can be thrown away
    #[arg(long, value_name = "DIR")]
    pub(super) home: PathBuf,
    /// The number of processes, from 1 to 64
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) processes: u32,
    /// The number of callers in each process, from 1 to 65536
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) callers: u32,
    /// The duration, such as 5 or 0.1
    #[arg(long, value_name = "M", default_value_t = 1.0, value_parser = minutes)]
    pub(super) minutes: f64,
    /// Kill and stop processes at moments drawn from the seed, and start others
    #[arg(long)]
    pub(super) kills: bool,
    /// Let one token request in ten meet a fault that passes, drawn from the seed: see below
    #[arg(long, conflicts_with = "against")]
    pub(super) faults: bool,
    /// Never present a refresh token again whose answer was lost: a login is required instead
    #[arg(long)]
    pub(super) never_replay: bool,
    /// The seed of the kills and stops: the same seed draws the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Use a running oidc-provider rig instead: a file with the line it printed when it was ready, or - for stdin
    #[arg(long, value_name = "READY.json")]
    pub(super) against: Option<PathBuf>,
    /// Print one JSON object per kill, stop, login and failure, and the verdict as the last line
    #[arg(long)]
    pub(super) json: bool,
}

impl Arguments {
    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs_f64(60.0 * self.minutes)
    }

    pub(super) fn plan(&self) -> SoakPlan {
        SoakPlan {
            home: self.home.clone(),
            processes: self.processes,
            callers: self.callers,
            duration: self.duration(),
            kills: self.kills,
            faults: self.faults,
            never_replay: self.never_replay,
            seed: self.seed,
            ends_on_interrupt: true,
        }
    }
}

/// More than 0, and no more than a week.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number of minutes".to_owned())?;
    let week = 7.0 * 24.0 * 60.0;
    if minutes > 0.0 && minutes <= week { Ok(minutes) } else { Err("not above 0, or longer than a week".to_owned()) }
}

const AFTER_HELP: &str = "\
Calls:
  Each call of a caller takes a token from the shared home and makes a request at the MCP server with
  it; then the caller pauses for 50 to 250 ms. Meanwhile the home is swept and read, and `status` and
  `why` are run on it. A token request may take 3 s here, and each caller waits for a token for 30 s.
  A refresh token that a killed process marked is presented by the next process at once. At a rig
  access tokens live 4 s, because it counts in whole seconds.

Kills and stops:
  Kills (SIGKILL) strike at random, at named points of a refresh (before or after it reads, claims,
  marks, sends, stores, ends its claim or reports), and up to 80 ms after a token request was sent.
  Stops (SIGSTOP) last up to 1.2 s. Some outlast the token request that they interrupt, and a user
  signs in anew meanwhile. Where a login is required, a user signs in. Ctrl-C ends the soak, with the
  verdict so far.

Faults:
  They are a delay of a second, 503, 429 with Retry-After, a lost connection, half an answer and 502,
  before the refresh token was spent or after. A spent refresh token may be presented again for 30 s at
  this server, so that every fault passes.

Token requests:
  A process needs a new token when its callers are given one that none of them had before. It takes
  over what another process or a login has stored, or its own token request brings it. All other
  token requests brought a token too late for their process, which had been killed or had ended, or
  whose session a login had replaced; or they brought none.

Laws, without --kills:
  never two token requests at once, over all processes; no more of them than one process alone would
  make (one for each three quarters of a token's life), and one more for each fault; none replayed; no
  caller failed; no process died; the home was readable throughout; no login was required

Laws, with --kills:
  never two at once, except beside the request of a process that was killed; one more at most for each
  login and each death that left a mark; a spent refresh token is presented only where a process died
  with the answer that the server had given (with --never-replay: never), and no more than once; a login
  is required only where that happened (with --never-replay: where a process died with its mark
  written); no caller fails, and one waits longer than 30 s only for a login, for 60 s at most
";
