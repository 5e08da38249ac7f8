//! Client credentials, by a secret and by a private key.

use serde_json::json;

use super::jwt;
use super::scene::Scene;
use super::server::{CREDENTIALS, Fault};

const SECRET: &str = "secret/1 +";

const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"key-1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;

/// A P-256 key of this test alone.
const PEM: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2
OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r
1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G
-----END PRIVATE KEY-----
";

#[test]
fn a_client_signs_in_with_its_secret_and_every_process_obtains_its_tokens() {
    let scene = Scene::new();
    let secret = scene.home.file("secret.txt", &format!("{SECRET}\n"));
    let arguments = ["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret];
    let done =
        scene.login(0, &[&arguments[..], &["--scope", "tools:read", "--audience", "https://api.example"]].concat());
    assert_eq!(done.err.lines().next().unwrap().split(':').next(), Some("note"), "{}", done.err);
    let (err, out) = (done.err.clone(), done.good());
    let issuer = scene.server.issuer(0);
    let resource = scene.server.resource(0);
    let words = format!("signed in to {resource} at {issuer}, scopes tools:read, renewed by client credentials, ");
    assert!(out.starts_with(&words), "{out}");
    assert!(!format!("{out}{err}").contains(SECRET) && !err.contains("refresh token"), "{err}");
    assert_eq!(scene.token(0), "at-1");
    assert_eq!(scene.renewed(0).good().trim(), "at-2", "another process obtains it by the record alone");
    let requests = scene.server.requests();
    assert_eq!((scene.server.count(CREDENTIALS), requests.len()), (2, 2));
    for request in &requests {
        assert_eq!(
            (request.form["scope"].as_str(), request.form["audience"].as_str()),
            ("tools:read", "https://api.example")
        );
        assert_eq!(request.form["resource"], resource);
        assert_eq!(request.authorization, Some(jwt::basic("robot", SECRET)));
    }
    let status = scene.home.status();
    assert_eq!((&status["renewal"], &status["dpop"]), (&json!("client_credentials"), &json!(false)));
    assert_eq!((&status["state"], &status["login_required"]), (&json!("signed_in"), &json!(false)));
    let shown = scene.home.run(&["status"]).good();
    assert!(shown.lines().next().unwrap().ends_with("renewed by") && shown.contains("client credentials"), "{shown}");
}

#[test]
fn a_client_signs_in_with_its_private_key() {
    let scene = Scene::new();
    for (server, (name, key)) in [("key.json", KEY), ("key.pem", PEM)].into_iter().enumerate() {
        let file = scene.home.file(name, key);
        let done =
            scene.login(server, &["--client-credentials", "--client-id", "robot", "--client-key", &file, "--json"]);
        assert_eq!(done.json()["renewal"], json!("client_credentials"));
        std::fs::remove_file(&file).unwrap();
        let arguments = ["--client-credentials", "--client-id", "robot", "--client-key", "-", "--again"];
        scene.home.run_with(&[&["login", &scene.server.resource(server)], &arguments[..]].concat(), key).good();
        assert!(scene.renewed(server).good().starts_with("at-"), "the record has the key");
    }
    let requests = scene.server.requests();
    let claims: Vec<_> = requests.iter().map(|request| jwt::claims(&request.form["client_assertion"])).collect();
    assert!(claims.len() == 6 && claims.iter().all(|claims| claims["iss"] == "robot" && claims["sub"] == "robot"));
    assert_eq!(claims[0]["aud"], json!(scene.server.issuer(0)));
}

#[test]
fn credentials_that_are_refused_store_nothing() {
    let scene = Scene::new();
    let secret = scene.home.file("secret.txt", "wrong");
    let arguments = ["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret];
    let done = scene.login(0, &[&arguments[..], &["--json"]].concat());
    let event: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &event["event"], &event["reason"]), (4, &json!("failed"), &json!("credential_rejected")));
    assert!(scene.home.status().is_null());
    let bound = scene.login(0, &[&arguments[..], &["--dpop"]].concat());
    assert_eq!(bound.code, 4, "{}", bound.err);
    // The key of bound tokens is stored before. The right secret signs in all the same.
    let secret = scene.home.file("secret.txt", SECRET);
    scene.login(0, &["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret]).good();
    assert!(scene.token(0).starts_with("at-"));
}

#[test]
fn a_session_that_is_signed_in_is_left_as_it_is() {
    let scene = Scene::new();
    let secret = scene.home.file("secret.txt", SECRET);
    let arguments = ["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret];
    scene.login(0, &arguments).good();
    let done = scene.login(0, &arguments);
    assert!(done.err.contains("--again"), "{}", done.err);
    done.good();
    assert_eq!(scene.server.count(CREDENTIALS), 1);
    let again = [&arguments[..], &["--again", "--scope", "tools:call", "--json"]].concat();
    assert_eq!(scene.login(0, &again).json()["scopes"], json!(["tools:call"]));
    assert_eq!((scene.server.count(CREDENTIALS), scene.token(0)), (2, "at-2".to_owned()));
}

#[test]
fn a_login_again_that_obtains_nothing_leaves_the_session_as_it_was() {
    let scene = Scene::new();
    let (secret, wrong) = (scene.home.file("secret.txt", SECRET), scene.home.file("wrong.txt", "wrong"));
    let with = |secret| ["--client-credentials", "--client-id", "robot", "--client-secret-file", secret];
    scene.login(0, &with(&secret)).good();
    let done = scene.login(0, &[&with(&wrong)[..], &["--again"]].concat());
    assert!(done.code == 4 && done.err.contains("renewed as before this login"), "{}", done.err);
    assert_eq!(scene.home.status()["login_required"], json!(false));
    assert_eq!(
        (scene.token(0), scene.server.count(CREDENTIALS)),
        ("at-3".to_owned(), 3),
        "the former secret obtains it"
    );
}

#[test]
fn a_client_stays_with_the_issuer_that_was_judged() {
    let scene = Scene::new();
    let secret = scene.home.file("secret.txt", SECRET);
    let arguments = ["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret];
    scene.login(0, &arguments).good();
    // The MCP server lists another one first.
    scene.server.list([1, 0]);
    scene.login(0, &[&arguments[..], &["--again"]].concat()).good();
    scene.renewed(0).good();
    assert!(scene.server.requests().iter().all(|request| request.path == "/as/0/token"));
    assert_eq!(scene.server.count(CREDENTIALS), 3);
}

#[test]
fn another_session_is_replaced_by_wish_alone_and_a_persons_not_at_all() {
    let scene = Scene::new();
    let secret = scene.home.file("secret.txt", SECRET);
    let robot = ["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret];
    scene.login(0, &["--exec", "echo", "from-a-command"]).good();
    let done = scene.login(0, &robot);
    assert!(done.code == 4 && done.err.contains("--again"), "{}", done.err);
    assert_eq!(scene.token(0), "from-a-command");
    scene.login(0, &[&robot[..], &["--again"]].concat()).good();
    assert_eq!(scene.token(0), "at-1");

    let login = json!({
        "server": scene.server.resource(1), "issuer": scene.server.issuer(1), "client_id": "person",
        "token_endpoint": format!("{}/token", scene.server.issuer(1)), "refresh_token": "rt", "access_token": "at-person",
    });
    scene.home.run_with(&["import"], &login.to_string()).good();
    for again in [&[][..], &["--again"]] {
        let done = scene.login(1, &[&robot[..], again].concat());
        assert!(done.code == 4 && done.err.contains("tokenkeeper logout"), "{}", done.err);
    }
    assert_eq!((scene.token(1), scene.server.count(CREDENTIALS)), ("at-person".to_owned(), 1));
}

#[test]
fn a_logout_ends_the_session_and_a_login_begins_it_again() {
    let scene = Scene::new();
    let secret = scene.home.file("secret.txt", SECRET);
    let arguments = ["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret];
    scene.login(0, &arguments).good();
    scene.home.run(&["logout", &scene.server.resource(0)]).good();
    assert_eq!(scene.renewed(0).code, 3);
    scene.login(0, &arguments).good();
    assert_eq!(scene.token(0), "at-2");
}

#[test]
fn a_fault_that_passes_is_waited_for() {
    let scene = Scene::new();
    let secret = scene.home.file("secret.txt", SECRET);
    scene.server.next(CREDENTIALS, [Fault::CloseBefore, Fault::Refuse(503, "unavailable", None)]);
    scene.login(0, &["--client-credentials", "--client-id", "robot", "--client-secret-file", &secret]).good();
    assert_eq!(scene.server.count(CREDENTIALS), 3);
}

#[test]
fn a_bad_use_is_explained_and_nothing_is_sent() {
    let scene = Scene::new();
    let bad_key = scene.home.file("bad.pem", "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n");
    let cases: [(&[&str], &str); 10] = [
        (&["--client-credentials"], "--client-id"),
        (&["--client-credentials", "--client-id", "robot"], "--client-secret-file or --client-key"),
        (&["--client-credentials", "--client-id", "robot", "--client-key", &bad_key], "no private key"),
        (&["--client-credentials", "--client-id", "robot", "--client-key", "/no/such/key"], "/no/such/key"),
        (&["--client-credentials", "--client-id", "robot", "--device"], "cannot be used with"),
        (&["--jwt-bearer", "token", "--client-credentials", "--client-id", "robot"], "cannot be used with"),
        (&["--scope", "tools:read", "--exec", "false"], "cannot be used with"),
        (&["--client-id", "robot", "--exec", "false"], "cannot be used with"),
        (&["--client-metadata-url", "https://a.example/client", "--jwt-bearer", "token"], "cannot be used with"),
        (&["--audience", "https://api.example"], "required"),
    ];
    for (arguments, words) in cases {
        let done = scene.login(0, arguments);
        assert!(
            done.code == 2 && done.err.contains(words) && !done.err.contains("s3cret"),
            "{arguments:?}: {}",
            done.err
        );
    }
    assert_eq!(scene.server.counts().len(), 0);
}
