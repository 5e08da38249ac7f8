//! A home of the first format, which names identities in clear, gets the current one. Nothing is lost, whenever the process
//! that changes it dies, and no process of an earlier version can spend afterwards.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Ground, Process, may_skip, role, say};
use tokenkeeper_actors::ports::store::{Reservation, TokenStore};
use tokenkeeper_actors::values::ServerIdentity;
use tokenkeeper_store_file::{FileStore, Trouble};

/// The accounts in the fixture, with their refresh tokens.
const HELD: [(&str, &str); 4] = [
    (
        "mcp:https://mcp.example.com/k-path-secret-1/mcp?key=query-secret-2#account-secret-3",
        "stored-refresh-token-keyed",
    ),
    ("mcp:https://mcp.example.com/mcp#plain", "stored-refresh-token-plain"),
    ("mcp:https://mcp.example.com/mcp#secret", "stored-refresh-token-secret"),
    ("mcp:https://mcp.example.com/mcp#strict", "stored-refresh-token-strict"),
];

/// The parts of the fixture's identities that are secret, and the parts by which its issuer is named.
const SECRETS: [&str; 5] = ["path-secret", "query-secret", "account-secret", "mcp.example.com", "127.0.0.1"];

/// A copy of a home that the last version with the first format wrote.
fn earlier(ground: &Ground) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/home-format-4");
    copy(&fixture, &ground.home());
    ground.home()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn identity(key: &str) -> ServerIdentity {
    ServerIdentity::from_key(key).unwrap()
}

/// The files below a folder, and the folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { [files(&path), vec![path]].concat() } else { vec![path] }).collect()
}

/// Asserts that no file of the home shows a secret, neither in its name nor in its contents.
fn shows_nothing(home: &Path) {
    for file in files(home) {
        let name = file.strip_prefix(home).unwrap().display().to_string();
        let contents = if file.is_dir() { Vec::new() } else { fs::read(&file).unwrap() };
        for secret in SECRETS {
            let is_in_it = contents.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_in_it && !name.contains(secret), "{name} shows {secret}");
        }
    }
}

/// Asserts that everything that the fixture stores is still there.
async fn is_complete(store: &FileStore) {
    let mut listed = store.list().await.unwrap();
    listed.sort_by_key(ServerIdentity::key);
    let gone = identity("mcp:https://mcp.example.com/mcp#gone");
    let mut all: Vec<_> = HELD.iter().map(|(key, _)| identity(key)).chain([gone.clone()]).collect();
    all.sort_by_key(ServerIdentity::key);
    assert_eq!(listed, all);
    for (key, token) in HELD {
        assert_eq!(support::token(store.load(&identity(key)).await.unwrap()).as_deref(), Some(token));
        assert!(!store.journal(&identity(key), 9).await.unwrap().is_empty(), "the journal of {key}");
    }
    assert!(store.load(&gone).await.unwrap().unwrap().grant().is_none());
    assert_eq!(store.list_issuers().await.unwrap().len(), 1);
    let key = store.list_issuers().await.unwrap().remove(0);
    assert!(store.load_issuer(&key).await.unwrap().is_some());
    // The hints are written again, so no second identity gets a token that one has.
    let digest = support::digest(store, HELD[1].1).await;
    let reserved = store.reserve(&gone, digest, support::moment(0)).await.unwrap();
    assert_eq!(reserved, Reservation::HeldBy(identity(HELD[1].0)));
}

/// The child's part. On its own it is no test.
#[tokio::test]
async fn child() {
    let Some((role, home)) = role() else { return };
    assert_eq!(role, "opener");
    FileStore::open(&home).unwrap();
    say("done");
}

#[tokio::test]
async fn a_home_of_the_first_format_gets_the_current_one_and_shows_no_identity() {
    let ground = Ground::new();
    let home = earlier(&ground);
    let shown = fs::read_to_string(home.join("identities")).unwrap();
    assert!(shown.contains("query-secret"), "the fixture shows what the current format hides");
    let damaged = home.join("records/6f0a806a0538432ee5076c741aa1470198cd89e28fe19f8fdcba10d19d976791");
    let aside = PathBuf::from(format!("{}.damaged.0123456789abcdef", damaged.display()));
    fs::write(&aside, &fs::read(&damaged).unwrap()[..150]).unwrap();
    fs::write(home.join("records/a stranger"), "stays").unwrap();
    for _ in 0..2 {
        is_complete(&FileStore::open(&home).unwrap()).await;
        shows_nothing(&home);
        let records: Vec<_> = files(&home.join("records"));
        assert_eq!(records.len(), HELD.len() + 3, "{records:?}");
        assert_eq!(fs::read(home.join("records/a stranger")).unwrap(), b"stays");
    }
    let about = fs::read_to_string(home.join("home")).unwrap();
    assert!(about.starts_with("{\"format\":2,"), "{about}");
}

#[tokio::test]
async fn a_record_that_cannot_be_opened_is_kept_as_that_of_its_identity() {
    let ground = Ground::new();
    let home = earlier(&ground);
    let file = home.join("records/6f0a806a0538432ee5076c741aa1470198cd89e28fe19f8fdcba10d19d976791");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let store = FileStore::open(&home).unwrap();
    shows_nothing(&home);
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), HELD.len() + 1);
    let mut damaged = Vec::new();
    for who in listed {
        if let Err(error) = store.inspect(&who).await {
            assert_eq!(error.trouble(), &Trouble::Damaged);
            damaged.push(who);
        }
    }
    assert_eq!(damaged.len(), 1);
}

#[tokio::test]
async fn a_refresh_of_an_earlier_version_is_waited_for_and_can_be_stored() {
    let ground = Ground::new();
    let home = earlier(&ground);
    // An earlier version holds such a lock from before a refresh until its token is stored.
    let name = "71e8d1f4d1033e27fd8bdc13a03b21ca6294c6497c017ad205b93191ba17d31b";
    let claim = File::create(home.join("locks").join(format!("{name}.spend.1"))).unwrap();
    claim.lock().unwrap();
    let folders = |home: &Path| {
        use std::os::unix::fs::MetadataExt;
        ["", "records", "locks"].map(|folder| fs::metadata(home.join(folder)).unwrap().ino())
    };
    let before = folders(&home);
    let error = FileStore::open(&home).unwrap_err();
    assert_eq!(error.trouble(), &Trouble::Earlier);
    assert!(error.path().ends_with(format!("{name}.spend.1")), "{error}");
    // An earlier version looks whether these are the folders that it opened.
    assert_eq!(folders(&home), before);
    let about = fs::read_to_string(home.join("home")).unwrap();
    assert!(about.starts_with("{\"format\":1,"), "{about}");
    drop(claim);
    is_complete(&FileStore::open(&home).unwrap()).await;
    // Afterwards an earlier version finds other folders, and refuses the format.
    let after = folders(&home);
    assert!(after[1] != before[1] && after[2] != before[2]);
}

#[tokio::test]
async fn several_processes_that_open_an_earlier_home_at_once_change_it_once() {
    let ground = Ground::new();
    let home = earlier(&ground);
    let mut children: Vec<_> = (0..6).map(|_| Process::start("opener", &home)).collect();
    children.iter_mut().for_each(|child| child.expect("done"));
    is_complete(&FileStore::open(&home).unwrap()).await;
    shows_nothing(&home);
}

/// Opens the home in a child that is killed at this call of one kind. Returns whether it lived to the end, and `None` where
/// there is no `strace`.
fn opens(ground: &Ground, home: &Path, call: &str, number: u32) -> Option<bool> {
    let log = ground.0.path().join("trace");
    let tried = Command::new("strace").args(["-f", "-o"]).arg(&log).arg("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        may_skip("a trace of system calls");
        return None;
    }
    let mut child = Process::start_with("opener", home, |child| {
        let mut traced = Command::new("strace");
        let inject = format!("inject={call}:signal=KILL:when={number}");
        traced.args(["-f", "-e", &inject, "-o"]).arg(&log).arg(child.get_program()).args(child.get_args());
        traced.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
        *child = traced;
    });
    let lived = child.hear().is_some();
    child.kill();
    Some(lived)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_dies_at_any_step_loses_nothing() {
    // The calls that rename, remove and make files and folders, and of the syncs the one that ends each of these.
    for call in ["renameat,renameat2", "unlinkat", "mkdirat"] {
        for number in 1.. {
            let ground = Ground::new();
            let home = earlier(&ground);
            let Some(lived) = opens(&ground, &home, call, number) else { return };
            let store = FileStore::open(&home).unwrap();
            is_complete(&store).await;
            shows_nothing(&home);
            assert!(!home.join("records.1").exists() && !home.join("records.2").exists());
            if lived {
                assert!(number > 1, "{call} is called");
                break;
            }
        }
    }
}
