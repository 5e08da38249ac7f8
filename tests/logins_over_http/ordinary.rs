//! The ordinary ways to sign in by a page, each with all that the server got.

use tokenkeeper::discovery::Challenge;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::registration::{Clients, MetadataDocument};
use tokenkeeper::{LogIn, LoggedIn, LoginCause, LoginReason, LoginSettings, LoginWish, Prompt};
use tokenkeeper_testkit::login_server::{
    Browser, Endpoint, Flaw, LoginServer, LoginServerBuilder, ResourceMetadata, ServerMetadata,
};

use crate::rig::*;
use crate::within::within;

/// A host whose person's browser opens each page at once.
struct OpensAtOnce;

#[async_trait::async_trait]
impl tokenkeeper::Interaction for OpensAtOnce {
    async fn show(&self, prompt: &Prompt) {
        let tokenkeeper::OfferedPrompt::Browser { url } = &prompt.prompt else { panic!("{prompt:?}") };
        assert!(prompt.is_first);
        Browser::complete(url.as_str()).await.unwrap();
    }
}

/// Signs in, and checks that each step was made once and that all of them agree.
async fn signs_in(scene: &Scene) -> Asked {
    let resource = scene.server.resource_url();
    let asked = begin(&scene.session, wish(&[]), LoginCause::Person).await.unwrap();
    answer(&scene.session, &asked.url).await.unwrap();
    let authorization = scene.server.log_of(Endpoint::Authorization).pop().unwrap();
    let token = scene.server.log_of(Endpoint::Token).pop().unwrap();
    assert_eq!(token.parameter("grant_type"), "authorization_code");
    assert_eq!(token.parameter("resource"), resource);
    assert_eq!(token.parameter("redirect_uri"), REDIRECT);
    assert_eq!(token.status, Some(200));
    // The parameters of a pushed request are in its own log.
    let request = scene.server.log_of(Endpoint::PushedAuthorization).pop().unwrap_or(authorization.clone());
    assert_eq!(request.parameter("resource"), resource);
    assert_eq!(request.parameter("redirect_uri"), REDIRECT);
    assert_eq!(request.parameter("response_type"), "code");
    assert_eq!(request.parameter("code_challenge_method"), "S256");
    assert_eq!(request.parameter("code_challenge").len(), 43);
    assert_eq!(request.parameter("state").len(), 43);

    let first = token_of(scene).await;
    assert_eq!(scene.call("any").await, 200);
    let second = renewed(&scene.session).await;
    assert_ne!(first, second);
    let refresh = scene.server.log_of(Endpoint::Token).pop().unwrap();
    assert_eq!((refresh.parameter("grant_type"), refresh.parameter("resource")), ("refresh_token", &*resource));
    assert_eq!((refresh.scheme, refresh.status), (token.scheme, Some(200)), "authenticated alike");
    let counts = scene.server.counts();
    assert_eq!((counts.logins, counts.code_replays, counts.tokens.replays), (1, 0, 0));
    assert!(counts.refused.is_empty() && counts.tokens.refusals.is_empty(), "{counts:?}");
    assert_eq!(counts.codes.values().sum::<u64>(), 1);
    asked
}

async fn token_of(scene: &Scene) -> String {
    token(&scene.session).await
}

/// The requests of one login with a call and a refresh afterwards.
fn with_a_refresh() -> std::collections::BTreeMap<Endpoint, u64> {
    let mut requests = of_one_login();
    *requests.get_mut(&Endpoint::Resource).unwrap() += 1;
    *requests.get_mut(&Endpoint::Token).unwrap() += 1;
    requests
}

#[tokio::test]
async fn a_client_is_registered_and_each_step_is_made_once() {
    let scene = Scene::new(LoginServer::builder()).await;
    let asked = signs_in(&scene).await;
    assert_eq!(requests(&scene.server), with_a_refresh());
    let registered = scene.server.log_of(Endpoint::Registration).pop().unwrap().json.unwrap();
    assert_eq!(registered["application_type"], "native");
    assert_eq!(registered["grant_types"], serde_json::json!(["authorization_code", "refresh_token"]));
    assert_eq!(registered["redirect_uris"], serde_json::json!([REDIRECT]));
    assert_eq!(asked.parameter("client_id").as_deref(), Some("client-1"));
    assert_eq!(asked.parameter("request_uri"), None, "a new client's request is not pushed");
}

#[tokio::test]
async fn the_browser_brings_the_answer_to_the_listener() {
    let scene = Scene::new(LoginServer::builder()).await;
    let end = within("the login", scene.session.log_in(LogIn::new(), &OpensAtOnce)).await;
    assert_eq!(end, Ok(LoggedIn::Here));
    assert_eq!(scene.call("any").await, 200);
    let mut wanted = of_one_login();
    wanted.insert(Endpoint::Resource, 2);
    assert_eq!(requests(&scene.server), wanted);
    assert_eq!(within("the login", scene.session.log_in(LogIn::new(), &OpensAtOnce)).await, Ok(LoggedIn::Already));
    assert_eq!(requests(&scene.server), wanted);
}

#[tokio::test]
async fn a_pre_registered_client_authenticates_by_its_own_method() {
    for auth in [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post] {
        let scene = Scene::with(LoginServer::builder(), |server| {
            let client = server.pre_register(auth, ["http://127.0.0.1/callback"]);
            let clients =
                Clients::default().pre_registered(server.issuer(), client.into(), ["http://127.0.0.1/callback"]);
            LoginSettings::default().clients(clients)
        })
        .await;
        signs_in(&scene).await;
        let mut wanted = with_a_refresh();
        wanted.remove(&Endpoint::Registration);
        assert_eq!(requests(&scene.server), wanted, "{auth:?}");
        for request in scene.server.log_of(Endpoint::Token) {
            let sent = (request.scheme.as_deref(), request.parameter("client_secret"), request.parameter("client_id"));
            let expected = match auth {
                ClientAuth::None => (None, "", "client-1"),
                ClientAuth::Basic => (Some("basic"), "", ""),
                _ => (None, "(hidden)", "client-1"),
            };
            assert_eq!(sent, expected, "one method alone");
        }
    }
}

#[tokio::test]
async fn a_metadata_document_is_the_client_where_the_server_accepts_it() {
    let url = "https://host.example.com/client.json";
    let settings = |server: &LoginServer| {
        server.add_metadata_document(url, ["http://127.0.0.1/callback"]);
        let document = MetadataDocument::new(url, ["http://127.0.0.1/callback"]).unwrap();
        LoginSettings::default().clients(Clients::default().metadata_document(document))
    };
    let scene = Scene::with(LoginServer::builder().metadata_documents(), settings).await;
    let asked = signs_in(&scene).await;
    assert_eq!(asked.parameter("client_id").as_deref(), Some(url));
    let mut wanted = with_a_refresh();
    wanted.remove(&Endpoint::Registration);
    assert_eq!(requests(&scene.server), wanted);

    let scene = Scene::with(LoginServer::builder(), settings).await;
    let asked = signs_in(&scene).await;
    assert_ne!(asked.parameter("client_id").as_deref(), Some(url), "the server does not accept documents");
    assert_eq!(requests(&scene.server), with_a_refresh());
}

#[tokio::test]
async fn metadata_is_found_at_each_of_its_places() {
    let builder = LoginServer::builder;
    let resource = |at| builder().resource_metadata([at]);
    let server = |at| builder().server_metadata([at]);
    let tenant = |builder: LoginServerBuilder| builder.issuer_path("/tenant1");
    const RESOURCE: &str = "/.well-known/oauth-protected-resource";
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let path = |base: &str, rest: &str| format!("{base}{rest}");
    // Each server, and the metadata that is asked for, in order.
    let cases = [
        (resource(ResourceMetadata::Root), vec![path(RESOURCE, ""), path(OAUTH, "")]),
        (resource(ResourceMetadata::RootForOrigin), vec![path(RESOURCE, ""), path(OAUTH, "")]),
        (resource(ResourceMetadata::Custom), vec!["/metadata/of-the-resource".to_owned(), path(OAUTH, "")]),
        (
            resource(ResourceMetadata::Root).silent_about_metadata(),
            vec![path(RESOURCE, "/mcp"), path(RESOURCE, ""), path(OAUTH, "")],
        ),
        (tenant(builder()), vec![path(RESOURCE, "/mcp"), path(OAUTH, "/tenant1")]),
        (
            tenant(server(ServerMetadata::OpenIdInserted)),
            vec![path(RESOURCE, "/mcp"), path(OAUTH, "/tenant1"), path(OPENID, "/tenant1")],
        ),
        (
            tenant(server(ServerMetadata::OpenIdAppended)),
            vec![path(RESOURCE, "/mcp"), path(OAUTH, "/tenant1"), path(OPENID, "/tenant1"), path("/tenant1", OPENID)],
        ),
        (server(ServerMetadata::OpenIdInserted), vec![path(RESOURCE, "/mcp"), path(OAUTH, ""), path(OPENID, "")]),
    ];
    for (server, wanted) in cases {
        let resource_is_origin = wanted[0] == RESOURCE;
        let scene = Scene::new(server).await;
        scene.log_in(LoginCause::Person).await.unwrap();
        let is_metadata = |endpoint| {
            matches!(endpoint, Endpoint::ResourceMetadata | Endpoint::ServerMetadata | Endpoint::OpenIdMetadata)
        };
        let log = scene.server.log().into_iter().filter(|request| is_metadata(request.endpoint));
        assert_eq!(log.map(|request| request.path).collect::<Vec<_>>(), wanted);
        assert_eq!(scene.grant().await.binding.issuer.0, scene.server.issuer());
        let sent = scene.server.log_of(Endpoint::Token)[0].parameter("resource").to_owned();
        let names = [scene.server.resource_url(), scene.server.origin().to_owned()];
        assert!(sent == names[0] || resource_is_origin && sent == names[1], "as it was published: {sent}");
        assert_eq!(scene.server.log_of(Endpoint::Authorization)[0].parameter("resource"), sent);
        renewed(&scene.session).await;
        assert_eq!(scene.server.log_of(Endpoint::Token)[1].parameter("resource"), sent);
    }
}

#[tokio::test]
async fn a_server_of_2025_03_26_is_found_at_its_origin_with_default_endpoints() {
    let server = LoginServer::builder().silent_about_metadata().resource_metadata([]).server_metadata([]);
    let scene = Scene::new(server.flaw(Flaw::NoResourceMetadata).flaw(Flaw::NoServerMetadata).without_iss()).await;
    // It states nothing about PKCE either, and its revision requires it.
    signs_in(&scene).await;
    let mut wanted = with_a_refresh();
    wanted.insert(Endpoint::ResourceMetadata, 2);
    assert_eq!(requests(&scene.server), wanted);
    assert_eq!(scene.grant().await.binding.issuer.0, scene.server.origin());
}

#[tokio::test]
async fn a_request_is_pushed_where_the_server_requires_it() {
    let scene = Scene::new(LoginServer::builder().require_par()).await;
    let asked = signs_in(&scene).await;
    let mut wanted = with_a_refresh();
    wanted.insert(Endpoint::PushedAuthorization, 1);
    assert_eq!(requests(&scene.server), wanted);
    assert!(asked.parameter("request_uri").is_some());
    assert_eq!((asked.parameter("state"), asked.parameter("code_challenge")), (None, None), "nothing beside it");
    assert_eq!(scene.server.counts().request_uris.into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn the_server_is_asked_about_a_client_that_is_used_again_before_the_person() {
    let scene = Scene::signed_in(LoginServer::builder()).await;
    scene.session.logout().await.unwrap();
    scene.log_in(LoginCause::Person).await.unwrap();
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins), (1, 2));
    assert_eq!(counts.of(Endpoint::PushedAuthorization), 1);
    assert_eq!(counts.request_uris.len(), 0, "the page gets the whole request, which does not expire");
    // The documents are still fresh.
    assert_eq!((counts.of(Endpoint::ResourceMetadata), counts.of(Endpoint::ServerMetadata)), (1, 1));
}

#[tokio::test]
async fn the_grant_is_enough_for_another_process_that_discovers_nothing() {
    let scene = Scene::signed_in(LoginServer::builder()).await;
    assert!(scene.runtime.shutdown(WAIT).await.is_clean());
    let before = requests(&scene.server);
    let runtime = scene.place.runtime(LoginSettings::default()).await;
    let session = session(&runtime, &scene.server.resource_url());
    token(&session).await;
    assert_eq!(requests(&scene.server), before, "a stored token costs no request");
    renewed(&session).await;
    assert_eq!(renewed(&session).await, token(&session).await);
    let mut wanted = before;
    *wanted.get_mut(&Endpoint::Token).unwrap() += 2;
    assert_eq!(requests(&scene.server), wanted, "and a refresh costs one, at the token endpoint");
    session.logout().await.unwrap();
    wanted.insert(Endpoint::Revocation, 1);
    assert_eq!(requests(&scene.server), wanted);
    assert!(!scene.server.hostile().is_alive(scene.server.grants()[0].chain));
}

#[tokio::test]
async fn many_callers_share_every_step() {
    let scene = Scene::new(LoginServer::builder()).await;
    let callers = (0..50).map(|_| begin(&scene.session, wish(&[]), LoginCause::Person));
    let all = futures_util::future::join_all(callers).await;
    let url = all[0].as_ref().unwrap().url.clone();
    assert!(all.iter().all(|asked| asked.as_ref().unwrap().url == url));
    answer(&scene.session, &url).await.unwrap();
    assert_eq!(requests(&scene.server), of_one_login());
}

#[tokio::test]
async fn accounts_at_one_resource_share_discovery_and_registration() {
    let scene = Scene::new(LoginServer::builder()).await;
    let spec = tokenkeeper::SessionSpec::mcp(&scene.server.resource_url()).unwrap();
    let sessions: Vec<_> = (0..8)
        .map(|number| scene.runtime.session(spec.clone().account(format!("account-{number}")).unwrap()))
        .collect();
    let logins = sessions.iter().map(|session| async move {
        let asked = begin(session, wish(&[]), LoginCause::Person).await.unwrap();
        answer(session, &asked.url).await.unwrap();
    });
    futures_util::future::join_all(logins).await;
    let mut wanted = of_one_login();
    for endpoint in [Endpoint::Resource, Endpoint::Authorization, Endpoint::Token] {
        wanted.insert(endpoint, 8);
    }
    let mut got = requests(&scene.server);
    // Sessions that come after the registration is stored ask the server about it first.
    got.remove(&Endpoint::PushedAuthorization);
    assert_eq!(got, wanted);
}

/// A resource that answers without a token, and wants one for some of its tools. No person is asked before.
#[tokio::test]
async fn a_resource_with_optional_logins_is_signed_in_to_after_its_first_challenge() {
    let server = LoginServer::builder().admits_anonymous().tool("secret", ["tools:call"]);
    let scene = Scene::new(server.resource_metadata([ResourceMetadata::Custom])).await;
    let url = scene.server.resource_url();
    assert_eq!(call(&url, "open", None).await.status(), 200);
    scene.has_nothing().await;
    let refused = call(&url, "secret", None).await;
    assert_eq!(refused.status(), 401);
    let challenge = Challenge::parse(refused.headers()).remove(0);
    scene.session.challenged(&challenge).await;
    let scopes = challenge.scopes().unwrap();
    let asked = begin(&scene.session, LoginWish { scopes, ..wish(&[]) }, LoginCause::Person).await.unwrap();
    assert_eq!(asked.parameter("scope").as_deref(), Some("tools:call"));
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.call("secret").await, 200);
    assert_eq!(scene.server.counts().at("/metadata/of-the-resource"), 1, "only the challenge names it");
    assert_eq!(requests(&scene.server)[&Endpoint::ResourceMetadata], 1);
}

/// The metadata is kept for an hour, and the endpoint that it names is gone.
#[tokio::test]
async fn a_token_endpoint_that_has_moved_is_found_by_the_next_login() {
    let scene = Scene::signed_in(LoginServer::builder()).await;
    scene.session.logout().await.unwrap();
    scene.server.flaw(Flaw::TokenEndpointMoved);
    assert_eq!(scene.log_in(LoginCause::Person).await, Err(LoginReason::Refused));
    scene.has_nothing().await;
    scene.log_in(LoginCause::Person).await.unwrap();
    let counts = scene.server.counts();
    assert_eq!((counts.of(Endpoint::FormerToken), counts.of(Endpoint::ServerMetadata)), (1, 2));
    assert_eq!((counts.of(Endpoint::ResourceMetadata), counts.registered), (1, 1));
    renewed(&scene.session).await;
}
