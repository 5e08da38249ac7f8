//! The server's events in one round, as lanes of 80 columns.

use std::fmt::Write;
use std::time::Duration;

use anstyle::Style;

use super::score::{ChainState, ContestScore};
use crate::clock::millis;
use crate::paint::{BAD, BOLD, FAINT, GOOD, PLAIN, paint};
use crate::target::{EndpointEvent, EndpointEventKind};
use crate::text::count;

/// The columns of the time axis. The name of a lane is before them, its number of events after them.
const COLUMNS: usize = 52;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lanes in the order of a request's life: the event, its name, whether it is bad.
const LANES: [(EndpointEventKind, &str, bool); 8] = [
    (EndpointEventKind::Request, "token requests", false),
    (EndpointEventKind::Fault, "faults", true),
    (EndpointEventKind::Rotated, "exchanged", false),
    (EndpointEventKind::Replayed, "replayed", true),
    (EndpointEventKind::Refused, "refused", true),
    (EndpointEventKind::Answer, "answers", false),
    (EndpointEventKind::Unauthorized, "calls refused", true),
    (EndpointEventKind::Served, "calls served", false),
];

/// Both contestants on one scale.
pub(super) fn timelines(contestants: &[(&str, &ContestScore, &[EndpointEvent])]) -> String {
    let span = span(contestants.iter().map(|(_, _, events)| *events));
    let mut text = String::new();
    for (name, score, events) in contestants {
        let _ = writeln!(text, "{}", paint(BOLD, name));
        for (kind, lane, bad) in LANES {
            let times: Vec<Duration> = times(events, kind).collect();
            if !times.is_empty() {
                let style = style_of(kind, bad);
                let total = count(times.len() as u64);
                let _ = writeln!(text, "  {lane:<15}{} {total:>9}", paint(style, bars(&times, span)));
            }
        }
        let _ = writeln!(text, "  {:<15}{}", "chain", chain(score, events, span));
    }
    let end = format!("{:.0} ms", millis(span));
    let _ = writeln!(text, "{}", paint(FAINT, format_args!("{:17}0{end:>width$}", "", width = COLUMNS - 1)));
    text
}

/// The time of the last event of all.
pub(super) fn span<'a>(contestants: impl Iterator<Item = &'a [EndpointEvent]>) -> Duration {
    let last = contestants.filter_map(|events| events.iter().map(|event| event.at).max()).max();
    last.unwrap_or_default().max(Duration::from_millis(1))
}

/// The time at which the chain ended, if that was recorded.
pub(super) fn revoked_at(events: &[EndpointEvent]) -> Option<Duration> {
    times(events, EndpointEventKind::Revoked).next()
}

/// The times of all events of this kind.
pub(super) fn times(events: &[EndpointEvent], kind: EndpointEventKind) -> impl Iterator<Item = Duration> {
    events.iter().filter(move |event| event.kind == kind).map(|event| event.at)
}

fn style_of(kind: EndpointEventKind, bad: bool) -> Style {
    match kind {
        EndpointEventKind::Rotated | EndpointEventKind::Served => GOOD,
        _ if bad => BAD,
        _ => PLAIN,
    }
}

/// The number of events in each column as heights.
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

fn chain(score: &ContestScore, events: &[EndpointEvent], span: Duration) -> String {
    match (revoked_at(events), score.chain) {
        (Some(at), _) => {
            let column = column(at, span);
            let line = paint(GOOD, "━".repeat(column));
            format!("{line}{}", paint(BAD, format_args!("╳ revoked after {:.1} ms", millis(at))))
        }
        (None, ChainState::Alive) => format!("{} {}", paint(GOOD, "━".repeat(COLUMNS)), paint(GOOD, "alive")),
        (None, ChainState::Revoked) => paint(BAD, "revoked"),
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
    fn the_span_ends_with_the_last_event() {
        let events = [(5, EndpointEventKind::Request), (9, EndpointEventKind::Answer)]
            .map(|(millis, kind)| EndpointEvent { at: at(millis), kind });
        assert_eq!(span([&events[..1], &events[..]].into_iter()), at(9));
        assert_eq!(span([].into_iter()), at(1), "no event divides by zero");
    }
}
