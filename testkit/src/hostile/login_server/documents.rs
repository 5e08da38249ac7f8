//! Metadata documents (RFC 9728, RFC 8414, OpenID Connect Discovery), and the resource's challenges.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::flaw::Flaw;
use super::incoming::Incoming;
use super::registration::method_name;
use super::settings::{ResourceMetadata, ServerMetadata};
use super::site::{Served, Site};
use crate::hostile::fault::Manner;
use crate::hostile::reply::Reply;

/// The address of the resource's metadata that only a challenge names.
pub(super) const CUSTOM: &str = "/metadata/of-the-resource";
/// The resource of a document that belongs to another origin.
pub(super) const OTHER_RESOURCE: &str = "https://other.example.com/mcp";
/// The issuer of a document that belongs to another server.
pub(super) const OTHER_ISSUER: &str = "https://attacker.example.com";
/// Text that does harm on a terminal. It clears the screen, sets the title, and reverses what follows.
pub(super) const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\r\n";

const RESOURCE: &str = "/.well-known/oauth-protected-resource";
const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// The size of the white space after huge metadata.
const HUGE: usize = 10 << 20;

/// The resource's metadata.
pub(super) fn resource(site: &mut Site, incoming: &Incoming<'_>) -> Reply {
    let path = incoming.path();
    let offered = &site.settings.resource_metadata;
    let place = match path {
        CUSTOM => [ResourceMetadata::Custom].as_slice(),
        RESOURCE => &[ResourceMetadata::Root, ResourceMetadata::RootForOrigin],
        _ if path.strip_prefix(RESOURCE) == Some("/mcp") => &[ResourceMetadata::Path],
        _ => &[],
    };
    let Some(place) = place.iter().find(|place| offered.contains(place)) else { return Reply::empty(404) };
    if site.has(Flaw::NoResourceMetadata) {
        return Reply::empty(404);
    }
    let resource = if site.has(Flaw::ResourceOtherOrigin) {
        OTHER_RESOURCE.to_owned()
    } else if site.has(Flaw::ResourcePrefix) || *place == ResourceMetadata::RootForOrigin {
        site.origin.clone()
    } else {
        site.resource()
    };
    let issuers = match &site.settings.listed_issuers {
        _ if site.has(Flaw::EmptyIssuerList) => Vec::new(),
        Some(issuers) => issuers.clone(),
        None => vec![site.issuer()],
    };
    let mut body = json!({
        "resource": resource,
        "authorization_servers": issuers,
        "scopes_supported": scopes(site),
        "bearer_methods_supported": ["header"],
        "resource_name": site.description("Test resource"),
    });
    if site.settings.announces_dpop {
        body["dpop_signing_alg_values_supported"] = json!(["ES256"]);
        body["dpop_bound_access_tokens_required"] = true.into();
    }
    document(site, incoming, &body)
}

/// The authorization server's metadata, with its flaws.
pub(super) fn server(site: &mut Site, incoming: &Incoming<'_>) -> Served {
    let path = incoming.path();
    let issuer_path = &*site.settings.issuer_path;
    let at = |place| match place {
        ServerMetadata::OAuth => format!("{OAUTH}{issuer_path}"),
        ServerMetadata::OpenIdInserted => format!("{OPENID}{issuer_path}"),
        ServerMetadata::OpenIdAppended => format!("{issuer_path}{OPENID}"),
    };
    if site.has(Flaw::NoServerMetadata) || !site.settings.server_metadata.iter().any(|place| at(*place) == path) {
        return Reply::empty(404).into();
    }
    let document = document(site, incoming, &server_metadata(site));
    if document.status == 304 {
        return document.into();
    }
    let whole = |reply: Reply| Served { reply, manner: Manner::Whole };
    if site.has(Flaw::MetadataServerError) {
        return whole(Reply::page(500));
    }
    if site.has(Flaw::MetadataHtml) {
        return whole(Reply::page(200));
    }
    if site.has(Flaw::MetadataNotJson) {
        return whole(Reply { body: Bytes::from_static(b"{\"issuer\": \x01]}}"), ..document });
    }
    if site.has(Flaw::MetadataRedirectsToLoopback) {
        return whole(Reply::empty(302).with("location", format!("http://127.0.0.1:{}/elsewhere", site.port())));
    }
    if site.has(Flaw::MetadataRedirectsToHttp) {
        return whole(Reply::empty(302).with("location", "http://metadata.example.com/metadata"));
    }
    if site.has(Flaw::HugeMetadata) {
        let mut body = document.body.to_vec();
        body.resize(body.len() + HUGE, b' ');
        return whole(Reply { body: body.into(), ..document });
    }
    if site.has(Flaw::SlowMetadata) {
        return Served { reply: document, manner: Manner::Drip { every: Duration::from_millis(50), for_ever: true } };
    }
    whole(document)
}

/// A document, or 304 if the client has it (RFC 9110 section 13.1.2).
fn document(site: &mut Site, incoming: &Incoming<'_>, body: &Value) -> Reply {
    let digest = Sha256::digest(body.to_string().as_bytes());
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..9]));
    let is_known = incoming.head.if_none_match.as_deref() == Some(&*tag);
    site.tally.counts.not_modified += u64::from(is_known);
    let reply = if is_known { Reply::empty(304) } else { Reply::json(200, body) }.with("etag", tag);
    match &site.settings.cache_control {
        Some(value) => reply.with("cache-control", value.as_str()),
        None => reply,
    }
}

/// The authorization server's metadata.
pub(super) fn server_metadata(site: &Site) -> Value {
    let origin = &site.origin;
    let at = |path: &str| Value::from(format!("{origin}{path}"));
    let methods: Vec<&str> = site.settings.auth_methods.iter().filter_map(|auth| method_name(*auth)).collect();
    let mut body = json!({
        "issuer": site.issuer(),
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "scopes_supported": scopes(site),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported":
            ["authorization_code", "refresh_token", "client_credentials", super::device::GRANT_TYPE],
        "token_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": site.settings.metadata_documents,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["none"],
        "jwks_uri": at("/jwks"),
    });
    if site.settings.announces_dpop {
        body["dpop_signing_alg_values_supported"] = json!(["ES256", "RS256"]);
    }
    if site.settings.offers_par {
        body["pushed_authorization_request_endpoint"] = at("/par");
        body["require_pushed_authorization_requests"] = site.settings.requires_par.into();
    }
    if site.settings.userinfo.is_some() {
        body["userinfo_endpoint"] = at(super::userinfo::PATH);
    }
    if site.settings.offers_devices {
        body["device_authorization_endpoint"] = at("/device_authorization");
    }
    if !site.has(Flaw::NoRevocationEndpoint) {
        body["revocation_endpoint"] = at("/revoke");
        body["revocation_endpoint_auth_methods_supported"] = body["token_endpoint_auth_methods_supported"].clone();
    }
    if !site.has(Flaw::NoRegistration) {
        body["registration_endpoint"] = at("/register");
    }
    if advertises_iss(site) {
        body["authorization_response_iss_parameter_supported"] = true.into();
    }
    for flaw in &site.settings.flaws {
        let (name, value) = match flaw {
            Flaw::WrongIssuer => ("issuer", OTHER_ISSUER.into()),
            Flaw::IssuerTrailingSlash => ("issuer", format!("{}/", site.issuer()).into()),
            Flaw::NoPkceList => ("code_challenge_methods_supported", Value::Null),
            Flaw::PlainPkceOnly => ("code_challenge_methods_supported", json!(["plain"])),
            Flaw::HttpEndpoint => ("token_endpoint", "http://auth.example.com/token".into()),
            Flaw::PrivateAddressEndpoint => ("token_endpoint", "https://10.0.0.1/token".into()),
            Flaw::ScriptEndpoint => ("authorization_endpoint", "javascript:alert(document.domain)//".into()),
            Flaw::TokenEndpointMoved => ("token_endpoint", at("/moved/token")),
            _ => continue,
        };
        body[name] = value;
    }
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    body
}

/// Whether callbacks have an `iss` by the metadata.
fn advertises_iss(site: &Site) -> bool {
    site.settings.sends_iss && !site.has(Flaw::IssUnadvertised) && !site.has(Flaw::IssUnadvertisedWrong)
}

/// The `iss` of callbacks.
pub(super) fn iss(site: &Site) -> Option<String> {
    if site.has(Flaw::IssMissing) {
        None
    } else if site.has(Flaw::IssWrong) || site.has(Flaw::IssUnadvertisedWrong) {
        Some(OTHER_ISSUER.to_owned())
    } else if site.has(Flaw::IssDenormalised) {
        Some(site.issuer().replacen("http://", "HTTP://", 1))
    } else {
        (site.settings.sends_iss || site.has(Flaw::IssUnadvertised)).then(|| site.issuer())
    }
}

fn scopes(site: &Site) -> Vec<String> {
    let mut scopes = site.settings.scopes.clone();
    if site.has(Flaw::TerminalEscapes) {
        scopes.push(format!("all{ESCAPES}"));
    }
    scopes
}

/// A 401 (RFC 6750 section 3, RFC 9728 section 5.1). It has an error only if a token was presented.
pub(super) fn challenge(site: &Site, presented: bool, scopes: &[String]) -> Reply {
    let mut parameters = Vec::new();
    if presented {
        parameters.push("error=\"invalid_token\"".to_owned());
    }
    unauthorized(site, parameters, scopes)
}

/// A 403 for missing scopes (RFC 6750 section 3.1).
pub(super) fn insufficient(site: &Site, scopes: &[String]) -> Reply {
    if site.has(Flaw::ForbiddenWithoutChallenge) {
        return Reply::empty(403);
    }
    let parameters = bearer(site, vec!["error=\"insufficient_scope\"".to_owned()], scopes, true);
    Reply::empty(403).with("www-authenticate", parameters)
}

fn unauthorized(site: &Site, parameters: Vec<String>, scopes: &[String]) -> Reply {
    let bearer = bearer(site, parameters, scopes, site.settings.challenge_names_scope);
    let value = if site.has(Flaw::NoChallenge) {
        return Reply::empty(401);
    } else if site.has(Flaw::ChallengeWithoutBearer) {
        "Basic realm=\"mcp\"".to_owned()
    } else if site.has(Flaw::MalformedChallenge) {
        format!("Bearer resource_metadata=\"{}/.well-known/oauth-", site.origin)
    } else if site.has(Flaw::SeveralChallenges) {
        format!("Negotiate, Basic realm=\"a, Bearer resource_metadata=\\\"{OTHER_ISSUER}\\\"\", {bearer}")
    } else {
        bearer
    };
    Reply::empty(401).with("www-authenticate", value)
}

fn bearer(site: &Site, mut parameters: Vec<String>, scopes: &[String], names_scope: bool) -> String {
    if site.settings.challenge_names_metadata {
        let places = &site.settings.resource_metadata;
        let path = if places.contains(&ResourceMetadata::Custom) {
            CUSTOM.to_owned()
        } else if places.contains(&ResourceMetadata::Path) {
            format!("{RESOURCE}/mcp")
        } else {
            RESOURCE.to_owned()
        };
        parameters.push(format!("resource_metadata=\"{}{path}\"", site.origin));
    }
    if names_scope && !scopes.is_empty() {
        parameters.push(format!("scope=\"{}\"", scopes.join(" ")));
    }
    format!("Bearer {}", parameters.join(", ")).trim_end().to_owned()
}
