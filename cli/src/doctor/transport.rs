//! Judges requests without an answer, and answers that show a server's trouble. Pure.

use http::StatusCode;
use tokenkeeper::engine::law::profile::NotSent;
use tokenkeeper::http::{HttpError, MaybeSent};

use super::finding::{Finding, Party, shown_url};
use super::network::{Cause, TlsFault};
use super::recorder::Sent;

const TLS: &str = "RFC 9110 section 4.3.4";
const REACH: &str = "MCP security best practices, server-side request forgery";

/// The finding for a request without an answer. `party` operates the server, and `cause` explains the failure. `unused_proxy`
/// is the variable with a proxy that the request did not use.
pub(super) fn without_answer(
    sent: &Sent,
    error: HttpError,
    cause: Option<Cause>,
    party: Party,
    unused_proxy: Option<&str>,
) -> Finding {
    let at = shown_url(&sent.url);
    match (error, cause) {
        (_, Some(Cause::OutOfReach(address))) => {
            let seen = format!("{at} leads to {address}, which is not a public address, so nothing was sent");
            Finding::problem("address-not-public", party, seen)
                .rule(REACH)
                .advice("the server must be at a public address, or the MCP server must be on this machine too")
        }
        (HttpError::NotSent(NotSent::Forbidden), _) => {
            Finding::problem("address-not-public", party, format!("{at} may not be used, so nothing was sent"))
                .rule(REACH)
                .advice("the server must be at a public address")
        }
        (HttpError::NotSent(NotSent::Untrusted), cause) => untrusted(&at, cause, party),
        (HttpError::NotSent(NotSent::Unreachable), cause) => unreachable(&at, cause, party, unused_proxy),
        (HttpError::NotSent(NotSent::Unbuildable | NotSent::TooLate), _) => {
            Finding::problem("not-sent", Party::Machine, format!("this tokenkeeper cannot send a request to {at}"))
                .advice("use a tokenkeeper that was built with TLS (the feature tls)")
        }
        (HttpError::MaybeSent(MaybeSent::TimedOut), _) => {
            Finding::outage("no-answer", party, format!("{at} sent no complete answer in time"))
                .rule("RFC 9110 section 15")
                .advice("try again, with a longer --timeout if the server is slow")
        }
        (HttpError::MaybeSent(MaybeSent::Broken), _) => {
            Finding::outage("broken-answer", party, format!("the connection to {at} broke before a complete answer"))
                .advice("try again; if it remains, report it to the operator")
        }
        (HttpError::MaybeSent(MaybeSent::TooLarge), _) => Finding::problem(
            "answer-too-large",
            party,
            format!("the answer of {at} is larger than 64 KiB, and was not read"),
        )
        .advice("report it to the operator; metadata has a few KiB"),
    }
}

fn unreachable(at: &str, cause: Option<Cause>, party: Party, unused_proxy: Option<&str>) -> Finding {
    let finding = |code, party, reason: &str, advice: &str| {
        Finding::outage(code, party, format!("{at} cannot be reached: {reason}")).advice(advice)
    };
    match (cause, unused_proxy) {
        (Some(Cause::NoSuchName), None) if party == Party::Resource => finding(
            "unknown-name",
            Party::You,
            "its name has no address",
            "check the spelling of the URL, and the network",
        ),
        (Some(Cause::NoSuchName), None) => {
            finding("unknown-name", party, "its name has no address", "report it to the operator")
        }
        (Some(Cause::Refused), _) => finding(
            "connection-refused",
            party,
            "nothing listens at its port",
            "check the URL, and that the server runs",
        ),
        (Some(Cause::Closed), _) => finding(
            "connection-closed",
            party,
            "it accepts a connection, and ends it before a request can be sent",
            "check the URL and its port, then report it to the operator",
        ),
        (Some(Cause::Proxy(variable)), _) => finding(
            "proxy-failed",
            Party::Machine,
            &format!("the proxy of {variable} established no connection"),
            &format!("check {variable}, or name the server in NO_PROXY"),
        ),
        (_, Some(variable)) => finding(
            "unreachable",
            Party::Machine,
            &format!("it is connected to directly, without the proxy of {variable}"),
            "let this machine reach it directly, because a URL that a server names never goes through a proxy of the \
             environment",
        ),
        _ => {
            finding("unreachable", Party::Network, "no connection was established", "check the network, and try again")
        }
    }
}

fn untrusted(at: &str, cause: Option<Cause>, party: Party) -> Finding {
    let fault = match cause {
        Some(Cause::Tls(fault)) => fault,
        Some(Cause::Proxy(_)) | None | Some(_) => TlsFault::Other,
    };
    let (party, reason, advice) = match fault {
        TlsFault::Expired => {
            (party, "its certificate has expired", "report it to the operator; check this machine's clock")
        }
        TlsFault::NotYetValid => (
            Party::Machine,
            "its certificate is not valid yet",
            "check this machine's clock, then report it to the operator",
        ),
        TlsFault::OtherName => {
            (party, "its certificate is for another name", "check the URL, then report it to the operator")
        }
        TlsFault::UnknownIssuer => (
            Party::Machine,
            "no certificate that this machine trusts has signed its certificate",
            "if your company or the server has its own root certificate, name its file in SSL_CERT_FILE; otherwise report it \
             to the operator, and do not sign in",
        ),
        TlsFault::OfAuthority => (
            party,
            "it presents the certificate of an authority (CA:TRUE, perhaps self-signed) as its own",
            "report it to the operator; a server needs a certificate with CA:FALSE, signed by an authority that you trust",
        ),
        TlsFault::NoTls => (party, "it does not speak TLS there", "check the URL and its port"),
        TlsFault::Ended => (
            party,
            "it ends the connection within the handshake of TLS",
            "check the URL and its port, then report it to the operator",
        ),
        TlsFault::Other => (
            party,
            "TLS failed",
            "check its certificate, the certificates that this machine trusts (SSL_CERT_FILE), and proxies that open TLS",
        ),
    };
    Finding::problem("untrusted", party, format!("no secure connection to {at} could be established: {reason}"))
        .rule(TLS)
        .advice(advice)
}

/// The finding for a status that shows the server's trouble, which may pass.
pub(super) fn trouble(at: &str, status: StatusCode, party: Party) -> Option<Finding> {
    let is_trouble =
        status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    is_trouble.then(|| {
        Finding::outage("server-trouble", party, format!("{} answered with status {}", shown_url(at), status.as_u16()))
            .rule("RFC 9110 section 15.6")
            .advice("try again later; if it remains, report it to the operator")
    })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::doctor::finding::Verdict;

    fn judged(error: HttpError, cause: Option<Cause>, unused_proxy: Option<&str>) -> (&'static str, Verdict) {
        let url = "https://as.example/x?key=secret".to_owned();
        let sent = Sent { method: Method::GET, url, took: std::time::Duration::ZERO, outcome: Err(error) };
        let finding = without_answer(&sent, error, cause, Party::Resource, unused_proxy);
        assert!(!finding.seen.contains("secret") && finding.advice.is_some(), "{finding:?}");
        (finding.code, finding.verdict)
    }

    #[test]
    fn each_failure_has_its_cause_and_its_party() {
        const UNREACHABLE: HttpError = HttpError::NotSent(NotSent::Unreachable);
        const UNTRUSTED: HttpError = HttpError::NotSent(NotSent::Untrusted);
        let (outage, problem) = (Verdict::Outage, Verdict::Problem);
        let address = "10.0.0.1".parse().unwrap();
        let cases = [
            (UNREACHABLE, Some(Cause::NoSuchName), None, "unknown-name", outage(Party::You)),
            (UNREACHABLE, Some(Cause::Refused), None, "connection-refused", outage(Party::Resource)),
            (UNREACHABLE, Some(Cause::Closed), None, "connection-closed", outage(Party::Resource)),
            (UNREACHABLE, Some(Cause::Silent), None, "unreachable", outage(Party::Network)),
            (UNREACHABLE, Some(Cause::Silent), Some("HTTPS_PROXY"), "unreachable", outage(Party::Machine)),
            (UNREACHABLE, Some(Cause::NoSuchName), Some("HTTPS_PROXY"), "unreachable", outage(Party::Machine)),
            (UNREACHABLE, Some(Cause::Proxy("HTTPS_PROXY")), None, "proxy-failed", outage(Party::Machine)),
            (UNTRUSTED, Some(Cause::Tls(TlsFault::Expired)), None, "untrusted", problem(Party::Resource)),
            (UNTRUSTED, Some(Cause::Tls(TlsFault::UnknownIssuer)), None, "untrusted", problem(Party::Machine)),
            (UNTRUSTED, None, None, "untrusted", problem(Party::Resource)),
            (
                HttpError::NotSent(NotSent::Forbidden),
                Some(Cause::OutOfReach(address)),
                None,
                "address-not-public",
                problem(Party::Resource),
            ),
            (HttpError::MaybeSent(MaybeSent::TimedOut), None, None, "no-answer", outage(Party::Resource)),
            (HttpError::MaybeSent(MaybeSent::TooLarge), None, None, "answer-too-large", problem(Party::Resource)),
        ];
        for (error, cause, proxy, code, verdict) in cases {
            assert_eq!(judged(error, cause, proxy), (code, verdict), "{error:?} {cause:?}");
        }
    }
}
