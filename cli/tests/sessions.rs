//! Transcripts of `tokenkeeper status`, `token`, `import`, `logout` and `why` against a strict authorization server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command as Process, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use snapbox::cmd::{Command, cargo_bin};
use snapbox::str;
use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};

use scene::{Scene, stdout};

#[test]
fn a_login_is_imported_used_explained_and_ended() {
    let scene = Scene::new();
    scene.command(&["status"]).assert().success().stderr_eq("").stdout_eq(str![[r#"
no sessions in [..]

"#]]);
    scene.import(&scene.login()).success().stdout_eq(str![[r#"
signed in to http://127.0.0.1:[..]/mcp

"#]]);

    let first = scene.run("token", &[]).success().stderr_eq("");
    let token = stdout(&first);
    assert_eq!(stdout(&scene.run("token", &[]).success()), token, "what is stored and good is not refreshed");
    let object = scene.json("token", &["--json"]);
    assert_eq!(object["access_token"], token.trim());
    assert_eq!((&object["token_type"], &object["account"]), (&"Bearer".into(), &"default".into()));
    assert_eq!(object["scope"], scene.grant.scope.as_str());
    assert_eq!(scene.server.counts().token_requests, 1);

    scene.command(&["status"]).assert().success().stderr_eq("").stdout_eq(str![[r#"
server                      account  state      expires    refreshed  issuer
http://127.0.0.1:[..]/mcp  default  signed in  in [..]  [..]  http://127.0.0.1:[..]

"#]]);
    scene.run("why", &[]).success().stderr_eq("").stdout_eq(str![[r#"
http://127.0.0.1:[..]/mcp: signed in
[..]Z  signed in (process [..])
[..]Z  refreshed (process [..])

"#]]);

    scene.run("logout", &[]).success().stderr_eq("").stdout_eq(str![[r#"
logged out of http://127.0.0.1:[..]/mcp
The server offers no revocation, so the tokens may still live: its own pages can end them.

"#]]);
    assert_eq!(scene.state(), "logged_out");
    scene.run("token", &[]).code(3).stdout_eq("").stderr_eq(str![[r#"
error: logged_out: this session was logged out: sign in again
  tokenkeeper login signs in again; tokenkeeper why tells what happened to the old one

"#]]);
}

#[test]
fn many_processes_share_one_refresh() {
    let scene = Scene::signed_in();
    scene.server.next(When::Before, Fault::delay(Duration::from_millis(200)));
    let ask = || {
        Process::new(cargo_bin!("tokenkeeper"))
            .args(["token", &scene.server.resource(), "--home"])
            .arg(scene.home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let asking: Vec<_> = (0..8).map(|_| ask()).collect();
    let told: Vec<_> = asking.into_iter().map(|process| process.wait_with_output().unwrap()).collect();
    assert!(told.iter().all(|output| output.status.success() && output.stdout == told[0].stdout));
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.replays), (1, 0));
}

#[test]
fn what_the_server_asked_of_one_process_holds_for_all() {
    let scene = Scene::signed_in();
    let throttled = Fault::status(429).error("rate_limited").retry_after(RetryAfter::Seconds(120));
    scene.server.next(When::Before, throttled.delayed(Duration::from_millis(200)));
    let ask = |arguments: &[&str]| {
        Process::new(cargo_bin!("tokenkeeper"))
            .args(["token", &scene.server.resource(), "--home"])
            .arg(scene.home.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    // Four at once, which all wait for one answer, and then one after another.
    let mut told: Vec<_> = Vec::new();
    let asking: Vec<_> = (0..4).map(|_| ask(&[])).collect();
    told.extend(asking.into_iter().map(|process| process.wait_with_output().unwrap()));
    for arguments in [&[][..], &["--refresh"], &["--timeout", "1m"]] {
        told.push(ask(arguments).wait_with_output().unwrap());
    }
    for output in told {
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*output.stdout), (Some(5), &b""[..]), "{error}");
        assert!(error.starts_with("error: throttled: "), "{error}");
    }
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.replays), (1, 0));
    // The reports show it.
    let why = scene.json("why", &["--json"]);
    let asserted = scene.command(&["status", "--json"]).assert().success();
    let status: Value = serde_json::from_slice(&asserted.get_output().stdout).unwrap();
    assert!(why["retry_at"].is_string(), "{why}");
    assert!(status["sessions"][0]["retry_at"].is_string(), "{status}");
    let sentence = "the authorization server asked for no requests until 2";
    assert!(stdout(&scene.run("why", &[]).success()).contains(sentence));
    assert!(stdout(&scene.command(&["status"]).assert().success()).contains(sentence));
    scene.run("logout", &[]).success();
    assert_eq!(scene.json("why", &["--json"])["retry_at"], Value::Null);
}

#[test]
fn a_new_token_is_had_on_demand_or_when_too_little_is_left() {
    let scene = Scene::signed_in();
    let first = stdout(&scene.run("token", &[]).success());
    let second = stdout(&scene.run("token", &["--refresh"]).success());
    assert_ne!(first, second);
    assert_eq!(stdout(&scene.run("token", &["--min-ttl", "1s"]).success()), second);
    assert_eq!(scene.server.counts().token_requests, 2);
    let object = scene.json("token", &["--exec-credential"]);
    assert_eq!(object["kind"], "ExecCredential");
    assert_eq!(object["status"]["token"], second.trim());
}

#[test]
fn whatever_goes_wrong_has_an_exit_code() {
    let scene = Scene::new();
    scene.import_with(&scene.login(), &["--never-replay"]).success();
    scene.server.next(When::Before, Fault::status(503));
    scene.run("token", &[]).code(3).stdout_eq("").stderr_eq(str![[r#"
error: maybe_consumed: the refresh token may have been used up in a refresh that failed: sign in again
  tokenkeeper login signs in again; tokenkeeper why tells what happened to the old one

"#]]);
    assert_eq!(scene.state(), "login_required");

    let scene = Scene::signed_in();
    scene.server.next_n(8, When::Before, Fault::status(429));
    scene.run("token", &["--timeout", "2s"]).code(5).stdout_eq("");

    let scene = Scene::signed_in();
    scene.server.revoke(scene.grant.chain);
    scene.run("token", &[]).code(3).stdout_eq("").stderr_eq(str![[r#"
error: grant_ended: the authorization server ended this session: sign in again
  tokenkeeper login signs in again; tokenkeeper why tells what happened to the old one

"#]]);
    let why = scene.json("why", &["--json"]);
    assert_eq!((&why["state"], &why["reason"]), (&"login_required".into(), &"grant_ended".into()));
    let happened: Vec<_> = why["journal"].as_array().unwrap().iter().map(|line| line["what"].clone()).collect();
    assert_eq!(happened, ["logged_in", "ended"]);
    // A dead refresh token is refused. Another login is accepted.
    scene.import(&scene.login()).code(4).stdout_eq("");
}

/// The provider is stored with the login, so other commands need no option for it.
#[test]
fn a_provider_named_at_the_import_decides_about_replays_ever_after() {
    let scene = Scene::new();
    scene.import_with(&scene.login(), &["--provider", "notion"]).success();
    scene.server.next(When::After, Fault::reset());
    scene.run("token", &[]).code(3).stdout_eq("");
    scene.run("token", &[]).code(3).stdout_eq("");
    assert_eq!(scene.server.counts().token_requests, 1, "presented once");

    // Without a provider's name, a token in doubt is presented once more. `token` can name the provider later.
    let scene = Scene::signed_in();
    scene.server.next(When::Before, Fault::reset());
    scene.run("token", &[]).success();
    assert_eq!(scene.server.counts().token_requests, 2);
    scene.server.kill_access_tokens();
    scene.server.next(When::Before, Fault::reset());
    scene.run("token", &["--refresh", "--provider", "notion"]).code(3).stdout_eq("");
    assert_eq!(scene.server.counts().token_requests, 3, "presented once");

    scene.run("token", &["--provider", "nobody"]).code(2).stdout_eq("");
    scene.run("logout", &["--never-replay"]).code(2).stdout_eq("");
    scene.import_with(&scene.login(), &["--provider", "nobody"]).code(2).stdout_eq("");
}

#[test]
fn a_refresh_token_has_one_owner() {
    let scene = Scene::signed_in();
    let mut login = scene.login();
    login["account"] = "another".into();
    scene.import(&login).code(4).stdout_eq("").stderr_eq(str![[r#"
error: another session already owns this refresh token; sign in separately for this one

"#]]);
}

#[test]
fn what_cannot_be_read_says_which_file_and_what_to_do() {
    let scene = Scene::signed_in();
    let record = fs::read_dir(scene.home.path().join("records")).unwrap().next().unwrap().unwrap().path();
    let sealed = fs::read(&record).unwrap();
    fs::write(&record, &sealed[..sealed.len() / 2]).unwrap();
    assert_eq!(scene.state(), "unreadable");
    scene.run("token", &[]).code(6).stdout_eq("").stderr_eq(str![[r#"
error: store_trouble: the credential store cannot be used: check it, then try again[..]
  [..]/records/[..]: it cannot be opened, because it was cut off or changed, or sealed with another key: restore it; a new login puts a damaged record aside

"#]]);
    fs::write(&record, &sealed).unwrap();
    scene.run("token", &[]).success();

    fs::set_permissions(scene.home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    scene.run("token", &[]).code(6).stdout_eq("").stderr_eq(str![[r#"
error: [..]: others may use it: make it your own (chown), and keep others out (chmod go-rwx); a mount that keeps no permissions needs options for them (such as uid, gid and umask=077), or the home another place

"#]]);
}

#[test]
fn an_import_puts_a_damaged_record_aside_and_says_where_it_is() {
    let scene = Scene::signed_in();
    let records = scene.home.path().join("records");
    let record = fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    fs::write(&record, "cut off").unwrap();
    scene.run("logout", &[]).code(6);
    scene.import(&scene.login()).success().stderr_eq(str![[r#"
note: the old record was damaged and is kept in [..]/records/[..].damaged.[..]; nothing uses it any more
note: this home owns the refresh token now; remove it from where it came from, because two owners kill it

"#]]);
    let files: Vec<_> = fs::read_dir(&records).unwrap().map(|file| file.unwrap().path()).collect();
    let aside = files.iter().find(|file| **file != record).unwrap();
    assert_eq!((files.len(), fs::read(aside).unwrap()), (2, b"cut off".to_vec()));
    scene.run("token", &[]).success();
    scene.run("logout", &[]).success();
    assert_eq!(scene.state(), "logged_out");
    assert!(aside.exists());
}

#[test]
fn an_unacceptable_login_is_told_without_its_secrets() {
    let scene = Scene::new();
    let bad = |change: &dyn Fn(&mut Value)| {
        let mut login = scene.login();
        change(&mut login);
        let asserted = scene.import(&login).code(2).stdout_eq("");
        let told = String::from_utf8(asserted.get_output().stderr.clone()).unwrap();
        assert!(!told.contains(scene.grant.refresh_token.expose()), "{told}");
        told
    };
    // A refused import creates no home.
    fs::remove_dir_all(scene.home.path()).unwrap();
    let told = bad(&|login| login["refresh_token"] = Value::Null);
    assert!(told.contains("carries no token"), "{told}");
    let told = bad(&|login| login["expires_at"] = json!({ "secret": "s3cret" }));
    assert!(told.contains("\"expires_at\"") && !told.contains("s3cret"), "{told}");
    let told = bad(&|login| login["refreshToken"] = "s3cret".into());
    assert!(told.contains("\"refreshToken\" is unknown") && !told.contains("s3cret"), "{told}");
    let told = bad(&|login| login["token_endpoint"] = "http://as.example.com/token?s3cret".into());
    assert!(told.contains("token_endpoint is no https URL") && !told.contains("s3cret"), "{told}");
    let told = bad(&|login| login["issuer"] = "s3cret".into());
    assert!(told.contains("issuer is no https URL") && !told.contains("s3cret"), "{told}");
    let told = bad(&|login| {
        login["access_token"] = "s3cret".into();
        login["expires_at"] = 1_800_000_000_000_u64.into();
    });
    assert!(told.contains("counts the seconds") && !told.contains("s3cret"), "{told}");
    let told = bad(&|login| {
        login["access_token"] = "s3cret".into();
        login["expires_at"] = "2999-12-31T23:59:59Z".into();
    });
    assert!(told.contains("leave it out") && !told.contains("s3cret"), "{told}");
    let told = bad(&|login| login["token_endpoint_auth_method"] = "client_secret_basic".into());
    assert!(told.contains("needs a client_secret"), "{told}");
    for (input, expected) in [("", "is empty"), ("[", "not whole JSON"), ("[]", "no JSON object"), ("{} {}", "follows")]
    {
        let asserted = scene.command(&["import"]).stdin(input).assert().code(2);
        let told = String::from_utf8(asserted.get_output().stderr.clone()).unwrap();
        assert!(told.contains(expected), "{input}: {told}");
    }
    assert!(!scene.home.path().exists());
}

#[test]
fn no_secret_is_written_in_plain() {
    let scene = Scene::signed_in();
    let token = stdout(&scene.run("token", &[]).success());
    let secrets = [scene.grant.refresh_token.expose(), token.trim()];
    let mut folders = vec![scene.home.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = fs::read(entry.path()).unwrap();
            let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!secrets.iter().any(|secret| holds(secret)), "{}", entry.path().display());
        }
    }
}

#[test]
fn only_an_import_makes_a_home() {
    let scene = Scene::new();
    let none = scene.home.path().join("none");
    let resource = scene.server.resource();
    for arguments in [vec!["token", &resource], vec!["logout", &resource], vec!["status", "--watch"]] {
        let command = Command::new(cargo_bin!("tokenkeeper")).arg("--home").arg(&none).args(arguments);
        command.assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: never_signed_in: nobody is signed in here: sign in
  there is no home in [..]/none; tokenkeeper login makes one

"#]]);
        assert!(!none.exists());
    }
}

#[test]
fn a_home_that_lost_its_own_file_is_trouble_and_not_a_login_that_is_required() {
    let scene = Scene::signed_in();
    fs::remove_file(scene.home.path().join("home")).unwrap();
    scene.command(&["status"]).assert().code(6).stdout_eq("");
    scene.run("why", &[]).code(6).stdout_eq("");
}

#[test]
fn what_cannot_be_told_on_standard_error_is_no_failure() {
    let scene = Scene::new();
    let mut import = Process::new(cargo_bin!("tokenkeeper"))
        .args(["import", "--home"])
        .arg(scene.home.path().join("new"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(import.stderr.take());
    import.stdin.take().unwrap().write_all(scene.login().to_string().as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
}

#[test]
fn whatever_asks_it_to_end_a_refresh_under_way_is_stored() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let scene = Scene::signed_in();
        let gate = scene.server.hold_next(When::After);
        let mut token = Process::new(cargo_bin!("tokenkeeper"))
            .args(["token", &scene.server.resource(), "--home"])
            .arg(scene.home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        scene.runtime.block_on(gate.reached(1));
        kill_process(Pid::from_child(&token), signal).unwrap();
        // Its message about the wait shows that it received the signal.
        let mut said = String::new();
        let mut errors = std::io::BufReader::new(token.stderr.take().unwrap());
        std::io::BufRead::read_line(&mut errors, &mut said).unwrap();
        assert!(said.contains("interrupt to give it up"), "{signal:?}: {said}");
        gate.open();
        assert_eq!(token.wait().unwrap().code(), Some(1));
        assert_eq!(scene.state(), "signed_in");
    }
}

#[test]
fn an_issuer_draws_nothing_on_the_terminal() {
    let scene = Scene::new();
    let mut login = scene.login();
    for drawing in ["\u{1b}[2J", "\u{7}", "\nhttps://bank.example  default  signed in"] {
        login["issuer"] = format!("https://as.example/{drawing}").into();
        scene.import(&login).code(2);
    }
    // These characters reverse or hide the letters that follow.
    login["issuer"] = "https://as.example/\u{202e}moc\u{200b}".into();
    scene.import(&login).success();
    let asserted = scene.command(&["status"]).env("CLICOLOR_FORCE", "1").assert().success();
    let told = stdout(&asserted);
    assert!(told.lines().count() == 2 && !told.contains(['\u{202e}', '\u{200b}']), "{told:?}");
}

/// A running `tokenkeeper status --watch --all --json`, and the lines it prints.
struct Watching {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn of(scene: &Scene) -> Self {
        let mut process = Process::new(cargo_bin!("tokenkeeper"))
            .args(["status", "--watch", "--all", "--json", "--home"])
            .arg(scene.home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The state of the only session in the next line.
    fn state(&mut self) -> Value {
        let line: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        line["sessions"][0]["state"].clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn watching_prints_a_line_for_each_change() {
    let scene = Scene::signed_in();
    let mut watching = Watching::of(&scene);
    assert_eq!(watching.state(), "expired");
    scene.run("logout", &[]).success();
    while watching.state() != "logged_out" {}
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_writes_no_secret_to_the_disk() {
    let scene = Scene::signed_in();
    let mut watching = Watching::of(&scene);
    // The first line shows that it is watching.
    watching.state();
    let limits = fs::read_to_string(format!("/proc/{}/limits", watching.process.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn a_pipe_that_closes_is_no_panic() {
    let scene = Scene::signed_in();
    let mut process = Process::new(cargo_bin!("tokenkeeper"))
        .args(["import", "--home"])
        .arg(scene.home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let mut login = scene.login();
    login["refresh_token"] = "another".into();
    process.stdin.take().unwrap().write_all(login.to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}
