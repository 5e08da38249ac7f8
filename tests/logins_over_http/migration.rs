//! A resource that moves to another authorization server, or whose metadata is not to be relied on.

use std::time::Duration;

use tokenkeeper::discovery::Challenge;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::{ChallengeKey, Lease, LoginCause, LoginReason, OperationKey, Reason, TokenOptions};
use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer, LoginServerBuilder};

use crate::rig::*;
use crate::within::within;

const OPERATION: OperationKey = OperationKey(1);

/// A server whose clients have names of their own.
async fn other(server: LoginServerBuilder) -> LoginServer {
    let server = server.start().await.unwrap();
    for _ in 0..5 {
        server.pre_register(ClientAuth::None, ["http://127.0.0.1/callback"]);
    }
    server
}

/// A call with the present token is refused, and the host reports it as hosts do. Returns the lease.
async fn refused(scene: &Scene) -> Lease {
    let lease = within("a token", scene.session.token()).await.unwrap();
    let answer = call(&scene.server.resource_url(), "any", Some(lease.token().expose())).await;
    assert_eq!(answer.status(), 401);
    let challenges = Challenge::parse(answer.headers());
    scene.session.challenged(&challenges[0]).await;
    let key = Challenge::key(&challenges);
    within("an answer", scene.session.invalidate(&lease, OPERATION, key)).await.unwrap();
    lease
}

/// The resource has moved, and the session needs a login. Begins it.
async fn begin_after_the_move(scene: &Scene) -> Asked {
    let lease = refused(scene).await;
    let error = within("an error", scene.session.token()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::IssuerChanged);
    let cause = LoginCause::Operation { refused: Some(lease.generation()), operation: OPERATION };
    begin(&scene.session, wish(&[]), cause).await.unwrap()
}

/// Everything secret or personal to the host that the first server has issued or been shown.
fn of_the_first(scene: &Scene) -> Vec<String> {
    let mut words = vec!["client-1".to_owned()];
    for sent in scene.place.wire.sent_to(scene.server.origin()) {
        for name in ["refresh_token=", "code=", "code_verifier=", "client_secret="] {
            let value = sent.text.split(name).nth(1).and_then(|rest| rest.split(['&', '\n']).next());
            words.extend(value.map(str::to_owned));
        }
    }
    words
}

/// Checks that nothing of the first server was sent to the second one.
async fn is_clean(scene: &Scene, second: &LoginServer) {
    let mut words = of_the_first(scene);
    if let Some(record) = scene.record().await
        && let Some(grant) = record.grant().filter(|grant| grant.binding.issuer.0 == scene.server.issuer())
    {
        words.extend(grant.access.as_ref().map(|access| access.token.expose().to_owned()));
        words.extend(record.held().map(|held| held.credential.token().expose().to_owned()));
    }
    for sent in scene.place.wire.sent_to(second.origin()) {
        for word in &words {
            assert!(!sent.text.contains(word.as_str()) && !sent.url.contains(word.as_str()), "{word} at {}", sent.url);
        }
    }
    let counts = second.counts();
    assert!(!counts.clients.contains_key("client-1"));
    assert!(!counts.codes.contains_key("unknown") && counts.tokens.refusals.is_empty(), "{counts:?}");
}

#[tokio::test]
async fn the_new_server_sees_neither_the_old_client_nor_any_old_token() {
    let second = other(LoginServer::builder()).await;
    let scene = Scene::signed_in(LoginServer::builder()).await;
    scene.server.migrate_to(&second);
    let asked = begin_after_the_move(&scene).await;
    assert_eq!(scene.server.counts().tokens.refresh_grants, 0, "the first server is asked for nothing more");
    assert!(asked.url.starts_with(second.origin()), "{}", asked.url);
    assert_eq!(asked.parameter("client_id").as_deref(), Some("client-6"));
    assert_eq!(asked.parameter("resource"), Some(scene.server.resource_url()));
    is_clean(&scene, &second).await;
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
    renewed(&scene.session).await;
    assert_eq!(scene.call("any").await, 200);
    is_clean(&scene, &second).await;
    let grant = scene.grant().await;
    assert_eq!((grant.binding.issuer.0, grant.binding.client.id), (second.issuer(), "client-6".to_owned()));
    let counts = scene.server.counts();
    assert_eq!((counts.of(Endpoint::ResourceMetadata), counts.registered, counts.logins), (2, 1, 1));
    assert_eq!((second.counts().of(Endpoint::ServerMetadata), second.counts().registered), (1, 1));
}

/// A subject is a name at its issuer alone (OpenID Connect Core section 2).
#[tokio::test]
async fn a_person_has_another_name_at_the_new_server() {
    let scopes = ["openid", "tools:read"];
    let second = other(LoginServer::builder().scopes(scopes).subject("alice-at-the-second")).await;
    let scene = Scene::signed_in(LoginServer::builder().scopes(scopes)).await;
    scene.server.migrate_to(&second);
    let asked = begin_after_the_move(&scene).await;
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
}

#[tokio::test]
async fn a_session_whose_issuer_is_no_longer_listed_needs_a_login_and_sends_nothing_meanwhile() {
    let second = other(LoginServer::builder()).await;
    let scene = Scene::signed_in(LoginServer::builder()).await;
    let lease = scene.session.token().await.unwrap();
    scene.server.migrate_to(&second);
    scene.session.issuers_listed([second.issuer()]);
    let error =
        within("an error", scene.session.token_with(TokenOptions { force: true, ..TokenOptions::default() })).await;
    assert_eq!(error.unwrap_err().reason(), Reason::IssuerChanged);
    let counts = scene.server.counts();
    assert_eq!(counts.tokens.refresh_grants, 0);
    let answer_of = call(&scene.server.resource_url(), "any", Some(lease.token().expose())).await;
    scene.session.challenged(&Challenge::parse(answer_of.headers())[0]).await;
    scene.log_in(LoginCause::Person).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
    is_clean(&scene, &second).await;
}

/// Schedule 14: a refresh is in flight at the first server and a login is open there, while the resource moves.
#[tokio::test]
async fn a_code_of_the_first_server_never_goes_to_the_second() {
    let second = other(LoginServer::builder()).await;
    let scene = Scene::signed_in(LoginServer::builder()).await;
    let open_login = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    assert!(open_login.url.starts_with(scene.server.origin()));
    let gate = scene.server.hold_at(Endpoint::Token, When::Before);
    let force = TokenOptions { force: true, ..TokenOptions::default() };
    let moves = async {
        within("the refresh", scene.server.until(|counts| counts.of(Endpoint::Token) == 2)).await;
        scene.server.migrate_to(&second);
        let challenge = call(&scene.server.resource_url(), "any", None).await;
        scene.session.challenged(&Challenge::parse(challenge.headers())[0]).await;
        // The person answers the page of the first server.
        let redirect = open(&open_login.url).await.callback.unwrap();
        let deliver = deliver(&scene.session, &redirect);
        let opens = async {
            tokio::task::yield_now().await;
            gate.open();
        };
        tokio::join!(deliver, opens).0
    };
    let (refreshed, done) = within("both", async { tokio::join!(scene.session.token_with(force), moves) }).await;
    assert_eq!(refreshed.unwrap_err().reason(), Reason::IssuerChanged, "nothing of the first server is served");
    assert_eq!(done, Ok(()), "the code went where it belongs, and so did the refresh");
    let kinds: Vec<_> = scene.server.log_of(Endpoint::Token);
    let kinds: Vec<_> = kinds.iter().map(|request| request.parameter("grant_type")).collect();
    assert_eq!(kinds, ["authorization_code", "refresh_token", "authorization_code"]);
    assert!(requests(&second).is_empty(), "{:?}", requests(&second));
    // The resource takes only what the second server issues.
    let asked = begin_after_the_move(&scene).await;
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
    is_clean(&scene, &second).await;
    assert_eq!(second.counts().codes.len(), 1);
}

/// Schedule 15: the metadata names another server with each request.
#[tokio::test]
async fn metadata_that_changes_with_each_request_is_read_at_most_once_a_minute() {
    let second = other(LoginServer::builder()).await;
    let scene = Scene::signed_in(LoginServer::builder()).await;
    let issuers = [scene.server.issuer(), second.issuer()];
    scene.server.migrate_to(&second);
    let before = token(&scene.session).await;
    for round in 0..20 {
        scene.server.list_issuers([issuers[(round + 1) % 2].clone()]);
        let challenge = call(&scene.server.resource_url(), "any", None).await;
        scene.session.challenged(&Challenge::parse(challenge.headers())[0]).await;
        begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
        within("the end", scene.session.cancel_login(WAIT)).await.unwrap();
    }
    let counts = scene.server.counts();
    assert_eq!(counts.of(Endpoint::ResourceMetadata), 2, "the second look, and no third");
    assert!(second.counts().of(Endpoint::ServerMetadata) <= 1 && second.counts().registered <= 1);
    // The last document that was read lists another server.
    assert_eq!(scene.session.token().await.unwrap_err().reason(), Reason::IssuerChanged);
    assert_eq!((counts.tokens.refresh_grants, counts.of(Endpoint::Revocation)), (0, 0));
    scene.place.clock.pass(Duration::from_secs(61));
    let challenge = call(&scene.server.resource_url(), "any", None).await;
    scene.session.challenged(&Challenge::parse(challenge.headers())[0]).await;
    assert_eq!(scene.server.counts().of(Endpoint::ResourceMetadata), 3, "a minute later, once more");
    assert_eq!(token(&scene.session).await, before, "the session is served again");
}

/// A resource that lists both issuers keeps the one that the session is bound to.
#[tokio::test]
async fn the_bound_issuer_is_kept_as_long_as_it_is_listed() {
    let second = other(LoginServer::builder()).await;
    let scene = Scene::signed_in(LoginServer::builder()).await;
    scene.server.list_issuers([second.issuer(), scene.server.issuer()]);
    let challenge = call(&scene.server.resource_url(), "any", None).await;
    scene.session.challenged(&Challenge::parse(challenge.headers())[0]).await;
    let asked = begin(&scene.session, wish(&[]), LoginCause::Again).await.unwrap();
    assert!(asked.url.starts_with(scene.server.origin()));
    assert!(requests(&second).is_empty());
    // A host without a session takes the first.
    let runtime = crate::rig::Place::new().runtime(tokenkeeper::LoginSettings::default()).await;
    let fresh = session(&runtime, &scene.server.resource_url());
    let asked = begin(&fresh, wish(&[]), LoginCause::Person).await.unwrap();
    assert!(asked.url.starts_with(second.origin()));
}

#[tokio::test]
async fn empty_or_foreign_metadata_ends_no_session() {
    for (flaw, reason) in [
        (Flaw::EmptyIssuerList, LoginReason::NoAuthorizationServer),
        (Flaw::ResourceOtherOrigin, LoginReason::ResourceMismatch),
        (Flaw::NoResourceMetadata, LoginReason::NoAuthorizationServer),
    ] {
        let scene = Scene::signed_in(LoginServer::builder()).await;
        let before = token(&scene.session).await;
        scene.server.flaw(flaw);
        let challenge = call(&scene.server.resource_url(), "any", None).await;
        scene.session.challenged(&Challenge::parse(challenge.headers())[0]).await;
        assert_eq!(begin(&scene.session, wish(&[]), LoginCause::Again).await.map(drop), Err(reason), "{flaw}");
        scene.session.issuers_listed(Vec::<String>::new());
        assert_eq!(token(&scene.session).await, before, "{flaw}");
        renewed(&scene.session).await;
        let lease = scene.session.token().await.unwrap();
        scene.session.invalidate(&lease, OPERATION, ChallengeKey(1)).await.unwrap();
        assert_eq!(scene.call("any").await, 200);
        scene.server.mend(flaw);
        scene.log_in(LoginCause::Again).await.unwrap();
        assert_eq!(scene.call("any").await, 200);
    }
}

/// Scopes are words of one issuer. The new one is asked for those that the resource names.
#[tokio::test]
async fn scopes_of_the_old_grant_are_not_carried_to_the_new_server() {
    let scopes = ["a", "b", "c"];
    let second = other(LoginServer::builder().scopes(scopes)).await;
    let scene = Scene::new(LoginServer::builder().scopes(scopes)).await;
    let asked = begin(&scene.session, wish(&["a"]), LoginCause::Person).await.unwrap();
    answer(&scene.session, &asked.url).await.unwrap();
    scene.server.migrate_to(&second);
    let asked = begin_after_the_move(&scene).await;
    assert_eq!(sorted(&asked.parameter("scope").unwrap()), scopes);
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
}
