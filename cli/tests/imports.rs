//! `tokenkeeper import`: accepted and refused logins, and their form in the output of the other commands.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test of processes")]

mod scene;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use serde_json::{Value, json};
use snapbox::cmd::OutputAssert;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper_testkit::hostile::{Fault, When};

use scene::{Scene, stdout};

fn stderr(asserted: &OutputAssert) -> String {
    String::from_utf8(asserted.get_output().stderr.clone()).unwrap()
}

/// The time in an hour, in seconds since 1970.
fn in_an_hour() -> u64 {
    SystemClock::new().unwrap().now().wall.as_millis() / 1_000 + 3_600
}

/// The scene's login without its refresh token.
fn only_access(scene: &Scene) -> Value {
    let mut login = scene.login();
    login["refresh_token"] = Value::Null;
    login["access_token"] = "at-x".into();
    login["expires_at"] = in_an_hour().into();
    login
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let scene = Scene::new();
    let input = format!("\u{feff}{}", scene.login());
    scene.command(&["import"]).stdin(input.clone()).assert().success();
    let utf_16: Vec<u8> = input.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let told = stderr(&scene.command(&["import"]).stdin(utf_16).assert().code(2));
    assert!(told.contains("write it as UTF-8"), "{told}");
}

#[test]
fn scopes_are_read_in_every_notation() {
    for scope in [json!("a b"), json!("a,b"), json!("a, b"), json!(["a", "b"]), json!(["a b"]), json!(" a\tb\n")] {
        let scene = Scene::new();
        let mut login = only_access(&scene);
        login["scope"] = scope.clone();
        scene.import(&login).success();
        assert_eq!(scene.json("token", &["--json"])["scope"], "a b", "{scope}");
    }
}

#[test]
fn an_empty_member_is_absent() {
    let scene = Scene::new();
    let mut login = scene.login();
    for member in [
        "account",
        "client_secret",
        "token_endpoint_auth_method",
        "revocation_endpoint",
        "resource",
        "access_token",
        "expires_at",
    ] {
        login[member] = "".into();
    }
    login["client_secret_expires_at"] = 0.into();
    scene.import(&login).success();
    // The client is public, and so is the one of the login.
    scene.run("token", &[]).success();
    assert_eq!(scene.json("why", &["--json"])["account"], "default");
    login["token_endpoint_auth_method"] = "client_secret_post".into();
    assert!(stderr(&scene.import(&login).code(2)).contains("needs a client_secret"));
}

#[test]
fn a_login_without_a_refresh_token_lasts_as_long_as_its_access_token() {
    let scene = Scene::new();
    let mut login = only_access(&scene);
    let told = stderr(&scene.import(&login).success());
    assert!(told.contains("ends with its access token") && !told.contains("two owners"), "{told}");
    assert_eq!(stdout(&scene.run("token", &[]).success().stderr_eq("")).trim(), "at-x");
    assert_eq!(scene.state(), "signed_in");
    scene.run("token", &["--refresh"]).code(3).stdout_eq("");
    assert_eq!(scene.server.counts().token_requests, 0);

    login["expires_at"] = 1.into();
    assert!(stderr(&scene.import(&login).code(2)).contains("the access token has expired"));
    login["access_token"] = Value::Null;
    assert!(stderr(&scene.import(&login).code(2)).contains("carries no token"));
}

#[test]
fn a_token_that_no_header_can_carry_is_refused() {
    let scene = Scene::new();
    fs::remove_dir_all(scene.home.path()).unwrap();
    for token in ["hush\n", "hush\r\nX-Injected: 1", "\u{1b}[2Jhush", "\u{feff}hush", "hush\u{e9}", " ", "hush\u{0}"] {
        for member in ["access_token", "refresh_token"] {
            let mut login = scene.login();
            login[member] = token.into();
            let told = stderr(&scene.import(&login).code(2).stdout_eq(""));
            assert!(told.contains(&member.replace('_', " ")) && !told.contains("hush"), "{token:?}: {told}");
        }
    }
    let mut login = scene.login();
    login["client_secret"] = "hush\n".into();
    assert!(stderr(&scene.import(&login).code(2)).contains("the client_secret contains a line end"));
    assert!(!scene.home.path().exists());
}

#[test]
fn an_endpoint_or_issuer_that_is_not_exact_is_refused() {
    let scene = Scene::new();
    for url in [
        "https:\\\\as.example.com",
        "https:as.example.com",
        "https://localhost\\@evil.example/t",
        "https://@as.example",
    ] {
        for member in ["issuer", "token_endpoint", "revocation_endpoint"] {
            let mut login = scene.login();
            login[member] = url.into();
            let told = stderr(&scene.import(&login).code(2));
            assert!(told.contains(member) && told.contains("no https URL"), "{told}");
        }
    }
}

#[test]
fn a_url_with_or_without_its_slash_gets_a_hint() {
    let scene = Scene::signed_in();
    let slashed = format!("{}/", scene.server.resource());
    let hint = format!("there is no session for {slashed}, but there is one for {}", scene.server.resource());
    let run = |command: &str, arguments: &[&str]| scene.command(&[command, &slashed]).args(arguments).assert();
    let token = stderr(&run("token", &[]).code(3).stdout_eq(""));
    assert!(token.starts_with("error: never_signed_in: ") && token.contains(&hint), "{token}");
    assert!(stdout(&run("why", &[]).success()).contains(&hint));
    assert!(stderr(&run("forget", &[]).code(2)).contains(&hint));
    assert!(stderr(&run("logout", &[])).contains(&hint));
    assert_eq!(scene.state(), "expired", "the other session is left as it is");

    let other = scene.run("token", &["--account", "work"]).code(3).stdout_eq("");
    assert!(stderr(&other).contains("(work), but there is one for"), "{}", stderr(&other));
    let stranger = scene.command(&["token", "https://elsewhere.example/mcp"]).assert().code(3);
    assert!(!stderr(&stranger).contains("but there is one"));
}

#[test]
fn a_tls_failure_is_told_as_one() {
    // The peer speaks plain HTTP.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("https://{}/token", listener.local_addr().unwrap());
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let hello = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        hello
    });
    let scene = Scene::new();
    let mut login = scene.login();
    login["token_endpoint"] = endpoint.into();
    scene.import(&login).success();
    let told = stderr(&scene.run("token", &["--fail-fast"]).code(5).stdout_eq(""));
    assert!(told.starts_with("error: untrusted: ") && told.contains("certificate"), "{told}");
    assert!(!told.contains("check the network"), "{told}");
    assert!(peer.join().unwrap() > 0);
    assert_eq!((scene.state(), scene.server.counts().token_requests), ("expired".into(), 0));
    assert_eq!(scene.json("why", &["--json"])["reason"], "untrusted");
}

#[test]
fn a_clear_answer_is_not_told_as_a_lost_one() {
    let scene = Scene::new();
    scene.import_with(&scene.login(), &["--never-replay"]).success();
    scene.server.always(When::Before, Fault::status(400).error("invalid_request"));
    let told = stderr(&scene.run("token", &[]).code(3).stdout_eq(""));
    assert!(told.starts_with("error: maybe_consumed: ") && !told.contains("lost"), "{told}");
}

#[test]
fn an_exec_credential_has_the_version_that_is_asked_for() {
    let scene = Scene::new();
    scene.import(&only_access(&scene)).success();
    let run = |info: &str| {
        let url = scene.server.resource();
        scene.command(&["token", &url, "--exec-credential"]).env("KUBERNETES_EXEC_INFO", info).assert()
    };
    for (asked, due) in [("", "v1"), ("v1", "v1"), ("v1beta1", "v1beta1")] {
        let info = match asked {
            "" => String::new(),
            asked => json!({ "apiVersion": format!("client.authentication.k8s.io/{asked}") }).to_string(),
        };
        let object: Value = serde_json::from_slice(&run(&info).success().get_output().stdout).unwrap();
        assert_eq!(object["apiVersion"], format!("client.authentication.k8s.io/{due}"), "{info}");
        assert_eq!(object["status"]["token"], "at-x");
    }
    for info in ["{", "{}", r#"{"apiVersion":"client.authentication.k8s.io/v2"}"#] {
        let told = stderr(&run(info).code(2).stdout_eq(""));
        assert!(told.contains("KUBERNETES_EXEC_INFO"), "{told}");
    }
}

/// These characters reverse, hide or end what follows them.
#[test]
fn an_account_and_an_issuer_draw_nothing_on_the_terminal() {
    let scene = Scene::new();
    let mut login = scene.login();
    let account = "zo\u{eb}\u{202e}krow\u{200b}\u{2066}";
    login["account"] = account.into();
    login["issuer"] = "https://as.example/\u{202e}moc\u{200b}".into();
    let tricks = ['\u{202e}', '\u{200b}', '\u{2066}'];
    let imported = scene.import_with(&login, &["--json"]).success();
    let status = scene.command(&["status"]).env("CLICOLOR_FORCE", "1").assert().success();
    let status_json = scene.command(&["status", "--json"]).assert().success();
    let token = scene.run("token", &["--account", account, "--json"]).success();
    let why = scene.run("why", &["--account", account]).success();
    let identity = scene.run("identity", &["--account", account]).success();
    for asserted in [&imported, &status, &status_json, &token, &why, &identity] {
        let told = stdout(asserted);
        assert!(told.contains("zo\u{eb}") && !told.contains(tricks), "{told:?}");
    }
    // Programs get the account as it is.
    for asserted in [&imported, &token] {
        let object: Value = serde_json::from_slice(&asserted.get_output().stdout).unwrap();
        assert_eq!(object["account"], account);
    }
    scene.run("logout", &["--account", account]).success();
}
