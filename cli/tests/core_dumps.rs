//! No crash of the command writes secrets to a dump, not even to one that the system pipes to a program.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::ExitCode;

use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

#[test]
fn a_process_that_runs_the_command_is_not_dumped() {
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
    let code = tokenkeeper_cli::main_with(["tokenkeeper", "identity", "https://mcp.example.com/mcp"].map(Into::into));
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    // A limit of 0 does not count where dumps are piped. This does.
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    assert_eq!(getrlimit(Resource::Core).current, Some(0));
}
