//! `tokenkeeper storm --processes`, as it is run: real processes on one home, at the built-in server.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// A folder that is not there yet.
fn home(name: &str) -> PathBuf {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("storm-processes").join(name);
    let _ = fs::remove_dir_all(&home);
    home
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(snapbox::cmd::cargo_bin!("tokenkeeper"));
    command.env_remove("TOKENKEEPER_HOME").arg("storm").args(arguments);
    command
}

fn storm(name: &str, arguments: &[&str]) -> Output {
    command(arguments).arg("--home").arg(home(name)).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What happened, and the verdict of a storm in which no law broke.
fn verdict(name: &str, arguments: &[&str]) -> (Vec<Value>, Value) {
    let output = storm(name, &[arguments, &["--json"]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{err}{out}");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdict = lines.pop().unwrap();
    assert_eq!(verdict["broken"], serde_json::json!([]), "{verdict}");
    assert_adds_up(&verdict);
    (lines, verdict)
}

fn counted(verdict: &Value, what: &str) -> u64 {
    verdict[what].as_u64().unwrap_or_else(|| panic!("{what}: {verdict}"))
}

/// The token requests are those whose token their process used, those whose token came too late for it, and those
/// without a token; and the first of these are the new tokens that a process did not take over.
fn assert_adds_up(verdict: &Value) {
    let count = |what| counted(verdict, what);
    assert_eq!(count("expiries"), count("adoptions") + count("token_requests_used"), "{verdict}");
    let kinds = ["token_requests_used", "token_requests_unused", "token_requests_in_vain"];
    assert_eq!(kinds.map(count).iter().sum::<u64>(), count("token_requests"), "{verdict}");
}

#[test]
fn undisturbed_they_refresh_as_often_as_one_alone_and_nobody_fails() {
    let (events, verdict) = verdict("calm", &["--processes", "3", "--callers", "4", "--minutes", "0.1"]);
    assert_eq!(events, Vec::<Value>::new());
    for (what, count) in [
        ("processes", 3),
        ("callers", 4),
        ("failed_callers", 0),
        ("held_up", 0),
        ("most_concurrent", 1),
        ("replays", 0),
        ("replays_allowed", 0),
        ("chains_revoked", 0),
        ("logins_required", 0),
        ("logins_unasked", 0),
        ("killed", 0),
        ("stopped", 0),
        ("died_otherwise", 0),
    ] {
        assert_eq!(counted(&verdict, what), count, "{what}: {verdict}");
    }
    // Tokens were over, and each process took up what came: that is what was to be shown.
    let refreshes = counted(&verdict, "token_requests");
    assert!((1..=counted(&verdict, "token_requests_allowed")).contains(&refreshes), "{verdict}");
    // The last answer may have come when the callers had left.
    assert_eq!(counted(&verdict, "token_requests_in_vain"), 0, "{verdict}");
    assert!(counted(&verdict, "token_requests_unused") <= 1, "{verdict}");
    assert!(counted(&verdict, "adoptions") > refreshes && counted(&verdict, "calls") > 12, "{verdict}");
    // Both `status` and `why`, meanwhile.
    assert!(counted(&verdict, "looks") > 1, "{verdict}");
}

#[test]
fn killed_and_stopped_they_break_no_law() {
    disturbed("retry-once", &[]);
}

#[test]
fn killed_and_stopped_they_break_no_law_where_nothing_is_replayed() {
    let verdict = disturbed("never-replay", &["--never-replay"]);
    assert_eq!((counted(&verdict, "replays"), counted(&verdict, "replays_allowed")), (0, 0), "{verdict}");
}

fn disturbed(name: &str, more: &[&str]) -> Value {
    let arguments = ["--processes", "3", "--callers", "4", "--minutes", "0.1", "--kills", "--seed", "1"];
    let (events, verdict) = verdict(name, &[&arguments[..], more].concat());
    // What is drawn first with this seed kills.
    assert!(counted(&verdict, "killed") > 0, "{verdict}");
    for (what, event) in
        [("killed", "killed"), ("stopped", "stopped"), ("logins_required", "login"), ("logins_unasked", "signed_in")]
    {
        let happened = events.iter().filter(|happened| happened["event"] == event).count();
        assert_eq!(counted(&verdict, what), happened as u64, "{what}: {verdict}");
    }
    assert!(counted(&verdict, "looks") > 1, "{verdict}");
    for what in ["failed_callers", "died_otherwise"] {
        assert_eq!(counted(&verdict, what), 0, "{what}: {verdict}");
    }
    assert!(counted(&verdict, "replays") <= counted(&verdict, "replays_allowed"), "{verdict}");
    assert_eq!(verdict["logins_explained"], verdict["logins_required"]);
    assert_eq!(verdict["never_replay"], more.contains(&"--never-replay"));
    verdict
}

#[test]
fn what_is_told_is_a_table_and_a_verdict() {
    let output = storm("told", &["--processes", "2", "--callers", "2", "--minutes", "0.02"]);
    let out = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{out}");
    assert!(out.starts_with("2 processes with 2 callers each on one home, for "), "{out}");
    for told in ["token requests", "… at once, at most", "spent refresh tokens presented", "✓ every law held"] {
        assert!(out.contains(told), "{told}: {out}");
    }
    assert!(!out.contains('\u{1b}'), "{out}");
}

#[test]
fn a_process_that_dies_by_itself_breaks_a_law_and_ctrl_c_ends_the_storm_with_its_verdict() {
    let mut storm = command(&["--processes", "2", "--callers", "2", "--minutes", "60", "--json", "--home"])
        .arg(home("interrupted"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = storm.id();
    let first = loop {
        if let [first, _] = children(id)[..] {
            break first;
        }
        std::thread::yield_now();
    };
    kill_process(first, Signal::KILL).unwrap();
    let mut says = BufReader::new(storm.stdout.take().unwrap());
    let mut line = String::new();
    says.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["event"], "died");
    let crew = children(id);
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), Signal::INT).unwrap();
    let lines: Vec<Value> = says.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let verdict = lines.last().unwrap();
    let broken = "processes that died, or did not end in good order: 1";
    assert_eq!(
        (&verdict["interrupted"], &verdict["broken"]),
        (&true.into(), &serde_json::json!([broken])),
        "{verdict}"
    );
    let output = storm.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), format!("error: a law broke: {broken}\n"));
    assert!(crew.iter().all(|child| test_kill_process(*child).is_err()), "nobody is left of {crew:?}");
}

#[test]
fn processes_end_with_their_parent_however_that_went() {
    let mut storm = command(&["--processes", "2", "--callers", "2", "--minutes", "60", "--home"])
        .arg(home("orphans"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let crew = loop {
        let crew = children(storm.id());
        if crew.len() == 2 {
            break crew;
        }
        std::thread::yield_now();
    };
    // Stopped, too; once it is at work, as it has more than one thread.
    while stat(crew[0]).is_some_and(|stat| stat[17] == "1") {
        std::thread::yield_now();
    }
    kill_process(crew[0], Signal::STOP).unwrap();
    storm.kill().unwrap();
    storm.wait().unwrap();
    // Whoever holds the other end of a pipe that nobody holds any more has ended.
    while crew.iter().any(|child| is_alive(*child)) {
        std::thread::yield_now();
    }
}

/// The children of a process, as Linux knows them.
fn children(parent: u32) -> Vec<Pid> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let child = Pid::from_raw(id).filter(|id| stat(*id).is_some_and(|stat| stat[1] == parent.to_string()));
        children.extend(child);
    }
    children.sort_unstable_by_key(|child| child.as_raw_nonzero());
    children
}

/// Whether a process that is nobody's child here is more than an entry in a table.
fn is_alive(process: Pid) -> bool {
    stat(process).is_some_and(|stat| stat[0] != "Z")
}

/// What Linux says of a process, from its state on: the third field of proc(5)'s table and those after it.
fn stat(process: Pid) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

#[test]
fn what_makes_no_sense_is_a_matter_of_usage() {
    for (arguments, says) in [
        (&["--processes", "3"][..], "--processes needs --home DIR"),
        (&["--processes", "0", "--home", "x"], "1..=64"),
        (&["--processes", "3", "--minutes", "0", "--home", "x"], "--minutes"),
        (&["--processes", "3", "--minutes", "NaN", "--home", "x"], "--minutes"),
        (&["--processes", "3", "--rounds", "3", "--home", "x"], "cannot be used with"),
        (&["--processes", "3", "--by", "refusal", "--home", "x"], "cannot be used with"),
        (&["--processes", "3", "--faults", "--home", "x"], "cannot be used with"),
        (&["--kills"], "--processes"),
        (&["--never-replay"], "--processes"),
        (&["--minutes", "1"], "--processes"),
    ] {
        let output = command(arguments).output().unwrap();
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(2) && err.contains(says) && output.stdout.is_empty(), "{says}: {err}");
    }
}

#[test]
fn a_process_of_a_storm_is_started_by_a_storm_alone() {
    let mut process = Command::new(snapbox::cmd::cargo_bin!("tokenkeeper"));
    let mut process = process
        .arg("storm-process")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("started by `tokenkeeper storm --processes`"));
}
