//! The report on a terminal.

use std::io::{self, Write};

use super::arguments::{Arguments, Faults};
use super::score::StormSummary;
use super::table::table;
use super::timeline::timelines;
use crate::clock::millis;
use crate::paint::{BAD, BOLD, FAINT, GOOD, paint, print};
use crate::target::{ANSWER_DELAY, EndpointEvent};
use crate::text::{count, counted};

/// The contents of the report.
pub(super) struct StormReport<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) summary: &'a StormSummary,
    pub(super) naive: &'a [EndpointEvent],
    pub(super) tokenkeeper: &'a [EndpointEvent],
}

impl StormReport<'_> {
    /// Prints the report, with colours where standard output shows them.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        print(out, &self.text())
    }

    fn text(&self) -> String {
        let Self { arguments, summary, naive, tokenkeeper } = self;
        let contestants = [("naive", &summary.naive, *naive), ("tokenkeeper", &summary.tokenkeeper, *tokenkeeper)];
        let mut text = format!("{}\n{}\n\n", paint(BOLD, self.headline()), self.circumstances());
        text.push_str(&table(summary));
        let view = if arguments.against.is_some() { "What the token endpoint was sent" } else { "What the server saw" };
        text.push_str(&format!(
            "\n\n{}\n\n{}\n",
            paint(BOLD, format_args!("{view} in the first round")),
            timelines(&contestants)
        ));
        text.push_str(&self.verdict());
        text
    }

    /// The title.
    pub(super) fn headline(&self) -> String {
        let Arguments { callers, rounds, by, .. } = *self.arguments;
        let callers =
            counted(u64::from(callers), "caller", "s") + if callers == 1 { " finds its" } else { " find their" };
        let times = match rounds {
            1 => "once".to_owned(),
            more => format!("{} times", count(u64::from(more))),
        };
        format!("{callers} access token {}, {times}", by.as_str())
    }

    /// The server, the transports and the faults.
    pub(super) fn circumstances(&self) -> String {
        let delay = millis(ANSWER_DELAY);
        let (server, transports) = if self.arguments.against.is_some() {
            ("the rig", "two pools of HTTP/1.1")
        } else {
            ("a strict server", "HTTP/1.1 and HTTP/2")
        };
        let faults = match (self.arguments.faults, self.arguments.seed) {
            (Some(Faults::Any), seed) => format!(", with faults from seed {seed}"),
            (Some(Faults::Passing), seed) => format!(", with a fault in one request of ten, from seed {seed}"),
            (None, _) => String::new(),
        };
        format!("at {server} that takes {delay:.0} ms for a token request, over {transports}{faults}")
    }

    fn verdict(&self) -> String {
        let broken = &self.summary.broken;
        if !broken.is_empty() {
            return format!("{} {}\n", paint(BAD, "✗ a law broke:"), broken.join("; "));
        }
        let laws = match self.arguments.faults {
            Some(Faults::Any) => {
                "one token request at a time; no refresh token replayed except once after a lost\n  answer; every caller answered in time; no caller failed where no answer was lost"
            }
            Some(Faults::Passing) => "one token request at a time, none replayed, no caller failed, chain alive",
            None => "one token request per expiry, none replayed, no caller failed, chain alive",
        };
        let explained =
            self.explained_failures().map(|lines| format!("  {}\n", lines.join("\n  "))).unwrap_or_default();
        let hint = paint(FAINT, "(tokenkeeper-judge storm --help says what is measured)");
        format!("{} {laws}\n{explained}  {hint}\n", paint(GOOD, "✓ every law held:"))
    }

    /// The reasons of callers that failed, and why the laws held nevertheless, as lines of text. `None` if none failed.
    pub(super) fn explained_failures(&self) -> Option<[String; 3]> {
        let score = &self.summary.tokenkeeper;
        if score.failed_callers == 0 {
            return None;
        }
        let failed = counted(score.failed_callers, "caller", "s");
        let reasons: Vec<_> =
            score.failures.iter().map(|(why, callers)| format!("{why} {}", count(*callers))).collect();
        Some([
            format!("{failed} failed, in time and with a reason ({}).", reasons.join(", ")),
            "That breaks no law: the answer with the new refresh token was lost in their round, at a".to_owned(),
            "server that gives no second one. Only a new login helps.".to_owned(),
        ])
    }
}
