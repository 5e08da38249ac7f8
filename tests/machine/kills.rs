//! A process is killed at each effect of its request, for each source, and another one asks for a token.
//!
//! Where nothing is spent, a kill costs the request of the dead process and nothing else. No login is needed, and the next process
//! makes one request.
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
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::machine::{ExecCommand, MachineGrant, SubjectToken, TokenType};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{AuthRuntime, AuthSession, Login, Reason, SessionSpec, TokenError, TokenOptions};
use tokio::task::JoinSet;

use super::host::robot;
use super::server::{BEARER, CREDENTIALS, DELEGATION, EXCHANGE, REFRESH, Server};
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

/// The session with the MCP server or the identity provider at this URL.
fn spec_at(url: &str) -> SessionSpec {
    let spec = if url.ends_with("/idp") { SessionSpec::idp(url) } else { SessionSpec::mcp(url) };
    spec.unwrap()
}

async fn renewed(session: &AuthSession) -> Result<(), TokenError> {
    let options = TokenOptions { force: true, timeout: Duration::from_secs(25), ..TokenOptions::default() };
    within("a token", session.token_with(options)).await.map(drop)
}

/// A token that a new process obtains now.
async fn renewed_by_another(folder: &Path, spec: SessionSpec) -> Result<(), TokenError> {
    let auth = AuthRuntime::builder(home(folder)).spawn().await.unwrap();
    let renewed = renewed(&auth.session(spec)).await;
    assert!(within("a shutdown", auth.shutdown(Duration::from_secs(10))).await.is_clean());
    renewed
}

/// A process that is killed at this step of its request.
fn victim_at(folder: &Path, url: &str, last: usize) -> Command {
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "kills::victim"]).env(FOLDER, folder);
    victim.env(RESOURCE, url).env(LAST, last.to_string());
    victim
}

async fn output(mut victim: Command) -> Output {
    let ended = tokio::task::spawn_blocking(move || victim.output().unwrap());
    within("the victim's end", ended).await.unwrap()
}

/// Signs on at the identity provider, in the home in this folder.
async fn sign_on(server: &Server, folder: &Path) {
    let auth = AuthRuntime::builder(home(folder)).spawn().await.unwrap();
    let endpoint = format!("{}/token", server.idp());
    let settings = IssuerSettings::new(server.idp(), endpoint, Client::public("desktop")).unwrap();
    let login = Login::at(settings.identity_provider()).refresh_token("rt-0").id_token(server.id_token());
    within("a sign-on", auth.session(spec_at(&server.idp())).install(login)).await.unwrap();
    assert!(within("a shutdown", auth.shutdown(Duration::from_secs(10))).await.is_clean());
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
    renewed(&auth.session(spec_at(&resource))).await.unwrap();
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
        renewed_by_another(self.folder.path(), spec).await.unwrap();
    }

    fn victim(&self, last: usize) -> Command {
        victim_at(self.folder.path(), &self.resource(), last)
    }

    /// Kills a process at every step of a request, until one has none that is left. Returns the number of kills.
    async fn kill_at_every_step(self) -> usize {
        let spec = || SessionSpec::mcp(&self.resource()).unwrap();
        self.renew(spec().renewal(self.grant.plan())).await;
        for last in 0.. {
            let before = self.count();
            let log = self.folder.path().join("log");
            drop(fs::remove_file(&log));
            let ended = output(self.victim(last)).await;
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
async fn a_kill_at_any_effect_costs_one_id_jag_at_most() {
    let (server, folder) = (Arc::new(Server::start().await), tempfile::tempdir().unwrap());
    sign_on(&server, folder.path()).await;
    let idp = spec_at(&server.idp()).identity().clone();
    let grant = MachineGrant::enterprise(idp, Client::secret_basic("app", "app-secret"));
    let lane = Lane { server: Arc::clone(&server), folder, grant, counted: Some(BEARER), number: 0 };
    assert!(lane.kill_at_every_step().await >= 14);
    assert_eq!((server.count(EXCHANGE), server.count(REFRESH), server.replays()), (server.count(BEARER), 0, 0));
}

/// At a strict provider, only an answer that died with its process ends the sign-on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_effect_of_a_refresh_at_the_provider_loses_an_answer_in_the_air_alone() {
    for last in 0.. {
        let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
        sign_on(&server, folder.path()).await;
        let ended = output(victim_at(folder.path(), &server.idp(), last)).await;
        let steps = fs::read_to_string(folder.path().join("log")).unwrap();
        let is_lost = server.count(REFRESH) == 1 && !steps.contains("after commit");
        let next = renewed_by_another(folder.path(), spec_at(&server.idp())).await;
        assert_eq!(next.err().map(|error| error.reason()), is_lost.then_some(Reason::GrantEnded), "{steps}");
        assert_eq!(
            (server.count(REFRESH), server.replays()),
            (1 + usize::from(steps.contains("after send")), usize::from(is_lost)),
            "{steps}"
        );
        if ended.status.signal().is_none() {
            // A mark more than at a source that spends nothing.
            assert!(ended.status.success() && last >= 16, "{ended:?}");
            return;
        }
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
