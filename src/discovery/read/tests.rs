//! Documents as servers publish them, and the negative cases.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const ISSUER: &str = "https://as.example/tenant";

fn resource(document: &Value, identifier: &str) -> Result<ProtectedResource, DiscoveryError> {
    protected_resource(document.to_string().as_bytes(), &[ResourceUri::parse(identifier).unwrap()])
}

fn server_metadata() -> Map<String, Value> {
    let document = json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://as.example/authorize?tenant=1",
        "token_endpoint": "https://login.as.example/token",
        "registration_endpoint": "https://as.example/register",
        "revocation_endpoint": "https://as.example/revoke",
        "pushed_authorization_request_endpoint": "https://as.example/par",
        "device_authorization_endpoint": "https://as.example/device",
        "require_pushed_authorization_requests": true,
        "scopes_supported": ["a", "offline_access"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
        "jwks_uri": "http://10.0.0.1/not-read",
        "new_member": {"x": [1, 2]},
    });
    document.as_object().unwrap().clone()
}

fn read_bytes(
    bytes: &[u8],
    issuer: &str,
    aliases: &[&str],
    reach: Reach,
) -> Result<AuthorizationServer, DiscoveryError> {
    let expected = ExpectedIssuer { issuer: Some(issuer), aliases: aliases.to_vec() };
    let url = Url::parse("https://as.example/.well-known/oauth-authorization-server/tenant").unwrap();
    authorization_server(bytes, &expected, &url, reach)
}

fn read(document: &Map<String, Value>) -> Result<AuthorizationServer, DiscoveryError> {
    read_bytes(&serde_json::to_vec(document).unwrap(), ISSUER, &[], Reach::Public)
}

fn with(member: &str, value: Value) -> Result<AuthorizationServer, DiscoveryError> {
    let mut document = server_metadata();
    document.insert(member.to_owned(), value);
    read(&document)
}

#[test]
fn a_resource_is_read_and_unknown_members_are_ignored() {
    let document = json!({
        "resource": "https://MCP.example/mcp",
        "authorization_servers": ["https://as.example", "https://other.example/"],
        "scopes_supported": ["files:read", "not a scope", "files:write", 5],
        "resource_name": "Files",
        "signed_metadata": "not used",
        "bearer_methods_supported": ["header"],
    });
    let resource = resource(&document, "https://mcp.example/mcp").unwrap();
    assert_eq!(resource.resource, "https://MCP.example/mcp", "as published");
    assert_eq!(resource.authorization_servers, ["https://as.example", "https://other.example/"]);
    assert_eq!(resource.scopes, Some(Scopes::new(["files:read", "files:write"])));
    assert_eq!(resource.name.as_deref(), Some("Files"));
}

/// The document must name the identifier that was asked for (RFC 9728 section 3.3).
#[test]
fn a_resource_must_name_itself() {
    let named =
        |resource_name: &str, identifier: &str| resource(&json!({ "resource": resource_name }), identifier).is_ok();
    assert!(named("https://mcp.example", "https://mcp.example/"));
    assert!(named("https://mcp.example/", "https://mcp.example"));
    assert!(named("https://mcp.example:443/mcp", "https://mcp.example/mcp"));
    assert!(named("https://mcp.example/mcp?tenant=1", "https://mcp.example/mcp?tenant=1"));
    assert!(named("https://mcp.example/mcp", "https://mcp.example/mcp?tenant=1"));
    for other in [
        "https://mcp.example/mcp/",
        "https://mcp.example/MCP",
        "https://mcp.example",
        "https://mcp.example/mcp/tools",
        "https://mcp.example/mcp?tenant=2",
        "https://evil.example/mcp",
        "http://mcp.example/mcp",
        "https://mcp.example:8443/mcp",
        "https://mcp.example/mcp#x",
        "not a url",
    ] {
        let mismatch = resource(&json!({ "resource": other }), "https://mcp.example/mcp");
        assert_eq!(mismatch, Err(DiscoveryError::ResourceMismatch), "{other}");
    }
}

#[test]
fn a_resource_without_what_is_needed_is_unreadable() {
    let unreadable = |member| Err(DiscoveryError::Unreadable { member });
    for document in [json!({}), json!({ "resource": "" }), json!({ "resource": ["https://a.example"] })] {
        assert_eq!(resource(&document, "https://a.example"), unreadable(Some("resource")), "{document}");
    }
    let named = |servers: Value| {
        resource(&json!({ "resource": "https://a.example", "authorization_servers": servers }), "https://a.example")
    };
    assert_eq!(named(json!("https://as.example")), unreadable(Some("authorization_servers")));
    assert!(named(json!(null)).unwrap().authorization_servers.is_empty());
    assert!(named(json!([])).unwrap().authorization_servers.is_empty());
    assert_eq!(named(json!([5, "https://as.example", ""])).unwrap().authorization_servers, ["https://as.example"]);
    let many: Vec<String> = (0..99).map(|n| format!("https://as{n}.example")).collect();
    assert_eq!(named(json!(many)).unwrap().authorization_servers.len(), MAX_SERVERS);
    assert!(named(json!(["x".repeat(MAX_ISSUER + 1)])).unwrap().authorization_servers.is_empty());
    for bytes in [&b""[..], b"[]", b"<html>", b"{\"resource\":", b"{} {}", b"\"x\"", b"\xff{}"] {
        let identifier = ResourceUri::parse("https://a.example").unwrap();
        assert_eq!(protected_resource(bytes, &[identifier]), unreadable(None));
    }
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    let deep = format!("{{\"resource\":{deep}}}");
    assert_eq!(
        protected_resource(deep.as_bytes(), &[ResourceUri::parse("https://a.example").unwrap()]),
        unreadable(None)
    );
}

#[test]
fn a_server_is_read_whole() {
    let server = read(&server_metadata()).unwrap();
    assert_eq!(server.issuer, ISSUER);
    assert_eq!(
        server.document_url.as_deref(),
        Some("https://as.example/.well-known/oauth-authorization-server/tenant")
    );
    assert_eq!(server.authorization_endpoint.as_deref(), Some("https://as.example/authorize?tenant=1"));
    assert_eq!(server.token_endpoint, "https://login.as.example/token");
    assert_eq!(server.registration_endpoint.as_deref(), Some("https://as.example/register"));
    assert_eq!(server.revocation_endpoint.as_deref(), Some("https://as.example/revoke"));
    assert_eq!(server.pushed_endpoint.as_deref(), Some("https://as.example/par"));
    assert_eq!(server.device_endpoint.as_deref(), Some("https://as.example/device"));
    assert_eq!(server.scopes, Some(Scopes::new(["a", "offline_access"])));
    assert_eq!(server.auth_methods.unwrap(), ["none", "private_key_jwt"]);
    assert_eq!(server.challenge_methods.unwrap(), ["S256"]);
    assert!(server.requires_pushed && server.names_issuer_in_response && server.accepts_metadata_documents);
}

#[test]
fn a_short_document_is_read_too() {
    let bytes = format!("\u{feff} {{\"issuer\":\"{ISSUER}\",\"token_endpoint\":\"https://as.example/token\"}}\n");
    let server = read_bytes(bytes.as_bytes(), ISSUER, &[], Reach::Public).unwrap();
    let mut due = AuthorizationServer::unpublished(ISSUER, "https://as.example/token");
    due.document_url.clone_from(&server.document_url);
    assert_eq!(server, due);
    assert_eq!(server.require_pkce(), Err(DiscoveryError::NoPkce));
}

/// The issuer must be identical, without any normalization (RFC 8414 section 3.3).
#[test]
fn the_issuer_must_be_identical() {
    for other in [
        "https://as.example/tenant/",
        "https://as.example",
        "https://AS.example/tenant",
        "https://as.example:443/tenant",
        "https://as.example/ten%61nt",
        "https://evil.example/tenant",
    ] {
        assert_eq!(with("issuer", json!(other)), Err(DiscoveryError::IssuerMismatch), "{other}");
    }
    let unreadable = Err(DiscoveryError::Unreadable { member: Some("issuer") });
    for none in [json!(null), json!(5), json!([ISSUER]), json!("")] {
        assert_eq!(with("issuer", none), unreadable);
    }
}

#[test]
fn an_alias_is_accepted_for_its_issuer_only() {
    let document = serde_json::to_vec(&server_metadata()).unwrap();
    let read = |issuer, aliases: &[&str]| read_bytes(&document, issuer, aliases, Reach::Public);
    assert_eq!(read("https://as.example/tenant/", &[]), Err(DiscoveryError::IssuerMismatch));
    assert_eq!(read("https://as.example/tenant/", &["https://x.example"]), Err(DiscoveryError::IssuerMismatch));
    let server = read("https://as.example/tenant/", &["https://x.example", ISSUER]).unwrap();
    assert_eq!(server.issuer, ISSUER, "as documented, for the comparison with `iss`");
}

#[test]
fn only_members_that_are_needed_must_have_their_type() {
    let unreadable = Err(DiscoveryError::Unreadable { member: Some("token_endpoint") });
    assert_eq!(with("token_endpoint", json!(5)), unreadable);
    assert_eq!(with("token_endpoint", json!(null)), unreadable);
    assert_eq!(with("registration_endpoint", json!(5)).unwrap().registration_endpoint, None);
    assert_eq!(with("scopes_supported", json!("a b")).unwrap().scopes, None);
    assert_eq!(with("code_challenge_methods_supported", json!("S256")).unwrap().challenge_methods, None);
    assert!(!with("client_id_metadata_document_supported", json!("true")).unwrap().accepts_metadata_documents);
    let many: Vec<String> = (0..999).map(|n| n.to_string()).collect();
    assert_eq!(with("scopes_supported", json!(many)).unwrap().scopes.unwrap().iter().count(), MAX_ITEMS);
    assert_eq!(with("scopes_supported", json!(["x".repeat(MAX_WORD + 1)])).unwrap().scopes, None);
}

#[test]
fn a_repeated_member_is_unreadable_if_it_is_read() {
    for member in ["issuer", "token_endpoint", "registration_endpoint", "code_challenge_methods_supported"] {
        let text = serde_json::to_string(&server_metadata()).unwrap();
        let repeated = format!("{{\"{member}\":\"https://evil.example\",{}", &text[1..]);
        let unreadable = Err(DiscoveryError::Unreadable { member: Some(member) });
        assert_eq!(read_bytes(repeated.as_bytes(), ISSUER, &[], Reach::Public), unreadable);
    }
    let text = serde_json::to_string(&server_metadata()).unwrap();
    let repeated = format!("{{\"new_member\":1,{}", &text[1..]);
    assert!(read_bytes(repeated.as_bytes(), ISSUER, &[], Reach::Public).is_ok());
}

/// Each endpoint of a server is checked, because a document names all of them.
#[test]
fn no_endpoint_leads_into_this_network() {
    for member in [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
        "revocation_endpoint",
        "pushed_authorization_request_endpoint",
        "device_authorization_endpoint",
    ] {
        for url in [
            "http://as.example/x",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https://user:pass@as.example/x",
            "https://as.example/x#fragment",
            "https:\\\\as.example/x",
            "https://as.example/x y",
            "https://as.example\n/x",
            "/relative",
            "https://",
            "http://localhost/x",
            "http://127.0.0.1/x",
            "https://127.0.0.1/x",
            "https://10.0.0.1/x",
            "https://2130706433/x",
            "https://[::1]/x",
            "https://169.254.169.254/latest/meta-data",
        ] {
            let unsafe_address = Err(DiscoveryError::UnsafeAddress { member });
            assert_eq!(with(member, json!(url)), unsafe_address, "{url}");
        }
    }
}

#[test]
fn loopback_is_for_servers_on_loopback() {
    let text = serde_json::to_string(&server_metadata()).unwrap();
    let local = text.replace("https://as.example", "http://localhost:9000");
    let issuer = "http://localhost:9000/tenant";
    let server = read_bytes(local.as_bytes(), issuer, &[], Reach::PublicOrLoopback).unwrap();
    assert_eq!(server.registration_endpoint.as_deref(), Some("http://localhost:9000/register"));
    assert!(matches!(
        read_bytes(local.as_bytes(), issuer, &[], Reach::Public),
        Err(DiscoveryError::UnsafeAddress { .. })
    ));
}

#[test]
fn an_issuer_is_an_exact_url_without_a_query() {
    for good in ["https://as.example", "https://as.example/", "https://as.example/a/b", "http://localhost:1/a"] {
        assert!(issuer_url(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "as.example",
        "http://as.example",
        "https://as.example?x",
        "https://as.example/?",
        "https://as.example#x",
        "https://u@as.example",
        "https:\\\\as.example",
        "https://as.example/a b",
        "urn:as",
        "javascript:x",
    ] {
        assert_eq!(issuer_url(bad), None, "{bad}");
    }
}

#[test]
fn any_issuer_is_accepted_where_the_host_named_the_document() {
    let expected = ExpectedIssuer { issuer: None, aliases: Vec::new() };
    let url = Url::parse("https://as.example/custom").unwrap();
    let bytes = serde_json::to_vec(&server_metadata()).unwrap();
    assert_eq!(authorization_server(&bytes, &expected, &url, Reach::Public).unwrap().issuer, ISSUER);
    let bytes = String::from_utf8(bytes).unwrap().replace(ISSUER, "javascript:x");
    let unsafe_address = Err(DiscoveryError::UnsafeAddress { member: "issuer" });
    assert_eq!(authorization_server(bytes.as_bytes(), &expected, &url, Reach::Public), unsafe_address);
}

/// A document with some of its bytes replaced, so that most of it is still as servers write it.
fn damaged(document: &Value, edits: &[(usize, usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(document).unwrap();
    for (at, length, with) in edits {
        let from = at % (bytes.len() + 1);
        let to = (from + length).min(bytes.len());
        bytes.splice(from..to, with.iter().copied());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// Runs the checks of the fuzz target `metadata` for a short time, on stable Rust.
    #[test]
    fn a_damaged_document_is_refused_or_names_what_was_asked_for(
        edits in vec((any::<usize>(), 0..40_usize, vec(any::<u8>(), 0..12)), 0..4),
    ) {
        let identifier = ResourceUri::parse("https://mcp.example/mcp").unwrap();
        let published = json!({
            "resource": "https://mcp.example/mcp",
            "authorization_servers": [ISSUER],
            "scopes_supported": ["files:read"],
        });
        if let Ok(resource) = protected_resource(&damaged(&published, &edits), std::slice::from_ref(&identifier)) {
            prop_assert_eq!(ResourceUri::parse(&resource.resource), Ok(identifier));
        }
        let published = Value::Object(server_metadata());
        for reach in [Reach::Public, Reach::PublicOrLoopback] {
            let Ok(server) = read_bytes(&damaged(&published, &edits), ISSUER, &[], reach) else { continue };
            prop_assert_eq!(&server.issuer, ISSUER);
            let endpoints = [
                Some(&server.token_endpoint),
                server.authorization_endpoint.as_ref(),
                server.registration_endpoint.as_ref(),
                server.revocation_endpoint.as_ref(),
                server.pushed_endpoint.as_ref(),
                server.device_endpoint.as_ref(),
            ];
            for endpoint in endpoints.into_iter().flatten() {
                prop_assert!(reach.permits(&Url::parse(endpoint).unwrap()).is_ok(), "{}", endpoint);
            }
        }
    }
}
