//! The findings of an examination.

use serde::Serialize;

use tokenkeeper::engine::values::is_plain;

use super::recorder::Sent;

/// The party that can resolve a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Party {
    /// The operator of the MCP server.
    Resource,
    /// The operator of the authorization server.
    AuthorizationServer,
    /// The network between this machine and a server.
    Network,
    /// The configuration of this machine.
    Machine,
    /// The person who runs the command.
    You,
}

impl Party {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Resource => "the MCP server's operator",
            Self::AuthorizationServer => "the authorization server's operator",
            Self::Network => "the network",
            Self::Machine => "this machine",
            Self::You => "you",
        }
    }
}

/// The weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The observation conforms to the specifications.
    Fine,
    /// The finding prevents no login. The party, if there is one, can improve it.
    Note(Option<Party>),
    /// The finding prevents logins until the party resolves it.
    Problem(Party),
    /// The finding prevents logins for now, and may pass.
    Outage(Party),
}

impl Verdict {
    /// Whether no login is possible.
    pub(super) fn prevents_login(self) -> bool {
        matches!(self, Self::Problem(_) | Self::Outage(_))
    }

    pub(super) fn party(self) -> Option<Party> {
        match self {
            Self::Fine => None,
            Self::Note(party) => party,
            Self::Problem(party) | Self::Outage(party) => Some(party),
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its fixed name, for programs.
    pub(super) code: &'static str,
    pub(super) verdict: Verdict,
    /// The observation, in text that is safe to print.
    pub(super) seen: String,
    /// The rule that the finding is judged by.
    pub(super) rule: Option<&'static str>,
    /// The remedy.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn new(code: &'static str, verdict: Verdict, seen: impl AsRef<str>) -> Self {
        Self { code, verdict, seen: harmless(seen.as_ref()), rule: None, advice: None }
    }

    pub(super) fn fine(code: &'static str, seen: impl AsRef<str>) -> Self {
        Self::new(code, Verdict::Fine, seen)
    }

    pub(super) fn note(code: &'static str, party: impl Into<Option<Party>>, seen: impl AsRef<str>) -> Self {
        Self::new(code, Verdict::Note(party.into()), seen)
    }

    pub(super) fn problem(code: &'static str, party: Party, seen: impl AsRef<str>) -> Self {
        Self::new(code, Verdict::Problem(party), seen)
    }

    pub(super) fn outage(code: &'static str, party: Party, seen: impl AsRef<str>) -> Self {
        Self::new(code, Verdict::Outage(party), seen)
    }

    pub(super) fn rule(self, rule: &'static str) -> Self {
        Self { rule: Some(rule), ..self }
    }

    pub(super) fn advice(self, advice: impl AsRef<str>) -> Self {
        Self { advice: Some(harmless(advice.as_ref())), ..self }
    }
}

/// One step of the examination.
#[derive(Debug)]
pub(super) struct Step {
    /// Its fixed name, for programs.
    pub(super) name: &'static str,
    pub(super) title: String,
    pub(super) sent: Vec<Sent>,
    pub(super) findings: Vec<Finding>,
}

impl Step {
    pub(super) fn new(name: &'static str, title: impl AsRef<str>, sent: Vec<Sent>, findings: Vec<Finding>) -> Self {
        Self { name, title: harmless(title.as_ref()), sent, findings: without_repetitions(findings) }
    }

    /// Turns the step's problems into notes, because a client has a way around them.
    pub(super) fn soften(&mut self) {
        soften(&mut self.findings);
    }
}

/// Turns problems into notes, because a client has a way around them.
pub(super) fn soften(findings: &mut [Finding]) {
    for finding in findings {
        if finding.verdict.prevents_login() {
            finding.verdict = Verdict::Note(finding.verdict.party());
        }
    }
}

/// Leaves out repeated findings, because several places may have the same document.
fn without_repetitions(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        if !kept.iter().any(|known| known.code == finding.code && known.seen == finding.seen) {
            kept.push(finding);
        }
    }
    kept
}

/// Joins findings of one kind about the transfer of one document at several places.
pub(super) fn joined(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<(Finding, usize)> = Vec::new();
    for finding in findings {
        match kept.iter_mut().find(|(known, _)| (known.code, known.verdict) == (finding.code, finding.verdict)) {
            Some((_, more)) if finding.verdict != Verdict::Fine => *more += 1,
            _ => kept.push((finding, 0)),
        }
    }
    let joined = kept.into_iter().map(|(finding, more)| match more {
        0 => finding,
        1 => Finding { seen: format!("{}, and so does one more place", finding.seen), ..finding },
        more => Finding { seen: format!("{}, and so do {more} more places", finding.seen), ..finding },
    });
    joined.collect()
}

/// The text without characters that act on a terminal or are invisible there.
fn harmless(text: &str) -> String {
    let is_harmless = |c: char| is_plain(c) || c == '…';
    text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// A text that a server chose, in quotation marks, shortened and without characters that act on a terminal.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", bounded(text))
}

/// A text that a server chose, shortened and without characters that act on a terminal.
pub(super) fn bounded(text: &str) -> String {
    const MAX_CHARS: usize = 160;
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    harmless(&short)
}

/// A URL without its query, which may contain a key.
pub(super) fn shown_url(url: &str) -> String {
    match url.split_once(['?', '#']) {
        Some((before, _)) => bounded(before) + "?…",
        None => bounded(url),
    }
}

/// The first words of a list, in one line.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const MAX_WORDS: usize = 24;
    let mut words = words.into_iter();
    let mut shown: Vec<String> = words.by_ref().take(MAX_WORDS).map(bounded).collect();
    let more = words.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_servers_are_short_and_draw_nothing() {
        let shown = quoted(&format!("a\u{1b}[2J\u{202e}{}", "x".repeat(999)));
        assert!(shown.chars().count() < 170 && !shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        assert_eq!(shown_url("https://a.example/mcp?key=secret"), "https://a.example/mcp?…");
        let many = vec!["a"; 30];
        assert!(listed(many).ends_with("a and 6 more"));
        let redirects: Vec<Finding> = ["a redirects", "b redirects", "c redirects"]
            .into_iter()
            .map(|seen| Finding::problem("unsafe-redirect", Party::Resource, seen))
            .collect();
        let joined = joined(redirects);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].seen, "a redirects, and so do 2 more places");
        let twice = vec![Finding::fine("x", "same"), Finding::note("x", None, "same"), Finding::fine("x", "other")];
        assert_eq!(without_repetitions(twice).len(), 2);
        let finding = Finding::fine("x", "a\u{1b}b").advice("\u{7}");
        assert!(!finding.seen.contains('\u{1b}') && !finding.advice.unwrap().contains('\u{7}'));
    }
}
