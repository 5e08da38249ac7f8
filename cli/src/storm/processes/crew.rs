//! The processes, as their parent has them: starts them, tells them, hears them, stops and kills them.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::words::{Said, Setup, Step, Told};

/// The hidden subcommand that makes a process one of these.
const COMMAND: &str = "storm-process";

/// Which process. Numbers are not used again.
pub(super) type Number = u32;

/// What is heard of a process.
#[derive(Debug)]
pub(super) enum Heard {
    Said(Said),
    /// It is dead, and all that it said was heard.
    Gone(Option<Box<Member>>),
}

/// The processes that live. They die with this.
pub(super) struct Crew {
    setup: Setup,
    members: BTreeMap<Number, Member>,
    started: Number,
    said: mpsc::UnboundedReceiver<(Number, Option<Said>)>,
    say: mpsc::UnboundedSender<(Number, Option<Said>)>,
    readers: JoinSet<()>,
}

/// A process.
#[derive(Debug)]
pub(super) struct Member {
    child: Child,
    hears: ChildStdin,
    /// How far its flight was, as it said last.
    pub(super) step: Step,
    pub(super) stopped: bool,
    /// Whether it was killed by us.
    pub(super) killed: bool,
    /// Whether it has ended by itself because it was told to.
    pub(super) ended: bool,
}

impl Crew {
    pub(super) fn new(setup: Setup) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        Self { setup, members: BTreeMap::new(), started: 0, said, say, readers: JoinSet::new() }
    }

    /// Starts one more, and tells it of the login of this epoch.
    pub(super) async fn start(&mut self, epoch: u64) -> io::Result<()> {
        self.started += 1;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the parent, which sees to the rest.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (hears, says) = child.stdin.take().zip(child.stdout.take()).ok_or_else(|| io::Error::other("no pipes"))?;
        let mut member = Member { child, hears, step: Step::Idle, stopped: false, killed: false, ended: false };
        let setup = Setup { seed: self.setup.seed.wrapping_add(u64::from(self.started)), ..self.setup.clone() };
        member.write(&serde_json::to_string(&setup)?).await;
        member.tell(Told::Login(epoch)).await;
        #[expect(clippy::disallowed_methods, reason = "ends with what it reads from, and with the crew")]
        self.readers.spawn(read(self.started, says, self.say.clone()));
        self.members.insert(self.started, member);
        Ok(())
    }

    /// What is heard next. Safe to drop.
    pub(super) async fn hear(&mut self) -> (Number, Heard) {
        let Some((number, said)) = self.said.recv().await else { return std::future::pending().await };
        let heard = match said {
            Some(said) => {
                if let Some(member) = self.members.get_mut(&number) {
                    member.hear(&said);
                }
                Heard::Said(said)
            }
            None => Heard::Gone(self.members.remove(&number).map(Box::new)),
        };
        (number, heard)
    }

    pub(super) async fn tell_all(&mut self, told: Told) {
        for member in self.members.values_mut() {
            member.tell(told).await;
        }
    }

    /// SIGKILL. That it is dead is heard of.
    pub(super) fn kill(&mut self, number: Number) {
        if let Some(member) = self.members.get_mut(&number) {
            member.killed = true;
            member.signal(Signal::KILL);
        }
    }

    /// SIGSTOP: whether it was there and ran.
    pub(super) fn stop(&mut self, number: Number) -> bool {
        let Some(member) = self.members.get_mut(&number).filter(|member| !member.stopped) else { return false };
        member.stopped = true;
        member.signal(Signal::STOP);
        true
    }

    /// SIGCONT.
    pub(super) fn let_go(&mut self, number: Number) {
        if let Some(member) = self.members.get_mut(&number) {
            member.stopped = false;
            member.signal(Signal::CONT);
        }
    }

    /// Those that run, and were not killed.
    pub(super) fn running(&self) -> Vec<Number> {
        let runs = |member: &Member| !member.stopped && !member.killed;
        self.members.iter().filter(|(_, member)| runs(member)).map(|(number, _)| *number).collect()
    }

    pub(super) fn all(&self) -> Vec<Number> {
        self.members.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Member {
    async fn tell(&mut self, told: Told) {
        if let Ok(line) = serde_json::to_string(&told) {
            self.write(&line).await;
        }
    }

    /// One that is dead hears nothing, and that it is dead is heard of.
    async fn write(&mut self, line: &str) {
        let _ = self.hears.write_all(format!("{line}\n").as_bytes()).await;
    }

    fn hear(&mut self, said: &Said) {
        match said {
            Said::Step(step) => self.step = *step,
            Said::Ended { .. } => self.ended = true,
            _ => {}
        }
    }

    fn signal(&self, signal: Signal) {
        // Its number is its own until it was waited for, which nobody has done who still knows it.
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end, so that nothing is left of it.
    pub(super) async fn bury(mut self) {
        drop(self.hears);
        let _ = self.child.wait().await;
    }
}

async fn read(number: Number, says: ChildStdout, say: mpsc::UnboundedSender<(Number, Option<Said>)>) {
    let mut lines = BufReader::new(says).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // What was cut off by a kill is as good as not said.
        if let Ok(said) = serde_json::from_str(&line)
            && say.send((number, Some(said))).is_err()
        {
            return;
        }
    }
    let _ = say.send((number, None));
}
