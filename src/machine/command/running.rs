//! Starts a command, reads its output within bounds, and ends it.

use std::io::Read as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

/// The maximum length of the output, in bytes.
const MAX_OUTPUT: usize = 64 * 1024;

/// The interval at which the command is polled for its end.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A started command. Dropping it before the command has ended kills the command.
struct Running(Option<Child>);

/// Runs `command`, which has `timeout` to close its output, and as long again to end.
pub(super) fn output(command: Command, timeout: Duration) -> Option<Zeroizing<Vec<u8>>> {
    let mut child = prepared(command).spawn().ok()?;
    let stdout = child.stdout.take();
    let mut running = Running(Some(child));
    let output = read(stdout?)?.recv_timeout(timeout).ok()??;
    // Nothing is ever sent on this channel. Receiving from it is a pause.
    let (_sender, never) = mpsc::channel::<()>();
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = running.0.as_mut()?.try_wait().ok()? {
            running.0 = None;
            return status.success().then_some(output);
        }
        if waited >= timeout {
            return None;
        }
        let _elapsed = never.recv_timeout(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

/// Prepares `command` to run without input, in its own process group.
fn prepared(mut prepared: Command) -> Command {
    prepared.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        prepared.process_group(0);
    }
    prepared
}

/// Reads the output on a separate thread, because a process that the command has left behind may keep the output open. The
/// receiver gets `None` for an output that is too long or cannot be read.
fn read(stdout: ChildStdout) -> Option<Receiver<Option<Zeroizing<Vec<u8>>>>> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("tokenkeeper-output".to_owned());
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the output, which the end of the command's group closes"
    )]
    let spawned = thread.spawn(move || {
        // The buffer has room for the whole output, because growing would leave copies of a token behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT + 1));
        let read = stdout.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut bytes);
        let is_whole = read.is_ok_and(|length| length <= MAX_OUTPUT);
        drop(sender.send(is_whole.then_some(bytes)));
    });
    spawned.ok().map(|_| receiver)
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        // The command has not been waited for, so its process id cannot belong to another process yet.
        #[cfg(unix)]
        if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        drop(child.kill());
        drop(child.wait());
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    fn shell(script: &str, timeout: Duration) -> Option<String> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).env("GREETING", "hello");
        output(command, timeout).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn the_output_of_a_command_that_succeeds_is_read_as_it_is() {
        assert_eq!(shell("printf %s \"$GREETING\"; echo trouble >&2", LONG).as_deref(), Some("hello"));
        let mut literal = Command::new("printf");
        literal.arg("%s").arg("$HOME;`id`");
        assert_eq!(output(literal, LONG).as_deref().map(Vec::as_slice), Some(b"$HOME;`id`".as_slice()), "no shell");
    }

    #[test]
    fn a_command_that_fails_has_no_output() {
        assert_eq!(shell("printf token; exit 3", LONG), None);
        assert_eq!(shell("printf token; kill -9 $$", LONG), None);
        assert_eq!(output(Command::new("no-such-program-of-tokenkeeper"), LONG), None);
    }

    #[test]
    fn a_command_that_floods_is_killed() {
        let most = format!("head -c {MAX_OUTPUT} /dev/zero | tr '\\0' a");
        assert_eq!(shell(&most, LONG).map(|output| output.len()), Some(MAX_OUTPUT));
        assert_eq!(shell("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaa; done", LONG), None);
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        assert_eq!(shell("sleep 600", SHORT), None);
        assert_eq!(shell("printf token; exec >/dev/null; sleep 600", SHORT), None, "it prints, and does not end");
    }

    /// The command's child holds the write end of a pipe. Reading the pipe ends only when the child is dead.
    #[test]
    fn the_children_of_a_command_that_hangs_are_killed() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let hang = format!("sleep 600 3>{} & wait", pipe.display());
        let reader = thread::Builder::new();
        #[expect(clippy::disallowed_methods, reason = "a test")]
        let reader = reader.spawn(move || std::fs::read(pipe).unwrap().len()).unwrap();
        assert_eq!(shell(&hang, Duration::from_secs(3)), None);
        assert_eq!(reader.join().unwrap(), 0);
    }
}
