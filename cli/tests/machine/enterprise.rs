//! Cross-app access: a sign-on at an identity provider, and the sessions of servers that draw from it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use tokenkeeper_testkit::login_server::Browser;

use super::scene::{Done, Scene};
use super::server::{BEARER, CODE, EXCHANGE, Fault, REFRESH};

/// Signs on at the identity provider as a person does.
fn sign_on(scene: &Scene) -> Value {
    sign_on_with(scene, &[])
}

fn sign_on_with(scene: &Scene, arguments: &[&str]) -> Value {
    let idp = format!("idp:{}", scene.server.idp());
    let login = [&["login", &idp, "--client-id", "desktop", "--no-browser", "--json"], arguments].concat();
    let mut login = scene.home.command(&login);
    let mut login = login.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(login.stdout.take().unwrap()).lines();
    let mut event = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let prompt = event();
    scene.home.runtime.block_on(Browser::complete(prompt["url"].as_str().unwrap())).unwrap();
    let done = event();
    assert!(login.wait().unwrap().success());
    done
}

fn app(scene: &Scene, server: usize) -> Done {
    let secret = scene.home.file("app.txt", "app-secret");
    let idp = scene.server.idp();
    scene.login(server, &["--idp", &idp, "--client-id", "app", "--client-secret-file", &secret])
}

#[test]
fn servers_draw_from_one_sign_on() {
    let scene = Scene::new();
    let done = sign_on(&scene);
    assert_eq!((&done["event"], &done["renewal"]), (&json!("signed_in"), &json!("idp_session")), "{done}");
    for server in 0..3 {
        let out = app(&scene, server).good();
        assert!(out.contains(", renewed by identity provider, "), "{out}");
    }
    for server in 0..3 {
        assert!(scene.token(server).starts_with("at-"));
    }
    assert!(scene.renewed(1).good().starts_with("at-"));
    let counts = [CODE, REFRESH, EXCHANGE, BEARER].map(|grant| scene.server.count(grant));
    assert_eq!((counts, scene.server.replays()), ([1, 0, 4, 4], 0));

    // The session at the identity provider is one like any other.
    let idp = format!("idp:{}", scene.server.idp());
    let sessions = scene.home.run(&["status", "--json"]).json()["sessions"].take();
    let sources: Vec<_> = sessions.as_array().unwrap().iter().map(|session| session["renewal"].clone()).collect();
    assert_eq!(sources, [json!("idp_session"), json!("id_jag"), json!("id_jag"), json!("id_jag")]);
    assert!(scene.home.run(&["status"]).good().contains(&idp));
    scene.home.run(&["token", &idp, "--refresh"]).good();
    assert!(scene.renewed(2).good().starts_with("at-"), "the new ID token is exchanged");
    assert_eq!((scene.server.count(REFRESH), scene.server.replays()), (1, 0));
    assert!(scene.home.run(&["why", &idp]).good().contains("refreshed"));
}

#[test]
fn a_person_signs_on_through_a_client_with_a_private_key() {
    let scene = Scene::new();
    let key = r#"{"kty":"OKP","crv":"Ed25519","kid":"key-1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;
    let key = scene.home.file("key.json", key);
    let done = sign_on_with(&scene, &["--client-key", &key]);
    let idp = scene.server.idp();
    assert_eq!((&done["server"], &done["issuer"]), (&json!(format!("idp:{idp}")), &json!(idp)));
    let code = scene.server.requests().remove(0);
    let claims = super::jwt::claims(&code.form["client_assertion"]);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("desktop"), &json!(idp)));
    app(&scene, 0).good();
}

#[test]
fn without_a_sign_on_the_error_says_how_to_sign_on() {
    let scene = Scene::new();
    let done = app(&scene, 0);
    let command = format!("tokenkeeper login idp:{} --home ", scene.server.idp());
    assert!(done.code == 3 && done.err.contains("sign_on_required") && done.err.contains(&command), "{}", done.err);
    assert_eq!(scene.server.counts().len(), 0);
    assert!(scene.home.status().is_null());
}

#[test]
fn a_sign_on_that_has_ended_is_named_where_a_token_is_asked_for() {
    let scene = Scene::new();
    sign_on(&scene);
    app(&scene, 0).good();
    let idp = format!("idp:{}", scene.server.idp());
    scene.home.run(&["logout", &idp]).good();
    let login = format!("tokenkeeper login {idp} --home {}", scene.home.path("home").display());
    let done = scene.renewed(0);
    assert!(
        done.code == 3 && done.err.contains(&format!("{login} signs in at the identity provider of ")),
        "{}",
        done.err
    );
    // Each account has a sign-on of its own.
    let secret = scene.home.file("app.txt", "app-secret");
    let arguments = ["--idp", &scene.server.idp(), "--client-id", "app", "--client-secret-file", &secret];
    let other = scene.login(0, &[&["--account", "work"], &arguments[..]].concat());
    assert!(other.code == 3 && other.err.contains("--account work"), "{}", other.err);
}

/// A host that gets a login of the server would ask a person for a session that the organisation does not have.
#[test]
fn a_host_is_told_to_sign_on_where_its_server_draws_from_a_sign_on() {
    let scene = Scene::new();
    sign_on(&scene);
    app(&scene, 0).good();
    let idp = format!("idp:{}", scene.server.idp());
    scene.server.next(EXCHANGE, [Fault::WantsPerson("https://idp.example.com/consent")]);
    let login = format!("tokenkeeper login {idp} --home {} --client-id desktop", scene.home.path("home").display());
    let done = scene.renewed(0);
    assert!(done.code == 3 && done.err.contains(&format!("{login} signs in")), "{}", done.err);
}

#[test]
fn an_id_token_is_never_shown_as_the_token_of_a_request() {
    let scene = Scene::new();
    sign_on(&scene);
    let idp = format!("idp:{}", scene.server.idp());
    for notation in ["--headers", "--exec-credential"] {
        let done = scene.home.run(&["token", &idp, notation]);
        assert!(done.code == 4 && done.out.is_empty() && done.err.contains("id_token: "), "{}", done.err);
    }
    assert!(scene.home.token(&idp).contains('.'), "it is the subject of an exchange elsewhere");
}

#[test]
fn a_session_at_an_identity_provider_is_imported() {
    let scene = Scene::new();
    let idp = scene.server.idp();
    let bundle = json!({
        "server": format!("idp:{idp}"), "issuer": idp, "token_endpoint": format!("{idp}/token"), "client_id": "desktop",
        "refresh_token": "rt-0",
    });
    let import = |bundle: &Value| {
        let file = scene.home.file("login.json", &bundle.to_string());
        let mut command = scene.home.command(&["import"]);
        Done::of(command.stdin(std::fs::File::open(file).unwrap()).output().unwrap())
    };
    let with_access = [bundle.as_object().unwrap().clone()].map(|mut object| {
        object.insert("access_token".to_owned(), json!("at"));
        Value::from(object)
    });
    let refused = import(&with_access[0]);
    assert!(refused.code == 2 && refused.err.contains("ID token"), "{}", refused.err);
    import(&bundle).good();
    app(&scene, 0).good();
    let counts = [REFRESH, EXCHANGE, BEARER].map(|grant| scene.server.count(grant));
    assert_eq!((counts, scene.server.replays()), ([1, 1, 1], 0));
}
