//! The `tokenkeeper` command as a library. [`main_with`] runs it in the caller's process.

// The commands.
mod call;
mod doctor;
mod forget;
mod identity;
mod import;
mod login;
mod logout;
mod name;
mod proxy;
#[cfg(unix)]
mod run;
mod status;
mod token;
mod tools;
mod whoami;
mod why;

// Code that several commands share.
mod asked;
mod cooldown;
mod egress;
mod failure;
mod home;
mod mcp_client;
mod neighbour;
mod paint;
mod providers;
mod remedy;
mod renewal;
#[cfg(unix)]
mod socket;
mod standing;
mod when;
mod who;
mod wire;
#[cfg(unix)]
mod write_back;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{EXIT_CODES, Failure};
use home::HomeArguments;

/// Keeps OAuth sessions for MCP servers, and lets only one process at a time use each refresh token
#[derive(Parser)]
#[command(name = "tokenkeeper", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    home: HomeArguments,
    #[command(subcommand)]
    command: Command,
}

/// The commands. Their help texts are the documentation of their arguments.
#[derive(Subcommand)]
enum Command {
    Login(login::Arguments),
    Status(status::Arguments),
    Token(token::Arguments),
    Call(call::Arguments),
    Tools(tools::Arguments),
    Proxy(proxy::Arguments),
    #[cfg(unix)]
    Run(run::Arguments),
    Import(import::Arguments),
    Logout(logout::Arguments),
    Forget(forget::Arguments),
    Name(name::Arguments),
    Whoami(whoami::Arguments),
    Why(why::Arguments),
    Doctor(doctor::Arguments),
    Identity(identity::Arguments),
}

/// Runs the command with these arguments, the first of which is the program's name, and returns its exit code.
///
/// Exits the process if the arguments are not acceptable (code 2) or only ask for help or the version (code 0). On Unix, it
/// disables core dumps for the whole process, for good, and on Linux other processes of the user cannot attach to it.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Arguments { home, command } = Arguments::parse_from(arguments);
    #[cfg(unix)]
    keep_secrets_out_of_core_dumps(matches!(command, Command::Run(_)));
    let mut out = io::stdout().lock();
    let done = match command {
        Command::Login(arguments) => login::run(&arguments, &home, &mut out),
        Command::Status(arguments) => status::run(&arguments, &home, &mut out),
        Command::Token(arguments) => token::run(&arguments, &home, &mut out),
        Command::Call(arguments) => call::run(&arguments, &home, &mut out),
        Command::Tools(arguments) => tools::run(&arguments, &home, &mut out),
        Command::Proxy(arguments) => proxy::run(&arguments, &home, &mut out),
        #[cfg(unix)]
        Command::Run(arguments) => match run::run(&arguments, &home) {
            Ok(code) => return ExitCode::from(code),
            Err(failure) => Err(failure),
        },
        Command::Import(arguments) => import::run(&arguments, &home, &mut out),
        Command::Logout(arguments) => logout::run(&arguments, &home, &mut out),
        Command::Forget(arguments) => forget::run(&arguments, &home, &mut out),
        Command::Name(arguments) => name::run(&arguments, &home, &mut out),
        Command::Whoami(arguments) => whoami::run(&arguments, &home, &mut out),
        Command::Why(arguments) => why::run(&arguments, &home, &mut out),
        Command::Doctor(arguments) => doctor::run(&arguments, &home, &mut out),
        Command::Identity(arguments) => identity::run(&arguments, &mut out),
    };
    match done.and_then(|()| out.flush().map_err(Failure::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If standard error cannot be written either, the exit code still reports the failure.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// Disables core dumps, because a crash must not write tokens to the disk.
///
/// A limit of 0 does not stop a dump that the system pipes to a program (`core(5)`). On Linux a process that is not dumpable
/// never writes a core dump, and needs no limit. A program that it runs would inherit the limit, and could not raise it.
#[cfg(unix)]
fn keep_secrets_out_of_core_dumps(runs_program: bool) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if !runs_program || cfg!(not(target_os = "linux")) {
        // Lowering a limit is always allowed. If it fails nevertheless, the command still runs.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
