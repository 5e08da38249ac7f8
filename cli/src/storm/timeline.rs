//! What the token endpoint saw in one round, as lanes of 80 columns.

use std::fmt::Write;
use std::time::Duration;

use anstyle::Style;

use super::arena::{Sighting, What};
use super::clock::millis;
use super::score::{Chain, Score};
use super::table::count;
use crate::paint::{BAD, BOLD, FAINT, GOOD, PLAIN, paint};

/// How many columns time has; before them stands what a lane shows, after them how often.
const COLUMNS: usize = 52;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a lane shows, in the order of a request's life.
pub(super) const LANES: [(What, &str, bool); 8] = [
    (What::Request, "token requests", false),
    (What::Fault, "faults", true),
    (What::Rotated, "exchanged", false),
    (What::Replayed, "replayed", true),
    (What::Refused, "refused", true),
    (What::Answer, "answers", false),
    (What::Unauthorized, "calls refused", true),
    (What::Served, "calls served", false),
];

/// Both contestants, on one scale.
pub(super) fn timelines(contestants: &[(&str, &Score, &[Sighting])]) -> String {
    let span = span(contestants.iter().map(|(_, _, seen)| *seen));
    let mut text = String::new();
    for (name, score, seen) in contestants {
        let _ = writeln!(text, "{}", paint(BOLD, name));
        for (what, lane, bad) in LANES {
            let times: Vec<Duration> = seen.iter().filter(|seen| seen.what == what).map(|seen| seen.at).collect();
            if !times.is_empty() {
                let style = style_of(what, bad);
                let total = count(times.len() as u64);
                let _ = writeln!(text, "  {lane:<15}{} {total:>9}", paint(style, bars(&times, span)));
            }
        }
        let _ = writeln!(text, "  {:<15}{}", "chain", chain(score, seen, span));
    }
    let end = format!("{:.0} ms", millis(span));
    let _ = writeln!(text, "{}", paint(FAINT, format_args!("{:17}0{end:>width$}", "", width = COLUMNS - 1)));
    text
}

/// Until the last sighting of all.
pub(super) fn span<'a>(seen: impl Iterator<Item = &'a [Sighting]>) -> Duration {
    let last = seen.filter_map(|seen| seen.iter().map(|sighting| sighting.at).max()).max();
    last.unwrap_or_default().max(Duration::from_millis(1))
}

/// When the chain ended, as far as that was seen.
pub(super) fn revoked_at(seen: &[Sighting]) -> Option<Duration> {
    seen.iter().find(|sighting| sighting.what == What::Revoked).map(|revoked| revoked.at)
}

fn style_of(what: What, bad: bool) -> Style {
    match what {
        What::Rotated | What::Served => GOOD,
        _ if bad => BAD,
        _ => PLAIN,
    }
}

/// How many there were in each column, as heights.
fn bars(times: &[Duration], span: Duration) -> String {
    let mut columns = [0_usize; COLUMNS];
    for time in times {
        columns[column(*time, span)] += 1;
    }
    let most = columns.iter().copied().max().unwrap_or_default().max(1);
    let bar = |number: usize| if number == 0 { ' ' } else { LEVELS[(number * LEVELS.len()).div_ceil(most) - 1] };
    columns.map(bar).iter().collect()
}

fn column(time: Duration, span: Duration) -> usize {
    let part = time.as_secs_f64() / span.as_secs_f64();
    ((part * COLUMNS as f64) as usize).min(COLUMNS - 1)
}

fn chain(score: &Score, seen: &[Sighting], span: Duration) -> String {
    match (revoked_at(seen), score.chain) {
        (Some(at), _) => {
            let column = column(at, span);
            let line = paint(GOOD, "━".repeat(column));
            format!("{line}{}", paint(BAD, format_args!("╳ revoked after {:.1} ms", millis(at))))
        }
        (None, Chain::Alive) => format!("{} {}", paint(GOOD, "━".repeat(COLUMNS)), paint(GOOD, "alive")),
        (None, Chain::Revoked) => paint(BAD, "revoked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn bars_are_as_high_as_their_column_is_full() {
        let times = [0, 0, 0, 0, 26, 26, 52].map(at);
        let bars: Vec<char> = bars(&times, at(52)).chars().collect();
        assert_eq!(bars.len(), COLUMNS);
        assert_eq!((bars[0], bars[26], bars[51], bars[1]), ('█', '▄', '▂', ' '));
    }

    #[test]
    fn the_span_ends_with_the_last_sighting() {
        let seen = [Sighting { at: at(5), what: What::Request }, Sighting { at: at(9), what: What::Answer }];
        assert_eq!(span([&seen[..1], &seen[..]].into_iter()), at(9));
        assert_eq!(span([].into_iter()), at(1), "nothing is drawn on nothing");
    }
}
