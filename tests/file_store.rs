//! Several processes of a host on one home share one refresh, and each receives the others' changes.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test")]

#[path = "../actors/tests/common/bounded.rs"]
mod bounded;
#[path = "../actors/tests/common/within.rs"]
mod within;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokenkeeper::engine::law::ledger::Login;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::runtime::{AuthRuntime, Settings};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::{ClientAuth, RefreshCredential};
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Account, Reason, RenewalPlan, Scopes, ServerIdentity, Target, TokenOptions};
use tokenkeeper_testkit::hostile::{Grant, HostileAs};

use bounded::{BoundedRuntime, BoundedSession};
use within::{LONGEST, within};

const PROCESSES: usize = 4;
const CALLERS: usize = 32;

/// One process of a host.
struct Host {
    store: FileStore,
    runtime: BoundedRuntime,
    session: BoundedSession,
}

impl Host {
    async fn open(home: &Path, resource: &str) -> Self {
        let store = FileStore::open(home).unwrap();
        let clock = SystemClock::new().unwrap();
        let source = RefreshGrant::new(Arc::new(ReqwestClient::new().unwrap()), Arc::new(clock));
        let mut settings = Settings::new(Arc::new(source));
        settings.policy.initial_backoff = Duration::from_millis(10);
        settings.policy.max_backoff = Duration::from_millis(10);
        let builder = AuthRuntime::builder(Arc::new(store.clone()), settings);
        let runtime = BoundedRuntime::from(within("a runtime", builder.spawn()).await.unwrap());
        let identity = ServerIdentity::new(Account::new("work").unwrap(), Target::mcp(resource).unwrap());
        let session = runtime.session(identity);
        Self { store, runtime, session }
    }

    async fn sign_in(&self, grant: &Grant) {
        let key = self.store.digest_key().await.unwrap();
        let login = Login {
            renewal: RenewalPlan::default(),
            binding: grant.binding.clone(),
            requested: Scopes::default(),
            granted: Scopes::new(grant.scope.split(' ')),
            subject: None,
            dpop_key: None,
            refresh: Some(RefreshCredential::new(grant.refresh_token.clone(), &key)),
            access: None,
            at: SystemClock::new().unwrap().now(),
            begun_on: None,
        };
        self.session.install(login).await.unwrap();
    }

    /// The results of `callers` concurrent callers, each a token or a reason.
    async fn tokens(&self, callers: usize) -> Vec<Result<String, Reason>> {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let session = self.session.clone();
                let request = TokenOptions { timeout: Duration::from_secs(30), ..TokenOptions::default() };
                tokio::spawn(async move { session.token_with(request).await })
            })
            .collect();
        let mut tokens = Vec::new();
        for caller in callers {
            let lease = within("a caller's answer", caller).await.unwrap();
            tokens.push(lease.map(|lease| lease.token().expose().to_owned()).map_err(|error| error.reason()));
        }
        tokens.dedup();
        tokens
    }

    /// Asks until the answer is as it should be. The time is not measured.
    #[track_caller]
    fn comes_to(&self, what: &'static str, due: impl Fn(&Result<String, Reason>) -> bool) -> impl Future<Output = ()> {
        within(what, async move {
            while !due(&self.tokens(1).await[0]) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }
}

/// The body of a child process. It does nothing when run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(home), Ok(resource)) = (std::env::var("FILE_STORE_HOME"), std::env::var("FILE_STORE_RESOURCE")) else {
        return;
    };
    let host = Host::open(Path::new(&home), &resource).await;
    println!("@@ready");
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        println!("@@{:?}", host.tokens(CALLERS).await);
    }
}

struct Process {
    child: Child,
    /// The lines of its output, read by a thread of its own, because reading blocks.
    says: mpsc::Receiver<String>,
}

impl Process {
    fn start(home: &Path, resource: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("FILE_STORE_HOME", home)
            .env("FILE_STORE_RESOURCE", resource)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (says, said) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, line)) = line.split_once("@@") {
                    drop(says.send(line.to_owned()));
                }
            }
        });
        Self { child, says: said }
    }

    fn tell(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap(), "go").unwrap();
    }

    fn hear(&mut self) -> String {
        self.says.recv_timeout(LONGEST).unwrap_or_else(|error| panic!("a process says nothing: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_of_several_processes_share_one_request() {
    let ground = tempfile::tempdir().unwrap();
    let home = ground.path().join("home");
    let server = HostileAs::start().await.unwrap();
    let grant = server.grant_to(&server.register(ClientAuth::None));
    let host = Host::open(&home, &server.resource()).await;
    host.sign_in(&grant).await;
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::start(&home, &server.resource())).collect();
    processes.iter_mut().for_each(|process| assert_eq!(process.hear(), "ready"));
    processes.iter_mut().for_each(Process::tell);
    let said: Vec<_> = processes.iter_mut().map(Process::hear).collect();
    // There is one token, and each process serves it to all of its callers.
    let token = host.tokens(CALLERS).await;
    assert!(token[0].is_ok() && token.len() == 1, "{token:?}");
    assert!(said.iter().all(|said| *said == format!("{token:?}")), "{said:?} {token:?}");
    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.replays), (1, 0), "{:?}", server.snapshot().timeline);
    assert!(server.is_alive(grant.chain));
    assert!(host.runtime.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_and_a_logout_reach_the_others() {
    let ground = tempfile::tempdir().unwrap();
    let home = ground.path().join("home");
    let server = HostileAs::start().await.unwrap();
    let client = server.register(ClientAuth::None);
    let (one, other) = (Host::open(&home, &server.resource()).await, Host::open(&home, &server.resource()).await);
    assert_eq!(other.tokens(1).await, [Err(Reason::NeverSignedIn)]);
    one.sign_in(&server.grant_to(&client)).await;
    other.comes_to("the login", Result::is_ok).await;
    let first = other.tokens(1).await.remove(0).unwrap();
    one.session.logout().await.unwrap();
    other.comes_to("the logout", |token| *token == Err(Reason::LoggedOut)).await;
    let grant = server.grant_to(&client);
    one.sign_in(&grant).await;
    other.comes_to("the next login", |token| token.as_ref().is_ok_and(|token| *token != first)).await;
    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.replays), (2, 0), "{:?}", server.snapshot().timeline);
    assert!(server.is_alive(grant.chain));
    for host in [one, other] {
        assert!(host.runtime.shutdown(Duration::from_secs(5)).await.is_clean());
    }
}
