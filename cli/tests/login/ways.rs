//! The ways in which a person is asked, and answers.

use serde_json::json;
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};

use super::scene::{Login, Opener, Scene};

#[test]
fn a_newcomer_signs_in_on_a_page_and_has_a_session() {
    let scene = Scene::new();
    let mut login = scene.begin(&["--account", "me@example.com", "--no-browser"]);
    let prompt = login.prompt();
    assert_eq!((&prompt["way"], &prompt["user_code"]), (&json!("page"), &json!(null)));
    assert_eq!(
        (&prompt["server"], &prompt["account"]),
        (&json!(scene.server.resource_url()), &json!("me@example.com"))
    );
    assert!(prompt["expires_at"].is_string());
    let page = scene.complete(&prompt).page;
    assert!(page.contains("You are signed in"), "{page}");
    let ended = login.end();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let session = ended.last();
    assert_eq!((&session["event"], &session["how"]), (&json!("signed_in"), &json!("here")), "{session}");
    assert_eq!((&session["server"], &session["account"]), (&prompt["server"], &prompt["account"]));
    assert_eq!((&session["issuer"], &session["subject"]), (&json!(scene.server.issuer()), &json!("alice")));
    assert_eq!(session["scopes"], json!(["openid", "tools:call", "tools:read"]));
    assert!(session["expires_at"].is_string() && session["generation"].is_string(), "{session}");
    // Each step is shown, and the page in full.
    for words in [
        "note: made the home ",
        "note: asking the server how to sign in\n",
        "to sign in to http://127.0.0.1:",
        "(me@example.com), open this page",
        prompt["url"].as_str().unwrap(),
        "note: waiting for you to sign in\n",
        "note: the answer is here: completing the sign-in\n",
    ] {
        assert!(ended.err.contains(words), "`{words}` is missing in {}", ended.err);
    }
    let asked = &scene.server.log_of(Endpoint::Authorization)[0];
    assert_eq!(asked.parameter("login_hint"), "me@example.com");

    let token = scene.json("token", &["--account", "me@example.com"]);
    assert_eq!(token["generation"], session["generation"]);
    let why = scene.run("why", &["--account", "me@example.com"]).stdout;
    let why = String::from_utf8(why).unwrap();
    for words in ["  asked a person to sign in ", "  got the person's answer ", "  signed in "] {
        assert!(why.contains(words), "`{words}` is missing in {why}");
    }
    let out = scene.json("logout", &["--account", "me@example.com"]);
    assert_eq!((&out["revocation"], &out["may_still_live"]), (&json!("done"), &json!(false)));
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins, counts.code_replays), (1, 1, 0));
}

#[test]
fn a_browser_is_words_without_a_shell_and_the_report_one_line() {
    let scene = Scene::new();
    let opener = Opener::new(&scene.path(""), "my browser");
    let command = format!("'{}' --new-window ;rm '$(id)' -u %s", opener.program.display());
    let login = Login::of(&mut scene.login(&["--browser", &command]));
    let arguments = opener.opened();
    assert_eq!(arguments[..4], ["--new-window", ";rm", "$(id)", "-u"]);
    scene.runtime.block_on(Browser::complete(&arguments[4])).unwrap();
    let output = login.output();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && err.contains(&arguments[4]), "{err}");
    let expected = format!(
        "signed in to {} as alice at {}, scopes openid tools:call tools:read, the access token expires in ",
        scene.server.resource_url(),
        scene.server.issuer()
    );
    assert!(out.starts_with(&expected) && out.lines().count() == 1, "{out}");
}

#[test]
fn the_variable_lists_browsers_and_the_first_that_works_is_taken() {
    let scene = Scene::new();
    let opener = Opener::new(&scene.path(""), "browser");
    let mut command = scene.login(&["--json"]);
    command.env("BROWSER", format!("/no/such/browser:false:{}", opener.program.display()));
    let mut login = Login::of(&mut command);
    let prompt = login.prompt();
    assert_eq!(opener.opened(), [prompt["url"].as_str().unwrap()]);
    scene.complete(&prompt);
    assert_eq!(login.end().code, 0);
}

#[test]
fn a_browser_that_cannot_be_started_leaves_the_address() {
    let scene = Scene::new();
    let mut login = scene.begin(&["--browser", "/no/such/browser"]);
    let prompt = login.prompt();
    login.tells("note: no browser could be started: open the page yourself");
    scene.complete(&prompt);
    assert_eq!(login.end().code, 0);
}

#[test]
fn an_answer_is_pasted_and_other_text_is_refused() {
    let scene = Scene::new();
    let mut login = scene.begin(&["--paste"]);
    let prompt = login.prompt();
    assert_eq!(prompt["takes_paste"], true);
    let callback = scene.callback(&prompt);
    assert!(callback.starts_with("http://127.0.0.1:4/callback?"), "no program listens there: {callback}");
    login.types("");
    login.types("where am I?");
    login.types(&callback.replace("state=", "state=x"));
    login.types(&callback);
    let ended = login.end();
    assert_eq!((ended.code, &ended.last()["event"]), (0, &json!("signed_in")), "{}", ended.err);
    assert_eq!(scene.server.counts().code_replays, 0);
}

#[test]
fn without_the_pasted_answer_the_login_ends_with_the_input() {
    let scene = Scene::new();
    let mut login = scene.begin(&["--paste"]);
    login.prompt();
    drop(login.keyboard.take());
    let ended = login.end();
    assert_eq!(ended.failed(), (2, "input_ended".to_owned()), "{}", ended.err);
    assert!(ended.err.contains("error: standard input ended"), "{}", ended.err);
    scene.sign_in(&[]);
}

#[test]
fn a_code_is_entered_on_another_device() {
    let scene = Scene::with(LoginServer::builder().device_interval(1));
    let mut login = scene.begin(&["--device"]);
    let prompt = login.prompt();
    assert_eq!((&prompt["way"], &prompt["user_code"]), (&json!("device"), &json!("USER-0000")));
    assert!(scene.server.approve_device("USER-0000"));
    let ended = login.end();
    assert_eq!((ended.code, &ended.last()["event"]), (0, &json!("signed_in")), "{}", ended.err);
    assert!(ended.err.contains("enter the code:") && ended.err.contains("\ncode: USER-0000\n"), "{}", ended.err);
    assert!(ended.err.contains(prompt["complete_url"].as_str().unwrap()), "{}", ended.err);
}

#[test]
fn without_a_browser_the_way_follows_from_the_server() {
    let scene = Scene::with(LoginServer::builder().device_interval(1));
    let mut login = scene.begin(&[]);
    assert_eq!(login.prompt()["way"], "device");
    assert!(scene.server.approve_device("USER-0000"));
    assert_eq!(login.end().code, 0);

    let scene = Scene::with(LoginServer::builder().without_devices());
    let mut login = Login::of(scene.login(&["--json"]).env("SSH_CONNECTION", "192.0.2.1 5 192.0.2.2 22"));
    let prompt = login.prompt();
    assert_eq!(prompt["way"], "page");
    let callback = scene.callback(&prompt);
    let port = callback.strip_prefix("http://127.0.0.1:").unwrap().split('/').next().unwrap();
    login.tells(&format!("ssh -L {port}:127.0.0.1:{port} HOST"));
    scene.runtime.block_on(Browser::complete(&callback)).unwrap();
    assert_eq!(login.end().code, 0);
}

#[test]
fn a_required_port_is_used_or_reported() {
    let scene = Scene::new();
    let other = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let ended = scene.begin(&["--callback-port", &port]).end();
    assert_eq!(ended.failed(), (5, "port_unavailable".to_owned()), "{}", ended.err);
    assert!(ended.err.contains(&format!("error: port {port} is taken")), "{}", ended.err);
    drop(other);
    let mut login = scene.begin(&["--callback-port", &port]);
    let prompt = login.prompt();
    assert!(scene.callback(&prompt).starts_with(&format!("http://127.0.0.1:{port}/callback?")));
    scene.complete(&prompt);
    assert_eq!(login.end().code, 0);
}
