//! Challenges and metadata, at each of their addresses.

use serde_json::json;
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer, ResourceMetadata, ServerMetadata};

use crate::client::{Careless, challenge, get, http, json as body, word};

const PATH: &str = "/.well-known/oauth-protected-resource/mcp";
const ROOT: &str = "/.well-known/oauth-protected-resource";
const CUSTOM: &str = "/metadata/of-the-resource";

#[tokio::test]
async fn the_resources_metadata_is_where_it_is_set() {
    for (at, path, resource) in [
        (ResourceMetadata::Path, PATH, "/mcp"),
        (ResourceMetadata::Root, ROOT, "/mcp"),
        (ResourceMetadata::RootForOrigin, ROOT, ""),
        (ResourceMetadata::Custom, CUSTOM, "/mcp"),
    ] {
        let server = LoginServer::builder().resource_metadata([at]).issuer_path("/t").start().await.unwrap();
        let refused = get(&server.resource_url()).await;
        assert_eq!(refused.status(), 401);
        let expected = format!("Bearer resource_metadata=\"{}{path}\"", server.origin());
        assert_eq!(challenge(&refused), expected);
        for other in [PATH, ROOT, CUSTOM] {
            let answer = get(&format!("{}{other}", server.origin())).await;
            assert_eq!(answer.status(), if other == path { 200 } else { 404 }, "{at:?} {other}");
            if other == path {
                let document = body(answer).await;
                assert_eq!(word(&document, "resource"), format!("{}{resource}", server.origin()));
                assert_eq!(document["authorization_servers"], json!([server.issuer()]));
                assert_eq!(document["scopes_supported"], json!(["tools:read", "tools:call"]));
            }
        }
        assert_eq!((server.counts().of(Endpoint::ResourceMetadata), server.counts().at(path)), (3, 1));
    }
}

#[tokio::test]
async fn the_servers_metadata_is_at_the_three_addresses_of_an_issuer_with_a_path() {
    let server = LoginServer::builder().issuer_path("/tenant1/").start().await.unwrap();
    let issuer = format!("{}/tenant1", server.origin());
    assert_eq!(server.issuer(), issuer);
    for path in [
        "/.well-known/oauth-authorization-server/tenant1",
        "/.well-known/openid-configuration/tenant1",
        "/tenant1/.well-known/openid-configuration",
    ] {
        let document = body(get(&format!("{}{path}", server.origin())).await).await;
        assert_eq!(word(&document, "issuer"), issuer);
        for (name, path) in [
            ("authorization_endpoint", "/authorize"),
            ("token_endpoint", "/token"),
            ("registration_endpoint", "/register"),
            ("revocation_endpoint", "/revoke"),
            ("pushed_authorization_request_endpoint", "/par"),
            ("device_authorization_endpoint", "/device_authorization"),
        ] {
            assert_eq!(word(&document, name), format!("{}{path}", server.origin()));
        }
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    }
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        assert_eq!(get(&format!("{}{path}", server.origin())).await.status(), 404, "{path}");
    }
    let counts = server.counts();
    assert_eq!((counts.of(Endpoint::ServerMetadata), counts.of(Endpoint::OpenIdMetadata)), (2, 3));
}

#[tokio::test]
async fn one_address_of_the_servers_metadata_may_be_the_only_one() {
    for (at, path) in [
        (ServerMetadata::OAuth, "/.well-known/oauth-authorization-server/t"),
        (ServerMetadata::OpenIdInserted, "/.well-known/openid-configuration/t"),
        (ServerMetadata::OpenIdAppended, "/t/.well-known/openid-configuration"),
    ] {
        let server = LoginServer::builder().issuer_path("/t").server_metadata([at]).start().await.unwrap();
        let mut found = Vec::new();
        for path in [
            "/.well-known/oauth-authorization-server/t",
            "/.well-known/openid-configuration/t",
            "/t/.well-known/openid-configuration",
        ] {
            if get(&format!("{}{path}", server.origin())).await.status() == 200 {
                found.push(path);
            }
        }
        assert_eq!(found, [path]);
    }
}

#[tokio::test]
async fn a_document_is_not_sent_twice_to_a_client_that_keeps_it() {
    let server = LoginServer::builder().cache_control("max-age=60").start().await.unwrap();
    for path in [PATH, "/.well-known/oauth-authorization-server"] {
        let url = format!("{}{path}", server.origin());
        let first = get(&url).await;
        assert_eq!((first.status().as_u16(), &first.headers()["cache-control"]), (200, &"max-age=60".parse().unwrap()));
        let tag = first.headers()["etag"].clone();
        let again = http().get(&url).header("if-none-match", tag.clone()).send().await.unwrap();
        assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag));
        assert_eq!(again.text().await.unwrap(), "");
        server.flaw(Flaw::TerminalEscapes);
        let changed = http().get(&url).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(changed.status(), 200);
        server.mend(Flaw::TerminalEscapes);
    }
    assert_eq!(server.counts().not_modified, 2);
}

#[tokio::test]
async fn all_urls_may_have_another_host() {
    let server = LoginServer::builder().host("auth.example.com").start().await.unwrap();
    let origin = format!("http://auth.example.com:{}", server.hostile().address().port());
    assert_eq!((server.origin(), server.resource_url()), (&*origin, format!("{origin}/mcp")));
    let local = format!("http://{}", server.hostile().address());
    let refused = get(&format!("{local}/mcp")).await;
    assert!(challenge(&refused).contains(&origin), "{}", challenge(&refused));
    let document = body(get(&format!("{local}/.well-known/oauth-authorization-server")).await).await;
    assert_eq!((word(&document, "issuer"), word(&document, "token_endpoint")), (&*origin, &*format!("{origin}/token")));
    server.flaw(Flaw::MetadataRedirectsToLoopback);
    let redirected = get(&format!("{local}/.well-known/oauth-authorization-server")).await;
    assert_eq!(redirected.headers()["location"], format!("{local}/elsewhere"));
}

#[tokio::test]
async fn a_challenge_names_the_scopes_that_each_call_needs() {
    let server = LoginServer::builder().required(["tools:read"]).start().await.unwrap();
    let refused = get(&server.resource_url()).await;
    assert!(challenge(&refused).ends_with(", scope=\"tools:read\""), "{}", challenge(&refused));
    let silent = LoginServer::builder().required(["tools:read"]).silent_about_scopes().silent_about_metadata();
    let silent = silent.start().await.unwrap();
    assert_eq!(challenge(&get(&silent.resource_url()).await), "Bearer");
}

#[tokio::test]
async fn a_resource_moves_to_another_authorization_server() {
    let (old, new) = (LoginServer::start().await.unwrap(), LoginServer::start().await.unwrap());
    let before = Careless::register(&old).await;
    let tokens = before.log_in("").await;
    assert_eq!(before.call("any", word(&tokens, "access_token")).await.status(), 200);
    old.migrate_to(&new);
    let document = body(get(&format!("{}{PATH}", old.origin())).await).await;
    assert_eq!(document["authorization_servers"], json!([new.issuer()]));
    assert_eq!(word(&document, "resource"), old.resource_url());
    assert_eq!(before.call("any", word(&tokens, "access_token")).await.status(), 401);

    let after = Careless::register(&new).await;
    let parameters = crate::client::with(after.parameters(""), "resource", Some(&old.resource_url()));
    let visit = tokenkeeper_testkit::login_server::Browser::open(&after.url_of(&parameters)).await.unwrap();
    let exchange = after.exchange(&visit.query("code").unwrap());
    let exchange = crate::client::with(exchange, "resource", Some(&old.resource_url()));
    let tokens = body(after.token(&exchange).await).await;
    assert_eq!(before.call("any", word(&tokens, "access_token")).await.status(), 200);
    assert_eq!(after.call("any", word(&tokens, "access_token")).await.status(), 401);
    old.list_issuers(["https://a.example.com", "https://b.example.com"]);
    let document = body(get(&format!("{}{PATH}", old.origin())).await).await;
    assert_eq!(document["authorization_servers"], json!(["https://a.example.com", "https://b.example.com"]));
}
