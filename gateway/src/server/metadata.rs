//! Metadata of the resources (RFC 9728) and of the server (RFC 8414).

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tokenkeeper::ResourceUri;

use super::credentials::json as answer;
use super::{AUTHORIZE, REGISTER, RESOURCE_METADATA, REVOKE, TOKEN};
use crate::gateway::Gateway;

/// The paths at which each resource's metadata is. That of the first one is at the root as well, for clients that look only
/// there.
pub(super) fn places(resources: &[ResourceUri]) -> BTreeMap<String, ResourceUri> {
    let mut places = BTreeMap::new();
    for resource in resources {
        places.entry([RESOURCE_METADATA, path_of(resource)].concat()).or_insert_with(|| resource.clone());
    }
    if let Some(first) = resources.first() {
        places.entry(RESOURCE_METADATA.to_owned()).or_insert_with(|| first.clone());
    }
    places
}

/// The resource's path, which is empty for an origin.
pub(super) fn path_of(resource: &ResourceUri) -> &str {
    let (_, rest) = resource.as_str().split_once("://").unwrap_or_default();
    rest.find('/').map_or("", |at| &rest[at..])
}

/// The metadata of one resource.
pub(super) fn resource(State(gateway): State<Gateway>, resource: ResourceUri) -> Response {
    let mut document = json!({
        "resource": resource.as_str(),
        "authorization_servers": [gateway.0.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": gateway.0.name,
    });
    if !gateway.0.scopes.is_empty() {
        document["scopes_supported"] = json!(gateway.0.scopes);
    }
    answer(StatusCode::OK, &document)
}

/// The metadata of the authorization server.
pub(super) async fn server(State(gateway): State<Gateway>) -> Response {
    let methods = ["none", "client_secret_basic", "client_secret_post"];
    let mut document = json!({
        "issuer": gateway.0.issuer,
        "authorization_endpoint": gateway.0.url(AUTHORIZE),
        "token_endpoint": gateway.0.url(TOKEN),
        "registration_endpoint": gateway.0.url(REGISTER),
        "revocation_endpoint": gateway.0.url(REVOKE),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": gateway.0.takes_documents,
    });
    if !gateway.0.scopes.is_empty() {
        document["scopes_supported"] = json!(gateway.0.scopes);
    }
    answer(StatusCode::OK, &document)
}
