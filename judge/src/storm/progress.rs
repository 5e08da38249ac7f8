//! Progress: a bar on a terminal, or an object for each round with `--json`.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::arguments::Arguments;
use super::contest::RoundResult;

/// The progress of one contestant. Dropping it removes the bar.
pub(super) struct RoundProgress<'a, W> {
    name: &'static str,
    rounds: u32,
    bar: ProgressBar,
    json: Option<&'a mut W>,
}

impl<'a, W: Write> RoundProgress<'a, W> {
    pub(super) fn new(arguments: &Arguments, name: &'static str, out: &'a mut W) -> Self {
        let Arguments { rounds, json, .. } = *arguments;
        // indicatif draws nothing where standard error is no terminal.
        let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{prefix:>12} {bar:20} {pos}/{len} rounds, {msg}");
        let bar = ProgressBar::with_draw_target(Some(u64::from(rounds)), target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_prefix(name)
            .with_message("signing in");
        bar.tick();
        Self { name, rounds, bar, json: json.then_some(out) }
    }

    /// Shows a round that is over.
    pub(super) fn show(&mut self, round: &RoundResult) -> io::Result<()> {
        let RoundResult { number, fault, faults, token_requests, replays, failed } = *round;
        self.bar.set_message(format!("{token_requests} requests, {failed} failed"));
        self.bar.inc(1);
        let Some(out) = &mut self.json else { return Ok(()) };
        let line = json!({
            "contestant": self.name,
            "round": number,
            "of": self.rounds,
            "fault": fault.as_str(),
            "faults": faults,
            "token_requests": token_requests,
            "replays": replays,
            "failed_callers": failed,
        });
        writeln!(out, "{line}")?;
        out.flush()
    }
}

impl<W> Drop for RoundProgress<'_, W> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
