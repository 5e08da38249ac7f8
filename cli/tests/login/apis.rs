//! Logins at the API of a provider, which is no MCP server.

use std::fs;

use serde_json::json;
use tokenkeeper::ClientSecret;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::Rules;
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};

use super::scene::{Login, Scene};

/// A scene whose server is the one of a provider in a file, with the client's identifier.
fn scene() -> (Scene, String, [String; 4]) {
    let rules = Rules { checks_resource: false, ..Rules::default() };
    let scene = Scene::with(LoginServer::builder().rules(rules));
    let client = scene.server.pre_register(ClientAuth::Post, ["http://127.0.0.1/callback"]);
    let secret = scene.path("secret.txt");
    fs::write(&secret, client.secret.as_ref().map(ClientSecret::expose).unwrap()).unwrap();
    let (file, origin) = (scene.path("providers.json"), scene.server.origin());
    let ours = json!({
        "issuer": scene.server.issuer(),
        "endpoints": {
            "authorization": format!("{origin}/authorize"),
            "token": format!("{origin}/token"),
            "revocation": format!("{origin}/revoke"),
        },
        "client_authentication": ["client_secret_post"],
        "authorization": { "parameters": { "audience": "ours" } },
        "token_request": { "parameters": { "action": "requesttoken" } },
    });
    fs::write(&file, json!({ "version": 1, "providers": { "ours": ours } }).to_string()).unwrap();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let options = ["--providers".to_owned(), text(file), "--client-secret-file".to_owned(), text(secret)];
    (scene, client.id, options)
}

#[test]
fn a_person_signs_in_to_an_api_and_its_commands_work() {
    let (scene, client, [providers, file, secret_file, secret]) = scene();
    let login = ["login", "api:ours", "--client-id", &client, &secret_file, &secret, &providers, &file];
    let more = ["--scope", "tools:read", "--timeout", "50s", "--no-browser", "--json"];
    let mut login = Login::of(&mut scene.command(&[&login[..], &more[..]].concat()));
    let prompt = login.prompt();
    let page = url::Url::parse(prompt["url"].as_str().unwrap()).unwrap();
    let asked = |name: &str| page.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    assert_eq!((asked("audience").as_deref(), asked("scope").as_deref()), (Some("ours"), Some("tools:read")));
    assert_eq!(asked("resource"), None);
    scene.complete(&prompt);
    let ended = login.end();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.last()["server"], json!("api:ours"));

    // Only the token endpoint was asked. There is no metadata to find.
    let before = scene.server.counts();
    assert_eq!((before.of(Endpoint::Token), before.logins), (1, 1));
    let options = [providers.as_str(), &file];
    let json = |command: &str, more: &[&str]| {
        let output = scene.command(&[&[command, "api:ours", "--json"], more, &options].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let token = json("token", &[])["access_token"].clone();
    assert_ne!(json("token", &["--refresh"])["access_token"], token);
    assert_eq!(scene.server.counts().of(Endpoint::Token), 2);
    let why = json("why", &[]);
    assert_eq!((why["server"].clone(), why["login_required"].clone()), (json!("api:ours"), json!(false)));
    assert_eq!(json("logout", &[])["revocation"], json!("done"));
    assert_eq!(scene.server.counts().of(Endpoint::Revocation), 1);
}

#[test]
fn a_login_at_an_unknown_provider_names_the_known_ones() {
    let (scene, client, [providers, file, ..]) = scene();
    let told = |arguments: &[&str]| {
        let output = scene.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = told(&["login", "api:other", "--client-id", &client, &providers, &file, "--no-browser"]);
    assert!(
        unknown.contains("no provider is named other") && unknown.contains("github") && unknown.contains("ours"),
        "{unknown}"
    );
    let tenants = told(&["login", "api:okta", "--client-id", &client, "--no-browser"]);
    assert!(tenants.contains("an entry that extends okta and has its `issuer`"), "{tenants}");
    let spelled = told(&["login", "api:\u{1b}[2J", "--client-id", &client]);
    assert!(spelled.contains("the provider's name must be") && !spelled.contains('\u{1b}'), "{spelled:?}");
    assert!(!scene.path("home").join("records").exists() || scene.server.counts().logins == 0);
}

#[test]
fn an_api_has_no_dynamic_client() {
    let (scene, _, [providers, file, ..]) = scene();
    let output = scene.command(&["login", "api:ours", "--no-browser", &providers, &file]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("--client-id"), "{told}");
    assert_eq!(scene.server.counts().registered, 0);
}
