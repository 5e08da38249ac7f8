//! The command line of `tokenkeeper-judge`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{EXIT_CODES, Failure};
use crate::{soak, storm};

/// The hidden subcommand that turns a process into a worker of a soak.
pub(crate) const WORKER: &str = "worker";
/// The hidden subcommand that runs the `tokenkeeper` command.
pub(crate) const TOKENKEEPER: &str = "tokenkeeper";

/// Stages refreshes under load, and compares what the server saw with tokenkeeper's laws
#[derive(Parser)]
#[command(name = "tokenkeeper-judge", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Storm(storm::Arguments),
    Soak(soak::Arguments),
    /// A worker process of a soak
    #[command(name = WORKER, hide = true)]
    Worker,
    /// The `tokenkeeper` command
    #[command(name = TOKENKEEPER, hide = true)]
    Tokenkeeper {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Runs the command with these arguments, the first of which is the program's name, and returns its exit code.
///
/// Exits the process where the arguments are not acceptable (code 2) or only ask for help (code 0).
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = match Arguments::parse_from(arguments).command {
        Command::Storm(arguments) => with_output(|out| storm::run(&arguments, out)),
        Command::Soak(arguments) => with_output(|out| soak::command(&arguments, out)),
        // It writes to standard output from several threads.
        Command::Worker => soak::worker::run().map_err(Failure::from),
        Command::Tokenkeeper { arguments } => {
            return tokenkeeper_cli::main_with(std::iter::once(TOKENKEEPER.into()).chain(arguments));
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The exit code reports the failure even where standard error is closed.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn with_output(run: impl FnOnce(&mut io::StdoutLock<'static>) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    run(&mut out)?;
    Ok(out.flush()?)
}
