//! The `tokenkeeper-judge` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tokenkeeper_judge::command::main_with(std::env::args_os())
}
