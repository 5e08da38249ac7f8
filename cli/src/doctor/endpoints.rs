//! The endpoints of an authorization server, with the addresses that their names lead to, and a trial request at the token
//! endpoint.

use std::net::SocketAddr;

use http::StatusCode;
use serde_json::Value;
use tokenkeeper::http::Reach;
use url::Url;

use super::finding::{Finding, Party, Step, listed, quoted, shown_url};
use super::network::{self, Cause};
use super::server::{Described, why_unsafe};
use super::transport;
use super::walk::Looked;

/// The endpoints to which tokenkeeper itself sends requests. Only the browser opens the authorization endpoint.
const CALLED: [&str; 5] = [
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
];

/// A host of endpoints, and its addresses.
#[derive(Debug)]
pub(super) struct Host {
    url: Url,
    members: Vec<&'static str>,
    addresses: Result<Vec<SocketAddr>, Cause>,
}

/// Resolves the hosts of the endpoints. Endpoints that are not safe are left out.
pub(super) async fn look_up(server: &Described, reach: Reach) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for member in CALLED {
        let Some(text) = server.text(member).filter(|text| why_unsafe(text, reach).is_none()) else { continue };
        let Ok(url) = Url::parse(text) else { continue };
        match hosts.iter_mut().find(|host| host.url.origin() == url.origin()) {
            Some(host) => host.members.push(member),
            None => {
                let addresses = network::addresses(&url).await;
                hosts.push(Host { url, members: vec![member], addresses });
            }
        }
    }
    hosts
}

/// The findings about the addresses of the hosts.
pub(super) fn judge(hosts: &[Host], reach: Reach, unused_proxy: Option<&str>) -> Option<Step> {
    let findings: Vec<Finding> = hosts.iter().map(|host| of_host(host, reach, unused_proxy)).collect();
    (!findings.is_empty()).then(|| Step::new("endpoints", "Addresses of the endpoints", Vec::new(), findings))
}

fn of_host(Host { url, members, addresses }: &Host, reach: Reach, unused_proxy: Option<&str>) -> Finding {
    const RULE: &str = "MCP security best practices, server-side request forgery";
    let (host, members) = (listed(url.host_str()), members.join(", "));
    let party = Party::AuthorizationServer;
    match addresses {
        Ok(addresses) => match network::out_of_reach(url, addresses, reach) {
            Some(address) => {
                let seen = format!("{host} leads to {address}, which is not a public address ({members})");
                Finding::problem("address-not-public", party, seen).rule(RULE).advice(
                    "report it to the operator; if the name is public elsewhere, check the name server of this machine",
                )
            }
            None => {
                let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
                Finding::fine(
                    "addresses",
                    format!("{host} is at {} ({members})", listed(shown.iter().map(String::as_str))),
                )
                .rule(RULE)
            }
        },
        Err(_) if unused_proxy.is_some() => {
            let variable = unused_proxy.unwrap_or_default();
            let seen =
                format!("this machine finds no address of {host} ({members}), and {variable} is not used for it");
            Finding::outage("unknown-name", Party::Machine, seen)
                .rule(RULE)
                .advice("let this machine look up public names and reach them directly")
        }
        Err(Cause::NoSuchName) => {
            Finding::outage("unknown-name", party, format!("the name {host} has no address ({members})"))
                .advice("check the network, then report it to the operator")
        }
        Err(_) => Finding::outage(
            "no-name-server",
            Party::Network,
            format!("the look-up of {host} brought no answer ({members})"),
        )
        .advice("check the network, and try again"),
    }
}

/// The step of the trial request at the token endpoint.
pub(super) fn judge_trial(looked: Looked<()>, unused_proxy: Option<&str>) -> Step {
    let party = Party::AuthorizationServer;
    let findings = looked.sent.iter().map(|sent| match &sent.outcome {
        Err(error) => transport::without_answer(sent, *error, looked.cause, party, unused_proxy),
        Ok(answer) => {
            let error =
                answer.object().and_then(|object| object.get("error").and_then(Value::as_str).map(str::to_owned));
            of_trial(&sent.url, answer.status, error.as_deref())
        }
    });
    let findings = findings.collect();
    Step::new("token_endpoint", "The token endpoint, asked for nothing", looked.sent, findings)
}

fn of_trial(url: &str, status: StatusCode, error: Option<&str>) -> Finding {
    const RULE: &str = "RFC 6749 section 3.2 and 5.2";
    let (at, code) = (shown_url(url), status.as_u16());
    if let Some(error) = error.filter(|_| status.is_client_error()) {
        return Finding::fine("token-endpoint", format!("{at} refuses an empty request with {}", quoted(error)))
            .rule(RULE);
    }
    if let Some(trouble) = transport::trouble(url, status, Party::AuthorizationServer) {
        return trouble;
    }
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::METHOD_NOT_ALLOWED => {
            let seen = format!("there is no token endpoint at {at} (status {code})");
            Finding::problem("token-endpoint-gone", Party::AuthorizationServer, seen)
                .rule(RULE)
                .advice("report it to the operator; the metadata names a wrong address")
        }
        _ => {
            let seen = format!("{at} answers an empty request with status {code}, and with no error of OAuth");
            Finding::note("unusual-token-endpoint", Party::AuthorizationServer, seen)
                .rule(RULE)
                .advice("it may be a firewall or a proxy; if logins fail, report it to the operator")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn a_name_of_a_server_must_lead_somewhere_public() {
        let judged = |addresses| {
            let url = Url::parse("https://as.example/token").unwrap();
            let finding = of_host(&Host { url, members: vec!["token_endpoint"], addresses }, Reach::Public, None);
            (finding.code, finding.verdict)
        };
        let at = |text: &str| Ok(vec![text.parse().unwrap()]);
        let theirs = Party::AuthorizationServer;
        assert_eq!(judged(at("93.184.216.34:443")), ("addresses", Verdict::Fine));
        assert_eq!(judged(at("192.168.1.1:443")), ("address-not-public", Verdict::Problem(theirs)));
        assert_eq!(judged(Err(Cause::NoSuchName)), ("unknown-name", Verdict::Outage(theirs)));
        assert_eq!(judged(Err(Cause::Unknown)), ("no-name-server", Verdict::Outage(Party::Network)));
    }

    #[test]
    fn a_token_endpoint_refuses_an_empty_request_in_the_words_of_oauth() {
        let judged =
            |status, error| of_trial("https://as.example/token", StatusCode::from_u16(status).unwrap(), error).code;
        assert_eq!(judged(400, Some("invalid_request")), "token-endpoint");
        assert_eq!(judged(401, Some("invalid_client")), "token-endpoint");
        assert_eq!(judged(404, None), "token-endpoint-gone");
        assert_eq!(judged(405, None), "token-endpoint-gone");
        assert_eq!(judged(503, None), "server-trouble");
        assert_eq!(judged(403, None), "unusual-token-endpoint");
        assert_eq!(judged(200, None), "unusual-token-endpoint");
    }
}
