//! The common parts of the judgement of both kinds of metadata documents. Pure.

use http::{StatusCode, header};
use serde_json::{Map, Value};
use tokenkeeper::discovery::DiscoveryError;
use url::Url;

use super::finding::{Finding, Party, bounded, shown_url};
use super::network::Cause;
use super::recorder::{MAX_DOCUMENT, Received, Sent};
use super::transport;

/// The findings about the transfer of a document. `next` is the request that followed. A missing document is not a finding
/// by itself.
pub(super) fn of_transfer(
    sent: &Sent,
    next: Option<&Sent>,
    cause: Option<Cause>,
    party: Party,
    unused_proxy: Option<&str>,
) -> Option<Finding> {
    let answer = match &sent.outcome {
        Ok(answer) => answer,
        Err(error) => return Some(transport::without_answer(sent, *error, cause, party, unused_proxy)),
    };
    let at = shown_url(&sent.url);
    match answer.status {
        StatusCode::OK if answer.object().is_none() => {
            let kind = answer.header(header::CONTENT_TYPE).unwrap_or_else(|| "no type".to_owned());
            let seen = format!("{at} answered with no JSON object ({})", bounded(&kind));
            let finding =
                Finding::problem("unreadable-metadata", party, seen).rule("RFC 8414 section 3.2, RFC 9728 section 3.2");
            Some(finding.advice("report it to the operator, or look for a proxy that answers in the server's place"))
        }
        StatusCode::OK if announced(answer) > MAX_DOCUMENT => {
            let seen = format!("{at} announces {} bytes, which is too long for metadata", announced(answer));
            let finding = Finding::note("long-answer", party, seen).rule("RFC 8414 section 3.2, RFC 9728 section 3.2");
            Some(finding.advice("report it to the operator; only the document at its beginning was read"))
        }
        status if status.is_redirection() => {
            let target = answer.header(header::LOCATION).unwrap_or_default();
            let resolved = Url::parse(&sent.url).ok().and_then(|url| url.join(&target).ok());
            let is_followed = next.is_some_and(|next| resolved.as_ref().is_some_and(|url| url.as_str() == next.url));
            let seen = format!("{at} redirects to {}", shown_url(&target));
            Some(if is_followed {
                Finding::fine("redirect", seen)
            } else {
                Finding::problem("unsafe-redirect", party, format!("{seen}, which was not followed"))
                    .rule("MCP security best practices, server-side request forgery")
                    .advice("report it to the operator; metadata must stay at public https addresses")
            })
        }
        status => transport::trouble(&sent.url, status, party),
    }
}

/// The length that the answer announces.
fn announced(answer: &Received) -> usize {
    answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or_default()
}

/// The findings about `scopes_supported`.
pub(super) fn of_scopes(object: &Map<String, Value>, party: Party) -> Option<Finding> {
    let scopes = object.get("scopes_supported")?.as_array()?;
    let texts = scopes.iter().filter_map(Value::as_str);
    let broken: Vec<&str> = texts.filter(|scope| !is_scope(scope)).collect();
    if broken.is_empty() {
        return None;
    }
    let shown: Vec<String> = broken.iter().map(|scope| format!("\"{}\"", bounded(scope))).collect();
    let seen = format!("lists scopes with characters that scopes must not have: {}", bounded(&shown.join(", ")));
    let finding = Finding::note("unusable-scope", party, seen).rule("RFC 6749 section 3.3");
    Some(finding.advice("report it to the operator; these scopes are left out"))
}

/// Whether a scope may be sent (RFC 6749 section 3.3).
pub(super) fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Makes sure that a failed discovery has a finding that prevents logins. If the details gave no such finding, one is made from
/// the error of the discovery, so that no failure is left out.
pub(super) fn complete(findings: &mut Vec<Finding>, error: DiscoveryError, party: Party) {
    if findings.iter().any(|finding| finding.verdict.prevents_login()) {
        return;
    }
    let text = error.to_string();
    let (seen, advice) = text.split_once(": ").unwrap_or((&text, "report it to the operator"));
    let code = match error {
        DiscoveryError::UnsafeAddress { .. } => "unsafe-url",
        DiscoveryError::TooLarge => "answer-too-large",
        DiscoveryError::TooManyRedirects => "too-many-redirects",
        DiscoveryError::ResourceMismatch => "resource-mismatch",
        DiscoveryError::IssuerMismatch => "issuer-mismatch",
        DiscoveryError::NoAuthorizationServer => "no-authorization-server",
        DiscoveryError::NotFound { .. } | DiscoveryError::NamedNotFound { .. } => "no-metadata",
        DiscoveryError::Unreadable { .. } => "unreadable-metadata",
        DiscoveryError::Untrusted => "untrusted",
        _ => "unusable-metadata",
    };
    let finding =
        if error.is_transient() { Finding::outage(code, party, seen) } else { Finding::problem(code, party, seen) };
    findings.push(finding.rule("RFC 8414 section 3, RFC 9728 section 3").advice(advice));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, Method};
    use tokenkeeper::http::Body;

    use super::*;
    use crate::doctor::finding::Verdict;

    fn sent(url: &str, status: u16, header: Option<(http::HeaderName, &'static str)>, body: &str) -> Sent {
        let headers: HeaderMap =
            header.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        let (status, body) = (StatusCode::from_u16(status).unwrap(), Body::new(body));
        let (method, took) = (Method::GET, Duration::ZERO);
        Sent { method, url: url.to_owned(), took, outcome: Ok(Received { status, headers, body }) }
    }

    fn judged(sent: &Sent, next: Option<&Sent>) -> Option<(&'static str, Verdict)> {
        of_transfer(sent, next, None, Party::Resource, None).map(|finding| (finding.code, finding.verdict))
    }

    #[test]
    fn a_redirect_is_followed_or_unsafe() {
        let to = |target| sent("https://a.example/x/meta", 302, Some((header::LOCATION, target)), "");
        let next = sent("https://a.example/meta", 200, None, "{}");
        for target in ["https://a.example/meta", "/meta", "../meta"] {
            assert_eq!(judged(&to(target), Some(&next)), Some(("redirect", Verdict::Fine)), "{target}");
        }
        let is_unsafe = Some(("unsafe-redirect", Verdict::Problem(Party::Resource)));
        for target in ["http://127.0.0.1:1/elsewhere", "https://10.0.0.1/meta", "javascript:alert(1)", "//["] {
            assert_eq!(judged(&to(target), Some(&next)), is_unsafe, "{target}");
            assert_eq!(judged(&to(target), None), is_unsafe, "{target}");
        }
    }

    #[test]
    fn documents_are_objects_of_a_usual_length() {
        let long = Some((header::CONTENT_LENGTH, "10485760"));
        let problem = Verdict::Problem(Party::Resource);
        let url = "https://a.example/meta";
        assert_eq!(judged(&sent(url, 200, None, "{}"), None), None);
        assert_eq!(judged(&sent(url, 200, None, "\u{feff}{}"), None), None);
        assert_eq!(judged(&sent(url, 404, None, ""), None), None);
        assert_eq!(judged(&sent(url, 200, None, "<p>"), None), Some(("unreadable-metadata", problem)));
        assert_eq!(judged(&sent(url, 200, None, "[]"), None), Some(("unreadable-metadata", problem)));
        let note = Verdict::Note(Some(Party::Resource));
        assert_eq!(judged(&sent(url, 200, long, "{}"), None), Some(("long-answer", note)));
        assert_eq!(judged(&sent(url, 502, None, ""), None), Some(("server-trouble", Verdict::Outage(Party::Resource))));
    }

    /// The error of the discovery decides, if nothing else explains it.
    #[test]
    fn no_failure_of_the_discovery_is_left_out() {
        for error in [
            DiscoveryError::ResourceMismatch,
            DiscoveryError::IssuerMismatch,
            DiscoveryError::UnsafeAddress { member: "issuer" },
            DiscoveryError::Unreadable { member: None },
            DiscoveryError::TooLarge,
            DiscoveryError::TooManyRedirects,
            DiscoveryError::Unreachable,
            DiscoveryError::Untrusted,
            DiscoveryError::ServerTrouble { status: 500 },
            DiscoveryError::Aborted,
        ] {
            let mut findings = vec![Finding::fine("metadata", "found")];
            complete(&mut findings, error, Party::Resource);
            let [_, last] = findings.as_slice() else { panic!("{error}") };
            assert_eq!(matches!(last.verdict, Verdict::Outage(_)), error.is_transient(), "{error}");
            assert!(last.verdict.prevents_login() && last.advice.is_some(), "{error}");
            complete(&mut findings, error, Party::Resource);
            assert_eq!(findings.len(), 2, "{error}");
        }
    }
}
