//! Logins over several real processes on one home. There is one prompt and one code for all of them, also after a SIGKILL at
//! any effect of an attempt.
//!
//! A process is this test binary, run again for its test [`child`]. The server is a file to which each process appends what
//! it asks for, so nothing is lost with a process.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test, whose processes are real and take real time"
)]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use tokenkeeper::engine::law::flight::StoreTimeouts;
use tokenkeeper::engine::law::ledger::LoginAccess;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::login::{
    AuthorizationCode, IssuedLogin, LoginSource, Polled, Preparation, Prepared, Redeemed, Redemption,
};
use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver, LoginEffectName};
use tokenkeeper::engine::ports::store::PendingLogin;
use tokenkeeper::engine::runtime;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::FlightId;
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer};
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{
    AccessToken, AttemptId, Callback, LoginCause, LoginKey, LoginLimits, LoginMethod, LoginOffer, LoginProgress,
    LoginReason, LoginUrl, LoginWish, OfferedPrompt, RefreshToken, RenewalPlan, Scopes, ServerIdentity, SessionSpec,
    TokenKind, Validity,
};
use tokenkeeper_judge::processes::{WorkerOutput, WorkerProcess, read_requests, report};

use within::within;

/// The variable that holds the setup of a process.
const SETUP: &str = "LOGIN_PROCESS";

const WAIT: Duration = Duration::from_secs(60);

/// The setup of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Setup {
    folder: PathBuf,
    /// The effect at which it dies, counted by name from one, and whether before or after it was carried out.
    dies: Option<(String, u32, bool)>,
}

/// A command to a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Command {
    /// So many callers want to be signed in.
    SignIn(usize),
    /// The person has answered.
    Complete(String),
}

/// A message of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Message {
    Ready,
    /// A caller is to open this prompt.
    Offered(String),
    /// All callers have a token.
    SignedIn(Vec<String>),
}

// The process.

/// The body of a process. It does nothing when run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(setup) = std::env::var(SETUP) else { return };
    let setup: Setup = serde_json::from_str(&setup).unwrap();
    let clock = Arc::new(SystemClock::new().unwrap());
    let logins = Arc::new(FileLogins { log: setup.folder.join("log"), clock: clock.clone() });
    let http = Arc::new(ReqwestClient::new().unwrap());
    let source = RefreshGrant::new(http, clock.clone());
    let settings = runtime::Settings {
        timeouts: StoreTimeouts { store_timeout: Duration::from_secs(1), ..StoreTimeouts::default() },
        login: Some(logins),
        login_limits: LoginLimits {
            redeem: Duration::from_millis(1_500),
            spend_wait: Duration::from_millis(500),
            ..LoginLimits::default()
        },
        ..runtime::Settings::new(Arc::new(source))
    };
    let store = Arc::new(FileStore::open(setup.folder.join("home")).unwrap());
    let observer = Arc::new(Executioner { dies: setup.dies, seen: AtomicU32::new(0) });
    let auth = runtime::AuthRuntime::builder(store, settings).observer(observer).spawn().await.unwrap();
    let session = auth.session(identity());
    let mut commands = read_requests::<Command>(|| ());
    report(&Message::Ready);
    while let Some(command) = commands.recv().await {
        let (auth, session) = (auth.clone(), session.clone());
        tokio::spawn(async move {
            match command {
                Command::SignIn(callers) => {
                    let tokens = join_all((0..callers).map(|_| signed_in(&session))).await;
                    report(&Message::SignedIn(tokens));
                }
                Command::Complete(key) => {
                    auth.complete_login(Callback::new(key_of(&key), "yes"), WAIT).await.unwrap_or(())
                }
            }
        });
    }
    std::process::exit(0);
}

/// A caller that asks until it is signed in. Only the first one of a prompt opens a page.
async fn signed_in(session: &runtime::AuthSession) -> String {
    loop {
        if let Ok(lease) = session.token().await {
            return lease.token().expose().to_owned();
        }
        let method = LoginMethod::Redirect("http://127.0.0.1:8000/callback".to_owned());
        let wish = LoginWish { scopes: Scopes::default(), method, same_subject: true, extends: false };
        let attempt = match session.begin_login(wish, LoginCause::Person, WAIT).await {
            Ok(LoginProgress::Offered { attempt, key, is_first, .. }) => {
                if is_first {
                    report(&Message::Offered(digits(key)));
                }
                attempt
            }
            Ok(LoginProgress::Elsewhere { attempt }) => attempt,
            Ok(_) => continue,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Ok(LoginProgress::Offered { key, .. }) = session.login_done(attempt, WAIT).await {
            // The process that asked has died, and this one has taken its prompt over.
            report(&Message::Offered(digits(key)));
            session.login_done(attempt, WAIT).await.ok();
        }
    }
}

fn identity() -> ServerIdentity {
    SessionSpec::mcp("https://mcp.example.com/mcp").unwrap().identity().clone()
}

/// Kills its own process at an effect.
#[derive(Debug)]
struct Executioner {
    dies: Option<(String, u32, bool)>,
    seen: AtomicU32,
}

impl Executioner {
    fn look(&self, effect: LoginEffectName, is_before: bool) {
        if let Some((name, number, before)) = &self.dies
            && name == effect.as_str()
            && *before == is_before
            && self.seen.fetch_add(1, Ordering::SeqCst) + 1 == *number
        {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            std::thread::park();
        }
    }
}

impl EffectObserver for Executioner {
    fn before(&self, _: &ServerIdentity, _: FlightId, _: EffectName) {}

    fn after(&self, _: &ServerIdentity, _: FlightId, _: EffectName) {}

    fn before_login(&self, _: &ServerIdentity, _: AttemptId, effect: LoginEffectName) {
        self.look(effect, true);
    }

    fn after_login(&self, _: &ServerIdentity, _: AttemptId, effect: LoginEffectName) {
        self.look(effect, false);
    }
}

/// A login source whose server is a file.
#[derive(Debug)]
struct FileLogins {
    log: PathBuf,
    clock: Arc<SystemClock>,
}

impl FileLogins {
    fn note(&self, line: &str) {
        let mut log = OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
        // One write, so that lines of several processes do not mix.
        log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

#[async_trait::async_trait]
impl LoginSource for FileLogins {
    async fn prepare(&self, _: &ServerIdentity, preparation: Preparation) -> Result<Prepared, LoginReason> {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&preparation.attempt.0.to_be_bytes());
        let key = LoginKey(key);
        self.note(&format!("prepare {}", digits(key)));
        Ok(Prepared { key, expires: preparation.expires, sealed: SecretSlice::from(key.0.to_vec()) })
    }

    fn offer(&self, pending: &PendingLogin) -> Result<LoginOffer, LoginReason> {
        let url = LoginUrl::new("https://as.example.com/authorize");
        Ok(LoginOffer { prompt: OfferedPrompt::Browser { url }, expires: pending.expires })
    }

    async fn read(&self, _: &PendingLogin, _: &Callback) -> Result<AuthorizationCode, LoginReason> {
        Ok(AuthorizationCode::new("code"))
    }

    async fn redeem(&self, _: &ServerIdentity, redemption: Redemption) -> Redeemed {
        let key = LoginKey(redemption.pending.sealed.expose_secret().try_into().unwrap());
        self.note(&format!("redeem {}", digits(key)));
        let client = Client { id: "c".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
        Redeemed::Issued(Box::new(IssuedLogin {
            binding: Binding {
                issuer: Issuer("https://as.example.com".to_owned()),
                client,
                token_endpoint: "https://as.example.com/token".to_owned(),
                revocation_endpoint: None,
                resource: None,
            },
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: Some(RefreshToken::new(format!("rt-{}", digits(key)))),
            access: Some(LoginAccess {
                token: AccessToken::new(format!("at-{}", digits(key))),
                kind: TokenKind::Bearer,
                validity: Validity::new(self.clock.now(), Some(Duration::from_secs(3_600))),
            }),
        }))
    }

    async fn poll(&self, _: &ServerIdentity, _: &PendingLogin) -> Polled {
        Polled::Ended(LoginReason::Refused)
    }
}

fn digits(key: LoginKey) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_of(digits: &str) -> LoginKey {
    LoginKey(std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()))
}

// The tests.

async fn start(folder: &Path, dies: Option<(&str, u32, bool)>) -> (WorkerProcess, WorkerOutput) {
    let dies = dies.map(|(name, number, before)| (name.to_owned(), number, before));
    let setup = Setup { folder: folder.to_owned(), dies };
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(SETUP, serde_json::to_string(&setup).unwrap());
    let (process, mut output) = WorkerProcess::start(command).unwrap();
    assert_eq!(within("a process", output.next::<Message>()).await, Some(Message::Ready));
    (process, output)
}

/// How often each request was made, by its name, and that no code was presented twice.
fn counts(folder: &Path) -> BTreeMap<String, usize> {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let mut lines = BTreeMap::new();
    log.lines().for_each(|line| *lines.entry(line).or_insert(0) += 1);
    assert!(lines.values().all(|times| *times == 1), "a request was repeated: {log}");
    let mut counts = BTreeMap::new();
    lines.keys().for_each(|line| *counts.entry(line[..line.find(' ').unwrap()].to_owned()).or_insert(0) += 1);
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_with_fifty_callers_each_lead_to_one_prompt_and_one_code() {
    let folder = tempfile::tempdir().unwrap();
    let mut processes = join_all((0..4).map(|_| start(folder.path(), None))).await;
    for (process, _) in &mut processes {
        process.send(&Command::SignIn(50)).await.unwrap();
    }
    let mut offered = Vec::new();
    let mut tokens = Vec::new();
    let (mut senders, outputs): (Vec<_>, Vec<_>) = processes.into_iter().unzip();
    let messages = outputs.into_iter().map(|output| {
        Box::pin(futures_util::stream::unfold(output, |mut output| async move {
            output.next::<Message>().await.map(|message| (message, output))
        }))
    });
    let mut messages = futures_util::stream::select_all(messages);
    while tokens.len() < 4 {
        match within("a message", messages.next()).await.unwrap() {
            Message::Offered(key) => {
                offered.push(key.clone());
                // The answer arrives in whichever process.
                senders[offered.len() % 4].send(&Command::Complete(key)).await.unwrap();
            }
            Message::SignedIn(got) => tokens.push(got),
            Message::Ready => {}
        }
    }
    assert_eq!(offered.len(), 1, "one caller opened a page");
    assert!(tokens.iter().all(|got| got.len() == 50 && got.iter().all(|token| *token == format!("at-{}", offered[0]))));
    assert_eq!(counts(folder.path()), BTreeMap::from([("prepare".to_owned(), 1), ("redeem".to_owned(), 1)]));
}

/// The number of prompts that were prepared, and of codes that were presented.
type Requests = (usize, usize);

/// The effects of an attempt that succeeds, in their order. Beside each are the numbers of prompts that are prepared and of
/// codes that are presented in all, if the process dies before the effect, and after it.
const DEATHS: [(&str, u32, Requests, Requests); 15] = [
    ("claim", 1, (1, 1), (1, 1)),
    ("load", 1, (1, 1), (1, 1)),
    ("prepare", 1, (1, 1), (2, 1)),
    ("put", 1, (2, 1), (2, 1)),
    ("ask", 1, (2, 1), (1, 1)),
    ("show", 1, (1, 1), (1, 1)),
    ("take", 1, (1, 1), (2, 1)),
    ("judge", 1, (2, 1), (2, 1)),
    ("claim", 2, (2, 1), (2, 1)),
    ("answer", 1, (2, 1), (2, 1)),
    ("redeem", 1, (2, 1), (2, 2)),
    ("reserve", 1, (2, 2), (2, 2)),
    ("install", 1, (2, 2), (1, 1)),
    ("end_claim", 1, (1, 1), (1, 1)),
    ("end_claim", 2, (1, 1), (1, 1)),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_effect_costs_a_prompt_at_most_and_the_next_process_signs_in() {
    let points = DEATHS
        .iter()
        .flat_map(|(name, number, before, after)| [(*name, *number, true, *before), (*name, *number, false, *after)]);
    let deaths = points.map(|(name, number, before, wanted)| async move {
        let point = format!("{} {name} {number}", if before { "before" } else { "after" });
        let found = within(point.clone(), death(name, number, before)).await;
        (point, wanted, found)
    });
    let results: Vec<_> = futures_util::stream::iter(deaths).buffered(6).collect().await;
    let wrong: Vec<_> = results.iter().filter(|(_, wanted, found)| wanted != found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One process asks, takes the answer and dies on the way. Another one wants to be signed in, too. Returns the requests that
/// were made in all.
async fn death(name: &str, number: u32, before: bool) -> Requests {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut first_output) = start(folder.path(), Some((name, number, before))).await;
    first.send(&Command::SignIn(1)).await.unwrap();
    let mut offered = None;
    // Until it is dead, which ends its output.
    while let Some(message) = first_output.next::<Message>().await {
        if let Message::Offered(key) = message {
            offered = Some(key.clone());
            drop(first.send(&Command::Complete(key)).await);
        }
    }
    drop(first);
    let (mut second, mut output) = start(folder.path(), None).await;
    second.send(&Command::SignIn(1)).await.unwrap();
    loop {
        match output.next::<Message>().await.unwrap() {
            Message::Offered(key) => {
                // The tab that the first process opened is still there, if the prompt is the same.
                let is_known = offered.as_ref() == Some(&key);
                assert!(!is_known || !counts(folder.path()).contains_key("redeem"));
                second.send(&Command::Complete(key)).await.unwrap();
            }
            Message::SignedIn(tokens) => {
                assert_eq!(tokens.len(), 1);
                break;
            }
            Message::Ready => {}
        }
    }
    let counts = counts(folder.path());
    let count = |request: &str| counts.get(request).copied().unwrap_or_default();
    (count("prepare"), count("redeem"))
}
