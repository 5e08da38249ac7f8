//! Judges the metadata of an authorization server (RFC 8414, OpenID Connect Discovery). Pure.

use http::StatusCode;
use serde_json::{Map, Value};
use tokenkeeper::discovery::{AuthorizationServer, DiscoveryError};
use tokenkeeper::grant::may_receive_secrets;
use tokenkeeper::http::Reach;
use url::Url;

use super::finding::{Finding, Party, Step, joined, quoted, shown_url, soften};
use super::metadata;
use super::walk::{NamedBy, WalkedServer};

const ISSUER: &str = "RFC 8414 section 3.3, OpenID Connect Discovery section 4.3";
const MEMBERS: &str = "RFC 8414 section 2";
const PLACES: &str = "RFC 8414 section 3.1; MCP authorization, Authorization Server Metadata Discovery";
const SAFE: &str = "RFC 6749 section 3.1.2.1 and 3.2; MCP security best practices, server-side request forgery";

/// The members with the URL of an endpoint.
pub(super) const ENDPOINTS: [&str; 6] = [
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
];

/// The description of an authorization server, even of one that a login would not use.
#[derive(Debug)]
pub(super) struct Described {
    /// The members of its document, or the endpoints that the revision of 2025-03-26 assumes.
    pub(super) members: Map<String, Value>,
    /// Whether there is no document.
    pub(super) is_assumed: bool,
}

impl Described {
    pub(super) fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member)?.as_str().filter(|text| !text.is_empty())
    }

    pub(super) fn texts(&self, member: &str) -> Option<Vec<&str>> {
        Some(self.members.get(member)?.as_array()?.iter().filter_map(Value::as_str).collect())
    }

    pub(super) fn is_true(&self, member: &str) -> bool {
        self.members.get(member).and_then(Value::as_bool).unwrap_or(false)
    }

    fn assumed(server: &AuthorizationServer) -> Self {
        let endpoints = [
            ("issuer", Some(&server.issuer)),
            ("authorization_endpoint", server.authorization_endpoint.as_ref()),
            ("token_endpoint", Some(&server.token_endpoint)),
            ("registration_endpoint", server.registration_endpoint.as_ref()),
        ];
        let present =
            endpoints.into_iter().filter_map(|(name, url)| Some((name.to_owned(), Value::from(url?.clone()))));
        Self { members: present.collect(), is_assumed: true }
    }
}

/// The step of one authorization server, and its description if it could be read.
pub(super) fn judge(server: WalkedServer, reach: Reach, unused_proxy: Option<&str>) -> (Step, Option<Described>) {
    let WalkedServer { by, looked } = &server;
    let listed = server.listed();
    let (mut transfers, mut findings) = (Vec::new(), Vec::new());
    let mut described = None;
    for (place, sent) in looked.sent.iter().enumerate() {
        let next = looked.sent.get(place + 1);
        let cause = looked.cause.filter(|_| next.is_none());
        let party = Party::AuthorizationServer;
        transfers.extend(metadata::of_transfer(sent, next, cause, party, unused_proxy));
        let answer = sent.answer().filter(|answer| answer.status == StatusCode::OK);
        if let Some(members) = answer.and_then(|answer| answer.object()) {
            let document = Described { members, is_assumed: false };
            findings.push(Finding::fine("metadata", format!("found at {}", shown_url(&sent.url))).rule(PLACES));
            findings.extend(of_document(listed, &document, reach));
            described = Some(document);
        }
    }
    let mut findings = [joined(transfers), findings].concat();
    match (&looked.result, listed) {
        (Ok(_), _) => soften(&mut findings),
        (Err(DiscoveryError::UnsafeAddress { .. }), Some(issuer)) if looked.sent.is_empty() => {
            findings.push(unsafe_issuer(issuer, reach));
        }
        (Err(DiscoveryError::NotFound { .. }), _) if findings.is_empty() => findings.push(
            Finding::problem(
                "no-server-metadata",
                Party::AuthorizationServer,
                "it publishes no metadata at any of these places",
            )
            .rule(PLACES)
            .advice("report it to the operator; MCP requires authorization servers to publish metadata"),
        ),
        (Err(error), _) => metadata::complete(&mut findings, *error, Party::AuthorizationServer),
    }
    if let (Ok(server), None) = (&looked.result, &described) {
        let seen =
            "it publishes no metadata, so /authorize, /token and /register at the MCP server's origin are assumed";
        let finding = Finding::note("assumed-endpoints", Party::Resource, seen);
        findings.push(
            finding.rule("MCP 2025-03-26, Fallbacks for Servers without Metadata Discovery").advice(
                "--probe-token shows whether the token endpoint is there; the operator should publish metadata",
            ),
        );
        described = Some(Described::assumed(server));
    }
    let title = match by {
        NamedBy::Resource(issuer) => format!("Authorization server {}", shown_url(issuer)),
        NamedBy::Origin => "Authorization server at the MCP server's origin".to_owned(),
        NamedBy::Person => "Authorization server of the metadata that you name".to_owned(),
    };
    (Step::new("server_metadata", title, server.looked.sent, findings), described)
}

fn unsafe_issuer(issuer: &str, reach: Reach) -> Finding {
    let why = why_unsafe(issuer, reach).unwrap_or_else(|| "an issuer has neither a query nor a fragment".to_owned());
    Finding::problem("unsafe-issuer", Party::Resource, format!("lists the issuer {}: {why}", quoted(issuer)))
        .rule("RFC 8414 section 2, RFC 9728 section 2")
        .advice("report it to the operator of the MCP server, who lists this issuer; nothing was sent there")
}

/// The reason why no request is sent to `url`, if there is one.
pub(super) fn why_unsafe(url: &str, reach: Reach) -> Option<String> {
    let Ok(parsed) = Url::parse(url) else { return Some("it is no absolute URL".to_owned()) };
    match reach.permits(&parsed) {
        Err(why) => Some(why.to_string()),
        Ok(()) if may_receive_secrets(url) => None,
        Ok(()) if parsed.scheme() == "http" => Some("it is not encrypted".to_owned()),
        Ok(()) => Some("it is not in the exact form of a URL".to_owned()),
    }
}

fn of_document(listed: Option<&str>, document: &Described, reach: Reach) -> Vec<Finding> {
    let mut findings = vec![names_issuer(listed, document.text("issuer"))];
    for member in ENDPOINTS {
        let Some(url) = document.text(member) else { continue };
        if let Some(why) = why_unsafe(url, reach) {
            findings.push(
                Finding::problem(
                    "unsafe-endpoint",
                    Party::AuthorizationServer,
                    format!("{member} is {}: {why}", quoted(url)),
                )
                .rule(SAFE)
                .advice("report it to the operator; nothing is sent there"),
            );
        }
    }
    if document.text("token_endpoint").is_none() {
        let finding = Finding::problem("incomplete-metadata", Party::AuthorizationServer, "it names no token_endpoint");
        findings.push(finding.rule(MEMBERS).advice("report it to the operator"));
    }
    findings.extend(metadata::of_scopes(&document.members, Party::AuthorizationServer));
    findings
}

/// The finding about whether the document belongs to the issuer that was asked.
fn names_issuer(listed: Option<&str>, documented: Option<&str>) -> Finding {
    const ADVICE: &str = "report it to the operators: the MCP server must list the issuer exactly as the authorization server \
                          names itself; such a document must not be used";
    let Some(documented) = documented else {
        let finding =
            Finding::problem("unreadable-metadata", Party::AuthorizationServer, "the document names no issuer");
        return finding.rule(MEMBERS).advice("report it to the operator; the member issuer is required");
    };
    match listed {
        // No issuer was listed. Discovery compares the document's issuer with the origin, with and without a slash at its end.
        // A person who names the document vouches for its issuer.
        None => Finding::fine("issuer", format!("names the issuer {}", shown_url(documented))).rule(ISSUER),
        Some(listed) if listed == documented => {
            Finding::fine("issuer", format!("names the issuer {}, which was asked for", shown_url(documented)))
                .rule(ISSUER)
        }
        Some(listed) => {
            let slash = if listed.trim_end_matches('/') == documented.trim_end_matches('/') {
                "; they differ by a slash"
            } else {
                ""
            };
            let seen = format!("names the issuer {}, and {} was asked for{slash}", quoted(documented), quoted(listed));
            Finding::problem("issuer-mismatch", Party::AuthorizationServer, seen).rule(ISSUER).advice(ADVICE)
        }
    }
}
