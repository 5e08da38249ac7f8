//! Runs tests of one binary, with a limit of time and one of memory.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::failure::{Result, While};

/// How the tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Failed,
    TimedOut,
}

/// The tests `names` of `binary`, run in the folder of their package.
///
/// A mutant may take all memory or never end. Each process gets `memory_mib` of address space, and a few times `limit` of
/// processor time, which ends it even if this program is killed.
pub(crate) fn tests(binary: &Path, folder: &Path, names: &[&str], memory_mib: u64, limit: Duration) -> Command {
    let limits = format!("ulimit -v {}; ulimit -t {}; exec \"$@\"", memory_mib * 1024, limit.as_secs() * 4 + 60);
    let mut command = Command::new("sh");
    command.args(["-c", &limits, "sh"]).arg(binary).args(["--exact", "-q", "--test-threads", "2"]).args(names);
    command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command
}

/// Runs a command of [`tests`], and returns how it ended and after how many seconds. After its end or after `limit`, kills
/// all processes of its group.
#[expect(clippy::disallowed_methods, reason = "the tests take real time")]
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<(End, f64)> {
    let mut child = command.spawn().during("start tests")?;
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut ended = has_ended(&child)?;
    while !ended && start.elapsed() < limit {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
        ended = has_ended(&child)?;
    }
    // The group still has the child, so that its number is no other group's. The kill fails where only the child is left.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait().during("wait for tests")?;
    let end = match ended {
        false => End::TimedOut,
        true if status.success() => End::Passed,
        true => End::Failed,
    };
    Ok((end, start.elapsed().as_secs_f64()))
}

/// Whether the child has ended. It is not reaped.
fn has_ended(child: &Child) -> Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options).during("wait for tests")?.is_some())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::*;

    #[test]
    fn a_time_out_ends_all_processes_of_the_group() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut command = Command::new("sh");
        command.args(["-c", "(sleep 20; echo alive) & wait"]).process_group(0).stdout(writer);
        let (end, _) = run(&mut command, Duration::from_millis(50)).expect("run");
        drop(command);
        let mut output = String::new();
        reader.read_to_string(&mut output).expect("read");
        assert_eq!((end, output.as_str()), (End::TimedOut, ""));
    }
}
