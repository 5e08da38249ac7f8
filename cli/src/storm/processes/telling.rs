//! The storm of processes, told on a terminal.

use std::fmt::Write;
use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::super::table::count;
use super::account::{Circumstances, Verdict};
use super::words::Step;
use crate::paint::{BAD, BOLD, FAINT, GOOD, paint};

/// All there is to tell.
pub(super) fn text(verdict: &Verdict, rig: bool, home: &Path) -> String {
    let Circumstances { processes, callers, interrupted, kills, seed, lifetime_seconds, .. } = verdict.circumstances;
    let who = format!("{} with {} on one home", many(processes, "process", "es"), many(callers, "caller", "s"));
    let each = if processes == 1 { "" } else { " each" };
    let headline = who.replacen(" on one", &format!("{each} on one"), 1);
    let cut = if interrupted { ", interrupted" } else { "" };
    let server_name = if rig { "the rig" } else { "a strict server" };
    let staged = if kills { format!(", killed and stopped from seed {seed}") } else { String::new() };
    let mut text = format!("{}\n", paint(BOLD, format_args!("{headline}, for {}{cut}", span(verdict))));
    let _ = writeln!(text, "at {server_name} whose access tokens live {lifetime_seconds:.0} s{staged}\n");
    let _ = writeln!(text, "{}", table(verdict));
    text.push_str(&verdict_words(verdict, home));
    text
}

fn verdict_words(verdict: &Verdict, home: &Path) -> String {
    let why = format!("tokenkeeper why {} --home {}", verdict.circumstances.server, home.display());
    if !verdict.broken.is_empty() {
        let broken = verdict.broken.join("; ");
        let hint = paint(FAINT, format_args!("({why} shows what the processes did)"));
        return format!("{} {broken}\n  {hint}\n", paint(BAD, "✗ a law broke:"));
    }
    let laws = match (verdict.circumstances.kills, verdict.circumstances.never_replay) {
        (false, _) => {
            "one token request at a time, as many as one process alone would make;\n  none replayed, no caller failed"
        }
        (true, false) => {
            "one token request at a time; a refresh token was presented again only where a\n  process died with its answer, and a login required only where the server had given that;\n  no other caller failed"
        }
        (true, true) => {
            "one token request at a time; none replayed; a login required only where a process\n  died with a refresh under way; no other caller failed"
        }
    };
    let hint = paint(FAINT, "(tokenkeeper storm --help says what is measured)");
    format!("{} {laws}\n  {hint}\n", paint(GOOD, "✓ every law held:"))
}

fn table(verdict: &Verdict) -> String {
    let Verdict { circumstances, account, .. } = verdict;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["", "counted", "allowed"]);
    let mut row = |name: &str, counted: String, allowed: String| {
        let number = |text| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), number(counted), number(allowed)]);
    };
    let none = String::new;
    row("calls answered by the MCP server", count(account.calls), none());
    if circumstances.kills {
        row("… held up by a doubt or a login", count(account.held_up), none());
    }
    row("callers that failed", count(account.failed_callers), count(0));
    row("times a process needed a new token", count(account.expiries), none());
    row("… and took over what was there", count(account.adoptions), none());
    row("token requests", count(verdict.token_requests), count(verdict.token_requests_allowed));
    row("… with a token, used by its process", count(verdict.token_requests_used), none());
    row("… with a token, too late for its process", count(verdict.token_requests_unused), none());
    row("… without a token", count(verdict.token_requests_in_vain), none());
    row("… at once, at most", count(verdict.most_concurrent), count(1));
    row("spent refresh tokens presented", count(verdict.replays), count(verdict.replays_allowed));
    row("logins required", count(account.logins_required), count(account.logins_explained));
    row("times status and why showed the home", count(account.looks), none());
    if circumstances.kills {
        row("logins nobody had asked for", count(account.logins_unasked), none());
        row("processes stopped for a while", count(account.stopped), none());
        row("processes killed", count(account.killed), none());
        for step in Step::DOUBTFUL {
            if let Some(killed) = account.killed_at.get(&step) {
                row(&format!("… {}", words(step)), count(*killed), none());
            }
        }
    }
    table.to_string()
}

/// Completes "killed …".
fn words(step: Step) -> &'static str {
    match step {
        Step::Idle => "with no refresh under way",
        Step::Marking => "while the mark was written",
        Step::Marked => "with the mark written",
        Step::Sending => "with the request under way",
        Step::Answered => "with the answer received",
        Step::Saving => "while the answer was stored",
        Step::Saved => "with the answer stored",
    }
}

fn span(verdict: &Verdict) -> String {
    let seconds = verdict.circumstances.seconds.round() as u64;
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

fn many(number: u32, one: &str, more: &str) -> String {
    format!("{} {one}{}", count(u64::from(number)), if number == 1 { "" } else { more })
}
