//! The `tokenkeeper` command.

mod identity;
mod storm;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Looks at OAuth sessions for MCP servers.
#[derive(Parser)]
#[command(name = "tokenkeeper", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Identity(identity::Arguments),
    Storm(storm::Arguments),
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: an argument is missing, unknown or not acceptable";

/// Why a command did not do what it was asked to.
enum Failure {
    /// What was asked for cannot be done: exit code 1.
    Failed(io::Error),
    /// What was asked for makes no sense: exit code 2.
    Usage(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Failed(error)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let done = match arguments.command {
        Command::Identity(arguments) => identity::run(&arguments, &mut out),
        Command::Storm(arguments) => storm::run(&arguments, &mut out),
    };
    let (code, message) = match done.and_then(|()| out.flush().map_err(Failure::from)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (1, error.to_string()),
        Err(Failure::Usage(message)) => (2, message),
    };
    // Nobody is left to tell when this fails too; the exit code still says it.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::from(code)
}
