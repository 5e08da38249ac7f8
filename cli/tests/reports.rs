//! `status`, `why` and `token` report the same about a session, and nothing that did not happen.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use serde_json::Value;
use snapbox::cmd::cargo_bin;
use snapbox::str;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Account, AuthRuntime, Reason, ServerIdentity, Target, TokenOptions};
use tokenkeeper_testkit::hostile::{Fault, When};

use scene::{Scene, stdout};

fn begin_token(scene: &Scene) -> Child {
    Process::new(cargo_bin!("tokenkeeper"))
        .args(["token", &scene.server.resource(), "--home"])
        .arg(scene.home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The kinds of the journal's lines, oldest first.
fn happened(scene: &Scene) -> Vec<Value> {
    let why = scene.json("why", &["--json", "--lines", "1000"]);
    why["journal"].as_array().unwrap().iter().map(|line| line["what"].clone()).collect()
}

#[test]
fn refreshes_that_processes_share_leave_no_failure_in_the_journal() {
    let mut scene = Scene::signed_in();
    for round in 1..=5 {
        // The delay lets the other seven callers join the refresh.
        scene.server.next(When::Before, Fault::delay(Duration::from_millis(200)));
        let asking: Vec<_> = (0..8).map(|_| begin_token(&scene)).collect();
        let told: Vec<_> = asking.into_iter().map(|process| process.wait_with_output().unwrap()).collect();
        assert!(told.iter().all(|output| output.status.success() && output.stdout == told[0].stdout));
        assert_eq!((scene.server.counts().token_requests, scene.server.counts().replays), (round, 0));
        let object = scene.json("why", &["--json"]);
        assert_eq!((&object["state"], &object["reason"]), (&"signed_in".into(), &Value::Null), "{object}");
        if round < 5 {
            // The next login brings no access token.
            scene.grant = scene.server.grant();
            scene.import(&scene.login()).success();
        }
    }
    let happened = happened(&scene);
    let times = |what: &str| happened.iter().filter(|line| **line == what).count();
    assert_eq!((times("logged_in"), times("refreshed"), times("failed")), (5, 5, 0), "{happened:?}");
    scene.command(&["status"]).assert().success().stderr_eq("").stdout_eq(str![[r#"
server                      account  state      expires    refreshed  issuer
http://127.0.0.1:[..]/mcp  default  signed in  in [..]  [..]  http://127.0.0.1:[..]

"#]]);
}

/// Adds a copy of the session's newest journal line, one second later, with `changes` to its members, and with the members
/// that earlier versions wrote.
fn add_to_journal(scene: &Scene, changes: &[(&str, Value)]) {
    let journal = fs::read_dir(scene.home.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&journal).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let members = line.as_object_mut().unwrap();
    for (now, earlier) in [("kind", "what"), ("reason", "why")] {
        if let Some(value) = members.remove(now) {
            members.insert(earlier.to_owned(), value);
        }
    }
    for (member, value) in changes {
        line[member] = value.clone();
    }
    line["wall"] = (line["wall"].as_u64().unwrap() + 1_000).into();
    writeln!(OpenOptions::new().append(true).open(&journal).unwrap(), "{line}").unwrap();
}

#[test]
fn a_process_that_stopped_is_no_trouble_of_the_session() {
    let scene = Scene::signed_in();
    scene.run("token", &[]).success();
    // Lines that earlier versions wrote.
    for _ in 0..32 {
        add_to_journal(&scene, &[("what", "failed".into()), ("why", "shutting_down".into())]);
    }
    let why = scene.json("why", &["--json", "--lines", "1"]);
    assert_eq!((&why["state"], &why["reason"], &why["advice"]), (&"signed_in".into(), &Value::Null, &Value::Null));
    assert_eq!(why["journal"][0]["why"], "shutting_down", "the journal is shown as it is");
    assert!(!stdout(&scene.command(&["status"]).assert().success()).contains("shutting down"));

    // An earlier failure is still reported.
    add_to_journal(&scene, &[("what", "failed".into()), ("why", "unreachable".into())]);
    add_to_journal(&scene, &[("what", "failed".into()), ("why", "shutting_down".into())]);
    assert_eq!(scene.json("why", &["--json", "--lines", "1"])["reason"], "unreachable");
    assert!(stdout(&scene.command(&["status"]).assert().success()).contains("cannot be reached"));
}

/// A session with an access token that is valid for another half an hour.
fn with_access_token() -> Scene {
    let scene = Scene::new();
    let mut login = scene.login();
    login["access_token"] = scene.grant.access_token.expose().into();
    let now = SystemClock::new().unwrap().now().wall.as_millis() / 1_000;
    login["expires_at"] = (now + 1_800).into();
    scene.import(&login).success();
    scene
}

/// Reading the home is not waiting. Only a request takes time that the caller may not have.
#[test]
fn without_time_a_stored_token_is_printed_and_none_is_asked_for() {
    let scene = with_access_token();
    for arguments in [&["--timeout", "0s"][..], &["--timeout", "0s", "--min-ttl", "5m"], &["--timeout", "1ms"]] {
        let printed = scene.run("token", arguments).success().stderr_eq("");
        assert_eq!(stdout(&printed).trim(), scene.grant.access_token.expose(), "{arguments:?}");
    }
    assert_eq!(scene.server.counts().token_requests, 0);
    let expired = Scene::signed_in();
    for scene in [&scene, &expired] {
        let arguments = ["--timeout", "0s", "--min-ttl", "29m", "--refresh"];
        scene.run("token", &arguments).code(5).stdout_eq("");
        assert_eq!(scene.server.counts().token_requests, 0);
    }
    expired.run("token", &["--timeout", "0s"]).code(5).stdout_eq("");
    assert_eq!(expired.server.counts().token_requests, 0);
}

/// Insists on a new token in a host's own runtime on the home.
fn refresh_in_a_host(scene: &Scene) -> Result<(), Reason> {
    let identity = ServerIdentity::new(Account::default(), Target::mcp(&scene.server.resource()).unwrap());
    scene.runtime.block_on(async {
        let host = AuthRuntime::builder(FileStore::open(scene.home.path()).unwrap()).spawn().await.unwrap();
        let insisting = TokenOptions { force: true, ..TokenOptions::default() };
        let lease = host.session(identity).token_with(insisting).await;
        assert!(host.shutdown(Duration::from_secs(10)).await.is_clean());
        lease.map(drop).map_err(|error| error.reason())
    })
}

/// State, reason and whether a login is required. Asserts that `status` and `why` agree.
fn standing(scene: &Scene) -> (Value, Value) {
    let why = scene.json("why", &["--json"]);
    let status = scene.command(&["status", "--json"]).assert().success();
    let status: Value = serde_json::from_slice(&status.get_output().stdout).unwrap();
    let session = &status["sessions"][0];
    assert_eq!((&session["state"], &session["reason"]), (&why["state"], &why["reason"]));
    assert_eq!(session["login_required"], why["login_required"]);
    (why["state"].clone(), why["login_required"].clone())
}

/// The caller that asked for another token gets the error. The stored one is still good for all callers (law 8).
#[test]
fn a_refresh_that_shows_that_the_session_has_ended_leaves_the_stored_token() {
    let scene = with_access_token();
    let token = stdout(&scene.run("token", &[]).success().stderr_eq(""));
    assert_eq!(token.trim(), scene.grant.access_token.expose());
    assert_eq!(standing(&scene), ("signed_in".into(), false.into()));

    scene.server.revoke(scene.grant.chain);
    for _ in 0..2 {
        scene.run("token", &["--refresh"]).code(3).stdout_eq("").stderr_eq(str![[r#"
error: grant_ended: the authorization server ended this session: sign in again
  tokenkeeper login signs in again; tokenkeeper why tells what happened to the old one

"#]]);
        assert_eq!(standing(&scene), ("ending".into(), true.into()));
        assert_eq!(stdout(&scene.run("token", &[]).success()), token);
    }
    assert_eq!(scene.server.counts().token_requests, 1, "the end is remembered");
}

#[test]
fn a_token_that_was_never_refused_is_printed_with_a_note_after_the_session_has_ended() {
    let scene = with_access_token();
    scene.server.revoke(scene.grant.chain);
    // A host on the same home refreshes. The stored token has not been refused.
    assert_eq!(refresh_in_a_host(&scene), Err(Reason::GrantEnded));
    assert_eq!(standing(&scene), ("ending".into(), true.into()));
    let printed = scene.run("token", &[]).success().stderr_eq(str![[r#"
note: the authorization server ended this session: sign in again
  this is the last token of the session; the server may refuse it already

"#]]);
    assert_eq!(stdout(&printed).trim(), scene.grant.access_token.expose());
    assert_eq!(scene.json("token", &["--json"])["login_required"], true);
    let status = scene.command(&["status"]).env("CLICOLOR_FORCE", "1").assert().success();
    let status = stdout(&status);
    assert!(status.contains("\u{1b}[31mending\u{1b}[0m"), "{status:?}");
    assert!(status.contains("in 29 min") && !status.contains("signed in"), "{status}");

    // The token is served until it is over or refused, however often another one is asked for.
    scene.run("token", &["--refresh"]).code(3).stdout_eq("");
    assert_eq!(stdout(&scene.run("token", &[]).success()).trim(), scene.grant.access_token.expose());
    assert_eq!(standing(&scene), ("ending".into(), true.into()));

    // A login ends this state.
    let grant = scene.server.grant();
    let scene = Scene { grant, ..scene };
    scene.import(&scene.login()).success();
    scene.run("token", &[]).success().stderr_eq("");
    assert_eq!(standing(&scene), ("signed_in".into(), false.into()));
}

#[test]
fn importing_a_login_again_says_whether_its_refresh_token_was_replaced_or_refused() {
    let scene = Scene::signed_in();
    scene.run("token", &[]).success();
    scene.import(&scene.login()).code(4).stdout_eq("").stderr_eq(str![[r#"
error: this session has already replaced this refresh token with a newer one; sign in to replace the session

"#]]);
    assert_eq!(scene.state(), "signed_in");

    let scene = Scene::signed_in();
    scene.server.revoke(scene.grant.chain);
    scene.run("token", &[]).code(3);
    scene.import(&scene.login()).code(4).stdout_eq("").stderr_eq(str![[r#"
error: the authorization server refused this refresh token; sign in to get a new one

"#]]);

    // After another login only the token's expiry is known.
    let another = Scene { grant: scene.server.grant(), ..scene };
    another.import(&another.login()).success();
    another.run("token", &[]).success();
    let third = another.server.grant();
    let first = another.login();
    let another = Scene { grant: third, ..another };
    another.import(&another.login()).success();
    another.import(&first).code(4).stdout_eq("").stderr_eq(str![[r#"
error: this refresh token was replaced or refused, or may be used up; sign in to get a new one

"#]]);
}

/// The states that `status --json` shows.
fn states(scene: &Scene, arguments: &[&str]) -> Vec<Value> {
    let asserted = scene.command(&["status", "--json"]).args(arguments).assert().success();
    let status: Value = serde_json::from_slice(&asserted.get_output().stdout).unwrap();
    status["sessions"].as_array().unwrap().iter().map(|session| session["state"].clone()).collect()
}

#[test]
fn sessions_that_were_logged_out_are_shown_on_demand_until_they_are_forgotten() {
    let scene = Scene::signed_in();
    let work = Scene { grant: scene.server.grant(), ..scene };
    let mut login = work.login();
    login["account"] = "work".into();
    work.import(&login).success();
    work.run("logout", &[]).success();
    assert_eq!(states(&work, &[]), ["expired"]);
    assert_eq!(states(&work, &["--all"]), ["logged_out", "expired"]);
    work.run("forget", &["--account", "work"]).code(4).stdout_eq("").stderr_eq(str![[r#"
error: http://127.0.0.1:[..]/mcp (work) was not logged out: tokenkeeper logout does that

"#]]);
    work.run("logout", &["--account", "work"]).success();
    work.command(&["status"]).assert().success().stdout_eq(str![[r#"
no sessions in [..] (2 logged out: status --all shows them)

"#]]);

    work.run("forget", &[]).success().stderr_eq("").stdout_eq(str![[r#"
forgot http://127.0.0.1:[..]/mcp

"#]]);
    assert_eq!(states(&work, &["--all"]), ["logged_out"]);
    work.command(&["forget", "--logged-out"]).assert().success().stdout_eq(str![[r#"
forgot http://127.0.0.1:[..]/mcp (work)

"#]]);
    work.command(&["forget", "--logged-out"]).assert().success().stdout_eq("nothing to forget\n");
    work.command(&["status", "--all"]).assert().success().stdout_eq(str![[r#"
no sessions in [..]

"#]]);
    // A forgotten session is still logged out.
    work.run("token", &[]).code(3).stdout_eq("");
    assert_eq!(work.json("why", &["--json"])["reason"], "logged_out");

    // A new login makes an ordinary session, and its logout is shown again.
    let again = Scene { grant: work.server.grant(), ..work };
    again.import(&again.login()).success();
    assert_eq!(states(&again, &[]), ["expired"]);
    again.run("logout", &[]).success();
    assert_eq!(states(&again, &["--all"]), ["logged_out"]);
    again.command(&["forget", "https://elsewhere.example/mcp"]).assert().code(2).stdout_eq("");
    again.command(&["forget"]).assert().code(2).stdout_eq("");
}

#[test]
fn a_refresh_token_that_died_stays_dead_in_a_session_that_was_forgotten() {
    let scene = Scene::signed_in();
    scene.run("token", &[]).success();
    scene.run("logout", &[]).success();
    scene.run("forget", &[]).success();
    scene.import(&scene.login()).code(4).stdout_eq("");
    assert_eq!(scene.server.counts().replays, 0);
}
