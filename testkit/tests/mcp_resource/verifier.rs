//! The check of tokens for servers of one's own.

use std::time::Duration;

use serde_json::Value;
use tokenkeeper_actors::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::{HostileAs, TokenVerdict, What};
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};
use tokenkeeper_testkit::mcp::McpResource;

const RESOURCE: &str = "http://127.0.0.1:9/api/mcp";
const METADATA: &str = "http://127.0.0.1:9/.well-known/oauth-protected-resource/api/mcp";

fn refused(status: u16, parameters: &str) -> TokenVerdict {
    TokenVerdict::Refused { status, challenge: format!("Bearer resource_metadata=\"{METADATA}\"{parameters}") }
}

#[tokio::test]
async fn a_verifier_admits_the_tokens_of_its_resource_and_counts() {
    let server = HostileAs::start().await.unwrap();
    let verifier = server.verifier();
    let grant = server.grant_for(&server.register(ClientAuth::None), RESOURCE, "tools:read");
    let header = format!("bearer {}", grant.access_token.expose());
    let check = |scopes: &[&str]| verifier.admit(Some(header.as_bytes()), RESOURCE, scopes);

    let TokenVerdict::Admitted(admission) = check(&["tools:read"]) else { panic!("refused") };
    assert_eq!((admission.chain, admission.ordinal, &*admission.scope), (Some(grant.chain), 0, "tools:read"));
    let missing = ", error=\"insufficient_scope\", scope=\"a b\"";
    assert_eq!(check(&["tools:read", "a", "b"]), refused(403, missing));
    assert_eq!(verifier.admit(None, RESOURCE, &[]), refused(401, ""));
    assert_eq!(verifier.admit(Some(b"Basic eDp5"), RESOURCE, &[]), refused(401, ""));
    assert_eq!(verifier.admit(Some(b"Bearer \xff"), RESOURCE, &[]), refused(401, ""));
    let elsewhere = verifier.admit(Some(header.as_bytes()), "http://127.0.0.1:9/other", &[]);
    assert!(matches!(elsewhere, TokenVerdict::Refused { status: 401, .. }));
    server.advance(Duration::from_secs(3600));
    assert_eq!(check(&[]), refused(401, ", error=\"invalid_token\""));

    let snapshot = server.snapshot();
    let answers = &snapshot.counts.resource_answers;
    assert_eq!((snapshot.counts.resource_requests, answers[&200], answers[&401], answers[&403]), (7, 1, 5, 1));
    let of = |what| snapshot.timeline.iter().filter(|event| event.what == what).count();
    assert_eq!((of(What::ResourceRequest), of(What::ResourceAnswer)), (7, 7));
    assert_eq!(verifier.issuers(), [server.issuer()]);
}

#[tokio::test]
async fn a_verifier_of_a_login_server_adds_the_scopes_of_each_call() {
    let server = LoginServer::builder().required(["files:read"]).start().await.unwrap();
    let verifier = server.verifier();
    let client = server.hostile().register(ClientAuth::None);
    for (scope, status) in [("files:read", None), ("files:write", Some(403))] {
        let grant = server.hostile().grant_for(&client, RESOURCE, scope);
        let header = format!("Bearer {}", grant.access_token.expose());
        let verdict = verifier.admit(Some(header.as_bytes()), RESOURCE, &[]);
        let refused = if let TokenVerdict::Refused { status, .. } = verdict { Some(status) } else { None };
        assert_eq!(refused, status);
    }
    assert_eq!(verifier.admit(None, RESOURCE, &[]), refused(401, ", scope=\"files:read\""));
    let counts = server.counts();
    assert_eq!((counts.of(Endpoint::Resource), counts.at("/api/mcp"), counts.tokens.resource_requests), (3, 3, 3));
    assert_eq!(verifier.issuers(), [server.issuer()]);
}

/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[tokio::test]
async fn a_login_obtains_tokens_of_the_resource() {
    let server = LoginServer::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let (id, uri) = (server.pre_register(ClientAuth::None, ["http://127.0.0.1/callback"]).id, resource.uri());
    let redirect = "redirect_uri=http://127.0.0.1:9/callback";
    let parameters = format!("client_id={id}&{redirect}&resource={uri}");
    let url = format!(
        "{}/authorize?response_type=code&state=s&code_challenge={CHALLENGE}&code_challenge_method=S256&{parameters}",
        server.origin()
    );
    let code = Browser::open(&url).await.unwrap().query("code").unwrap();
    let form = format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}&{parameters}");
    let request = reqwest::Client::new().post(server.hostile().token_endpoint()).body(form);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let header = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let verdict = server.verifier().admit(Some(header.as_bytes()), &uri, &[]);
    assert!(matches!(verdict, TokenVerdict::Admitted(_)), "{verdict:?}");
    let own = server.verifier().admit(Some(header.as_bytes()), &server.resource_url(), &[]);
    assert!(matches!(own, TokenVerdict::Refused { status: 401, .. }), "{own:?}");
}

#[tokio::test]
async fn after_a_migration_the_other_server_knows_the_tokens() {
    let (old, new) = (LoginServer::start().await.unwrap(), LoginServer::start().await.unwrap());
    let verifier = old.verifier();
    old.migrate_to(&new);
    for (server, is_admitted) in [(&old, false), (&new, true)] {
        let grant = server.hostile().grant_for(&server.hostile().register(ClientAuth::None), RESOURCE, "tools:read");
        let header = format!("Bearer {}", grant.access_token.expose());
        let verdict = verifier.admit(Some(header.as_bytes()), RESOURCE, &[]);
        assert_eq!(matches!(verdict, TokenVerdict::Admitted(_)), is_admitted);
    }
    assert_eq!(verifier.issuers(), [new.issuer()]);
    assert_eq!((old.counts().tokens.resource_requests, new.counts().tokens.resource_requests), (2, 0));
}
