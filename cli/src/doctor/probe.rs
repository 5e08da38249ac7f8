//! Judges the answer of the MCP server to a request without a token. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{StatusCode, header};
use tokenkeeper::discovery::{Challenge, Probe};
use tokenkeeper::engine::values::WallTime;

use super::finding::{Finding, Party, Step, bounded, listed, quoted, shown_url, soften};
use super::recorder::{Received, Sent};
use super::transport;
use super::walk::Looked;
use crate::when;

const UNAUTHORIZED: &str = "RFC 9110 section 15.5.2";
const CHALLENGE: &str = "RFC 6750 section 3, RFC 9728 section 5.1";

/// The step of the first request. `has_metadata` is whether metadata was found later, and `unused_proxy` the variable with a
/// proxy that requests to servers do not use. `now` is the time by this machine's clock.
pub(super) fn judge(looked: Looked<Probe>, has_metadata: bool, unused_proxy: Option<&str>, now: WallTime) -> Step {
    let mut findings = Vec::new();
    match looked.sent.first().map(|sent| (sent, sent.outcome.as_ref())) {
        None => findings.push(
            Finding::problem(
                "not-encrypted",
                Party::You,
                "plain http is for servers on this machine alone, so nothing was sent",
            )
            .rule("RFC 6750 section 5.3")
            .advice("use the server's https URL"),
        ),
        Some((sent, Err(error))) => {
            findings.push(transport::without_answer(sent, *error, looked.cause, Party::Resource, unused_proxy));
        }
        Some((sent, Ok(answer))) => {
            let challenges = match &looked.result {
                Ok(Probe::Challenged(challenges) | Probe::Unclear { challenges, .. }) => challenges.as_slice(),
                _ => &[],
            };
            findings.push(status(sent, answer));
            if answer.status == StatusCode::UNAUTHORIZED {
                findings.extend(of_challenges(answer, challenges));
            }
            findings.extend(answer.header(header::DATE).and_then(|date| of_clocks(&date, now)));
        }
    }
    if has_metadata {
        // Without a challenge, a login uses the metadata only, so these problems become notes.
        soften(&mut findings);
    }
    Step::new("probe", "The MCP server, asked without a token", looked.sent, findings)
}

fn status(sent: &Sent, answer: &Received) -> Finding {
    let status = answer.status;
    if status == StatusCode::UNAUTHORIZED {
        return Finding::fine("login-wanted", "it wants a token (401)").rule(UNAUTHORIZED);
    }
    if status.is_success() {
        return Finding::fine("open", "it answers without a token, so a login begins only when it answers 401");
    }
    if let Some(trouble) = transport::trouble(&sent.url, status, Party::Resource) {
        return trouble;
    }
    let seen = |meaning: &str| format!("it answered with status {}: {meaning}", status.as_u16());
    let (code, party, seen, advice) = match status {
        _ if status.is_redirection() => {
            let target = answer.header(header::LOCATION).map_or_else(|| "nowhere".to_owned(), |to| shown_url(&to));
            (
                "redirected",
                Party::You,
                seen(&format!("it redirects to {target}")),
                "use the URL that it redirects to, if you trust it",
            )
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            ("no-mcp-server", Party::You, seen("there is nothing at this URL"), "check the URL and its path")
        }
        StatusCode::METHOD_NOT_ALLOWED => (
            "no-mcp-server",
            Party::You,
            seen("it takes no POST, as an MCP server does"),
            "check the URL and its path; it may be the address of the older transport HTTP+SSE, or of a web page",
        ),
        StatusCode::FORBIDDEN => (
            "forbidden",
            Party::Resource,
            seen("a request without a token must be answered with 401"),
            "report it to the operator, unless the server admits only some networks",
        ),
        _ => {
            let seen = seen("this shows neither that it wants a login nor that it wants none");
            return Finding::note("unclear-answer", Party::Resource, seen)
                .rule("MCP authorization, Error Handling")
                .advice(
                    "report it to the operator, unless the server is open and of 2026-07-28, which has no initialize",
                );
        }
    };
    Finding::problem(code, party, seen).rule("MCP authorization, Error Handling").advice(advice)
}

fn of_challenges(answer: &Received, challenges: &[Challenge]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let headers = || answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
    if headers().any(|value| breaks_off(value.as_bytes())) {
        findings.push(
            Finding::note("malformed-challenge", Party::Resource, "a challenge breaks off within a quoted string")
                .rule("RFC 9110 section 11.6.1")
                .advice("report it to the operator; the broken parameter was ignored"),
        );
    }
    if challenges.is_empty() {
        let finding = Finding::note("no-challenge", Party::Resource, "the 401 has no WWW-Authenticate challenge");
        findings
            .push(finding.rule(UNAUTHORIZED).advice("report it to the operator; metadata was looked for all the same"));
        return findings;
    }
    findings.extend(challenges.iter().map(|challenge| Finding::fine("challenge", words(challenge)).rule(CHALLENGE)));
    if !challenges.iter().any(Challenge::is_for_tokens) {
        let schemes = listed(challenges.iter().map(Challenge::scheme));
        findings.push(
            Finding::note(
                "no-bearer-challenge",
                Party::Resource,
                format!("no challenge is for access tokens, only for {schemes}"),
            )
            .rule("RFC 6750 section 3")
            .advice("report it to the operator; metadata was looked for all the same"),
        );
    }
    if challenges.iter().any(|challenge| challenge.is("DPoP"))
        && !challenges.iter().any(|challenge| challenge.is("Bearer"))
    {
        findings.push(
            Finding::note("dpop-only", None, "it wants tokens that are bound to a key (DPoP), and accepts no others")
                .rule("RFC 9449 section 7.1")
                .advice("tokenkeeper obtains no such tokens yet; ask the operator for the scheme Bearer"),
        );
    }
    if challenges.len() > 1 && headers().count() < challenges.len() {
        let seen = format!("one header contains {} challenges, which is allowed", challenges.len());
        findings.push(
            Finding::note("several-challenges", None, seen)
                .rule("RFC 9110 section 11.6.1")
                .advice("tokenkeeper reads each apart; some other clients mistake one for another"),
        );
    }
    for challenge in challenges.iter().filter(|challenge| challenge.is_for_tokens()) {
        if let Some(error) = challenge.error() {
            let seen = format!("the challenge has the error code {}, although no token was sent", quoted(error));
            findings.push(
                Finding::note("error-without-token", Party::Resource, seen)
                    .rule("RFC 6750 section 3.1")
                    .advice("it does no harm; the operator should leave the code out"),
            );
        }
        let has_other_words = challenge.scope().is_some_and(|text| {
            let kept = challenge.scopes().map_or(0, |scopes| scopes.iter().count());
            kept < text.split_ascii_whitespace().collect::<BTreeSet<_>>().len()
        });
        if has_other_words {
            let seen = format!(
                "a scope of the challenge has characters that scopes must not have: {}",
                bounded(challenge.scope().unwrap_or_default())
            );
            findings.push(
                Finding::note("unusable-scope", Party::Resource, seen)
                    .rule("RFC 6749 section 3.3")
                    .advice("report it to the operator; the scope is left out"),
            );
        }
    }
    findings
}

/// The challenge as it was read. A `token68` and the query of a URL are left out, because they may be secrets.
fn words(challenge: &Challenge) -> String {
    let metadata = challenge.resource_metadata().map(shown_url);
    let parameters = [
        ("realm", challenge.realm()),
        ("error", challenge.error()),
        ("error_description", challenge.error_description()),
        ("scope", challenge.scope()),
        ("resource_metadata", metadata.as_deref()),
        ("algs", challenge.algs()),
    ];
    let known = parameters.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", quoted(value?))));
    let known: Vec<String> = known.collect();
    let token = if challenge.token().is_some() { "…" } else { "" };
    let parts = [bounded(challenge.scheme()), known.join(", "), token.to_owned()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The finding for clocks that differ. The checks of certificates and of the expiry of client secrets use this machine's clock.
fn of_clocks(date: &str, now: WallTime) -> Option<Finding> {
    const TOLERANCE: Duration = Duration::from_secs(5 * 60);
    let theirs = when::read_mail(date)?;
    if theirs.since(now).max(now.since(theirs)) <= TOLERANCE {
        return None;
    }
    let seen = format!("its clock shows {}, and this machine's {}", when::stamp(theirs), when::stamp(now));
    let finding = Finding::note("clocks-differ", Party::Machine, seen).rule("RFC 9110 section 6.6.1");
    Some(finding.advice("check this machine's clock; if it is right, report it to the operator"))
}

/// Whether a quoted string is never closed (RFC 9110 section 5.6.4).
fn breaks_off(header: &[u8]) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for byte in header {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    is_quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_shown_as_it_was_read_and_without_secrets() {
        let shown = |value: &'static str| {
            let headers = [(header::WWW_AUTHENTICATE, http::HeaderValue::from_static(value))].into_iter().collect();
            Challenge::parse(&headers).iter().map(words).collect::<Vec<_>>()
        };
        let value = "Negotiate aHVzaA==, Bearer scope=\"a b\", x=y, resource_metadata=\"https://a.example/m?key=hush\"";
        let bearer = "Bearer scope=\"a b\", resource_metadata=\"https://a.example/m?…\"";
        assert_eq!(shown(value), ["Negotiate …", bearer]);
        assert_eq!(shown("Bearer"), ["Bearer"]);
    }

    #[test]
    fn clocks_may_differ_a_little() {
        // 2026-01-01T00:00:00Z.
        let now = WallTime::from_millis(1_767_225_600_000);
        assert_eq!(of_clocks("Thu, 01 Jan 2026 00:04:59 GMT", now), None);
        assert_eq!(of_clocks("no date", now), None);
        for date in ["Thu, 01 Jan 2026 00:06:00 GMT", "Wed, 31 Dec 2025 23:50:00 GMT"] {
            assert_eq!(of_clocks(date, now).unwrap().code, "clocks-differ", "{date}");
        }
    }

    #[test]
    fn a_string_that_is_never_closed_is_found() {
        for (header, is_broken) in [
            (&b"Bearer realm=\"a\""[..], false),
            (b"Bearer realm=\"a\\\"b\", scope=\"c\"", false),
            (b"Bearer realm=\"a", true),
            (b"Bearer realm=\"a\\\"", true),
            (b"", false),
        ] {
            assert_eq!(breaks_off(header), is_broken, "{header:?}");
        }
    }
}
