//! The report on a terminal.

use std::fmt::Write;
use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::messages::FlightStage;
use super::verdict::{SoakSetting, SoakVerdict};
use crate::paint::{BAD, BOLD, FAINT, GOOD, paint};
use crate::text::{count, counted};

/// The report: title, table and verdict.
pub(super) fn report(verdict: &SoakVerdict, rig: bool, home: &Path) -> String {
    let SoakSetting { processes, callers, interrupted, kills, seed, lifetime_seconds, .. } = verdict.setting;
    let workers = counted(u64::from(processes), "process", "es");
    let callers = counted(u64::from(callers), "caller", "s");
    let each = if processes == 1 { "" } else { " each" };
    let cut = if interrupted { ", interrupted" } else { "" };
    let server = if rig { "the rig" } else { "a strict server" };
    let faults = match (kills, verdict.setting.faults) {
        (false, false) => String::new(),
        (true, false) => format!(", killed and stopped from seed {seed}"),
        (false, true) => format!(", with a fault in one request of ten, from seed {seed}"),
        (true, true) => format!(", killed and stopped, with a fault in one request of ten, from seed {seed}"),
    };
    let title = format!("{workers} with {callers}{each} on one home, for {}{cut}", duration(verdict));
    let mut text = format!("{}\n", paint(BOLD, title));
    let _ = writeln!(text, "at {server} whose access tokens live {lifetime_seconds:.0} s{faults}\n");
    let _ = writeln!(text, "{}", table(verdict));
    text.push_str(&verdict_text(verdict, home));
    text
}

fn verdict_text(verdict: &SoakVerdict, home: &Path) -> String {
    if !verdict.broken.is_empty() {
        let why = format!("tokenkeeper why {} --home {}", verdict.setting.server, home.display());
        let hint = paint(FAINT, format_args!("({why} shows what the processes did)"));
        return format!("{} {}\n  {hint}\n", paint(BAD, "✗ a law broke:"), verdict.broken.join("; "));
    }
    let laws = match (verdict.setting.kills, verdict.setting.never_replay) {
        (false, _) => {
            "one token request at a time, as many as one process alone would make;\n  none replayed, no caller failed"
        }
        (true, false) => {
            "one token request at a time, but for those of killed processes; a spent refresh token was\n  presented only where a process died with its answer, and a login required only there;\n  no caller failed"
        }
        (true, true) => {
            "one token request at a time; none replayed; a login required only where a process\n  died with a refresh in flight; no caller failed"
        }
    };
    let hint = paint(FAINT, "(tokenkeeper-judge soak --help says what is measured)");
    format!("{} {laws}\n  {hint}\n", paint(GOOD, "✓ every law held:"))
}

fn table(verdict: &SoakVerdict) -> String {
    let SoakVerdict { setting, counts, .. } = verdict;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["", "counted", "allowed"]);
    let mut row = |name: &str, counted: u64, allowed: Option<u64>| {
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), number(count(counted)), number(allowed.map(count).unwrap_or_default())]);
    };
    row("calls answered by the MCP server", counts.calls, None);
    if setting.kills {
        row("… that waited for a login", counts.held_up, None);
    }
    row("callers that failed", counts.failed_callers, Some(0));
    row("times a process needed a new token", counts.expiries, None);
    row("… and took over what was there", counts.adoptions, None);
    row("token requests", verdict.token_requests, Some(verdict.token_requests_allowed));
    row("… with a token, used by its process", verdict.token_requests_used, None);
    row("… with a token, too late for its process", verdict.token_requests_unused, None);
    row("… without a token", verdict.token_requests_in_vain, None);
    row("… at once, at most", verdict.most_concurrent, Some(verdict.most_concurrent_allowed));
    if setting.faults {
        row("faults that struck token requests", verdict.faults_struck, None);
    }
    row("spent refresh tokens presented", verdict.replays, Some(verdict.replays_allowed));
    row("logins required", counts.logins_required, Some(counts.logins_explained));
    row("times status and why showed the home", counts.looks, None);
    if setting.kills {
        row("logins that were not required", counts.logins_unasked, None);
        row("processes stopped for a while", counts.stopped, None);
        row("processes killed", counts.killed, None);
        for stage in FlightStage::DOUBTFUL {
            if let Some(killed) = counts.killed_at.get(&stage) {
                row(&format!("… {}", words(stage)), *killed, None);
            }
        }
    }
    table.to_string()
}

/// Completes "killed …".
fn words(stage: FlightStage) -> &'static str {
    match stage {
        FlightStage::Idle => "with no refresh in flight",
        FlightStage::Marking => "while the mark was written",
        FlightStage::Marked => "with the mark written",
        FlightStage::Sending => "with the request in flight",
        FlightStage::Answered => "with the answer received",
        FlightStage::Saving => "while the answer was stored",
        FlightStage::Saved => "with the answer stored",
    }
}

fn duration(verdict: &SoakVerdict) -> String {
    let seconds = verdict.setting.seconds.round() as u64;
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}
