//! `tokenkeeper storm --processes`: several processes on one home, at work, killed and stopped.

mod account;
mod chaos;
mod crew;
mod host;
mod progress;
mod schedule;
mod soak;
mod telling;
mod witness;
mod words;
mod worker;

use std::io::{self, Write};
use std::time::Duration;

use super::arena::Ground;
use super::arguments::Arguments;
use crate::failure::Failure;
use crate::home::HomeArguments;
use crate::paint::print;
use account::Verdict;
use progress::Progress;

pub(crate) use worker::run as work;

/// How long access tokens live at the built-in server.
const LIFETIME: Duration = Duration::from_secs(2);
/// And at a rig, which counts in whole seconds and so rounds a lifetime down by up to one: what is handed out there is
/// never so old.
const RIG_LIFETIME: Duration = Duration::from_secs(4);

/// Holds the storm of processes that `arguments` ask for.
pub(super) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let home = home.given().ok_or_else(|| {
        Failure::Usage("--processes needs --home DIR: the folder that the processes share (see --help)".to_owned())
    })?;
    let ground = Ground::new(arguments.against.as_deref())?;
    let lifetime = if ground.is_rig() { RIG_LIFETIME } else { LIFETIME };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (verdict, server) = runtime.block_on(async {
        let arena = ground.open(lifetime).await?;
        let server = arena.resource().to_owned();
        let progress = Progress::new(arguments, out);
        let verdict = soak::hold(arguments, home, arena, lifetime, progress).await?;
        io::Result::Ok((verdict, server))
    })?;
    tell(&verdict, arguments, &telling::text(&verdict, ground.is_rig(), &home.to_string_lossy(), &server), out)?;
    match verdict.broken.as_slice() {
        [] => Ok(()),
        broken => Err(Failure::Failed(io::Error::other(format!("a law broke: {}", broken.join("; "))))),
    }
}

fn tell(verdict: &Verdict, arguments: &Arguments, text: &str, out: &mut impl Write) -> io::Result<()> {
    if arguments.json {
        serde_json::to_writer(&mut *out, verdict)?;
        writeln!(out)
    } else {
        print(out, text)
    }
}
