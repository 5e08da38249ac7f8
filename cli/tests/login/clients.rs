//! The client of a login, its scopes, and metadata that a person names.

use std::fs;

use serde_json::json;
use tokenkeeper::ClientSecret;
use tokenkeeper::engine::values::record::{Client, ClientAuth};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer, ResourceMetadata};

use super::scene::Scene;

const REDIRECT: &str = "http://127.0.0.1/callback";

fn secret(client: &Client) -> &str {
    client.secret.as_ref().map(ClientSecret::expose).unwrap()
}

#[test]
fn a_registered_client_signs_in_with_its_secret_from_a_file() {
    let scene = Scene::new();
    let client = scene.server.pre_register(ClientAuth::Basic, [REDIRECT]);
    let file = scene.path("secret.txt");
    fs::write(&file, format!("{}\n", secret(&client))).unwrap();
    let session = scene.sign_in(&["--client-id", &client.id, "--client-secret-file", file.to_str().unwrap()]);
    assert_eq!(session["issuer"], json!(scene.server.issuer()));
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins), (0, 1));
    // Its refreshes authenticate, too.
    assert!(scene.run("token", &["--refresh"]).status.success());
    let requests = scene.server.log_of(Endpoint::Token);
    assert!(requests.len() == 2 && requests.iter().all(|request| request.scheme.as_deref() == Some("basic")));
}

#[test]
fn a_secret_is_sent_as_the_server_takes_it() {
    let scene = Scene::with(LoginServer::builder().auth_methods([ClientAuth::Post]));
    let client = scene.server.pre_register(ClientAuth::Post, [REDIRECT]);
    let file = scene.path("secret.txt");
    fs::write(&file, secret(&client)).unwrap();
    scene.sign_in(&["--client-id", &client.id, "--client-secret-file", file.to_str().unwrap()]);
    assert_eq!(scene.server.log_of(Endpoint::Token)[0].scheme, None);
}

#[test]
fn a_secret_may_come_on_standard_input_before_the_answer() {
    let scene = Scene::new();
    let client = scene.server.pre_register(ClientAuth::Basic, ["http://127.0.0.1:4/callback"]);
    let mut login = scene.begin(&["--client-id", &client.id, "--client-secret-file", "-", "--paste"]);
    login.types(secret(&client));
    let callback = scene.callback(&login.prompt());
    login.types(&callback);
    let ended = login.end();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains(&format!("note: the client is used at {} only\n", scene.server.issuer())));
}

#[test]
fn a_wrong_secret_is_refused_and_stores_nothing() {
    let scene = Scene::new();
    let client = scene.server.pre_register(ClientAuth::Basic, [REDIRECT]);
    let file = scene.path("secret.txt");
    fs::write(&file, "wrong").unwrap();
    let arguments = ["--client-id", &client.id, "--client-secret-file", file.to_str().unwrap(), "--no-browser"];
    let mut login = scene.begin(&arguments);
    scene.complete(&login.prompt());
    let ended = login.end();
    assert_eq!(ended.failed(), (4, "client_rejected".to_owned()), "{}", ended.err);
    assert_eq!(scene.run("token", &[]).status.code(), Some(3));
}

#[test]
fn a_metadata_document_is_a_client_where_the_server_accepts_them() {
    let scene = Scene::with(LoginServer::builder().metadata_documents());
    let url = "https://client.example.com/client.json";
    scene.server.add_metadata_document(url, [REDIRECT]);
    scene.sign_in(&["--client-metadata-url", url]);
    assert_eq!(scene.server.counts().registered, 0);
    assert_eq!(scene.server.log_of(Endpoint::Authorization)[0].parameter("client_id"), url);
}

#[test]
fn scopes_are_asked_for_and_those_declined_are_named() {
    let scene = Scene::with(LoginServer::builder().scopes(["a", "b", "c", "d"]));
    scene.server.withhold(["c"]);
    let mut login = scene.begin(&["--no-browser", "--scope", "a b", "--scope", "c"]);
    scene.complete(&login.prompt());
    let ended = login.end();
    assert_eq!((ended.code, &ended.last()["scopes"]), (0, &json!(["a", "b"])), "{}", ended.err);
    assert!(ended.err.contains("note: these scopes were not granted: c\n"), "{}", ended.err);
    assert_eq!(scene.server.log_of(Endpoint::Authorization)[0].parameter("scope"), "a b c");
}

#[test]
fn metadata_may_be_named_where_a_server_publishes_no_way_to_it() {
    let no_metadata: [ResourceMetadata; 0] = [];
    let builder = LoginServer::builder().issuer_path("/tenant1").silent_about_metadata().resource_metadata(no_metadata);
    let scene = Scene::with(builder);
    // The endpoints of 2025-03-26 lead to another issuer.
    let mut login = scene.begin(&["--no-browser"]);
    scene.complete(&login.prompt());
    assert_eq!(login.end().failed(), (4, "wrong_issuer".to_owned()));
    let url = format!("{}/.well-known/oauth-authorization-server/tenant1", scene.server.origin());
    let session = scene.sign_in(&["--metadata-url", &url]);
    assert_eq!(session["issuer"], json!(scene.server.issuer()));
}

#[test]
fn a_client_never_reaches_another_issuer_than_its_own() {
    let (scene, other) = (Scene::new(), Scene::new());
    let client = scene.server.pre_register(ClientAuth::Basic, [REDIRECT]);
    let file = scene.path("secret.txt");
    fs::write(&file, secret(&client)).unwrap();
    let arguments = ["--client-id", &client.id, "--client-secret-file", file.to_str().unwrap()];
    scene.sign_in(&arguments);
    scene.server.migrate_to(&other.server);
    let ended = scene.begin(&[&arguments[..], &["--again"]].concat()).end();
    assert_eq!(ended.failed(), (4, "failed".to_owned()), "{}", ended.err);
    let expected = format!("error: this client belongs to {}, ", scene.server.issuer());
    assert!(ended.err.contains(&expected), "{}", ended.err);
    assert!(other.server.counts().clients.is_empty());
}
