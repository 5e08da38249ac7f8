//! The report, for terminals and for programs.

use serde_json::{Value, json};

use super::finding::{Finding, Party, Step, Verdict, shown_url};
use super::recorder::Sent;
use crate::paint::{BAD, BOLD, FAINT, GOOD, NOTE, paint};

/// The report for people.
pub(super) fn text(server: &str, steps: &[Step]) -> String {
    let mut text = format!("{}\n", paint(BOLD, server));
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("\n{} {}\n", paint(FAINT, number + 1), paint(BOLD, &step.title)));
        for sent in &step.sent {
            text.push_str(&format!("    {}\n", paint(FAINT, request(sent))));
        }
        for finding in &step.findings {
            text.push_str(&lines(finding));
        }
    }
    text
}

fn request(Sent { method, url, took, outcome }: &Sent) -> String {
    let end = match outcome {
        Ok(answer) => {
            format!("{}, {} bytes, {} ms", answer.status.as_u16(), answer.body.as_bytes().len(), took.as_millis())
        }
        Err(error) => error.to_string(),
    };
    format!("{method} {}  →  {end}", shown_url(url))
}

fn lines(finding: &Finding) -> String {
    let (style, mark) = match finding.verdict {
        Verdict::Fine => (GOOD, "✓"),
        Verdict::Note(_) => (NOTE, "!"),
        Verdict::Problem(_) | Verdict::Outage(_) => (BAD, "✗"),
    };
    let mut text = format!("  {} {}", paint(style, mark), finding.seen);
    if finding.verdict == Verdict::Fine {
        if let Some(rule) = finding.rule {
            text.push_str(&format!("  {}", paint(FAINT, rule)));
        }
        text.push('\n');
        return text;
    }
    text.push('\n');
    let party = finding.verdict.party().map(|party| format!("up to {}", party.words()));
    let origin: Vec<String> = [party, finding.rule.map(str::to_owned)].into_iter().flatten().collect();
    if !origin.is_empty() {
        text.push_str(&format!("      {}\n", paint(FAINT, origin.join(" · "))));
    }
    if let Some(advice) = &finding.advice {
        text.push_str(&format!("      → {advice}\n"));
    }
    text
}

/// The report for programs.
pub(super) fn object(server: &str, account: &str, steps: &[Step]) -> Value {
    let findings = steps.iter().flat_map(|step| step.findings.iter().map(|finding| of_finding(step, finding)));
    json!({
        "server": server,
        "account": account,
        "login_possible": !findings_of(steps).any(|finding| finding.verdict.prevents_login()),
        "steps": steps.iter().map(of_step).collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

fn of_step(step: &Step) -> Value {
    let requests = step.sent.iter().map(|sent| {
        let answer = sent.answer();
        json!({
            "method": sent.method.as_str(),
            "url": shown_url(&sent.url),
            "status": answer.map(|answer| answer.status.as_u16()),
            "bytes": answer.map(|answer| answer.body.as_bytes().len()),
            "milliseconds": u64::try_from(sent.took.as_millis()).unwrap_or(u64::MAX),
            "error": sent.outcome.as_ref().err().map(ToString::to_string),
        })
    });
    json!({ "step": step.name, "title": step.title, "requests": requests.collect::<Vec<_>>() })
}

fn of_finding(step: &Step, finding: &Finding) -> Value {
    let level = match finding.verdict {
        Verdict::Fine => "ok",
        Verdict::Note(_) => "note",
        Verdict::Problem(_) | Verdict::Outage(_) => "problem",
    };
    json!({
        "step": step.name,
        "code": finding.code,
        "level": level,
        "may_pass": matches!(finding.verdict, Verdict::Outage(_)),
        "blame": finding.verdict.party(),
        "seen": finding.seen,
        "rule": finding.rule,
        "advice": finding.advice,
    })
}

fn findings_of(steps: &[Step]) -> impl Iterator<Item = &Finding> {
    steps.iter().flat_map(|step| &step.findings)
}

/// The outcome of an examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No finding prevents a login.
    LoginPossible,
    /// A party has to resolve a problem. The text names the parties.
    Prevented(String),
    /// Trying again may help. The text names the parties.
    Unavailable(String),
}

impl Outcome {
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut parties: Vec<Party> = findings_of(steps)
            .filter(|finding| finding.verdict.prevents_login())
            .filter_map(|finding| finding.verdict.party())
            .collect();
        let number = parties.len();
        parties.sort_unstable();
        parties.dedup();
        let parties: Vec<&str> = parties.into_iter().map(Party::words).collect();
        let is_lasting = findings_of(steps).any(|finding| matches!(finding.verdict, Verdict::Problem(_)));
        let problems =
            if number == 1 { "one problem prevents".to_owned() } else { format!("{number} problems prevent") };
        let parties = match parties.as_slice() {
            [others @ .., one, last] => [others, &[&*format!("{one} and {last}")]].concat().join(", "),
            few => few.concat(),
        };
        let words = format!("{problems} a login, up to {parties}");
        match number {
            0 => Self::LoginPossible,
            _ if is_lasting => Self::Prevented(words),
            _ => Self::Unavailable(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(findings: Vec<Finding>) -> Vec<Step> {
        vec![Step::new("probe", "title", Vec::new(), findings)]
    }

    #[test]
    fn the_outcome_names_the_parties() {
        let you = Finding::problem("c", Party::You, "z");
        let outage = Finding::outage("a", Party::Network, "x");
        let problem = Finding::problem("b", Party::Resource, "y");
        assert_eq!(Outcome::of(&steps(vec![Finding::note("n", Party::You, "z")])), Outcome::LoginPossible);
        assert_eq!(
            Outcome::of(&steps(vec![outage.clone()])),
            Outcome::Unavailable("one problem prevents a login, up to the network".to_owned())
        );
        let prevented = |findings, words: &str| {
            assert_eq!(Outcome::of(&steps(findings)), Outcome::Prevented(words.to_owned()));
        };
        prevented(
            vec![outage.clone(), problem.clone()],
            "2 problems prevent a login, up to the MCP server's operator and the network",
        );
        prevented(
            vec![outage, you, problem],
            "3 problems prevent a login, up to the MCP server's operator, the network and you",
        );
    }

    #[test]
    fn a_problem_is_shown_with_its_rule_its_party_and_its_remedy() {
        let problem = Finding::problem("b", Party::Resource, "y").rule("RFC 1").advice("do it");
        let shown = anstream::adapter::strip_str(&text("https://a.example", &steps(vec![problem]))).to_string();
        let expected =
            "https://a.example\n\n1 title\n  ✗ y\n      up to the MCP server's operator · RFC 1\n      → do it\n";
        assert_eq!(shown, expected);
    }
}
