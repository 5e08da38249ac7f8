//! Refusals, challenges and redirects.

use serde_json::json;
use tokenkeeper_testkit::mcp::{ChallengeForm, Instead, OtherOrigin};

use crate::client::{Rig, call, header, json_of, text};

#[tokio::test]
async fn a_bad_token_is_challenged_and_metadata_names_the_server() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.client().with_token("at-none");
    let refused = client.send(&call(1, "echo", json!({}))).await;
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", rig.resource.origin());
    assert_eq!(refused.status(), 401);
    let challenge = format!("Bearer resource_metadata=\"{metadata}\", error=\"invalid_token\"");
    assert_eq!(header(&refused, "www-authenticate"), challenge);
    let document = json_of(reqwest::get(metadata).await.unwrap()).await;
    assert_eq!(document["resource"], rig.resource.uri());
    assert_eq!(document["authorization_servers"], json!([rig.server.issuer()]));
    assert_eq!(
        (client.open(None).await.status(), client.delete().await.status()),
        (401.try_into().unwrap(), 401.try_into().unwrap())
    );
    let counts = rig.resource.counts();
    assert_eq!((counts.status(401), counts.answered("GET", 401), counts.all_executed()), (3, 1, 0));
}

#[tokio::test]
async fn a_tool_needs_its_scope() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.connect().await;
    let refused = client.send(&call(1, "restricted", json!({}))).await;
    assert_eq!(refused.status(), 403);
    let challenge = header(&refused, "www-authenticate");
    assert!(challenge.ends_with(", error=\"insufficient_scope\", scope=\"tools:admin\""), "{challenge}");
    rig.resource.change(|settings| settings.insufficient_scope_status = 401);
    assert_eq!(client.send(&call(1, "restricted", json!({}))).await.status(), 401);
    let wide = rig.server.grant_for(&rig.grant.binding.client, &rig.resource.uri(), "tools:read tools:admin");
    let client = client.with_token(wide.access_token.expose());
    assert_eq!(text(&client.call("restricted", json!({})).await), "done");
    assert_eq!(rig.resource.counts().executed("restricted"), 1);
}

#[tokio::test]
async fn challenges_have_the_form_of_the_settings() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.client().with_token("at-none");
    let forms = [
        (ChallengeForm::None, 0, ""),
        (ChallengeForm::Bearer, 1, "Bearer resource_metadata="),
        (ChallengeForm::SecondHeader, 2, "Negotiate"),
        (ChallengeForm::SecondInHeader, 1, "Basic realm=\"mcp\", Bearer resource_metadata="),
        (ChallengeForm::NonAscii, 1, "Bearer resource_metadata="),
    ];
    for (form, count, start) in forms {
        rig.resource.change(|settings| settings.challenge = form);
        let refused = client.send(&call(1, "echo", json!({}))).await;
        let challenges: Vec<_> = refused.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(challenges.len(), count, "{form:?}");
        assert!(challenges.first().is_none_or(|first| first.as_bytes().starts_with(start.as_bytes())), "{form:?}");
        let is_ascii = challenges.iter().all(|challenge| challenge.as_bytes().is_ascii());
        assert_eq!(is_ascii, form != ChallengeForm::NonAscii);
    }
}

#[tokio::test]
async fn a_redirect_shows_what_a_client_takes_along() {
    let (rig, other) = (Rig::start(|_| {}).await, OtherOrigin::start().await.unwrap());
    let (client, steal) = (rig.connect().await, format!("{}/steal", rig.resource.origin()));
    rig.resource.next("echo", 1, Instead::Redirect { status: 307, location: "/steal".into() });
    let answer = client.send(&call(1, "echo", json!({}))).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (307, "/steal".into()));
    assert_eq!(rig.resource.counts().elsewhere, 0);
    // A careless client, which also has a careful request in its log.
    let http = reqwest::Client::new();
    assert_eq!(http.post(&steal).bearer_auth("secret-token").send().await.unwrap().status(), 200);
    assert_eq!(http.post(other.url("/mcp")).header("mcp-session-id", "s").send().await.unwrap().status(), 200);
    http.get(other.url("/mcp")).send().await.unwrap();
    let stolen: Vec<_> = rig.resource.log().into_iter().filter(|request| request.path == "/steal").collect();
    assert_eq!((stolen.len(), stolen[0].has_secret(), stolen[0].contains("secret-token")), (1, true, true));
    assert!(!format!("{stolen:?}").contains("secret-token"));
    let elsewhere = other.until(2).await;
    assert_eq!((elsewhere[0].has("mcp-session-id"), elsewhere[0].has_secret()), (true, true));
    assert_eq!(
        (&*elsewhere[1].method, elsewhere[1].has_secret(), elsewhere[1].header("host").is_some()),
        ("GET", false, true)
    );
    assert_eq!(rig.resource.counts().elsewhere, 1);
}

#[tokio::test]
async fn other_answers_are_given_instead_until_calm() {
    let rig = Rig::start(|_| {}).await;
    let client = rig.connect().await;
    rig.resource.next("DELETE", 1, Instead::InvalidToken);
    rig.resource.next("*", 2, Instead::Status(503));
    let checked = rig.server.counts().resource_requests;
    assert_eq!(client.delete().await.status(), 401);
    assert_eq!(client.send(&call(1, "echo", json!({}))).await.status(), 503);
    rig.resource.calm();
    assert_eq!(client.delete().await.status(), 204);
    assert_eq!(rig.server.counts().resource_requests, checked + 1);
    assert_eq!(rig.resource.counts().executed("echo"), 0);
}
