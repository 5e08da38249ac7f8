//! `tokenkeeper-judge storm`: many callers find an expired token at once, naively and through tokenkeeper.

mod arguments;
mod contest;
mod faults;
mod naive;
mod page;
mod progress;
mod score;
mod table;
mod text;
mod through_tokenkeeper;
mod timeline;

use std::io::{self, Write};
use std::sync::Arc;

use crate::clock::{OffsetClock, millis};
use crate::failure::Failure;
use crate::target::{ANSWER_DELAY, TargetSite};
use crate::transport;
pub(crate) use arguments::Arguments;
use contest::{ContestResult, LIFETIME, Setting};
pub(crate) use faults::{RequestFault, passing_faults};
use naive::NaiveContestant;
use progress::RoundProgress;
use score::{StormSummary, broken_laws};
use text::StormReport;
use through_tokenkeeper::TokenkeeperContestant;

/// Runs the storm, and writes its report to `out`.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let site = TargetSite::chosen(arguments.against.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (naive, tokenkeeper) = runtime.block_on(both(arguments, &site, out))?;
    let summary = StormSummary {
        broken: broken_laws(&tokenkeeper.score, arguments.faults),
        naive: naive.score,
        tokenkeeper: tokenkeeper.score,
        by: arguments.by,
        faults: arguments.faults,
        seed: arguments.seed,
        server_delay_ms: millis(ANSWER_DELAY) as u64,
    };
    let report = StormReport { arguments, summary: &summary, naive: &naive.events, tokenkeeper: &tokenkeeper.events };
    if let Some(path) = &arguments.report {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        std::fs::write(path, report.page(&command_line())).map_err(named)?;
    }
    if arguments.json {
        serde_json::to_writer(&mut *out, &summary).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        report.print(out)?;
    }
    Failure::unless_held(&summary.broken)
}

/// Runs the naive contestant, then tokenkeeper's.
async fn both(
    arguments: &Arguments,
    site: &TargetSite,
    out: &mut impl Write,
) -> io::Result<(ContestResult, ContestResult)> {
    // Each contestant has connections of its own. Those to the server before it would only keep files open.
    let transports = || transport::pair(site.speaks_http2()).map(Arc::new);
    let clock = Arc::new(OffsetClock::new().map_err(io::Error::other)?);

    let target = site.open(LIFETIME).await?;
    let contestant = Arc::new(NaiveContestant::new(&target, &clock));
    let setting = Setting { arguments, target, transports: transports()?, clock: Arc::clone(&clock) };
    let mut progress = RoundProgress::new(arguments, "naive", out);
    let naive = contest::run(&contestant, setting, |round| progress.show(round)).await?;
    drop(progress);

    let target = site.open(LIFETIME).await?;
    let contestant = Arc::new(TokenkeeperContestant::new(&target, &clock).await?);
    let setting = Setting { arguments, target, transports: transports()?, clock };
    let mut progress = RoundProgress::new(arguments, "tokenkeeper", out);
    let tokenkeeper = contest::run(&contestant, setting, |round| progress.show(round)).await?;
    drop(progress);
    contestant.shut_down().await?;
    Ok((naive, tokenkeeper))
}

/// This process's command line, quoted for a shell.
fn command_line() -> String {
    let quoted = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=:".contains(character);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words = std::iter::once("tokenkeeper-judge".to_owned()).chain(std::env::args_os().skip(1).map(quoted));
    words.collect::<Vec<_>>().join(" ")
}
