//! Helpers of the file store's tests, namely homes, sample values, and child processes.
#![allow(clippy::print_stderr, clippy::print_stdout, dead_code, unreachable_pub, reason = "each test uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, Payload};
use hmac::{Hmac, KeyInit, Mac};
use rustix::process::{Pid, Signal, kill_process};
use sha2::Sha256;
use tempfile::TempDir;
use tokenkeeper_actors::law::ledger::{Change, Changed, Commit, Login, LoginAccess};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, TokenStore};
use tokenkeeper_actors::values::record::{
    Access, Binding, Client, ClientAuth, Issuer, Mark, MarkState, Record, RefreshCredential,
};
use tokenkeeper_actors::values::{
    AccessToken, BootId, Cause, DpopKey, ElapsedTime, Epoch, FlightId, KeyedDigest, Moment, RefreshToken, RenewalPlan,
    Scopes, ServerIdentity, TokenKind, Validity, Version, WallTime,
};
use tokenkeeper_store_file::{FileStore, KeySource, StoreKey};

pub const SPEND: ClaimScope = ClaimScope::Spend(Epoch::new(1));

pub const AT_LEAST: Duration = Duration::from_secs(45);

/// A folder of the test's own. The home is `home` in it.
pub struct Ground(pub TempDir);

impl Ground {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    pub fn open(&self) -> FileStore {
        open(&self.home())
    }

    pub fn record(&self, who: &ServerIdentity) -> PathBuf {
        self.home().join("records").join(self.name(who))
    }

    pub fn name(&self, who: &ServerIdentity) -> String {
        name(&self.home(), who)
    }

    pub fn lock(&self, file: &str) -> PathBuf {
        self.home().join("locks").join(file)
    }
}

pub fn open(home: &Path) -> FileStore {
    FileStore::builder(home).key(given_key()).open().unwrap()
}

/// A fixed key, so that a test can inspect every file.
pub fn given_key() -> KeySource {
    KeySource::Given(StoreKey::new([9; 32]))
}

/// The name of an identity's files in a home with the [given key](given_key).
pub fn name(home: &Path, who: &ServerIdentity) -> String {
    mac(&key(home, "identities"), who.key().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The line of an identity in the index of such a home.
pub fn line(home: &Path, who: &ServerIdentity) -> String {
    let cipher = XChaCha20Poly1305::new_from_slice(&key(home, "seal")).unwrap();
    let nonce = [0; 24];
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg: who.key().as_bytes(), aad: b"keyN" }).unwrap();
    nonce.iter().chain(&sealed).map(|byte| format!("{byte:02x}")).collect()
}

/// The key of such a home for one purpose.
fn key(home: &Path, purpose: &str) -> Vec<u8> {
    let about: serde_json::Value = serde_json::from_slice(&std::fs::read(home.join("home")).unwrap()).unwrap();
    let purpose = ["tokenkeeper file store\0", purpose, "\0", about["id"].as_str().unwrap()].concat();
    mac(&[9; 32], purpose.as_bytes())
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

pub fn identity(account: &str) -> ServerIdentity {
    ServerIdentity::from_key(&format!("mcp:https://mcp.example.com/mcp#{account}")).unwrap()
}

pub fn who() -> ServerIdentity {
    identity("work")
}

pub fn flight(number: u128) -> FlightId {
    FlightId((0xf11e << 112) + number)
}

pub fn moment(seconds: u64) -> Moment {
    Moment {
        wall: WallTime::from_millis(1_800_000_000_000 + 1_000 * seconds),
        elapsed: ElapsedTime::from_millis(70_000 + 1_000 * seconds),
        boot: BootId(0xb007),
    }
}

pub async fn credential(store: &FileStore, token: &str) -> RefreshCredential {
    RefreshCredential::new(RefreshToken::new(token), &store.digest_key().await.unwrap())
}

pub async fn digest(store: &FileStore, token: &str) -> KeyedDigest {
    credential(store, token).await.digest()
}

pub fn binding() -> Binding {
    Binding {
        issuer: Issuer("https://as.example.com".into()),
        client: Client { id: "client-1".into(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
        token_endpoint: "https://as.example.com/token".into(),
        revocation_endpoint: None,
        resource: Some("https://mcp.example.com/mcp".into()),
    }
}

pub async fn login(store: &FileStore, token: &str) -> Change {
    let access = LoginAccess {
        token: AccessToken::new(format!("at-of-{token}")),
        kind: TokenKind::Bearer,
        validity: Validity::new(moment(0), Some(Duration::from_secs(3_600))),
    };
    Change::Install(Box::new(Login {
        renewal: RenewalPlan::default(),
        binding: binding(),
        requested: Scopes::new(["read"]),
        granted: Scopes::new(["read"]),
        subject: None,
        dpop_key: Some(DpopKey::new(format!("dpop-of-{token}"))),
        refresh: Some(credential(store, token).await),
        access: Some(access),
        at: moment(0),
        begun_on: None,
    }))
}

pub async fn mark(store: &FileStore, expected: Version, token: &str, by: u128, number: u64) -> Change {
    let mark = Mark {
        flight: flight(by),
        digest: digest(store, token).await,
        presentations: 1,
        number,
        first: moment(10),
        latest: moment(10),
        timeout: Duration::from_secs(30),
        state: MarkState::Open,
    };
    Change::Mark { expected, mark }
}

pub async fn commit(store: &FileStore, epoch: Epoch, sent: &str, got: &str, number: u64) -> Change {
    let access = Access {
        token: AccessToken::new(format!("at-{number}")),
        kind: TokenKind::Bearer,
        validity: Validity::new(moment(20), Some(Duration::from_secs(3_600))),
        number,
        cause: Cause::Expiry,
        flight: Some(flight(1)),
    };
    Change::Commit(Box::new(Commit {
        renewal: RenewalPlan::default(),
        epoch,
        sent: Some(digest(store, sent).await),
        repeated: false,
        access,
        refresh: Some(credential(store, got).await),
        granted: None,
        subject: None,
        binding: None,
        at: moment(20),
    }))
}

pub fn applied(changed: Changed) -> Record {
    match changed {
        Changed::Applied { after, .. } => *after,
        Changed::Conflict { why, .. } => panic!("{why:?}"),
    }
}

pub async fn install(store: &FileStore, who: &ServerIdentity, token: &str) -> Record {
    applied(store.change(who, login(store, token).await).await.unwrap())
}

pub fn granted(answer: ClaimAnswer) -> Claim {
    match answer {
        ClaimAnswer::Granted(claim) => claim,
        other => panic!("{other:?}"),
    }
}

pub fn token(record: Option<Box<Record>>) -> Option<String> {
    Some(record?.held()?.credential.token().expose().to_owned())
}

/// A child process. It runs this test binary again, as its test `child` in a role.
pub struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: Option<ChildStdin>,
}

/// The variables that give a child its role and its home.
const ROLE: &str = "FILE_STORE_TEST_ROLE";
const HOME: &str = "FILE_STORE_TEST_HOME";

impl Process {
    pub fn start(role: &str, home: &Path) -> Self {
        Self::start_as(role, home, None)
    }

    /// Starts the child, as another user if one is given.
    pub fn start_as(role: &str, home: &Path, user: Option<u32>) -> Self {
        Self::start_with(role, home, |command| {
            if let Some(user) = user {
                command.uid(user).gid(user).current_dir("/");
            }
        })
    }

    /// Starts the child after `surround` has changed its command.
    pub fn start_with(role: &str, home: &Path, surround: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(ROLE, role).env(HOME, home);
        surround(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (hears, says) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, says, hears }
    }

    /// The next report of the child. Returns `None` when it has ended.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.says.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The child's test harness prints lines too.
            if let Some((_, said)) = line.trim_end().split_once("@@") {
                return Some(said.to_owned());
            }
        }
    }

    pub fn expect(&mut self, said: &str) {
        assert_eq!(self.hear().as_deref(), Some(said));
    }

    pub fn tell(&mut self, word: &str) {
        writeln!(self.hears.as_mut().unwrap(), "{word}").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills the child and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.hears = None;
        self.kill();
    }
}

/// The role and the home of this process, if it is a child.
pub fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(HOME)?.into()))
}

pub fn say(word: impl std::fmt::Display) {
    println!("@@{word}");
}

/// Waits for the parent's next word. The end of the input ends the child.
pub fn wait_for_word() -> String {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap() == 0 {
        std::process::exit(0);
    }
    line.trim_end().to_owned()
}

/// Checks that a part of the tests that needs a privilege may be left out here. In CI it may not.
pub fn may_skip(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is not possible here, and CI must show it");
    eprintln!("NOT SHOWN: {what} is not possible here");
}
