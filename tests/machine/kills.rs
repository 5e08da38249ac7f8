//! A process is killed at each effect of its request, for each source that spends nothing, and another one asks for a token.
//!
//! A kill costs the request of the dead process and nothing else. No login is needed, and the next process makes one request.
#![cfg(all(unix, feature = "file"))]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver};
use tokenkeeper::engine::values::{FlightId, ServerIdentity};
use tokenkeeper::machine::{ExecCommand, MachineGrant, SubjectToken, TokenType};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{AuthRuntime, AuthSession, SessionSpec, TokenOptions};
use tokio::task::JoinSet;

use super::host::robot;
use super::server::{BEARER, CREDENTIALS, DELEGATION, Server};
use super::within;

const FOLDER: &str = "MACHINE_VICTIM_FOLDER";
const RESOURCE: &str = "MACHINE_VICTIM_RESOURCE";
const LAST: &str = "MACHINE_VICTIM_LAST";

/// The place of one lane of kills.
struct Lane {
    server: Arc<Server>,
    folder: tempfile::TempDir,
    grant: MachineGrant,
    /// The grant whose requests are counted. `None` for the runs of a command.
    counted: Option<&'static str>,
    number: usize,
}

/// Notes each step of an effect in a file, and kills its process at the last one.
#[derive(Debug)]
struct Deadly {
    log: PathBuf,
    last: usize,
    seen: AtomicUsize,
}

impl Deadly {
    fn step(&self, when: &str, effect: EffectName) {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        writeln!(log, "{when} {}", effect.as_str()).unwrap();
        if self.seen.fetch_add(1, Ordering::SeqCst) == self.last {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    }
}

impl EffectObserver for Deadly {
    fn before(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.step("before", effect);
    }

    fn after(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.step("after", effect);
    }
}

fn home(folder: &Path) -> FileStore {
    FileStore::open(folder.join("home")).unwrap()
}

async fn renewed(session: &AuthSession) {
    let options = TokenOptions { force: true, timeout: Duration::from_secs(25), ..TokenOptions::default() };
    within("a token", session.token_with(options)).await.unwrap();
}

/// The body of the victim. It does nothing as a test.
#[tokio::test]
async fn victim() {
    let names = [FOLDER, RESOURCE, LAST].map(std::env::var);
    let [Ok(folder), Ok(resource), Ok(last)] = names else { return };
    let folder = PathBuf::from(folder);
    let log = folder.join("log");
    let deadly = Arc::new(Deadly { log, last: last.parse().unwrap(), seen: AtomicUsize::new(0) });
    let auth = AuthRuntime::builder(home(&folder)).observer(deadly).spawn().await.unwrap();
    renewed(&auth.session(SessionSpec::mcp(&resource).unwrap())).await;
    assert!(auth.shutdown(Duration::from_secs(10)).await.is_clean());
}

impl Lane {
    fn resource(&self) -> String {
        self.server.resource(self.number)
    }

    fn count(&self) -> usize {
        match self.counted {
            Some(grant) => self.server.count(grant),
            None => fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default().lines().count(),
        }
    }

    /// A token that another process than the victim obtains now, by the record alone after the first.
    async fn renew(&self, spec: SessionSpec) {
        let auth = AuthRuntime::builder(home(self.folder.path())).spawn().await.unwrap();
        renewed(&auth.session(spec)).await;
        assert!(within("a shutdown", auth.shutdown(Duration::from_secs(10))).await.is_clean());
    }

    fn victim(&self, last: usize) -> Command {
        let mut victim = Command::new(std::env::current_exe().unwrap());
        victim.args(["--exact", "kills::victim"]).env(FOLDER, self.folder.path());
        victim.env(RESOURCE, self.resource()).env(LAST, last.to_string());
        victim
    }

    async fn ended(&self, last: usize) -> Output {
        let mut victim = self.victim(last);
        let ended = tokio::task::spawn_blocking(move || victim.output().unwrap());
        within("the victim's end", ended).await.unwrap()
    }

    /// Kills a process at every step of a request, until one has none that is left. Returns the number of kills.
    async fn kill_at_every_step(self) -> usize {
        let spec = || SessionSpec::mcp(&self.resource()).unwrap();
        self.renew(spec().renewal(self.grant.plan())).await;
        for last in 0.. {
            let before = self.count();
            let log = self.folder.path().join("log");
            drop(fs::remove_file(&log));
            let ended = self.ended(last).await;
            let steps = fs::read_to_string(&log).unwrap();
            let has_sent = steps.contains("after send");
            assert!(!steps.contains("mark"), "nothing is spent: {steps}");
            assert_eq!(self.count() - before, usize::from(has_sent), "{steps}");
            if ended.status.signal().is_none() {
                assert!(ended.status.success() && steps.contains("after commit"), "{ended:?}");
                return last;
            }
            assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
            self.renew(spec()).await;
            assert_eq!(self.count() - before, usize::from(has_sent) + 1, "the next process makes one request: {steps}");
        }
        unreachable!("the loop has no end")
    }
}

/// Notes each run in a file, and prints a token.
fn command(folder: &Path) -> ExecCommand {
    let runs = folder.join("runs").to_str().unwrap().to_owned();
    let script = "echo run >> \"$1\"; printf 'token-%s' $(wc -l < \"$1\")";
    ExecCommand::new("sh").argument("-c").argument(script).argument("sh").argument(runs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_effect_costs_one_request_at_most() {
    let server = Arc::new(Server::start().await);
    let subject = || SubjectToken::fixed("wl-1");
    let mut lanes = JoinSet::new();
    for (number, (counted, grant)) in [
        (Some(CREDENTIALS), Some(robot())),
        (Some(BEARER), Some(MachineGrant::jwt_bearer(subject()))),
        (Some(DELEGATION), Some(MachineGrant::token_exchange(subject(), TokenType::jwt()))),
        (None, None),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let grant = grant.unwrap_or_else(|| MachineGrant::command(command(folder.path())));
        let lane = Lane { server: Arc::clone(&server), folder, grant, counted, number };
        lanes.spawn(lane.kill_at_every_step());
    }
    while let Some(kills) = lanes.join_next().await {
        // The permit, two reads, the claim, the request, the save, their ends and the report, before and after each.
        assert!(kills.unwrap() >= 14);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_midst_of_a_request_costs_that_request() {
    let server = Arc::new(Server::start().await);
    let folder = tempfile::tempdir().unwrap();
    let lane = Lane { server: Arc::clone(&server), folder, grant: robot(), counted: Some(CREDENTIALS), number: 0 };
    let spec = || SessionSpec::mcp(&lane.resource()).unwrap();
    lane.renew(spec().renewal(lane.grant.plan())).await;
    server.hold(CREDENTIALS);
    let mut victim: Child = lane.victim(usize::MAX).spawn().unwrap();
    server.until(CREDENTIALS, 2).await;
    victim.kill().unwrap();
    assert_eq!(victim.wait().unwrap().signal(), Some(9));
    server.release();
    lane.renew(spec()).await;
    assert_eq!(server.count(CREDENTIALS), 3);
}
