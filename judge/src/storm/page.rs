//! The report as one page without scripts, fonts or pictures from elsewhere.

mod chart;

use std::fmt::Write;

use super::table::{ScoreCell, ScoreRow, Tone, rows};
use super::text::StormReport;
use super::timeline::span;
use chart::EventChart;

impl StormReport<'_> {
    /// The page. `command` is the command line that made it.
    pub(super) fn page(&self, command: &str) -> String {
        let Self { summary, naive, tokenkeeper, .. } = self;
        let span = span([*naive, *tokenkeeper].into_iter());
        let (headline, circumstances) = (escaped(&self.headline()), escaped(&self.circumstances()));
        let verdict = match summary.broken.as_slice() {
            [] => {
                let explained = self
                    .explained_failures()
                    .map(|lines| format!("\n<p class=\"lead\">{}</p>", escaped(&lines.join(" "))));
                format!("<p class=\"verdict good\">✓ Every law held</p>{}", explained.unwrap_or_default())
            }
            broken => format!("<p class=\"verdict bad\">✗ A law broke: {}</p>", escaped(&broken.join("; "))),
        };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>tokenkeeper-judge storm: {headline}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <p class=\"brand\">tokenkeeper-judge storm</p>\n<h1>{headline}</h1>\n<p class=\"lead\">{circumstances}</p>\n{verdict}\n"
        );
        page.push_str(&self.comparison());
        let view =
            if self.arguments.against.is_some() { "what the token endpoint was sent" } else { "what the server saw" };
        let _ = write!(page, "<h2>The first round: {view}</h2>\n{LEGEND}");
        for (name, score, events, says) in [
            ("naive", &summary.naive, *naive, "Every caller presents the refresh token it has read."),
            (
                "tokenkeeper",
                &summary.tokenkeeper,
                *tokenkeeper,
                "One owner presents it once, and every caller gets the token.",
            ),
        ] {
            let chart = EventChart { name, score, events, span }.html();
            let _ = write!(page, "<figure>\n<figcaption><b>{name}</b> {says}</figcaption>\n{chart}</figure>\n");
        }
        let _ = write!(
            page,
            "<footer>\n<p>Made by tokenkeeper-judge {} with</p>\n<pre>{}</pre>\n</footer>\n</main>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
            escaped(command)
        );
        page
    }

    fn comparison(&self) -> String {
        let cell =
            |ScoreCell { text, tone }: ScoreCell| format!("<td class=\"{}\">{}</td>", class(tone), escaped(&text));
        let mut table =
            "<table>\n<thead><tr><th></th><th>naive</th><th>tokenkeeper</th></tr></thead>\n<tbody>\n".to_owned();
        for ScoreRow { name, naive, tokenkeeper } in rows(self.summary) {
            let _ = writeln!(table, "<tr><th>{}</th>{}{}</tr>", escaped(name), cell(naive), cell(tokenkeeper));
        }
        table.push_str("</tbody>\n</table>\n");
        table
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Neutral => "neutral",
    }
}

/// Escapes text for elements and attributes.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}

const LEGEND: &str = "<p class=\"legend\">Each line is a token request, from its arrival to its answer, in the order of \
    arrival; the dark tick in it <span class=\"tick\"></span> is when the server decided: \
    <span class=\"key rotated\"></span> exchanged for new tokens <span class=\"key replayed\"></span> a spent \
    refresh token <span class=\"key refused\"></span> refused otherwise <span class=\"key fault\"></span> met a fault. \
    Below them, the callers' calls: <span class=\"key served\"></span> served <span class=\"key unauthorized\"></span> \
    refused.</p>\n";

const STYLE: &str = "
:root { color-scheme: light dark; --page: #fbfbf9; --card: #ffffff; --ink: #1c1f23; --soft: #646b73; --line: #e2e4e0;
  --good: #1b8a5a; --bad: #cf3b34; --warn: #c98a1b; --odd: #7c5cc4; --band: #eef0ec; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --card: #1c2024; --ink: #e8eaec; --soft: #98a1aa; --line: #2f353b;
    --good: #46c78b; --bad: #ff7a70; --warn: #e6b04d; --odd: #a98bf0; --band: #252a2f; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; }
.brand { margin: 0 0 .25rem; color: var(--soft); font-size: .85rem; letter-spacing: .08em; text-transform: uppercase; }
.lead { margin: .4rem 0 1rem; color: var(--soft); }
.verdict { display: inline-block; margin: 0 0 1.5rem; padding: .2rem .8rem; border: 1px solid currentColor;
  border-radius: 1rem; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .neutral { color: var(--ink); }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { padding: .5rem 1rem; border-bottom: 1px solid var(--line); text-align: right; font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--soft); }
thead th { font-weight: 600; color: var(--ink); }
tbody th { text-align: left; }
td { font-weight: 600; width: 24%; }
tbody tr:last-child > * { border-bottom: 0; }
.legend { color: var(--soft); font-size: .9rem; margin: 0 0 1rem; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .15em 0 .5em; border-radius: 2px; }
.tick { position: relative; display: inline-block; width: 2.2em; height: .8em; margin: 0 .15em; }
.tick::before, .tick::after { content: ''; position: absolute; top: 0; bottom: 0; background: var(--good); border-radius: 1.5px; }
.tick::before { left: 0; right: 0; opacity: .35; } .tick::after { left: 55%; width: 4px; }
figure { margin: 0 0 1.25rem; padding: 1rem 1rem .5rem; background: var(--card); border: 1px solid var(--line); }
figcaption { color: var(--soft); margin-bottom: .5rem; } figcaption b { color: var(--ink); margin-right: .4rem; }
.chart { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); column-gap: .75rem; row-gap: .35rem; }
.label { color: var(--soft); font-size: .8rem; line-height: 1rem; text-align: right; }
svg { display: block; width: 100%; overflow: visible; font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; }
svg text { fill: var(--soft); } svg text.good { fill: var(--good); } svg text.bad { fill: var(--bad); }
.grid { stroke: var(--line); } .band { fill: var(--band); }
.rotated, .served { background: var(--good); fill: var(--good); }
.replayed, .unauthorized { background: var(--bad); fill: var(--bad); }
.refused { background: var(--warn); fill: var(--warn); } .fault { background: var(--odd); fill: var(--odd); }
.waiting { fill-opacity: .35; }
.end { stroke: var(--bad); stroke-dasharray: 4 3; }
@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem; } h1 { font-size: 1.5rem; }
  th, td { padding: .4rem .5rem; } td { width: auto; }
  .chart { grid-template-columns: minmax(0, 1fr); } .label { text-align: left; } .odd { display: none; }
}
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem; } footer p { margin: 0; }
pre { margin: .4rem 0 0; padding: .6rem .8rem; background: var(--band); color: var(--ink); overflow-x: auto; white-space: pre-wrap; }
";

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escaped("a<b href=\"x\">&'"), "a&lt;b href=&quot;x&quot;&gt;&amp;&#39;");
    }
}
