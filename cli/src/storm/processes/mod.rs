//! `tokenkeeper storm --processes`: several processes on one home, at work, killed and stopped.

mod account;
mod chaos;
mod crew;
mod host;
mod lookout;
mod obtained;
mod progress;
mod schedule;
mod soak;
mod telling;
mod witness;
mod words;
mod worker;

use std::io::{self, Write};

use super::arena::Ground;
use super::arguments::Arguments;
use super::wire;
use crate::failure::Failure;
use crate::home::HomeArguments;
use crate::paint::print;
use progress::Progress;

pub(crate) use worker::run as work;

/// What this process needs besides its callers' connections: pipes, library files, the home, token requests.
const FILES: usize = 256;

/// Holds the storm of processes that `arguments` ask for.
pub(super) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let home = home.given().ok_or_else(|| {
        Failure::Usage("--processes needs --home DIR: the folder that the processes share (see --help)".to_owned())
    })?;
    room_for(arguments)?;
    let ground = Ground::new(arguments.against.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let verdict = runtime.block_on(soak::hold(arguments, home, &ground, Progress::new(arguments, out)))?;
    if arguments.json {
        serde_json::to_writer(&mut *out, &verdict).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print(out, &telling::text(&verdict, ground.is_rig(), home))?;
    }
    match verdict.broken.as_slice() {
        [] => Ok(()),
        broken => Err(Failure::Failed(io::Error::other(format!("a law broke: {}", broken.join("; "))))),
    }
}

/// Each caller's connection has one of its ends here.
fn room_for(arguments: &Arguments) -> io::Result<()> {
    let callers = arguments.processes.unwrap_or(1) as usize * arguments.callers as usize;
    let files = FILES + callers;
    match wire::open_files(files)? {
        enough if enough >= files => Ok(()),
        few => Err(io::Error::other(format!(
            "this process may open {few} files and needs {files}: say `ulimit -n {files}` first, or take fewer callers"
        ))),
    }
}
