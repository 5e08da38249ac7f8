//! Faults and gates at the endpoints of logins.

use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};

use crate::client::{Careless, get, word};
use crate::within::within;

#[tokio::test]
async fn a_fault_strikes_before_or_after_a_registration() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let endpoint = format!("{}/register", server.origin());
    let asked = serde_json::json!({ "redirect_uris": [crate::client::REDIRECT] });
    server.next_at(Endpoint::Registration, 1, When::Before, Fault::status(503));
    server.next_at(Endpoint::Registration, 1, When::After, Fault::status(502));
    for (status, registered) in [(503, 1), (502, 2), (201, 3)] {
        assert_eq!(crate::client::post_json(&endpoint, &asked).await.status(), status);
        assert_eq!(server.counts().registered, registered);
    }
    let statuses: Vec<_> = server.log_of(Endpoint::Registration).iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(201), Some(503), Some(502), Some(201)]);
    drop(client);
}

#[tokio::test]
async fn any_fault_strikes_at_the_resources_metadata() {
    let server = LoginServer::start().await.unwrap();
    let url = format!("{}/.well-known/oauth-protected-resource/mcp", server.origin());
    server.next_at(Endpoint::ResourceMetadata, 1, When::After, Fault::huge(11 << 20));
    server.next_at(Endpoint::ResourceMetadata, 1, When::After, Fault::redirect());
    assert!(get(&url).await.text().await.unwrap().len() > 10 << 20);
    assert_eq!(get(&url).await.status(), 307);
    assert_eq!(get(&url).await.status(), 200);
    assert_eq!((server.counts().of(Endpoint::ResourceMetadata), server.counts().tokens.faults), (3, 2));
}

#[tokio::test]
async fn the_answer_to_a_code_is_lost_and_the_code_is_spent() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let code = client.code("").await;
    server.next_at(Endpoint::Token, 1, When::After, Fault::reset());
    let request = client.http.post(server.hostile().token_endpoint());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(crate::client::encoded(&client.exchange(&code))).send().await.unwrap_err();
    let counts = server.counts();
    assert_eq!((counts.codes["code-0"], counts.logins, counts.tokens.faults), (1, 1, 1));
    assert_eq!(server.log_of(Endpoint::Token)[0].status, None);
}

#[tokio::test]
async fn a_gate_holds_metadata_and_until_sees_it_arrive() {
    let server = LoginServer::start().await.unwrap();
    let gate = server.hold_at(Endpoint::ServerMetadata, When::Before);
    let url = format!("{}/.well-known/oauth-authorization-server", server.origin());
    let answer = tokio::spawn(async move { get(&url).await.status() });
    let arrived = server.until(|counts| counts.of(Endpoint::ServerMetadata) == 1);
    assert_eq!(within("the request", arrived).await.at("/.well-known/oauth-authorization-server"), 1);
    within("the gate", gate.reached(1)).await;
    assert!(!answer.is_finished());
    gate.open();
    assert_eq!(within("the answer", answer).await.unwrap(), 200);
}

#[tokio::test]
async fn faults_at_the_resource_and_at_revocation_are_those_of_the_hostile_server() {
    let server = LoginServer::start().await.unwrap();
    let client = Careless::register(&server).await;
    let tokens = client.log_in("").await;
    server.next_at(Endpoint::Resource, 1, When::Before, Fault::challenge());
    assert_eq!(client.call("any", word(&tokens, "access_token")).await.status(), 401);
    assert_eq!(client.call("any", word(&tokens, "access_token")).await.status(), 200);
    server.next_at(Endpoint::Revocation, 1, When::Before, Fault::status(503));
    let revocation = [("client_id", client.id.clone()), ("token", word(&tokens, "refresh_token").to_owned())];
    assert_eq!(client.form("/revoke", &revocation).await.status(), 503);
    assert_eq!(client.form("/revoke", &revocation).await.status(), 200);
    assert_eq!(client.call("any", word(&tokens, "access_token")).await.status(), 401);
    assert_eq!((server.counts().of(Endpoint::Revocation), server.counts().tokens.chains_revoked), (2, 1));
}
