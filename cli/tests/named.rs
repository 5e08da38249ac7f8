//! A session whose URL is a secret is used by a name, or by standard input, and no file of its home shows the URL.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snapbox::str;
use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};

use scene::{Scene, stdout};

const SECRETS: [&str; 3] = ["path-s3cret-4711", "query-s3cret-4712", "account-s3cret-4713"];

/// The URL of a server with keys in its path and its query.
fn url(scene: &Scene) -> String {
    format!("{}/{}/mcp?key={}", scene.server.issuer(), SECRETS[0], SECRETS[1])
}

fn login(scene: &Scene) -> Value {
    let mut login = scene.login();
    login["server"] = url(scene).into();
    login["account"] = SECRETS[2].into();
    login["resource"] = scene.server.resource().into();
    login
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { [files(&path), vec![path]].concat() } else { vec![path] }).collect()
}

/// Asserts that no file of the home has a secret in its name or its contents.
fn shows_nothing(scene: &Scene) {
    let files = files(scene.home.path());
    assert!(files.len() > 12, "{files:?}");
    for file in files {
        let contents = if file.is_dir() { Vec::new() } else { fs::read(&file).unwrap() };
        let name = file.strip_prefix(scene.home.path()).unwrap().display().to_string();
        for secret in SECRETS {
            let is_in_it = contents.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_in_it && !name.contains(secret), "{name} shows {secret}");
        }
    }
}

#[test]
fn no_file_of_a_home_shows_the_url_or_the_account_of_a_session() {
    let scene = Scene::new();
    scene.import_with(&login(&scene), &["--name", "keyed"]).success();
    shows_nothing(&scene);
    scene.command(&["token", "keyed"]).assert().success();
    let throttled = Fault::status(429).error("rate_limited").retry_after(RetryAfter::Seconds(120));
    scene.server.next(When::Before, throttled);
    scene.command(&["token", "keyed", "--refresh", "--fail-fast"]).assert().code(5);
    scene.command(&["why", "keyed"]).assert().success();
    scene.command(&["status", "--all"]).assert().success();
    shows_nothing(&scene);
    // A damaged record that a login puts aside.
    let record = files(&scene.home.path().join("records")).remove(0);
    let whole = fs::read(&record).unwrap();
    fs::write(&record, &whole[..whole.len() - 1]).unwrap();
    let again = scene.server.grant_to(&scene.grant.binding.client);
    let mut login = login(&scene);
    login["refresh_token"] = again.refresh_token.expose().into();
    scene.import(&login).success();
    assert_eq!(files(&scene.home.path().join("records")).len(), 2);
    shows_nothing(&scene);
    scene.command(&["logout", "keyed"]).assert().success();
    scene.command(&["forget", "keyed"]).assert().success();
    shows_nothing(&scene);
}

#[test]
fn a_session_is_used_by_its_name() {
    let scene = Scene::new();
    scene.import_with(&login(&scene), &["--name", "keyed"]).success();
    let object = json(&scene, &["token", "keyed", "--json"]);
    assert_eq!((&object["server"], &object["account"]), (&url(&scene).into(), &SECRETS[2].into()));
    assert_eq!(json(&scene, &["why", "keyed", "--json"])["state"], "signed_in");
    assert_eq!(json(&scene, &["status", "--json"])["sessions"][0]["name"], "keyed");
    scene.command(&["status"]).assert().success().stdout_eq(str![[r#"
name   server [..]
keyed  http://127.0.0.1:[..]

"#]]);
    let usage = |arguments: &[&str]| {
        let told = scene.command(arguments).assert().code(2);
        let told = String::from_utf8(told.get_output().stderr.clone()).unwrap();
        assert!(told.contains("name"), "{told}");
    };
    usage(&["token", "another"]);
    usage(&["token", "keyed", "--account", "work"]);
    usage(&["name", "keyed", "a name"]);
    // It is another name of the same session, and then none.
    scene.command(&["name", "keyed", "other"]).assert().success();
    usage(&["token", "keyed"]);
    scene.command(&["logout", "other"]).assert().success();
    assert_eq!(json(&scene, &["why", "other", "--json"])["state"], "logged_out");
    scene.command(&["forget", "other"]).assert().success();
    usage(&["why", "other"]);
}

#[test]
fn a_name_belongs_to_one_session() {
    let scene = Scene::signed_in();
    scene.command(&["name", &scene.server.resource(), "mine"]).assert().success();
    scene.import_with(&login(&scene), &["--name", "mine"]).code(4).stderr_eq(str![[r#"
error: mine is the name of http://127.0.0.1:[..]/mcp: choose another, or take it away with --remove

"#]]);
    assert_eq!(json(&scene, &["status", "--json"])["sessions"].as_array().unwrap().len(), 1, "nothing is stored");
    scene.command(&["name", "mine", "--remove"]).assert().success();
    scene.import_with(&login(&scene), &["--name", "mine"]).code(4).stderr_eq(str![[r#"
error: another session already owns this refresh token; sign in separately for this one

"#]]);
    scene.command(&["name", "https://mcp.example.com/never", "never"]).assert().code(2);
}

#[test]
fn a_url_is_read_from_standard_input() {
    let scene = Scene::new();
    scene.import(&login(&scene)).success();
    let mut arguments = vec!["token", "-", "--account", SECRETS[2]];
    let token =
        stdout(&scene.command(&arguments).stdin(format!("  {}\nsomething else\n", url(&scene))).assert().success());
    assert!(token.starts_with("at-"), "{token}");
    arguments[0] = "name";
    scene.command(&[&arguments[..], &["keyed"]].concat()).stdin(url(&scene)).assert().success();
    assert_eq!(stdout(&scene.command(&["token", "-"]).stdin("keyed").assert().success()), token);
    for wrong in ["", "\n", "not a url", "ftp://x"] {
        scene.command(&["token", "-"]).stdin(wrong).assert().code(2).stdout_eq("");
    }
    scene.command(&["identity", "-"]).stdin(url(&scene)).assert().success();
}

#[test]
fn a_key_in_a_query_does_not_reach_the_authorization_server() {
    let scene = Scene::new();
    let server = format!("{}?key={}", scene.server.resource(), SECRETS[1]);
    let mut login = scene.login();
    login["server"] = server.clone().into();
    scene.import(&login).success();
    // The server knows its resource without a query, and refuses any other.
    scene.command(&["token", &server]).assert().success();
    let object = json(&scene, &["identity", &server, "--json"]);
    assert_eq!((&object["server"], &object["resource"]), (&json!(server), &json!(scene.server.resource())));
}

fn json(scene: &Scene, arguments: &[&str]) -> Value {
    let asserted = scene.command(arguments).assert().success();
    serde_json::from_slice(&asserted.get_output().stdout).unwrap()
}
