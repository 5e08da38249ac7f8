//! The parent's side: starts, commands, stops and kills worker processes, and receives their messages.

use std::collections::VecDeque;

use rustix::process::Signal;
use serde_json::Value;
use tokenkeeper_judge::processes::{FlightPoint, WorkerOutput, WorkerProcess};
use tokio::process::Command as Program;

use crate::party::Setup;
use crate::within::{LONGEST, within};
use crate::worker::Command;

/// The variable that holds the setup of a worker process.
const SETUP: &str = "PROCESSES_TEST_SETUP";

/// The maximum number of times that a refresh is begun anew, because the request of a dead process may still be under way.
const REFRESHES_MOST: u32 = 20;

/// The setup of this process, if it is a worker.
pub(crate) fn told() -> Option<Setup> {
    std::env::var(SETUP).ok().map(|setup| serde_json::from_str(&setup).unwrap())
}

/// A worker process. It is killed when this is dropped.
pub(crate) struct Member {
    process: WorkerProcess,
    output: WorkerOutput,
    /// Messages that were received and not taken yet.
    said: VecDeque<Value>,
    last: u64,
}

impl Member {
    /// Starts a process, and waits until it is ready.
    pub(crate) async fn start(setup: &Setup) -> Self {
        Self::start_as(setup, None).await
    }

    /// Like [`start`](Self::start), as `user` if there is one.
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

    /// Sends a command, and waits for its result.
    pub(crate) async fn call(&mut self, command: Command) -> Value {
        let id = self.tell(command).await;
        self.answer(id).await
    }

    /// Sends a command, and returns its id.
    pub(crate) async fn tell(&mut self, command: Command) -> u64 {
        self.last += 1;
        within("a process to read", self.process.send(&(self.last, command))).await.unwrap();
        self.last
    }

    /// Waits for the result of the command `id`.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        self.hear(|said| said["id"] == id).await
    }

    /// Starts a forced refresh, waits until its flight stops at `point`, and returns the id of the command. Asks again
    /// while the request of a dead process may still be in flight.
    pub(crate) async fn refresh_until(&mut self, point: FlightPoint) -> u64 {
        self.call(Command::Arm(point)).await;
        for _ in 0..REFRESHES_MOST {
            let id = self.tell(Command::Token { force: true }).await;
            // A flight may reach late points after its call was answered.
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

    /// Releases the held flight, and waits until it stops at `point`.
    pub(crate) async fn go_until(&mut self, point: FlightPoint) {
        self.call(Command::Arm(point)).await;
        self.tell(Command::Go).await;
        self.stops().await;
    }

    /// Waits until a flight stops at the armed point.
    pub(crate) async fn stops(&mut self) {
        self.hear(|said| said["event"] == "stopped").await;
    }

    /// The points that the process's flights have passed so far.
    pub(crate) async fn track(&mut self) -> Vec<FlightPoint> {
        serde_json::from_value(self.call(Command::Track).await["track"].take()).unwrap()
    }

    /// Starts the shutdown of the runtime, waits until it has begun, and returns the id of the command.
    pub(crate) async fn begin_end(&mut self) -> u64 {
        let id = self.tell(Command::ShutDown).await;
        self.hear(|said| said["event"] == "stopping").await;
        id
    }

    /// Returns a token, and panics if the process gets none.
    pub(crate) async fn token(&mut self, force: bool) -> String {
        self.lease(force).await.0
    }

    /// Like [`token`](Self::token), with the name of the lease.
    pub(crate) async fn lease(&mut self, force: bool) -> (String, String) {
        let answer = self.call(Command::Token { force }).await;
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned();
        (text("token"), text("lease"))
    }

    /// Waits until the session has this lease, which another process obtained.
    pub(crate) async fn follows(&mut self, lease: &str) {
        self.call(Command::Follow).await;
        self.hear(|said| said["event"] == "state" && said["lease"] == lease).await;
    }

    /// Returns the error of a request for a token, and panics if the process gets one.
    pub(crate) async fn fails(&mut self, force: bool) -> String {
        let answer = self.call(Command::Token { force }).await;
        answer["error"].as_str().unwrap_or_else(|| panic!("a token: {answer}")).to_owned()
    }

    /// Returns the first received message that matches, or else waits for the next that does. Other messages are kept.
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

    /// Drops all state messages received so far, so that only later ones are seen.
    pub(crate) async fn forget(&mut self) {
        // All earlier messages are received before this answer.
        self.call(Command::State).await;
        self.said.retain(|said| said["event"] != "state");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGKILL, and waits until the process is dead.
    pub(crate) async fn kill(self) {
        within("a process's end", self.process.kill()).await.unwrap();
    }

    /// Shuts the process down, with nothing left to save.
    pub(crate) async fn end(mut self) {
        let report = self.call(Command::ShutDown).await;
        assert_eq!((&report["unsaved"], &report["unfinished"]), (&0.into(), &0.into()));
        assert!(within("a process's end", self.process.end()).await.unwrap().success());
    }
}
