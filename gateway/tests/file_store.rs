//! The store in a file keeps the contract, and loses nothing that it has answered when its process is killed.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tempfile::TempDir;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper_gateway::store::{
    Bounds, Entry, Expiring, FileGatewayStore, GatewayStore, Key, Person, Revision, Swapped,
};
use tokenkeeper_testkit::gateway_contract::{Harness, Place, examine};

const FOLDER: &str = "GATEWAY_STORE_FOLDER";

#[derive(Debug)]
struct Files;

#[derive(Debug)]
struct InFile {
    folder: TempDir,
    bounds: Bounds,
    store: Mutex<FileGatewayStore>,
}

impl InFile {
    fn new(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = FileGatewayStore::open_with(folder.path().join("store"), bounds).unwrap();
        Self { folder, bounds, store: Mutex::new(store) }
    }

    fn store(&self) -> FileGatewayStore {
        self.store.lock().unwrap().clone()
    }
}

#[async_trait]
impl Harness for Files {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(InFile::new(Bounds::default()))
    }

    async fn small_place(&self, persons: usize) -> Option<Box<dyn Place>> {
        let mut bounds = Bounds::default();
        bounds.max_persons = persons;
        Some(Box::new(InFile::new(bounds)))
    }
}

#[async_trait]
impl Place for InFile {
    async fn open(&self) -> Arc<dyn GatewayStore> {
        Arc::new(self.store())
    }

    async fn restart(&self) -> Option<Arc<dyn GatewayStore>> {
        self.store().close().await;
        let again = FileGatewayStore::open_with(self.folder.path().join("store"), self.bounds).unwrap();
        *self.store.lock().unwrap() = again;
        Some(self.open().await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_a_file_keeps_the_contract() {
    let report = examine(&Files).await;
    assert_eq!((report.failed().count(), report.not_shown().count()), (0, 0), "{report}");
}

/// A process that stores one entry after another and replaces one again and again, until it is killed.
struct Writer {
    process: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(FOLDER, folder).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// The next number whose changes were answered.
    fn answered(&mut self) -> Option<u64> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.says.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The test harness prints lines too. A line that the kill has cut has no end.
            if let Some((_, number)) = line.split_once("@@").filter(|(_, number)| number.ends_with('\n')) {
                return Some(number.trim_end().parse().unwrap());
            }
        }
    }

    /// Kills the process, and returns the last number whose changes were answered.
    fn kill(mut self, mut last: u64) -> u64 {
        self.process.kill().unwrap();
        while let Some(number) = self.answered() {
            last = number;
        }
        self.process.wait().unwrap();
        last
    }
}

#[tokio::test]
async fn a_killed_process_loses_no_change_that_was_answered() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    let (mut begun, mut revisions) = (0, Vec::new());
    for round in 0..5 {
        let mut writer = Writer::start(&folder);
        let mut last = begun;
        for _ in 0..20 + 3 * round {
            last = writer.answered().unwrap();
        }
        let last = writer.kill(last);
        assert!(last > begun);
        let store = FileGatewayStore::open(&folder).unwrap();
        for number in 0..=last {
            assert_eq!(account(&store, &key(number)).await, Some(number.to_string()), "of {last} after a kill");
        }
        // The change that was under way is made as a whole, or not at all.
        let counter: u64 = account(&store, &counter()).await.unwrap().parse().unwrap();
        assert!((last..=last + 1).contains(&counter), "{counter} after {last}");
        let newest = store.load(&self::counter(), now()).await.unwrap().unwrap().revision;
        assert!(revisions.iter().all(|earlier: &Revision| *earlier < newest), "{newest:?} after {revisions:?}");
        revisions.push(newest);
        store.close().await;
        begun = counter;
    }
}

/// The process of a [`Writer`]. Without its folder, there is nothing to do.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = FileGatewayStore::open(folder).unwrap();
    let present = store.load(&counter(), now()).await.unwrap();
    let mut revision = present.map(|stored| stored.revision);
    let mut number = match account(&store, &counter()).await {
        Some(last) => last.parse::<u64>().unwrap() + 1,
        None => 0,
    };
    loop {
        // The entry of the number before the kill may be there already.
        let _ = store.swap(&key(number), None, Some(entry(number)), now()).await.unwrap();
        let counted = store.swap(&counter(), revision, Some(entry(number)), now()).await.unwrap();
        assert_eq!(counted, Swapped::Done);
        println!("@@{number}");
        revision = store.load(&counter(), now()).await.unwrap().map(|stored| stored.revision);
        number += 1;
    }
}

async fn account(store: &FileGatewayStore, key: &Key) -> Option<String> {
    match store.load(key, now()).await.unwrap()?.entry {
        Entry::Person(person) => Some(person.account),
        _ => None,
    }
}

fn entry(number: u64) -> Expiring {
    let person = Person { account: number.to_string(), former: None, signed_out: None, families: Vec::new() };
    Expiring { entry: Entry::Person(person), expires: WallTime::from_millis(u64::MAX) }
}

fn key(number: u64) -> Key {
    Key::Person(format!("u-{number}"))
}

fn counter() -> Key {
    Key::Person("counter".to_owned())
}

fn now() -> WallTime {
    WallTime::from_millis(1)
}
