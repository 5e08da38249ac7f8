//! One contestant's first round, as a picture.

use std::fmt::Write;
use std::time::Duration;

use super::super::arena::{Sighting, What};
use super::super::clock::millis;
use super::super::score::{Chain, Score};
use super::super::table::count;
use super::super::timeline::revoked_at;

/// In units of the picture: its width, where time begins in it, and where it ends.
const WIDTH: f64 = 940.0;
const LEFT: f64 = 124.0;
const RIGHT: f64 = WIDTH - 16.0;
/// Where the chain's band is, how high it is, and where the requests begin.
const CHAIN: (f64, f64) = (6.0, 10.0);
const REQUESTS: f64 = 28.0;
/// Lines of requests; where there are more, one stands for several.
const LINES: usize = 64;
/// The strip of calls.
const CALLS: f64 = 26.0;

/// What is drawn.
pub(super) struct Chart<'a> {
    pub(super) name: &'a str,
    pub(super) score: &'a Score,
    pub(super) seen: &'a [Sighting],
    /// How long the time axis is: the same for both contestants.
    pub(super) span: Duration,
}

/// A line: one token request, or some that look alike.
struct Line {
    from: Duration,
    decided: Duration,
    until: Duration,
    verdict: What,
    requests: usize,
}

impl Chart<'_> {
    pub(super) fn svg(&self) -> String {
        let lines = self.lines();
        let (height, gap) = match lines.len() {
            0..=4 => (14.0, 6.0),
            5..=40 => (6.0, 3.0),
            _ => (3.0, 1.0),
        };
        let calls = REQUESTS + lines.len() as f64 * (height + gap) + 10.0;
        let axis = calls + CALLS;
        let bottom = axis + 24.0;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {bottom:.0}\" role=\"img\" aria-label=\"{}: {} token requests, chain {}\">\n",
            self.name,
            count(self.times(What::Request).len() as u64),
            self.score.chain.as_str()
        );
        self.draw_axis(&mut svg, axis);
        self.draw_chain(&mut svg, axis);
        let arrived = self.times(What::Request).len();
        label(&mut svg, REQUESTS + 10.0, &format!("{} request{}", count(arrived as u64), plural(arrived)));
        let together = lines.iter().map(|line| line.requests).max().unwrap_or_default();
        if together > 1 {
            label(&mut svg, REQUESTS + 26.0, &format!("{} to a line", count(together as u64)));
        }
        for (index, line) in lines.iter().enumerate() {
            self.draw_line(&mut svg, line, REQUESTS + index as f64 * (height + gap), height);
        }
        label(&mut svg, calls + 12.0, "calls");
        for (what, class) in [(What::Served, "served"), (What::Unauthorized, "unauthorized")] {
            self.draw_calls(&mut svg, what, class, calls);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Requests in the order of arrival, with verdicts and answers in the order in which those came.
    fn lines(&self) -> Vec<Line> {
        let (arrived, answered) = (self.times(What::Request), self.times(What::Answer));
        let is_verdict = |what| matches!(what, What::Rotated | What::Replayed | What::Refused | What::Fault);
        let mut verdicts = self.seen.iter().filter(|sighting| is_verdict(sighting.what));
        let single = arrived.iter().enumerate().map(|(index, from)| {
            let (decided, verdict) = verdicts.next().map_or((*from, What::Fault), |seen| (seen.at, seen.what));
            let until = answered.get(index).copied().unwrap_or(decided).max(decided);
            Line { from: *from, decided, until, verdict, requests: 1 }
        });
        let (exchanged, others): (Vec<Line>, Vec<Line>) = single.partition(|line| line.verdict == What::Rotated);
        let together = others.len().div_ceil(LINES).max(1);
        let others = others.chunks(together).filter_map(|lines| {
            let (first, last) = (lines.first()?, lines.last()?);
            let Line { from, decided, verdict, .. } = *first;
            Some(Line { from, decided, until: last.until, verdict, requests: lines.len() })
        });
        exchanged.into_iter().chain(others).collect()
    }

    fn draw_line(&self, svg: &mut String, line: &Line, y: f64, height: f64) {
        let (class, says) = match line.verdict {
            What::Rotated => ("rotated", "exchanged for new tokens"),
            What::Replayed => ("replayed", "presented a spent refresh token"),
            What::Refused => ("refused", "refused"),
            _ => ("fault", "met a fault"),
        };
        let (from, decided, until) = (self.x(line.from), self.x(line.decided), self.x(line.until));
        let title = format!(
            "{} token request{}: {says}, {:.1} to {:.1} ms",
            count(line.requests as u64),
            plural(line.requests),
            millis(line.from),
            millis(line.until)
        );
        // What was decided, and then the wait for the answer.
        let _ = writeln!(
            svg,
            "<g><title>{title}</title><rect class=\"{class} waiting\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
             height=\"{height}\" rx=\"1.5\"/><rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"4\" \
             height=\"{height}\" rx=\"1.5\"/></g>",
            (until - from).max(4.0),
            decided.min(RIGHT - 4.0)
        );
    }

    fn draw_chain(&self, svg: &mut String, axis: f64) {
        let (y, height) = CHAIN;
        label(svg, y + 10.0, "chain");
        let mut band = |class: &str, from: f64, to: f64| {
            let width = (to - from).max(0.0);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" rx=\"2\"/>"
            );
        };
        match (revoked_at(self.seen), self.score.chain) {
            (Some(at), _) => {
                let x = self.x(at);
                band("rotated", LEFT, x.max(LEFT + 2.0));
                band("band", x.max(LEFT + 2.0), RIGHT);
                let _ = writeln!(svg, "<line class=\"end\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y}\" y2=\"{axis:.1}\"/>");
                text(svg, "bad", (x + 8.0).min(RIGHT - 180.0), &format!("revoked after {:.1} ms", millis(at)));
            }
            (None, Chain::Alive) => {
                band("rotated", LEFT, RIGHT);
            }
            (None, Chain::Revoked) => {
                band("band", LEFT, RIGHT);
                text(svg, "bad", LEFT + 8.0, "revoked");
            }
        }
    }

    /// How many calls there were in each of many short times, as heights.
    fn draw_calls(&self, svg: &mut String, what: What, class: &str, y: f64) {
        const COLUMNS: usize = 208;
        let width = (RIGHT - LEFT) / COLUMNS as f64;
        let mut columns = [0_usize; COLUMNS];
        for time in self.times(what) {
            let column = ((self.x(time) - LEFT) / width) as usize;
            columns[column.min(COLUMNS - 1)] += 1;
        }
        let most = columns.iter().copied().max().unwrap_or_default().max(1) as f64;
        for (index, calls) in columns.iter().enumerate().filter(|(_, calls)| **calls > 0) {
            // A single one among thousands is seen, too.
            let height = 4.0 + *calls as f64 / most * (CALLS - 10.0);
            let (x, y) = (LEFT + index as f64 * width, y + CALLS - 4.0 - height);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{} {class}</title></rect>",
                width - 0.6,
                count(*calls as u64)
            );
        }
    }

    fn draw_axis(&self, svg: &mut String, y: f64) {
        let step = step(millis(self.span));
        let mut tick = 0.0;
        while tick <= millis(self.span) {
            let x = self.x(Duration::from_secs_f64(tick / 1000.0));
            let _ = writeln!(svg, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"22\" y2=\"{y:.1}\"/>");
            let anchor = if tick == 0.0 { "start" } else { "middle" };
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{tick} ms</text>", y + 16.0);
            tick += step;
        }
        let _ = writeln!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
    }

    fn times(&self, what: What) -> Vec<Duration> {
        self.seen.iter().filter(|sighting| sighting.what == what).map(|sighting| sighting.at).collect()
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + (RIGHT - LEFT) * (at.as_secs_f64() / self.span.as_secs_f64()).min(1.0)
    }
}

fn label(svg: &mut String, y: f64, label: &str) {
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 12.0);
}

fn text(svg: &mut String, class: &str, x: f64, text: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>", CHAIN.0 + 9.5);
}

fn plural(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// A round step that leaves five to twelve ticks, for an axis of so many milliseconds.
fn step(span: f64) -> f64 {
    let mut step = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if span / step <= 12.0 {
            break;
        }
        step *= factor;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn ticks_stand_at_round_numbers() {
        for (span, expected) in
            [(5.0, 1.0), (20.0, 2.0), (58.0, 5.0), (96.0, 10.0), (1_700.0, 200.0), (60_000.0, 5_000.0)]
        {
            assert_eq!(step(span), expected, "{span}");
        }
    }
}
