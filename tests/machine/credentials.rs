//! Client credentials, with the server's discovery, the forms of the request, and the record that a restart needs alone.

use tokenkeeper::engine::values::record::Refresh;
use tokenkeeper::issuers::Client;
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::{Reason, Spending};

use super::host::{Host, crowd, robot, token, try_token};
use super::server::{CREDENTIALS, Fault, METADATA};
use super::{jwt, within};

#[tokio::test]
async fn a_crowd_shares_the_discovery_and_one_request() {
    let host = Host::new().await;
    let session = host.session(0, &robot().scopes(["tools:read"]));
    let answers = crowd(std::slice::from_ref(&session), 200).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|lease| lease.token().expose() == "at-1")));
    assert_eq!((host.server.count(CREDENTIALS), host.server.count(METADATA)), (1, 2));
    let lease = answers[0].as_ref().unwrap();
    assert_eq!(lease.scopes().iter().collect::<Vec<_>>(), ["tools:read"], "those that were asked for");
    let request = &host.server.requests()[0];
    assert_eq!(request.form["resource"], host.server.resource(0));
    assert_eq!(request.form["scope"], "tools:read");
    assert_eq!(request.form.len(), 3, "{request:?}");
}

#[tokio::test]
async fn a_restarted_host_needs_the_identity_alone() {
    let host = Host::new().await;
    let session = host.session(0, &robot());
    assert_eq!(token(&session).await.unwrap(), "at-1");
    let grant = host.grant(session.identity()).await;
    assert_eq!((grant.renewal.source.as_str(), grant.renewal.spending), ("client_credentials", Spending::Repeatable));
    assert_eq!((grant.binding.issuer.0, grant.refresh), (host.server.issuer(0), Refresh::None));

    let host = host.restarted().await;
    let session = host.auth.session(host.spec(0));
    assert_eq!(token(&session).await.unwrap(), "at-1", "the stored token");
    host.expire();
    assert_eq!(token(&session).await.unwrap(), "at-2");
    assert_eq!((host.server.count(CREDENTIALS), host.server.count(METADATA)), (2, 2), "nothing is discovered again");
}

#[tokio::test]
async fn credentials_go_to_the_issuer_of_the_grant_alone() {
    let host = Host::new().await;
    let grant = robot().issuer(host.server.issuer(0));
    // Another one is listed first.
    host.server.list([1, 0]);
    assert!(token(&host.session(0, &grant)).await.is_ok());
    assert_eq!(host.server.requests()[0].path, "/as/0/token");
    host.server.list([1]);
    let host = host.restarted().await;
    let other = host.session(2, &grant);
    assert_eq!(try_token(&other).await.unwrap_err().reason(), Reason::RequestRefused);
    assert!(within("a login", other.sign_in_as(&grant)).await.is_err());
    assert_eq!(host.server.requests().len(), 1);
}

#[tokio::test]
async fn the_client_authenticates_in_its_own_way_alone() {
    let host = Host::new().await;
    assert!(token(&host.session(0, &robot())).await.is_ok());
    let post = MachineGrant::client_credentials(Client::secret_post("robot", "secret/1 +"));
    assert!(token(&host.session(1, &post)).await.is_ok());
    let [basic, post] = &host.server.requests()[..] else { panic!("two requests") };
    assert_eq!(basic.authorization, Some(jwt::basic("robot", "secret/1 +")));
    assert!(!basic.form.contains_key("client_id") && !basic.form.contains_key("client_secret"));
    assert_eq!(post.authorization, None);
    assert_eq!((post.form["client_id"].as_str(), post.form["client_secret"].as_str()), ("robot", "secret/1 +"));
}

#[cfg(feature = "assertions")]
#[tokio::test]
async fn a_private_key_signs_a_new_assertion_for_each_request() {
    use tokenkeeper::grant::{AssertionAudience, ClientKey};

    const KEY: &str =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"key-1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;
    let host = Host::new().await;
    let key = ClientKey::from_jwk(KEY).unwrap();
    let grant = |key: &ClientKey| MachineGrant::client_credentials(Client::private_key_jwt("robot", key));
    let session = host.session(0, &grant(&key));
    assert!(token(&session).await.is_ok());
    let host = host.restarted().await;
    host.expire();
    assert!(token(&host.auth.session(host.spec(0))).await.is_ok(), "the record has the key");
    let at_endpoint = key.audience(AssertionAudience::TokenEndpoint);
    assert!(token(&host.session(1, &grant(&at_endpoint))).await.is_ok());

    let requests = host.server.requests();
    let claims: Vec<_> = requests.iter().map(|request| jwt::claims(&request.form["client_assertion"])).collect();
    assert!(requests.iter().all(|request| request.authorization.is_none() && !request.form.contains_key("client_id")));
    assert!(claims.iter().all(|claims| claims["iss"] == "robot" && claims["sub"] == "robot"));
    let endpoint = format!("{}/token", host.server.issuer(1));
    let audiences: Vec<_> = claims.iter().map(|claims| claims["aud"].as_str().unwrap().to_owned()).collect();
    assert_eq!(audiences, [host.server.issuer(0), host.server.issuer(0), endpoint]);
    let mut ids: Vec<_> = claims.iter().map(|claims| claims["jti"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_rejected_client_is_no_reason_for_a_login_and_new_credentials_are_configured() {
    let host = Host::new().await;
    let session = host.session(0, &robot());
    assert_eq!(token(&session).await.unwrap(), "at-1");
    host.server.change_secret("the next secret");
    host.expire();
    let error = token(&session).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CredentialRejected);
    assert!(!error.is_login_required() && !error.is_transient());
    assert_eq!(host.server.count(CREDENTIALS), 2, "it is not repeated");

    let next = MachineGrant::client_credentials(Client::secret_basic("robot", "the next secret"));
    within("a configuration", session.configure(next.plan())).await.unwrap();
    assert!(token(&session).await.is_ok());
    let host = host.restarted().await;
    host.expire();
    assert!(token(&host.auth.session(host.spec(0))).await.is_ok());
}

#[tokio::test]
async fn a_session_that_was_logged_out_begins_again_when_the_host_says_so() {
    let host = Host::new().await;
    let session = host.session(0, &robot());
    let first = token(&session).await.unwrap();
    within("a logout", session.logout()).await.unwrap();
    let error = try_token(&session).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoggedOut, "the plan of the handle does not undo a logout");
    within("a sign-in", session.sign_in_as(&robot())).await.unwrap();
    assert_ne!(token(&session).await.unwrap(), first);
    assert_eq!(host.server.count(CREDENTIALS), 2);
}

#[tokio::test]
async fn a_server_that_the_host_names_is_not_discovered() {
    let host = Host::new().await;
    let issuer = host.server.issuer(7);
    let grant = robot().at(&issuer, format!("{issuer}/token")).unwrap().without_resource().parameter("tenant", "blue");
    let session = host.session(0, &grant);
    assert!(token(&session).await.is_ok());
    assert_eq!(host.server.count(METADATA), 0);
    let request = &host.server.requests()[0];
    assert_eq!((request.path.as_str(), request.form["tenant"].as_str()), ("/as/7/token", "blue"));
    assert!(!request.form.contains_key("resource"));
    assert!(robot().at("http://as.example.com", "https://as.example.com/token").is_err());
}

#[tokio::test]
async fn a_static_token_is_served_until_the_server_refuses_it() {
    use tokenkeeper::OperationKey;
    use tokenkeeper::engine::law::session::ChallengeKey;

    let host = Host::new().await;
    let session = host.session(0, &MachineGrant::static_token("pat-1"));
    assert_eq!(token(&session).await.unwrap(), "pat-1");
    host.expire();
    let lease = within("a token", session.token()).await.unwrap();
    assert_eq!(lease.token().expose(), "pat-1", "it has no end");
    let operation = OperationKey::of("tools/call");
    let refuse = async || {
        let lease = within("a token", session.token()).await.unwrap();
        within("a report", session.invalidate(&lease, operation, ChallengeKey::default())).await
    };
    refuse().await.unwrap();
    assert_eq!(refuse().await.unwrap_err().reason(), Reason::ResourceRefuses);
    assert_eq!(host.server.counts().len(), 0, "no server is asked");
}

#[tokio::test]
async fn a_discovery_that_fails_for_a_moment_is_tried_again() {
    let host = Host::new().await;
    host.server.next(METADATA, [Fault::CloseBefore, Fault::CloseBefore]);
    let answers = crowd(&[host.session(0, &robot())], 50).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((host.server.count(METADATA), host.server.count(CREDENTIALS)), (4, 1));
}

#[tokio::test]
async fn a_server_without_metadata_is_no_reason_for_a_login() {
    let host = Host::new().await;
    let resource = format!("{}/nowhere/mcp", host.server.origin());
    let spec = tokenkeeper::SessionSpec::mcp(&resource).unwrap().renewal(robot().plan());
    host.server.next(METADATA, (0..8).map(|_| Fault::Refuse(403, "forbidden", None)));
    let error = try_token(&host.auth.session(spec)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RequestRefused);
    let unnamed = host.auth.session(tokenkeeper::ServerIdentity::new(
        tokenkeeper::Account::default(),
        tokenkeeper::Target::api("github").unwrap(),
    ));
    let error = within("a sign-in", unnamed.sign_in_as(&robot())).await.unwrap_err();
    assert!(error.to_string().contains("token endpoint"), "{error}");
}
