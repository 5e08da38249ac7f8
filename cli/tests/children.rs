//! Programs that get tokens: `tokenkeeper run`, and `token --from-socket` below it.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test of processes")]

mod scene;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use snapbox::cmd::cargo_bin;
use tokenkeeper_testkit::hostile::{Fault, When};

use scene::Scene;

impl Scene {
    /// The command that runs this shell script with the session's tokens. `$TOKENKEEPER` is the command in it.
    fn program(&self, options: &[&str], script: &str) -> Process {
        let mut command = Process::new(cargo_bin!("tokenkeeper"));
        command.arg("--home").arg(self.home.path()).arg("run").args(options).arg(self.server.resource());
        command.args(["--", "sh", "-c", script]).env("TOKENKEEPER", cargo_bin!("tokenkeeper"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, options: &[&str], script: &str) -> Output {
        self.program(options, script).stdin(Stdio::null()).output().unwrap()
    }
}

/// A program that waits for lines.
struct Running {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Process) -> Self {
        // Not in the foreground of the terminal that the tests are run from.
        let mut process = command.process_group(0).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_program_asks_in_each_notation_and_the_token_is_that_of_the_home() {
    let scene = Scene::signed_in();
    let script =
        "for form in '' --json --headers --exec-credential; do \"$TOKENKEEPER\" token --from-socket $form; done";
    let output = scene.output(&[], script);
    assert!(output.status.success(), "{output:?}");
    let token = scene.json("token", &["--json"]);
    let access = token["access_token"].as_str().unwrap();
    let printed = text(&output.stdout);
    let (plain, rest) = printed.split_once('\n').unwrap();
    assert_eq!(plain, access);
    let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<Value>().map(Result::unwrap);
    let json = objects.next().unwrap();
    assert_eq!((&json["access_token"], &json["generation"]), (&token["access_token"], &token["generation"]));
    assert_eq!(json["token_type"], "Bearer");
    assert!(json["expires_at"].as_str().unwrap().ends_with('Z'), "{json}");
    assert_eq!(objects.next().unwrap()["Authorization"], format!("Bearer {access}"));
    assert_eq!(objects.next().unwrap()["status"]["token"], access);
    assert_eq!(objects.next(), None);
    assert_eq!(scene.server.counts().token_requests, 1);
}

#[test]
fn a_refused_token_is_replaced_and_a_later_process_finds_the_new_one() {
    let scene = Scene::signed_in();
    let script =
        "old=$(\"$TOKENKEEPER\" token --from-socket --json | sed -n 's/.*\"generation\": *\"\\([^\"]*\\)\".*/\\1/p')
        \"$TOKENKEEPER\" token --from-socket
        \"$TOKENKEEPER\" token --from-socket --rejected \"$old\"
        \"$TOKENKEEPER\" token --from-socket --rejected \"$old\"";
    let output = scene.output(&[], script);
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    let tokens: Vec<_> = printed.lines().collect();
    assert!(tokens.len() == 3 && tokens[0] != tokens[1] && tokens[1] == tokens[2], "{tokens:?}");
    assert_eq!(scene::stdout(&scene.run("token", &[]).success()).trim(), tokens[1]);
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.replays), (2, 0));
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    let scene = Scene::signed_in();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        let output = scene.output(&[], script);
        assert_eq!((output.status.code(), &*output.stderr), (Some(code), &b""[..]), "{script}: {output:?}");
    }
    let run = |program: &str| scene.command(&["run", &scene.server.resource(), "--", program]).assert();
    run("/nowhere/at/all").code(127).stdout_eq("");
    let error = run("/").code(126);
    assert!(text(&error.get_output().stderr).starts_with("error: / cannot be run: "));
}

#[test]
fn without_a_token_no_program_is_started() {
    let scene = Scene::new();
    let marker = scene.home.path().join("started");
    let run = || scene.output(&["--timeout", "0s"], &format!("touch {}", marker.display()));
    assert_eq!(run().status.code(), Some(3), "no home");
    scene.import(&scene.login()).success();
    scene.server.always(When::Before, Fault::status(503));
    let output = scene.output(&["--timeout", "1s"], &format!("touch {}", marker.display()));
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(text(&output.stderr).starts_with("error: "), "{output:?}");
    assert!(!marker.exists());
    scene.command(&["run", &scene.server.resource()]).assert().code(2);
    scene.command(&["token"]).assert().code(2);
    scene.command(&["token", "--from-socket", &scene.server.resource()]).assert().code(2);
    scene.command(&["token", "--from-socket"]).assert().code(2);
}

#[test]
fn signals_are_passed_on() {
    let scene = Scene::signed_in();
    let script = "trap 'echo int' INT; trap 'echo term' TERM; trap 'echo hup' HUP; trap 'echo usr1' USR1
        echo ready; while :; do read line && exit \"$line\"; done";
    let mut running = Running::start(scene.program(&[], script));
    assert_eq!(running.line(), "ready");
    for (signal, word) in [(Signal::TERM, "term"), (Signal::HUP, "hup"), (Signal::USR1, "usr1"), (Signal::INT, "int")] {
        running.signal(signal);
        assert_eq!(running.line(), word);
    }
    running.input.write_all(b"9\n").unwrap();
    assert_eq!(running.process.wait().unwrap().code(), Some(9));
}

#[test]
fn the_interruption_of_a_terminal_reaches_the_program_once() {
    // The terminal sends it to the program and to its host. The line after it is printed when both have had it.
    const TERMINAL: &str = r#"
import os, pty, sys
process, terminal = pty.fork()
if process == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
def until(word):
    global seen
    while word not in seen:
        seen += os.read(terminal, 1000)
until(b"ready")
os.write(terminal, b"\x03")
until(b"int")
os.kill(process, 10)
until(b"usr1")
os.kill(process, 15)
while True:
    try:
        seen += os.read(terminal, 1000)
    except OSError:
        break
print(seen.count(b"int"), os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"#;
    let scene = Scene::signed_in();
    let script = "trap 'echo int' INT; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done";
    let program = scene.program(&[], script);
    let mut terminal = Process::new("python3");
    terminal.args(["-c", TERMINAL]).arg(program.get_program()).args(program.get_args());
    let Ok(output) = terminal.output() else { return println!("skipped: there is no python3") };
    assert_eq!(text(&output.stdout), "1 143\n", "{output:?}");
}

#[test]
fn a_signal_that_ends_the_program_leaves_nothing_behind() {
    let scene = Scene::signed_in();
    let mut running = Running::start(scene.program(&["--file"], "echo $TOKENKEEPER_TOKEN_FILE; exec sleep 1000"));
    let file = running.line();
    assert!(Path::new(&file).exists());
    running.signal(Signal::TERM);
    assert_eq!(running.process.wait().unwrap().code(), Some(143));
    assert!(!Path::new(&file).parent().unwrap().exists());
    assert_eq!(scene.state(), "signed_in");
}

#[test]
fn a_refresh_in_flight_is_stored_after_the_program_has_ended() {
    let scene = Scene::signed_in();
    scene.run("token", &[]).success();
    let mut running = Running::start(scene.program(&[], "read line; \"$TOKENKEEPER\" token --from-socket --rejected \
        $(\"$TOKENKEEPER\" token --from-socket --json | sed -n 's/.*\"generation\": *\"\\([^\"]*\\)\".*/\\1/p') & read line; exit 3"));
    let gate = scene.server.hold_next(When::After);
    running.input.write_all(b"\n").unwrap();
    scene.runtime.block_on(gate.reached(1));
    running.input.write_all(b"\n").unwrap();
    scene.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    assert_eq!(running.process.try_wait().unwrap(), None, "it waits for the answer");
    gate.open();
    assert_eq!(running.process.wait().unwrap().code(), Some(3));
    scene.run("token", &[]).success();
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (2, 2, 0));
}

#[test]
fn a_program_that_outlives_its_host_gets_a_clean_error() {
    let scene = Scene::signed_in();
    let script = "\"$TOKENKEEPER\" token --from-socket; echo $TOKENKEEPER_TOKEN_FILE; read line; \
        \"$TOKENKEEPER\" token --from-socket 2>&1; echo $?; cat $TOKENKEEPER_TOKEN_FILE";
    // A place of its own, because the hosts of other tests would remove the folder.
    let place = tempfile::TempDir::new().unwrap();
    let there = |mut program: Process| {
        program.env("TMPDIR", place.path()).env_remove("XDG_RUNTIME_DIR");
        program
    };
    let mut running = Running::start(there(scene.program(&["--file"], script)));
    let token = running.line();
    let file = running.line();
    running.signal(Signal::KILL);
    running.process.wait().unwrap();
    running.input.write_all(b"\n").unwrap();
    assert_eq!(
        running.line(),
        "error: host_gone: the program that hands out tokens has ended: start this one again from it"
    );
    assert_eq!(running.line(), "1");
    // A killed host removes nothing. The next one does.
    assert_eq!(running.line(), token);
    let folder = Path::new(&file).parent().unwrap().to_owned();
    assert!(folder.exists());
    let script = format!("while [ -e '{}' ]; do sleep 0.02; done", folder.display());
    let output = there(scene.program(&[], &script)).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!folder.exists());
}

#[test]
fn a_program_with_another_capability_gets_no_token() {
    let scene = Scene::signed_in();
    let output = scene.output(&[], "TOKENKEEPER_CHILD=guess \"$TOKENKEEPER\" token --from-socket");
    assert_eq!((output.status.code(), &*output.stdout), (Some(4), &b""[..]));
    assert!(text(&output.stderr).starts_with("error: unknown_child: "), "{output:?}");
}

#[test]
fn the_file_holds_the_token_and_the_program_keeps_its_limits() {
    let scene = Scene::signed_in();
    let script = "cat \"$TOKENKEEPER_TOKEN_FILE\"; echo; \"$TOKENKEEPER\" token --from-socket; ulimit -Hc";
    let expected = Process::new("sh").args(["-c", "ulimit -Hc"]).output().unwrap().stdout;
    let printed = text(&scene.output(&["--file"], script).stdout);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], lines[1]);
    if cfg!(target_os = "linux") {
        assert_eq!(lines[2], text(&expected).trim());
    }
}

#[test]
fn no_argument_of_a_process_shows_a_secret() {
    let scene = Scene::signed_in();
    let mut running = Running::start(scene.program(&["--file"], "\"$TOKENKEEPER\" token --from-socket; read line"));
    let (token, refresh) = (running.line(), scene.grant.refresh_token.expose());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        assert!(!line.contains(&token) && !line.contains(refresh), "{}", entry.path().display());
    }
    running.input.write_all(b"\n").unwrap();
    assert!(running.process.wait().unwrap().success());
}
