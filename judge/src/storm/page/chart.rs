//! The first round of one contestant as a chart.
//!
//! The chart is as wide as the page allows. Its SVG elements place everything along the time axis in per cent and give all
//! other lengths in pixels, so that no text is scaled down on a narrow screen.

use std::fmt::Write;
use std::time::Duration;

use super::super::score::{ChainState, ContestScore};
use super::super::timeline::{revoked_at, times};
use crate::clock::millis;
use crate::target::{EndpointEvent, EndpointEventKind};
use crate::text::{count, counted};

/// Heights in pixels: the chain's strip, the strip of calls, the axis with its labels.
const CHAIN: f64 = 16.0;
const CALLS: f64 = 26.0;
const AXIS: f64 = 20.0;
/// The most lines of requests. Where there are more requests, a line stands for several.
const LINES: usize = 64;
/// The columns in the strip of calls.
const COLUMNS: usize = 208;

/// The input of a chart.
pub(super) struct EventChart<'a> {
    pub(super) name: &'a str,
    pub(super) score: &'a ContestScore,
    pub(super) events: &'a [EndpointEvent],
    /// The length of the time axis, which is the same for both contestants.
    pub(super) span: Duration,
}

/// A line: one token request, or several that look alike.
struct RequestLine {
    from: Duration,
    decided: Duration,
    until: Duration,
    verdict: EndpointEventKind,
    requests: usize,
}

impl EventChart<'_> {
    /// The chart as strips with a label each, which a narrow page puts above the strip.
    pub(super) fn html(&self) -> String {
        let lines = self.lines();
        let requests = self.times(EndpointEventKind::Request).len();
        let mut html = format!(
            "<div class=\"chart\" role=\"img\" aria-label=\"{}: {}, chain {}\">\n",
            self.name,
            counted(requests as u64, "token request", "s"),
            self.score.chain.as_str()
        );
        self.strip(&mut html, "chain", CHAIN, &self.chain());
        let together = lines.iter().map(|line| line.requests).max().unwrap_or_default();
        let mut label = counted(requests as u64, "request", "s");
        if together > 1 {
            let _ = write!(label, ", {} to a line", count(together as u64));
        }
        let (height, gap) = match lines.len() {
            0..=4 => (14.0, 6.0),
            5..=40 => (6.0, 3.0),
            _ => (3.0, 1.0),
        };
        let mut drawn = String::new();
        for (index, line) in lines.iter().enumerate() {
            self.draw_line(&mut drawn, line, gap + index as f64 * (height + gap), height);
        }
        self.strip(&mut html, &label, gap + lines.len() as f64 * (height + gap), &drawn);
        let calls = [(EndpointEventKind::Served, "served"), (EndpointEventKind::Unauthorized, "unauthorized")]
            .map(|calls| self.calls(calls));
        self.strip(&mut html, "calls", CALLS, &calls.concat());
        let _ = writeln!(html, "<span></span><svg height=\"{AXIS}\">{}</svg>\n</div>", self.axis());
        html
    }

    /// A label, and a strip of this height with the grid behind it and the chain's end before it.
    fn strip(&self, html: &mut String, label: &str, height: f64, drawn: &str) {
        let _ = writeln!(html, "<span class=\"label\">{label}</span><svg height=\"{height}\">");
        for tick in self.ticks() {
            html.push_str(&vertical("grid", self.percent(tick)));
        }
        html.push_str(drawn);
        if let Some(at) = revoked_at(self.events) {
            html.push_str(&vertical("end", self.percent(at)));
        }
        html.push_str("</svg>\n");
    }

    /// Requests in the order of arrival, with verdicts and answers in the order in which those came.
    fn lines(&self) -> Vec<RequestLine> {
        let (arrived, answered) = (self.times(EndpointEventKind::Request), self.times(EndpointEventKind::Answer));
        let is_verdict = |kind| {
            matches!(
                kind,
                EndpointEventKind::Rotated
                    | EndpointEventKind::Replayed
                    | EndpointEventKind::Refused
                    | EndpointEventKind::Fault
            )
        };
        let mut verdicts = self.events.iter().filter(|event| is_verdict(event.kind));
        let single = arrived.iter().enumerate().map(|(index, from)| {
            let (decided, verdict) =
                verdicts.next().map_or((*from, EndpointEventKind::Fault), |event| (event.at, event.kind));
            let until = answered.get(index).copied().unwrap_or(decided).max(decided);
            RequestLine { from: *from, decided, until, verdict, requests: 1 }
        });
        let (exchanged, others): (Vec<RequestLine>, Vec<RequestLine>) =
            single.partition(|line| line.verdict == EndpointEventKind::Rotated);
        let together = others.len().div_ceil(LINES).max(1);
        let others = others.chunks(together).filter_map(|lines| {
            let (first, last) = (lines.first()?, lines.last()?);
            let RequestLine { from, decided, verdict, .. } = *first;
            Some(RequestLine { from, decided, until: last.until, verdict, requests: lines.len() })
        });
        exchanged.into_iter().chain(others).collect()
    }

    /// A pale bar from the arrival to the answer, with a dark tick where the server decided.
    fn draw_line(&self, svg: &mut String, line: &RequestLine, y: f64, height: f64) {
        let (class, says) = match line.verdict {
            EndpointEventKind::Rotated => ("rotated", "exchanged for new tokens"),
            EndpointEventKind::Replayed => ("replayed", "presented a spent refresh token"),
            EndpointEventKind::Refused => ("refused", "refused"),
            _ => ("fault", "met a fault"),
        };
        let (from, decided, until) = (self.percent(line.from), self.percent(line.decided), self.percent(line.until));
        let title = format!(
            "{}: {says}, {:.1} to {:.1} ms",
            counted(line.requests as u64, "token request", "s"),
            millis(line.from),
            millis(line.until)
        );
        let _ = writeln!(
            svg,
            "<g><title>{title}</title><rect class=\"{class} waiting\" x=\"{from:.2}%\" y=\"{y:.1}\" width=\"{:.2}%\" \
             height=\"{height}\" rx=\"1.5\"/><rect class=\"{class}\" x=\"{:.2}%\" y=\"{y:.1}\" width=\"4\" \
             height=\"{height}\" rx=\"1.5\"/></g>",
            until - from,
            decided.min(98.8)
        );
    }

    fn chain(&self) -> String {
        let band = |class: &str, from: f64, to: f64| {
            let (y, height, width) = (3.0, CHAIN - 6.0, (to - from).max(0.0));
            format!(
                "<rect class=\"{class}\" x=\"{from:.2}%\" y=\"{y}\" width=\"{width:.2}%\" height=\"{height}\" rx=\"2\"/>\n"
            )
        };
        match (revoked_at(self.events), self.score.chain) {
            (Some(at), _) => {
                let end = self.percent(at).max(0.3);
                let says = format!("revoked after {:.1} ms", millis(at));
                [band("rotated", 0.0, end), band("band", end, 100.0), beside(end, &says)].concat()
            }
            (None, ChainState::Alive) => band("rotated", 0.0, 100.0),
            (None, ChainState::Revoked) => [band("band", 0.0, 100.0), beside(0.0, "revoked")].concat(),
        }
    }

    /// The number of calls in each of many short times, as heights.
    fn calls(&self, (kind, class): (EndpointEventKind, &str)) -> String {
        let width = 100.0 / COLUMNS as f64;
        let mut columns = [0_usize; COLUMNS];
        for time in self.times(kind) {
            let column = (self.percent(time) / width) as usize;
            columns[column.min(COLUMNS - 1)] += 1;
        }
        let most = columns.iter().copied().max().unwrap_or_default().max(1) as f64;
        let mut svg = String::new();
        for (index, calls) in columns.iter().enumerate().filter(|(_, calls)| **calls > 0) {
            // A single call among thousands is high enough to be seen.
            let height = 4.0 + *calls as f64 / most * (CALLS - 6.0);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{:.2}%\" y=\"{:.1}\" width=\"{:.2}%\" height=\"{height:.1}\">\
                 <title>{} {class}</title></rect>",
                index as f64 * width,
                CALLS - height,
                width * 0.85,
                count(*calls as u64)
            );
        }
        svg
    }

    /// The labels of the axis. A narrow page hides every second one.
    fn axis(&self) -> String {
        let mut svg = "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"0.5\" y2=\"0.5\"/>\n".to_owned();
        for (index, tick) in self.ticks().into_iter().enumerate() {
            let class = if index % 2 == 0 { "even" } else { "odd" };
            let x = self.percent(tick);
            let anchor = match x {
                ..5.0 => "start",
                95.0.. => "end",
                _ => "middle",
            };
            let ms = millis(tick);
            let y = AXIS - 4.0;
            let _ = writeln!(
                svg,
                "<text class=\"{class}\" x=\"{x:.2}%\" y=\"{y}\" text-anchor=\"{anchor}\">{ms} ms</text>"
            );
        }
        svg
    }

    fn ticks(&self) -> Vec<Duration> {
        let (step, span) = (step(millis(self.span)), millis(self.span));
        let ticks = (0..).map(|index| f64::from(index) * step).take_while(|tick| *tick <= span);
        ticks.map(|tick| Duration::from_secs_f64(tick / 1000.0)).collect()
    }

    fn times(&self, kind: EndpointEventKind) -> Vec<Duration> {
        times(self.events, kind).collect()
    }

    /// The place of a time on the axis.
    fn percent(&self, at: Duration) -> f64 {
        100.0 * (at.as_secs_f64() / self.span.as_secs_f64()).min(1.0)
    }
}

/// A line from the top of a strip to its bottom.
fn vertical(class: &str, x: f64) -> String {
    format!("<line class=\"{class}\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>\n")
}

/// A text on the chain's strip, right of this place, or left of it where the right has no room.
fn beside(x: f64, text: &str) -> String {
    let (anchor, dx) = if x < 50.0 { ("start", 8) } else { ("end", -8) };
    let y = CHAIN - 3.5;
    format!("<text class=\"bad\" x=\"{x:.2}%\" dx=\"{dx}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>\n")
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
