//! Runs every check, and prints its number of states. Fails when a check is not complete, when a law is broken, or
//! when an expected event was never seen.

use std::io::{self, Write};
use std::process::ExitCode;

use tokenkeeper_model::{Config, LoginBounds, check, check_logins};

const USAGE: &str = "\
Explores every order of everything that two processes may do over one store and one authorization server.

Usage: tokenkeeper-model [--larger] [--only TEXT] [--threads N]

  --larger      larger bounds than CI has time for, instead of the usual ones
  --only TEXT   only the checks whose names contain TEXT, as the output has them (`logins` names the login attempts)
  --threads N   how many threads to explore on (2)

Ends with 1 when an exploration is not complete, a law is broken, or something never happened that should.
";

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout();
    let Some((checks, logins, threads)) = options() else {
        write!(out, "{USAGE}")?;
        return Ok(ExitCode::from(2));
    };
    let (mut states, mut good) = (0, !checks.is_empty() || !logins.is_empty());
    for bounds in logins {
        let report = check_logins(bounds, threads);
        write!(out, "{report}")?;
        states += report.states;
        good &= report.is_good();
    }
    for config in checks {
        let report = check(config, threads);
        write!(out, "{report}")?;
        states += report.states;
        good &= report.is_good();
    }
    let verdict = if good { "every law holds" } else { "NOT every law holds, or not everything happened" };
    writeln!(out, "{states} states in all; {verdict}")?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The checks to run, and the number of threads. `None` if the arguments cannot be parsed.
fn options() -> Option<(Vec<Config>, Vec<LoginBounds>, usize)> {
    let (mut checks, mut only, mut threads) = (Config::usual(), String::new(), 2);
    let mut logins = LoginBounds::USUAL.to_vec();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--larger" => (checks, logins) = (Config::larger(), LoginBounds::LARGER.to_vec()),
            "--only" => only = words.next()?,
            "--threads" => threads = words.next()?.parse().ok()?,
            _ => return None,
        }
    }
    checks.retain(|config| config.name().contains(&only));
    logins.retain(|_| "logins".contains(&only));
    Some((checks, logins, threads))
}
