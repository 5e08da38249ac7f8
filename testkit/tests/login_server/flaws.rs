//! Each flaw shows on the wire, and a server without it does not show it.

use serde_json::{Value, json};
use tokenkeeper_testkit::login_server::{Blame, Browser, Flaw, LoginServer};

use crate::client::{Careless, REDIRECT, challenge, error, get, json as body, post_json, with, word};
use crate::within::within;

const OTHER: &str = "https://attacker.example.com";

/// Whether the server shows a flaw.
async fn shows(flaw: Flaw, server: &LoginServer) -> bool {
    match flaw {
        Flaw::NoResourceMetadata => resource_metadata(server).await.0 == 404,
        Flaw::EmptyIssuerList => resource_metadata(server).await.1["authorization_servers"] == json!([]),
        Flaw::ResourceOtherOrigin => resource_metadata(server).await.1["resource"] == "https://other.example.com/mcp",
        Flaw::ResourcePrefix => resource_metadata(server).await.1["resource"] == server.origin(),
        Flaw::NoChallenge => refused(server).await.is_empty(),
        Flaw::ChallengeWithoutBearer => refused(server).await == "Basic realm=\"mcp\"",
        Flaw::MalformedChallenge => refused(server).await.matches('"').count() == 1,
        Flaw::SeveralChallenges => refused(server).await.starts_with("Negotiate, Basic realm=\"a, Bearer resource_"),
        Flaw::RefusesTokens => called(server).await.0 == 401,
        Flaw::NeverEnoughScope => called(server).await == (403, true),
        Flaw::ForbiddenWithoutChallenge => {
            let client = Careless::register(server).await;
            let access = client.log_in("tools:read").await;
            let answer = client.call("call", word(&access, "access_token")).await;
            (answer.status().as_u16(), challenge(&answer)) == (403, "")
        }
        Flaw::WrongIssuer => metadata(server).await["issuer"] == OTHER,
        Flaw::IssuerTrailingSlash => metadata(server).await["issuer"] == format!("{}/", server.issuer()),
        Flaw::NoPkceList => metadata(server).await.get("code_challenge_methods_supported").is_none(),
        Flaw::PlainPkceOnly => metadata(server).await["code_challenge_methods_supported"] == json!(["plain"]),
        Flaw::HttpEndpoint => metadata(server).await["token_endpoint"] == "http://auth.example.com/token",
        Flaw::PrivateAddressEndpoint => metadata(server).await["token_endpoint"] == "https://10.0.0.1/token",
        Flaw::ScriptEndpoint => word(&metadata(server).await, "authorization_endpoint").starts_with("javascript:"),
        Flaw::MetadataRedirectsToLoopback => {
            let location = location(server).await;
            location.starts_with(server.origin()) && get(&location).await.status() == 200
        }
        Flaw::MetadataRedirectsToHttp => location(server).await == "http://metadata.example.com/metadata",
        Flaw::HugeMetadata => get(&metadata_url(server)).await.text().await.unwrap().len() > 10 << 20,
        Flaw::SlowMetadata => {
            let mut answer = get(&metadata_url(server)).await;
            let chunked = answer.headers().get("content-length").is_none();
            chunked && within("the first byte", answer.chunk()).await.unwrap().unwrap().len() == 1
        }
        Flaw::MetadataNotJson => raw_metadata(server).await.2.starts_with("{\"issuer\": \u{1}"),
        Flaw::MetadataHtml => {
            let (status, content_type, text) = raw_metadata(server).await;
            status == 200 && content_type == "text/html" && text.starts_with("<html>")
        }
        Flaw::MetadataServerError => raw_metadata(server).await.0 == 500,
        Flaw::NoServerMetadata => raw_metadata(server).await.0 == 404,
        Flaw::NoRevocationEndpoint => {
            let served = crate::client::post_form(&format!("{}/revoke", server.origin()), &[]).await.status() != 404;
            metadata(server).await.get("revocation_endpoint").is_none() && !served
        }
        Flaw::NoRegistration => metadata(server).await.get("registration_endpoint").is_none(),
        Flaw::RegistrationRefused => registered(server, REDIRECT).await.1 == "invalid_client_metadata",
        Flaw::RegistrationWantsLocalhost => {
            let literals = [REDIRECT, "http://[::1]:1/callback"];
            let mut refused = 0;
            for redirect in literals {
                refused += usize::from(registered(server, redirect).await.1 == "invalid_redirect_uri");
            }
            refused == 2 && registered(server, "http://localhost:1/callback").await.0 == 201
        }
        Flaw::RegistrationWantsLiteral => {
            let refused = registered(server, "http://localhost:1/callback").await.1 == "invalid_redirect_uri";
            refused && registered(server, REDIRECT).await.0 == 201
        }
        Flaw::ExactRedirectPort => {
            let client = Careless::register(server).await;
            let other = with(client.parameters(""), "redirect_uri", Some("http://127.0.0.1:2/callback"));
            let refused = Browser::open(&client.url_of(&other)).await.unwrap().callback.is_none();
            refused && client.ask("").await.query("code").is_some()
        }
        Flaw::RegistrationOtherMethod => {
            let client = Careless::register(server).await;
            word(&client.registration, "token_endpoint_auth_method") == "client_secret_post"
                && client.registration["client_secret"].is_string()
        }
        Flaw::ClientUnknownAtPage => {
            let visit = Careless::register(server).await.ask("").await;
            (visit.status, visit.callback) == (400, None)
        }
        Flaw::IssMissing => iss(server).await == (true, None),
        Flaw::IssWrong => iss(server).await == (true, Some(OTHER.into())),
        Flaw::IssUnadvertised => iss(server).await == (false, Some(server.issuer())),
        Flaw::IssUnadvertisedWrong => iss(server).await == (false, Some(OTHER.into())),
        Flaw::IssDenormalised => iss(server).await == (true, Some(server.issuer().replace("http:", "HTTP:"))),
        Flaw::StateForged => Careless::register(server).await.ask("").await.query("state").unwrap() == "forged",
        Flaw::OtherSubject => {
            let client = Careless::register(server).await;
            client.log_in("").await;
            client.log_in("").await;
            server.grants()[0].subject != server.grants()[1].subject
        }
        Flaw::EndsOldGrants => {
            let client = Careless::register(server).await;
            client.log_in("").await;
            client.code("").await;
            !server.hostile().is_alive(server.grants()[0].chain)
        }
        Flaw::NoRefreshToken => Careless::register(server).await.log_in("").await.get("refresh_token").is_none(),
        Flaw::TokenEndpointMoved => {
            let named = metadata(server).await;
            let named = word(&named, "token_endpoint");
            named != server.hostile().token_endpoint() && get(named).await.status() == 405
        }
        Flaw::TokenEndpointGone => {
            let named = metadata(server).await;
            get(word(&named, "token_endpoint")).await.status() == 404
        }
        Flaw::GrantWideReuse => {
            let client = Careless::register(server).await;
            let old = client.log_in("").await;
            client.log_in("").await;
            client.refresh(word(&old, "refresh_token")).await;
            !server.hostile().is_alive(server.grants()[1].chain)
        }
        Flaw::ScopeNarrowed => {
            word(&Careless::register(server).await.log_in("tools:read tools:call").await, "scope") == "tools:read"
        }
        Flaw::ScopeOmitted => Careless::register(server).await.log_in("tools:read").await.get("scope").is_none(),
        Flaw::UnknownTokenType => word(&Careless::register(server).await.log_in("").await, "token_type") == "mac",
        Flaw::TerminalEscapes => {
            let name = word(&resource_metadata(server).await.1, "resource_name").contains('\u{1b}');
            let scope = metadata(server).await["scopes_supported"].to_string().contains("\\u001b");
            let client = Careless::register(server).await;
            let refused = body(client.token(&client.exchange("code")).await).await;
            let token = word(&refused, "error_description").contains('\u{202e}');
            server.consents(tokenkeeper_testkit::login_server::Consent::Deny);
            let callback = client.ask("").await.query("error_description").unwrap().contains('\u{1b}');
            name && scope && token && callback
        }
        other => panic!("no test of {other}"),
    }
}

#[tokio::test]
async fn each_flaw_shows_on_the_wire_and_only_where_it_is_set() {
    for flaw in Flaw::ALL.iter().copied() {
        let builder = || LoginServer::builder().issuer_path("/t").tool("call", ["tools:call"]);
        let flawed = builder().flaw(flaw).start().await.unwrap();
        assert!(within(flaw.name(), shows(flaw, &flawed)).await, "{flaw} does not show");
        let sound = builder().start().await.unwrap();
        assert!(!within(flaw.name(), shows(flaw, &sound)).await, "{flaw} shows without being set");
    }
}

#[test]
fn each_flaw_has_its_own_name_and_a_party_that_mends_it() {
    let names: std::collections::BTreeSet<&str> = Flaw::ALL.iter().map(|flaw| flaw.name()).collect();
    assert_eq!(names.len(), Flaw::ALL.len());
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    assert_eq!(Flaw::EmptyIssuerList.blame(), Blame::Resource);
    assert_eq!(Flaw::WrongIssuer.blame(), Blame::AuthorizationServer);
    assert_eq!(Flaw::NoRefreshToken.blame(), Blame::Allowed);
}

#[tokio::test]
async fn a_careless_client_gets_through_wrong_documents() {
    for flaw in [Flaw::ResourceOtherOrigin, Flaw::ResourcePrefix, Flaw::WrongIssuer, Flaw::NoPkceList, Flaw::IssWrong] {
        let server = LoginServer::builder().flaw(flaw).start().await.unwrap();
        let resource = word(&resource_metadata(&server).await.1, "resource").to_owned();
        let client = Careless::register(&server).await;
        let parameters = with(client.parameters(""), "resource", Some(&resource));
        let visit = Browser::open(&client.url_of(&parameters)).await.unwrap();
        let exchange = client.exchange(&visit.query("code").unwrap());
        let tokens = body(client.token(&with(exchange, "resource", Some(&resource))).await).await;
        assert_eq!(client.call("any", word(&tokens, "access_token")).await.status(), 200, "{flaw}");
    }
}

fn metadata_url(server: &LoginServer) -> String {
    format!("{}/.well-known/oauth-authorization-server/t", server.origin())
}

async fn raw_metadata(server: &LoginServer) -> (u16, String, String) {
    let answer = get(&metadata_url(server)).await;
    let content_type = answer.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), content_type, answer.text().await.unwrap())
}

async fn metadata(server: &LoginServer) -> Value {
    serde_json::from_str(&raw_metadata(server).await.2).unwrap()
}

async fn location(server: &LoginServer) -> String {
    let answer = get(&metadata_url(server)).await;
    answer.headers().get("location").map_or("", |value| value.to_str().unwrap()).to_owned()
}

async fn resource_metadata(server: &LoginServer) -> (u16, Value) {
    let answer = get(&format!("{}/.well-known/oauth-protected-resource/mcp", server.origin())).await;
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

/// The challenge of a call without a token.
async fn refused(server: &LoginServer) -> String {
    let answer = get(&server.resource_url()).await;
    assert_eq!(answer.status(), 401);
    challenge(&answer).to_owned()
}

/// The status of a call with all scopes, and whether it has a challenge.
async fn called(server: &LoginServer) -> (u16, bool) {
    let client = Careless::register(server).await;
    let tokens = client.log_in("tools:read tools:call").await;
    let answer = client.call("call", word(&tokens, "access_token")).await;
    (answer.status().as_u16(), !challenge(&answer).is_empty())
}

/// Whether the metadata advertises `iss`, and the `iss` of a callback.
async fn iss(server: &LoginServer) -> (bool, Option<String>) {
    let advertised = metadata(server).await.get("authorization_response_iss_parameter_supported").is_some();
    (advertised, Careless::register(server).await.ask("").await.query("iss"))
}

/// The status and the error of a registration.
async fn registered(server: &LoginServer, redirect: &str) -> (u16, String) {
    let answer = post_json(&format!("{}/register", server.origin()), &json!({ "redirect_uris": [redirect] })).await;
    if answer.status() == 201 { (201, String::new()) } else { error(answer).await }
}
