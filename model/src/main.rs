//! Explores everything, and prints the number of states of each configuration. Fails when a law is broken, or when
//! something never happened that should.

use std::io::{self, Write};
use std::process::ExitCode;

use tokenkeeper_model::{Config, check};

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout();
    let (mut states, mut good) = (0, true);
    for config in Config::all() {
        let report = check(config, 2);
        write!(out, "{report}")?;
        states += report.states;
        good &= report.is_good();
    }
    let verdict = if good { "every law holds" } else { "NOT every law holds, or something never happened" };
    writeln!(out, "{states} states in all; {verdict}")?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
