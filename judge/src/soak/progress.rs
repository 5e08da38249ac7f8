//! Progress: a bar on a terminal, or an object for each event with `--json`.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::arguments::Arguments;
use super::messages::FlightStage;
use super::verdict::SoakCounts;
use crate::target::TargetCounts;

/// An event of a soak, as `--json` has it.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum SoakEvent<'a> {
    Killed {
        process: u32,
        at: FlightStage,
    },
    Stopped {
        process: u32,
        millis: u64,
    },
    /// A process died that the soak did not kill.
    Died {
        process: u32,
    },
    /// A login was required.
    Login {
        why: &'a str,
        explained: bool,
    },
    /// A user signed in although no login was required.
    SignedIn,
    /// A caller failed.
    Failed {
        process: u32,
        why: &'a str,
    },
}

/// A line of `--json`.
#[derive(Serialize)]
struct EventLine<'a> {
    /// The time since the workers were started.
    ms: u64,
    #[serde(flatten)]
    event: &'a SoakEvent<'a>,
}

/// The progress of a soak. Dropping it removes the bar.
pub(super) struct SoakProgress<'a, W> {
    bar: ProgressBar,
    json: Option<&'a mut W>,
}

impl<'a, W: Write> SoakProgress<'a, W> {
    pub(super) fn new(arguments: &Arguments, out: &'a mut W) -> Self {
        // indicatif draws nothing where standard error is no terminal.
        let target = if arguments.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{prefix} {bar:16} {msg}");
        let seconds = arguments.duration().as_secs_f64().ceil() as u64;
        let bar = ProgressBar::with_draw_target(Some(seconds), target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_prefix("soak")
            .with_message("starting");
        bar.tick();
        Self { bar, json: arguments.json.then_some(out) }
    }

    /// Shows nothing.
    pub(super) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), json: None }
    }

    /// Shows the counts so far.
    pub(super) fn show(&self, passed: Duration, counts: &SoakCounts, target: &TargetCounts) {
        let seconds = passed.as_secs();
        let SoakCounts { calls, failed_callers, logins_required, killed, stopped, .. } = counts;
        let refreshes = target.token_requests;
        let clock = |seconds: u64| format!("{}:{:02}", seconds / 60, seconds % 60);
        self.bar.set_prefix(format!("{} of {}", clock(seconds), clock(self.bar.length().unwrap_or_default())));
        self.bar.set_position(seconds);
        self.bar.set_message(format!(
            "{calls} calls, {failed_callers} failed, {refreshes} refreshes, {killed} killed, {stopped} stopped, \
             {logins_required} logins"
        ));
    }

    /// Prints an event.
    pub(super) fn event(&mut self, passed: Duration, event: &SoakEvent<'_>) -> io::Result<()> {
        let Some(out) = &mut self.json else { return Ok(()) };
        let line = EventLine { ms: passed.as_millis() as u64, event };
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        writeln!(out)?;
        out.flush()
    }
}

impl<W> Drop for SoakProgress<'_, W> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
