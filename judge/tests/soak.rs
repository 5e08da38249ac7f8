//! `tokenkeeper-judge soak`: real processes on one home, at the built-in server.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test, whose processes are real and take real time"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// A folder that does not exist yet.
fn home(name: &str) -> PathBuf {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak").join(name);
    let _ = fs::remove_dir_all(&home);
    home
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(snapbox::cmd::cargo_bin!("tokenkeeper-judge"));
    command.arg("soak").args(arguments);
    command
}

fn soak(name: &str, arguments: &[&str]) -> Output {
    command(arguments).arg("--home").arg(home(name)).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The events and the verdict of a soak in which every law held.
fn verdict(name: &str, arguments: &[&str]) -> (Vec<Value>, Value) {
    let output = soak(name, &[arguments, &["--json"]].concat());
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
fn undisturbed_processes_refresh_as_often_as_one_alone_and_no_caller_fails() {
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
    // Tokens expired, and each process took over the new ones.
    let refreshes = counted(&verdict, "token_requests");
    assert!((1..=counted(&verdict, "token_requests_allowed")).contains(&refreshes), "{verdict}");
    // The last answer may have come when the callers had left.
    assert_eq!(counted(&verdict, "token_requests_in_vain"), 0, "{verdict}");
    assert!(counted(&verdict, "token_requests_unused") <= 1, "{verdict}");
    assert!(counted(&verdict, "adoptions") > refreshes && counted(&verdict, "calls") > 12, "{verdict}");
    // Both `status` and `why` were run.
    assert!(counted(&verdict, "looks") > 1 && counted(&verdict, "home_reads") > 1, "{verdict}");
}

#[test]
fn a_fault_in_one_request_of_ten_fails_no_caller() {
    for kills in [&[][..], &["--kills"]] {
        let arguments = ["--processes", "3", "--callers", "8", "--minutes", "0.25", "--faults", "--seed", "3"];
        let (_, verdict) = verdict("faults", &[&arguments[..], kills].concat());
        assert!(counted(&verdict, "faults_struck") > 0, "{verdict}");
        assert_eq!((counted(&verdict, "failed_callers"), counted(&verdict, "replays")), (0, 0), "{verdict}");
        assert_eq!(counted(&verdict, "logins_required"), 0, "{verdict}");
    }
}

#[test]
fn killed_and_stopped_processes_break_no_law() {
    disturbed("kills", &[]);
}

#[test]
fn killed_and_stopped_processes_break_no_law_where_nothing_is_replayed() {
    let verdict = disturbed("never-replay", &["--never-replay"]);
    assert_eq!((counted(&verdict, "replays"), counted(&verdict, "replays_allowed")), (0, 0), "{verdict}");
}

fn disturbed(name: &str, more: &[&str]) -> Value {
    let arguments = ["--processes", "3", "--callers", "4", "--minutes", "0.1", "--kills", "--seed", "1"];
    let (events, verdict) = verdict(name, &[&arguments[..], more].concat());
    // The first fault of this seed kills.
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
fn the_report_is_a_table_and_a_verdict() {
    let output = soak("report", &["--processes", "2", "--callers", "2", "--minutes", "0.02"]);
    let out = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{out}");
    assert!(out.starts_with("2 processes with 2 callers each on one home, for "), "{out}");
    for told in ["token requests", "… at once, at most", "spent refresh tokens presented", "✓ every law held"] {
        assert!(out.contains(told), "{told}: {out}");
    }
    assert!(!out.contains('\u{1b}'), "{out}");
}

#[test]
fn a_process_that_dies_by_itself_breaks_a_law_and_ctrl_c_ends_the_soak_with_its_verdict() {
    let mut soak = command(&["--processes", "2", "--callers", "2", "--minutes", "60", "--json", "--home"])
        .arg(home("interrupted"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = soak.id();
    let first = until("two workers", || match children(id)[..] {
        [first, _] => Some(first),
        _ => None,
    });
    kill_process(first, Signal::KILL).unwrap();
    let mut says = BufReader::new(soak.stdout.take().unwrap());
    let mut line = String::new();
    says.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["event"], "died");
    let workers = children(id);
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), Signal::INT).unwrap();
    let lines: Vec<Value> = says.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let verdict = lines.last().unwrap();
    let broken = "processes that died, or did not end in good order: 1";
    assert_eq!(
        (&verdict["interrupted"], &verdict["broken"]),
        (&true.into(), &serde_json::json!([broken])),
        "{verdict}"
    );
    let output = soak.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), format!("error: a law broke: {broken}\n"));
    assert!(workers.iter().all(|child| test_kill_process(*child).is_err()), "none is left of {workers:?}");
}

#[test]
fn processes_end_with_their_parent_however_it_ended() {
    let mut soak = command(&["--processes", "2", "--callers", "2", "--minutes", "60", "--home"])
        .arg(home("orphans"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let workers = until("two workers", || Some(children(soak.id())).filter(|workers| workers.len() == 2));
    // A stopped one ends too. It is stopped once it is at work, when it has more than one thread.
    until("a worker at work", || stat(workers[0]).is_none_or(|stat| stat[17] != "1").then_some(()));
    kill_process(workers[0], Signal::STOP).unwrap();
    soak.kill().unwrap();
    soak.wait().unwrap();
    until("all workers ended", || (!workers.iter().any(|child| is_alive(*child))).then_some(()));
}

/// Waits until there is such a thing. The bound keeps the test from hanging.
fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = find() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// The children of a process, from Linux's /proc.
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

/// Whether a process is alive. A zombie is not.
fn is_alive(process: Pid) -> bool {
    stat(process).is_some_and(|stat| stat[0] != "Z")
}

/// The fields of /proc/[pid]/stat from the third one on, which is the state (proc(5)).
fn stat(process: Pid) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

#[test]
fn unacceptable_arguments_are_usage_errors() {
    for (arguments, says) in [
        (&["--processes", "3"][..], "--home <DIR>"),
        (&["--processes", "0", "--home", "x"], "1..=64"),
        (&["--callers", "0", "--home", "x"], "1..=65536"),
        (&["--minutes", "0", "--home", "x"], "--minutes"),
        (&["--minutes", "NaN", "--home", "x"], "--minutes"),
        (&["--rounds", "3", "--home", "x"], "--rounds"),
    ] {
        let output = command(arguments).output().unwrap();
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(2) && err.contains(says) && output.stdout.is_empty(), "{says}: {err}");
    }
}

#[test]
fn only_a_soak_starts_a_worker() {
    let mut worker = Command::new(snapbox::cmd::cargo_bin!("tokenkeeper-judge"));
    let pipes = worker.arg("worker").stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let mut worker = pipes.spawn().unwrap();
    worker.stdin.take().unwrap().write_all(b"\"Disarm\"\n").unwrap();
    let output = worker.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn status_and_why_are_those_of_the_tokenkeeper_command() {
    let judge = |arguments: &[&str]| {
        let mut command = Command::new(snapbox::cmd::cargo_bin!("tokenkeeper-judge"));
        command.arg("tokenkeeper").arg("--home").arg(home("none")).args(arguments).output().unwrap()
    };
    let status = judge(&["status", "--json"]);
    assert!(status.status.success(), "{}", text(&status.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&status.stdout).unwrap()["sessions"], serde_json::json!([]));
    let why = judge(&["why", "https://mcp.example.com/mcp", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&why.stdout).unwrap()["reason"], "never_signed_in");
    assert_eq!(judge(&["why", "no URL"]).status.code(), Some(2));
}
