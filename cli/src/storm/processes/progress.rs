//! How far it is: a bar on a terminal, or what happens as objects with `--json`.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::super::arena::Tally;
use super::super::arguments::Arguments;
use super::account::Account;
use super::words::Step;

/// Something that happened, as `--json` has it.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    Killed {
        process: u32,
        at: Step,
    },
    Stopped {
        process: u32,
        millis: u64,
    },
    /// A process died that nobody killed.
    Died {
        process: u32,
    },
    /// A login was required.
    Login {
        why: &'a str,
        explained: bool,
    },
    /// Somebody signed in although nothing required it.
    SignedIn,
    /// A caller got nothing.
    Failed {
        process: u32,
        why: &'a str,
    },
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    /// Since the processes were started.
    ms: u64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// Dropping it takes the bar away.
pub(super) struct Progress<'a, W> {
    bar: ProgressBar,
    json: Option<&'a mut W>,
}

impl<'a, W: Write> Progress<'a, W> {
    pub(super) fn new(arguments: &Arguments, out: &'a mut W) -> Self {
        // Where standard error is no terminal, indicatif draws nothing.
        let target = if arguments.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{prefix} {bar:16} {msg}");
        let seconds = (arguments.minutes * 60.0).ceil() as u64;
        let bar = ProgressBar::with_draw_target(Some(seconds), target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_prefix("storm")
            .with_message("starting");
        bar.tick();
        Self { bar, json: arguments.json.then_some(out) }
    }

    /// Shows how it stands.
    pub(super) fn tell(&self, passed: Duration, account: &Account, tally: &Tally) {
        let seconds = passed.as_secs();
        let Account { calls, failed_callers, logins_required, killed, stopped, .. } = account;
        let refreshes = tally.token_requests;
        self.bar.set_prefix(format!("{}:{:02}", seconds / 60, seconds % 60));
        self.bar.set_position(seconds);
        self.bar.set_message(format!(
            "{calls} calls, {failed_callers} failed, {refreshes} refreshes, {killed} killed, {stopped} stopped, \
             {logins_required} logins"
        ));
    }

    /// Tells of something that happened.
    pub(super) fn event(&mut self, passed: Duration, event: &Event<'_>) -> io::Result<()> {
        let Some(out) = &mut self.json else { return Ok(()) };
        let line = Line { ms: passed.as_millis() as u64, event };
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        writeln!(out)?;
        out.flush()
    }
}

impl<W> Drop for Progress<'_, W> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
