//! Judges the offers of an authorization server, and how tokenkeeper would use them. Pure.

use std::collections::BTreeSet;

use super::finding::{Finding, Party, listed, quoted, shown_url};
use super::metadata::is_scope;
use super::server::Described;

/// The methods by which tokenkeeper authenticates at token endpoints.
const OUR_METHODS: [&str; 3] = ["none", "client_secret_basic", "client_secret_post"];

/// The clients that the person names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NamedClients<'a> {
    /// The identifier of a client that is registered by hand.
    pub(super) id: Option<&'a str>,
    /// The URL of a client ID metadata document.
    pub(super) document: Option<&'a str>,
}

/// The scopes that a login would choose from.
#[derive(Clone, Debug, Default)]
pub(super) struct ScopeSources {
    /// The scopes of the challenge.
    pub(super) challenged: Vec<String>,
    /// `scopes_supported` of the MCP server.
    pub(super) resource: Vec<String>,
}

pub(super) fn judge(server: &Described, clients: NamedClients<'_>, scopes: &ScopeSources) -> Vec<Finding> {
    let mut findings = vec![pkce(server)];
    findings.extend(issuer_in_answers(server));
    findings.extend(registration(server, clients));
    findings.extend([pushed(server), pages_and_devices(server)]);
    findings.extend(grant_types(server));
    findings.extend(revocation(server));
    findings.push(scope(server, scopes));
    findings
}

fn pkce(server: &Described) -> Finding {
    const RULE: &str = "MCP authorization, Authorization Code Protection; RFC 7636 section 4.2, RFC 8414 section 2";
    const MEMBER: &str = "code_challenge_methods_supported";
    let missing = |seen: &str| {
        Finding::problem("no-pkce", Party::AuthorizationServer, seen)
            .rule(RULE)
            .advice("report it to the operator: the metadata must list S256; a client must refuse to go on without it")
    };
    match server.texts(MEMBER) {
        Some(methods) if methods.contains(&"S256") => Finding::fine("pkce", "supports PKCE with S256").rule(RULE),
        Some(methods) => missing(&format!("{MEMBER} lists {}, and not S256", quoted(&listed(methods)))),
        None if server.is_assumed => {
            Finding::note("pkce-unknown", None, "PKCE with S256 is used, and cannot be checked without metadata")
                .rule(RULE)
        }
        None => missing(&format!("the metadata does not state that it supports PKCE: it has no {MEMBER}")),
    }
}

fn issuer_in_answers(server: &Described) -> Option<Finding> {
    const RULE: &str = "RFC 9207 section 3; MCP authorization, Authorization Response Validation";
    if server.is_true("authorization_response_iss_parameter_supported") {
        return Some(Finding::fine("iss", "names itself in its answers (iss), which must then be there").rule(RULE));
    }
    if server.is_assumed {
        return None;
    }
    let seen = "does not state that it names itself in its answers (iss), which protects against a mix-up of servers";
    Some(
        Finding::note("no-iss", Party::AuthorizationServer, seen)
            .rule(RULE)
            .advice("the operator should add it, because MCP plans to require it; a login is possible without it"),
    )
}

fn registration(server: &Described, clients: NamedClients<'_>) -> Vec<Finding> {
    const RULE: &str = "MCP authorization, Client Registration Approaches";
    if let Some(id) = clients.id {
        let seen = format!("the client {} would be used, which you name", quoted(id));
        return vec![Finding::fine("client", seen).rule(RULE)];
    }
    let methods = server.texts("token_endpoint_auth_methods_supported");
    let accepts_documents = server.is_true("client_id_metadata_document_supported");
    let is_public_accepted = methods.as_ref().is_none_or(|methods| methods.contains(&"none"));
    if let (true, true, Some(url)) = (accepts_documents, is_public_accepted, clients.document) {
        let seen = format!("the client ID metadata document {} would be used", shown_url(url));
        return vec![Finding::fine("client", seen).rule(RULE)];
    }
    let Some(endpoint) = server.text("registration_endpoint") else {
        let seen = if accepts_documents {
            "registers no clients; it accepts client ID metadata documents, and you name none"
        } else {
            "registers no clients"
        };
        return vec![
            Finding::problem("no-registration", Party::You, seen)
                .rule(RULE)
                .advice("ask its operator for a client, and name it with --client-id, here and at the login"),
        ];
    };
    // Without the list, the default is client_secret_basic (RFC 8414 section 2).
    let shared = methods.as_ref().is_none_or(|methods| OUR_METHODS.iter().any(|ours| methods.contains(ours)));
    if !shared {
        let seen = format!(
            "clients must authenticate by {}, and tokenkeeper registers {}",
            quoted(&listed(methods.unwrap_or_default())),
            OUR_METHODS.join(", ")
        );
        return vec![
            Finding::problem("no-shared-method", Party::AuthorizationServer, seen)
                .rule("RFC 7591 section 2, RFC 8414 section 2")
                .advice("ask its operator for a client, and name it with --client-id"),
        ];
    }
    let document = if accepts_documents { "; it accepts client ID metadata documents too" } else { "" };
    let seen = format!("a client would be registered at {}, which was not done now{document}", shown_url(endpoint));
    vec![Finding::fine("client", seen).rule("RFC 7591 section 3")]
}

fn pushed(server: &Described) -> Finding {
    const RULE: &str = "RFC 9126 section 5";
    let has_endpoint = server.text("pushed_authorization_request_endpoint").is_some();
    match (has_endpoint, server.is_true("require_pushed_authorization_requests")) {
        (true, true) => Finding::fine("par", "requires pushed authorization requests, which are used").rule(RULE),
        (true, false) => Finding::fine("par", "accepts pushed authorization requests, and requires none").rule(RULE),
        (false, false) => Finding::fine("par", "has no pushed authorization requests; they are optional").rule(RULE),
        (false, true) => {
            let seen = "requires pushed authorization requests, and names no endpoint for them";
            Finding::problem("par-without-endpoint", Party::AuthorizationServer, seen)
                .rule(RULE)
                .advice("report it to the operator")
        }
    }
}

fn pages_and_devices(server: &Described) -> Finding {
    let has_page = server.text("authorization_endpoint").is_some();
    match (has_page, server.text("device_authorization_endpoint").is_some()) {
        (true, true) => {
            Finding::fine("ways", "logins are possible by a page, and by a code for another device (--device)")
        }
        (true, false) => Finding::fine("ways", "logins are possible by a page, and not by a code for another device"),
        (false, true) => {
            let seen =
                "logins are possible by a code for another device only, because it names no authorization_endpoint";
            Finding::note("no-page", Party::AuthorizationServer, seen).advice("use --device at the login")
        }
        (false, false) => {
            Finding::problem("no-way-to-log-in", Party::AuthorizationServer, "names no authorization_endpoint")
                .advice("report it to the operator")
        }
    }
    .rule("RFC 8414 section 2, RFC 8628 section 4")
}

fn grant_types(server: &Described) -> Option<Finding> {
    let types = server.texts("grant_types_supported")?;
    if types.contains(&"refresh_token") {
        return None;
    }
    let seen = format!("lists the grant types {}, and not refresh_token", quoted(&listed(types)));
    Some(
        Finding::note("no-refresh", Party::AuthorizationServer, seen)
            .rule("RFC 8414 section 2; MCP authorization, Refresh Tokens")
            .advice("each session may end with its access token; ask the operator for refresh tokens"),
    )
}

fn revocation(server: &Described) -> Option<Finding> {
    if server.is_assumed || server.text("revocation_endpoint").is_some() {
        return None;
    }
    let seen = "names no revocation_endpoint, so tokens outlive a logout until they expire";
    Some(Finding::note("no-revocation", None, seen).rule("RFC 7009 section 2, RFC 8414 section 2"))
}

fn scope(server: &Described, sources: &ScopeSources) -> Finding {
    const RULE: &str = "MCP authorization, Scope Selection Strategy and Refresh Tokens";
    let (place, scopes) = match (sources.challenged.as_slice(), sources.resource.as_slice()) {
        ([], []) => {
            let seen = "no scope would be asked for, because neither the challenge nor the MCP server names any";
            return Finding::fine("scope", seen).rule(RULE);
        }
        ([], resource) => ("all that the MCP server lists", resource),
        (challenged, _) => ("those of the challenge", challenged),
    };
    let mut asked: BTreeSet<&str> = scopes.iter().map(String::as_str).filter(|scope| is_scope(scope)).collect();
    let offers_offline = server.texts("scopes_supported").is_some_and(|scopes| scopes.contains(&"offline_access"));
    let offline = if offers_offline && asked.insert("offline_access") {
        "; offline_access is added for a refresh token"
    } else {
        ""
    };
    Finding::fine("scope", format!("would be asked for {} ({place}{offline})", listed(asked))).rule(RULE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(document: serde_json::Value) -> Described {
        Described { members: document.as_object().unwrap().clone(), is_assumed: false }
    }

    fn problems(document: serde_json::Value, clients: NamedClients<'_>) -> Vec<(&'static str, Option<Party>)> {
        let findings = judge(&described(document), clients, &ScopeSources::default());
        let prevents = findings.iter().filter(|finding| finding.verdict.prevents_login());
        prevents.map(|finding| (finding.code, finding.verdict.party())).collect()
    }

    #[test]
    fn what_is_offered_is_enough_or_not() {
        let good = json!({
            "code_challenge_methods_supported": ["S256"],
            "registration_endpoint": "https://as.example/register",
            "authorization_endpoint": "https://as.example/authorize",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        });
        let with = |member: &str, value: serde_json::Value| {
            let mut document = good.clone();
            document[member] = value;
            document
        };
        let none = NamedClients::default();
        assert_eq!(problems(good.clone(), none), []);
        let theirs = Some(Party::AuthorizationServer);
        let methods = "token_endpoint_auth_methods_supported";
        let cases = [
            (with("code_challenge_methods_supported", json!(["plain", "s256"])), ("no-pkce", theirs)),
            (with("code_challenge_methods_supported", json!(null)), ("no-pkce", theirs)),
            (with(methods, json!(["private_key_jwt"])), ("no-shared-method", theirs)),
            (with("registration_endpoint", json!(null)), ("no-registration", Some(Party::You))),
            (with("require_pushed_authorization_requests", json!(true)), ("par-without-endpoint", theirs)),
            (with("authorization_endpoint", json!(null)), ("no-way-to-log-in", theirs)),
        ];
        for (document, problem) in cases {
            assert_eq!(problems(document.clone(), none), [problem], "{document}");
        }
        let unregistered = with("registration_endpoint", json!(null));
        assert_eq!(problems(unregistered.clone(), NamedClients { id: Some("me"), document: None }), []);
        let document = NamedClients { id: None, document: Some("https://me.example/client.json") };
        assert_eq!(problems(unregistered, document).len(), 1, "it accepts no documents");
        let mut accepts = with("client_id_metadata_document_supported", json!(true));
        accepts[methods] = json!(["none"]);
        accepts["registration_endpoint"] = json!(null);
        assert_eq!(problems(accepts, document), []);
    }

    #[test]
    fn the_scopes_of_the_challenge_come_first() {
        let server = described(json!({ "scopes_supported": ["a", "offline_access"] }));
        let sources = |challenged: &[&str], resource: &[&str]| {
            let owned = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect();
            ScopeSources { challenged: owned(challenged), resource: owned(resource) }
        };
        let told = |sources: &ScopeSources| scope(&server, sources).seen;
        assert!(
            told(&sources(&["c"], &["r"])).contains("for c offline_access (those of the challenge; offline_access")
        );
        assert!(told(&sources(&[], &["r"])).contains("for offline_access r (all that"));
        assert!(told(&sources(&[], &[])).starts_with("no scope"));
    }
}
