//! Logins that end without a session.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokenkeeper_testkit::login_server::{Browser, Consent, Endpoint, Flaw, LoginServer};

use super::scene::{Login, Scene};

/// Whether the home has no session.
fn is_empty(scene: &Scene) -> bool {
    let output = scene.command(&["status", "--all", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sessions = status["sessions"].as_array().unwrap();
    let token = scene.run("token", &[]);
    sessions.iter().all(|session| session["login_required"] == true) && token.status.code() == Some(3)
}

#[test]
fn a_person_declines() {
    let scene = Scene::with(LoginServer::builder().consents(Consent::Deny));
    let mut login = scene.begin(&["--no-browser"]);
    let page = scene.complete(&login.prompt()).page;
    assert!(page.contains("Access was declined"), "{page}");
    let ended = login.end();
    assert_eq!(ended.failed(), (4, "denied".to_owned()));
    assert!(ended.err.ends_with("error: denied: access was denied: sign in again to allow it\n"), "{}", ended.err);
    assert!(is_empty(&scene));
    let why = String::from_utf8(scene.run("why", &[]).stdout).unwrap();
    assert!(why.contains("  was declined by the person or the server"), "{why}");
    assert!(why.contains("\nthe last sign-in: access was denied: sign in again to allow it\n"), "{why}");
}

#[test]
fn no_answer_comes_in_time() {
    let scene = Scene::new();
    let mut login = scene.begin(&["--no-browser", "--timeout", "700ms"]);
    login.prompt();
    let ended = login.end();
    assert_eq!(ended.failed(), (5, "timed_out".to_owned()), "{}", ended.err);
    assert!(is_empty(&scene));
}

#[test]
fn an_interruption_cancels_the_login_and_closes_its_port() {
    let scene = Scene::new();
    let mut login = scene.begin(&["--no-browser"]);
    let prompt = login.prompt();
    let callback = scene.callback(&prompt);
    assert_eq!(scene.json("why", &[])["prompt"]["state"], "open");
    kill_process(Pid::from_child(&login.child), Signal::INT).unwrap();
    let ended = login.end();
    assert_eq!(ended.failed(), (1, "cancelled".to_owned()), "{}", ended.err);
    assert!(scene.runtime.block_on(Browser::complete(&callback)).is_err(), "the port is closed");
    assert!(is_empty(&scene));
    let mut again = scene.begin(&["--no-browser"]);
    let new = again.prompt();
    assert_ne!(new["url"], prompt["url"], "the former request is not shown again");
    scene.complete(&new);
    assert_eq!(again.end().code, 0);
    assert_eq!(scene.server.counts().logins, 1);
}

#[test]
fn a_program_that_stops_reading_ends_the_login() {
    let scene = Scene::new();
    let mut command = scene.login(&["--no-browser", "--json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(is_empty(&scene));
}

#[test]
fn each_flaw_of_a_server_is_named_and_stores_nothing() {
    let cases = [
        (Flaw::IssWrong, "wrong_issuer"),
        (Flaw::NoPkceList, "no_pkce"),
        (Flaw::WrongIssuer, "issuer_mismatch"),
        (Flaw::ResourceOtherOrigin, "resource_mismatch"),
        (Flaw::RegistrationRefused, "registration_refused"),
        (Flaw::NoRegistration, "no_client"),
        (Flaw::ScriptEndpoint, "unsafe_address"),
    ];
    for (flaw, reason) in cases {
        let scene = Scene::with(LoginServer::builder().flaw(flaw));
        let mut login = scene.begin(&["--no-browser"]);
        let first = login.event();
        let ended = if first["event"] == "prompt" {
            scene.complete(&first);
            login.end()
        } else {
            let mut ended = login.end();
            ended.events.insert(0, first);
            ended
        };
        assert_eq!(ended.failed(), (4, reason.to_owned()), "{flaw:?}: {}", ended.err);
        assert!(ended.err.contains(&format!("error: {reason}: ")), "{}", ended.err);
        let hint = match reason {
            "wrong_issuer" => "",
            "registration_refused" | "no_client" => "--client-id takes a client",
            _ => "tokenkeeper doctor http://127.0.0.1:",
        };
        assert!(ended.err.contains(hint), "{}", ended.err);
        assert!(is_empty(&scene));
        assert_eq!(scene.server.counts().of(Endpoint::Token), 0, "no code was presented");
    }
}

#[test]
fn the_search_for_codes_names_a_flaw_in_full() {
    // Without a browser the command asks the server first, and has its exact fault.
    let scene = Scene::with(LoginServer::builder().flaw(Flaw::WrongIssuer));
    let ended = scene.begin(&[]).end();
    assert_eq!(ended.failed(), (4, "issuer_mismatch".to_owned()), "{}", ended.err);
    assert!(ended.err.contains("the metadata names another issuer"), "{}", ended.err);
}

#[test]
fn a_server_that_is_gone_may_come_back() {
    let scene = Scene::new();
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let url = format!("http://{free}/mcp");
    for arguments in [&["--no-browser"][..], &[]] {
        let mut command = scene.command(&["login", &url, "--json"]);
        let ended = Login::of(command.args(arguments)).end();
        assert_eq!(ended.failed(), (5, "unreachable".to_owned()), "{}", ended.err);
        assert!(ended.err.contains(&format!("tokenkeeper doctor {url} ")), "{}", ended.err);
    }
}

#[test]
fn nothing_that_a_server_names_acts_on_the_terminal() {
    let scene = Scene::with(LoginServer::builder().flaw(Flaw::TerminalEscapes).device_interval(1));
    let mut login = scene.begin(&["--device"]);
    let first = login.event();
    if first["event"] == "prompt" {
        kill_process(Pid::from_child(&login.child), Signal::INT).unwrap();
    }
    let ended = login.end();
    let is_harmless =
        |c: char| c == '\n' || !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(ended.err.chars().all(is_harmless), "{:?}", ended.err);
}

#[test]
fn arguments_that_cannot_be_meant_make_no_home() {
    let scene = Scene::new();
    for arguments in [
        &["--device", "--paste"][..],
        &["--device", "--browser", "x"],
        &["--no-browser", "--browser", "x"],
        &["--browser", "'x"],
        &["--browser", ""],
        &["--callback-port", "0"],
        &["--client-secret-file", "x"],
        &["--client-id", "x", "--client-metadata-url", "https://client.example/x"],
        &["--client-id", "x", "--client-secret-file", "/no/such/file"],
        &["--client-metadata-url", "http://client.example/x"],
        &["--timeout", "soon"],
    ] {
        let output = scene.login(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!scene.path("home").exists(), "{arguments:?}");
    }
    let output = scene.command(&["login", "no-such-name"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let output = scene.login(&["--metadata-url", "http://as.example/metadata"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(scene.server.counts().of(Endpoint::Resource), 0);
}
