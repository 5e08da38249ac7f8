//! The `tokenkeeper` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tokenkeeper_cli::main_with(std::env::args_os())
}
