//! The parent's side: starts processes, tells them what to do, hears what they say, stops and kills them.

use std::collections::VecDeque;

use rustix::process::Signal;
use serde_json::Value;
use tokenkeeper_judge::processes::{FlightPoint, WorkerOutput, WorkerProcess};
use tokio::process::Command as Program;

use crate::party::Setup;
use crate::within::{LONGEST, within};
use crate::worker::Command;

/// The variable that tells a child what it is.
const SETUP: &str = "PROCESSES_TEST_SETUP";

/// How often a refresh is begun anew because what a dead process had begun may still be under way.
const REFRESHES_MOST: u32 = 20;

/// What this process was told, where it is a child.
pub(crate) fn told() -> Option<Setup> {
    std::env::var(SETUP).ok().map(|setup| serde_json::from_str(&setup).unwrap())
}

/// A process. It dies with this.
pub(crate) struct Member {
    process: WorkerProcess,
    output: WorkerOutput,
    /// Said, and not asked for yet.
    said: VecDeque<Value>,
    last: u64,
}

impl Member {
    /// Starts one, and waits until it is ready.
    pub(crate) async fn start(setup: &Setup) -> Self {
        Self::start_as(setup, None).await
    }

    /// The same, as another user where one is named.
    pub(crate) async fn start_as(setup: &Setup, user: Option<u32>) -> Self {
        let mut program = Program::new(std::env::current_exe().unwrap());
        if let Some(user) = user {
            program.uid(user).gid(user).current_dir("/");
        }
        program.args(["--exact", "child", "--nocapture"]).env(SETUP, serde_json::to_string(setup).unwrap());
        let (process, output) = WorkerProcess::start(program).unwrap();
        let mut member = Self { process, output, said: VecDeque::new(), last: 0 };
        member.hear(|said| said["event"] == "ready").await;
        member
    }

    /// Tells it what to do, and waits until that is done.
    pub(crate) async fn call(&mut self, command: Command) -> Value {
        let id = self.tell(command).await;
        self.answer(id).await
    }

    /// Tells it what to do.
    pub(crate) async fn tell(&mut self, command: Command) -> u64 {
        self.last += 1;
        within("a process to read", self.process.send(&(self.last, command))).await.unwrap();
        self.last
    }

    /// What came of what it was told.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        self.hear(|said| said["id"] == id).await
    }

    /// Starts a forced refresh, and waits until it stands at `point`: gives the name of the call. While what a dead
    /// process had begun may still be under way, that is waited for.
    pub(crate) async fn refresh_until(&mut self, point: FlightPoint) -> u64 {
        self.call(Command::Arm(point)).await;
        for _ in 0..REFRESHES_MOST {
            let id = self.tell(Command::Token { force: true }).await;
            // Late points are reached when the call has been answered.
            let failed = |said: &Value| said["id"] == id && said["token"].is_null();
            let said = self.hear(|said| said["event"] == "stopped" || failed(said)).await;
            if said["event"] == "stopped" {
                return id;
            }
            assert_eq!(said["error"], "in_doubt", "{said}");
            let pause = serde_json::from_value(said["retry_after"].clone()).unwrap();
            tokio::time::sleep(pause).await;
        }
        panic!("in doubt for ever");
    }

    /// Lets the flight that stands go on, and waits until it stands at `point`.
    pub(crate) async fn go_until(&mut self, point: FlightPoint) {
        self.call(Command::Arm(point)).await;
        self.tell(Command::Go).await;
        self.stops().await;
    }

    /// Waits until a flight stands at the point that was armed.
    pub(crate) async fn stops(&mut self) {
        self.hear(|said| said["event"] == "stopped").await;
    }

    /// Where its flights have gone so far.
    pub(crate) async fn track(&mut self) -> Vec<FlightPoint> {
        serde_json::from_value(self.call(Command::Track).await["track"].take()).unwrap()
    }

    /// Tells its runtime to end, and waits until everything in it knows: gives the name of the call.
    pub(crate) async fn begin_end(&mut self) -> u64 {
        let id = self.tell(Command::ShutDown).await;
        self.hear(|said| said["event"] == "stopping").await;
        id
    }

    /// A token that it got, which it must have got.
    pub(crate) async fn token(&mut self, force: bool) -> String {
        self.lease(force).await.0
    }

    /// The same, with the name of its lease.
    pub(crate) async fn lease(&mut self, force: bool) -> (String, String) {
        let answer = self.call(Command::Token { force }).await;
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned();
        (text("token"), text("lease"))
    }

    /// Waits until its session has this lease, which another process got.
    pub(crate) async fn follows(&mut self, lease: &str) {
        self.call(Command::Follow).await;
        self.hear(|said| said["event"] == "state" && said["lease"] == lease).await;
    }

    /// Why it got no token.
    pub(crate) async fn fails(&mut self, force: bool) -> String {
        let answer = self.call(Command::Token { force }).await;
        answer["error"].as_str().unwrap_or_else(|| panic!("a token: {answer}")).to_owned()
    }

    /// The first thing of this kind that it has said and nobody has heard yet, or else that it says next. Other things it
    /// says are kept.
    pub(crate) async fn hear(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.said.iter().position(&is_it) {
            return self.said.remove(at).unwrap();
        }
        let hears = async {
            loop {
                let said = self.output.next::<Value>().await;
                let said = said.unwrap_or_else(|| panic!("it has ended; it said {:#?}", self.said));
                if is_it(&said) {
                    return said;
                }
                self.said.push_back(said);
            }
        };
        // However much else it says meanwhile.
        let heard = tokio::time::timeout(LONGEST, hears).await;
        heard.unwrap_or_else(|_| panic!("it did not say what it should; it said {:#?}", self.said))
    }

    /// Forgets the states it has told of so far: only what comes is news.
    pub(crate) async fn forget(&mut self) {
        // Whatever it had said before it answers this is there by then.
        self.call(Command::State).await;
        self.said.retain(|said| said["event"] != "state");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGKILL; and waits until it is dead.
    pub(crate) async fn kill(self) {
        within("a process's end", self.process.kill()).await.unwrap();
    }

    /// Ends it in good order, with nothing left to save.
    pub(crate) async fn end(mut self) {
        let report = self.call(Command::ShutDown).await;
        assert_eq!((&report["unsaved"], &report["unfinished"]), (&0.into(), &0.into()));
        assert!(within("a process's end", self.process.end()).await.unwrap().success());
    }
}
