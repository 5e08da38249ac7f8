//! Judges the metadata of the MCP server (RFC 9728). Pure.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value};
use tokenkeeper::ResourceUri;
use tokenkeeper::discovery::{Challenge, DiscoveryError, Probe, ProtectedResource};
use tokenkeeper::http::Reach;

use super::finding::{Finding, Party, Step, bounded, joined, listed, quoted, shown_url, soften};
use super::metadata;
use super::recorder::Sent;
use super::server::why_unsafe;
use super::walk::{Looked, Walked};

const BELONGS: &str = "RFC 9728 section 3.3";
const MEMBERS: &str = "RFC 9728 section 2";
const PLACES: &str = "RFC 9728 section 3.1; MCP authorization, Protected Resource Metadata Discovery Requirements";

/// The step of the resource's metadata.
pub(super) fn judge(resource: &ResourceUri, walked: &mut Walked, unused_proxy: Option<&str>) -> Option<Step> {
    let has_server = walked.servers.iter().any(|server| server.listed().is_none() && server.usable().is_some());
    let named = walked.named.take();
    let well_known = walked.well_known.take();
    if named.is_none() && well_known.is_none() {
        return None;
    }
    let (mut sent, mut findings) = (Vec::new(), Vec::new());
    let is_named = named.is_some();
    if let Some(looked) = named {
        let url = walked.probe.result.as_ref().ok().and_then(Probe::challenge).and_then(Challenge::resource_metadata);
        if let (Some(url), true) = (url, looked.sent.is_empty()) {
            findings.extend(unsafe_place(url, walked.reach));
        }
        if findings.is_empty() {
            findings = of_look(resource, &looked, true, has_server, unused_proxy);
        }
        sent.extend(looked.sent);
    }
    if let Some(looked) = well_known {
        let mut found = of_look(resource, &looked, false, has_server, unused_proxy);
        // A login uses the document that the challenge names, so problems at the well-known places prevent nothing.
        if is_named {
            soften(&mut found);
        }
        findings.extend(found);
        sent.extend(looked.sent);
    }
    Some(Step::new("resource_metadata", "Metadata of the MCP server", sent, findings))
}

/// The findings of one look-up, at the URL that the challenge names or at the well-known places.
fn of_look(
    resource: &ResourceUri,
    looked: &Looked<Arc<ProtectedResource>>,
    is_named: bool,
    has_server: bool,
    unused_proxy: Option<&str>,
) -> Vec<Finding> {
    let (mut transfers, mut findings) = (Vec::new(), Vec::new());
    for (place, sent) in looked.sent.iter().enumerate() {
        let is_last = place + 1 == looked.sent.len();
        let cause = looked.cause.filter(|_| is_last);
        transfers.extend(metadata::of_transfer(sent, looked.sent.get(place + 1), cause, Party::Resource, unused_proxy));
        if let Some(object) = document(sent) {
            findings.extend(of_document(resource, &object, &sent.url));
        }
    }
    let mut findings = [joined(transfers), findings].concat();
    match looked.result.as_ref().err() {
        // The document was read, but a login needs an authorization server in it. These problems stay problems.
        None if looked.result.as_ref().is_ok_and(|found| found.authorization_servers.is_empty()) => {}
        None => soften(&mut findings),
        Some(DiscoveryError::NotFound { .. }) => findings.push(unpublished(has_server)),
        Some(DiscoveryError::NamedNotFound { status }) => {
            let at = looked.sent.last().map_or_else(String::new, |sent| shown_url(&sent.url));
            let seen = format!("the challenge names {at}, where there is no metadata (status {status})");
            findings.push(
                Finding::problem("named-metadata-missing", Party::Resource, seen)
                    .rule("RFC 9728 section 5.1")
                    .advice("report it to the operator; where a challenge names metadata, no other place is tried"),
            );
        }
        Some(error) => metadata::complete(&mut findings, *error, Party::Resource),
    }
    if is_named && looked.result.is_ok() {
        let at = looked.sent.last().map_or_else(String::new, |sent| shown_url(&sent.url));
        findings.insert(0, Finding::fine("metadata", format!("the challenge names {at}")).rule("RFC 9728 section 5.1"));
    } else if let (Ok(_), Some(sent)) = (&looked.result, looked.sent.last()) {
        findings.insert(0, Finding::fine("metadata", format!("found at {}", shown_url(&sent.url))).rule(PLACES));
    }
    findings
}

/// The finding for a challenge that names a URL to which nothing is sent.
fn unsafe_place(url: &str, reach: Reach) -> Option<Finding> {
    let why = why_unsafe(url, reach)?;
    let seen = format!("the challenge names {} as the place of the metadata: {why}", quoted(url));
    let finding = Finding::problem("unsafe-url", Party::Resource, seen);
    Some(finding.rule("RFC 9728 section 5.1 and 7.7").advice("report it to the operator; nothing was sent there"))
}

/// The finding for a server that publishes no metadata of its own.
fn unpublished(has_server: bool) -> Finding {
    let seen = "it publishes no metadata at its path or at its root";
    if has_server {
        let finding =
            Finding::note("no-resource-metadata", Party::Resource, format!("{seen}, as servers of 2025-03-26 do"));
        return finding
            .rule(PLACES)
            .advice("its own origin is taken for the authorization server, as that revision has it");
    }
    Finding::problem("no-resource-metadata", Party::Resource, seen)
        .rule(PLACES)
        .advice("check the URL; otherwise report it to the operator")
}

fn document(sent: &Sent) -> Option<Map<String, Value>> {
    sent.answer().filter(|answer| answer.status == StatusCode::OK)?.object()
}

fn of_document(resource: &ResourceUri, object: &Map<String, Value>, url: &str) -> Vec<Finding> {
    let mut findings = vec![names_resource(resource, object.get("resource"), url)];
    findings.push(match object.get("authorization_servers").filter(|value| !value.is_null()) {
        Some(Value::Array(servers)) if !servers.is_empty() => {
            let issuers = servers.iter().map(|server| server.as_str().unwrap_or("(no text)"));
            Finding::fine("authorization-servers", format!("lists {}", listed(issuers))).rule(MEMBERS)
        }
        None | Some(Value::Array(_)) => {
            Finding::problem("no-authorization-server", Party::Resource, "it lists no authorization server")
                .rule("RFC 9728 section 2; MCP authorization, Authorization Server Location")
                .advice("report it to the operator; the document must list at least one in authorization_servers")
        }
        Some(_) => Finding::problem("unreadable-metadata", Party::Resource, "authorization_servers is no list")
            .rule(MEMBERS)
            .advice("report it to the operator"),
    });
    findings.extend(metadata::of_scopes(object, Party::Resource));
    if let Some(name) = object.get("resource_name").and_then(Value::as_str)
        && bounded(name).contains(char::REPLACEMENT_CHARACTER)
    {
        let seen = format!("its name has characters that act on a terminal: {}", quoted(name));
        findings.push(
            Finding::note("unprintable-name", Party::Resource, seen).rule(MEMBERS).advice("report it to the operator"),
        );
    }
    findings
}

/// The finding about whether the document describes the server that was asked.
fn names_resource(resource: &ResourceUri, named: Option<&Value>, url: &str) -> Finding {
    let Some(named) = named.and_then(Value::as_str).filter(|named| !named.is_empty()) else {
        let finding = Finding::problem("unreadable-metadata", Party::Resource, "the document names no resource");
        return finding.rule(MEMBERS).advice("report it to the operator; the member resource is required");
    };
    let root = url.split_once("/.well-known/").map(|(origin, _)| origin);
    let is_root = url.ends_with("/.well-known/oauth-protected-resource");
    let parsed = ResourceUri::parse(named).ok();
    let is = |expected: &str| {
        parsed.as_ref().is_some_and(|parsed| {
            parsed.as_str() == expected || ResourceUri::parse(expected).is_ok_and(|expected| expected == *parsed)
        })
    };
    if is(resource.as_str()) || is(resource.without_query()) || is_root && root.is_some_and(is) {
        return Finding::fine("resource", format!("names {}, which was asked for", shown_url(named))).rule(BELONGS);
    }
    let asked = shown_url(resource.as_str());
    let seen = format!("names the resource {}, and {asked} was asked for", quoted(&shown_url(named)));
    Finding::problem("resource-mismatch", Party::Resource, seen).rule(BELONGS).advice(
        "check the URL that you use, down to its slashes; otherwise report it to the operator: such a document must not be used",
    )
}
