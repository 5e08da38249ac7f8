//! `tokenkeeper storm`: many callers find a dead token at once, naively and through the runtime.

mod arena;
mod arguments;
mod clock;
mod contest;
mod faults;
mod kept;
mod naive;
mod page;
mod processes;
mod progress;
mod score;
mod table;
mod telling;
mod timeline;
mod wire;

use std::io::{self, Write};
use std::sync::Arc;

use crate::failure::Failure;
use crate::home::HomeArguments;
use arena::{ANSWER_DELAY, Ground, LIFETIME};
pub(crate) use arguments::Arguments;
use clock::{StormClock, millis};
use contest::{Outcome, Setting};
use kept::Kept;
use naive::Naive;
pub(crate) use processes::work;
use progress::Progress;
use score::{Summary, judge};
use telling::Story;

/// Holds the storm that `arguments` ask for.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    if arguments.processes.is_some() {
        return processes::run(arguments, home, out);
    }
    let ground = Ground::new(arguments.against.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (naive, kept) = runtime.block_on(both(arguments, &ground, out))?;
    let summary = Summary {
        broken: judge(&kept.score, arguments.faults),
        naive: naive.score,
        tokenkeeper: kept.score,
        by: arguments.by,
        faults: arguments.faults,
        seed: arguments.seed,
        server_delay_ms: millis(ANSWER_DELAY) as u64,
    };
    let story = Story { arguments, summary: &summary, naive: &naive.seen, kept: &kept.seen };
    if let Some(path) = &arguments.report {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        std::fs::write(path, story.page(&command())).map_err(named)?;
    }
    if arguments.json {
        serde_json::to_writer(&mut *out, &summary).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        story.tell(out)?;
    }
    match summary.broken.as_slice() {
        [] => Ok(()),
        broken => Err(Failure::Failed(io::Error::other(format!("a law broke: {}", broken.join("; "))))),
    }
}

/// First the one, then the other.
async fn both(arguments: &Arguments, ground: &Ground, out: &mut impl Write) -> io::Result<(Outcome, Outcome)> {
    // Each has connections of its own: those to a server that is gone would only hold files open.
    let wires = || wire::pair(ground.speaks_http2()).map(Arc::new);
    let clock = Arc::new(StormClock::new().map_err(io::Error::other)?);

    let arena = ground.open(LIFETIME).await?;
    let contestant = Arc::new(Naive::new(&arena, &clock));
    let setting = Setting { arguments, arena, wires: wires()?, clock: Arc::clone(&clock) };
    let mut progress = Progress::new(arguments, "naive", out);
    let naive = contest::hold(&contestant, setting, |round| progress.tell(round)).await?;
    drop(progress);

    let arena = ground.open(LIFETIME).await?;
    let contestant = Arc::new(Kept::new(&arena, &clock).await?);
    let setting = Setting { arguments, arena, wires: wires()?, clock };
    let mut progress = Progress::new(arguments, "tokenkeeper", out);
    let kept = contest::hold(&contestant, setting, |round| progress.tell(round)).await?;
    drop(progress);
    contestant.end().await?;
    Ok((naive, kept))
}

/// What this was started with, as one would type it.
fn command() -> String {
    let quoted = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=:".contains(character);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words = std::iter::once("tokenkeeper".to_owned()).chain(std::env::args_os().skip(1).map(quoted));
    words.collect::<Vec<_>>().join(" ")
}
