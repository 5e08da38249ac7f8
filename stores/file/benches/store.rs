//! The cost of the file store beside the cost of the disk. Run it with `cargo bench -p tokenkeeper-store-file`.
//!
//! - `bare`: the cost of durability alone. Twice, a file of a record's size is written, synced and renamed, and its
//!   folder is synced. `tasks`: the same from a task, with each file on a thread that may block, as a store must do
//!   it. `store`: the part of a refresh that waits for the store, namely both reads, claim, mark and commit. It makes
//!   the same syncs on the same disk. The three are measured in turns. The goal is at most 1.5 times. `end`: ending
//!   the claim, which no caller waits for.
//! - `home of 10,000`: the time to open such a home and to list it with a fresh handle. The goal is under 100 ms
//!   together. Also the time to reserve a refresh token in it. The first reservation of a boot reads every record.
//!
//! `TMPDIR` selects the disk.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group};
use support::{
    AT_LEAST, Ground, SPEND, applied, commit, digest, flight, granted, identity, install, line, mark, moment, open, who,
};
use tokenkeeper_actors::ports::store::{Claim, ClaimEnding, TokenStore};
use tokenkeeper_actors::values::Epoch;
use tokenkeeper_store_file::FileStore;

/// Disk speed varies over time, so the compared runs are measured in turns.
const TURNS: usize = 4_000;

const MANY: usize = 10_000;

fn refresh() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ground = Ground::new();
    let store = ground.open();
    runtime.block_on(install(&store, &who(), "rt-1"));
    let size = fs::metadata(ground.record(&who())).unwrap().len();
    let dir = ground.home().join("records");
    let (folder, bytes) = (File::open(&dir).unwrap(), vec![7; usize::try_from(size).unwrap()]);
    let files = Arc::new(Files { dir, folder, bytes });
    let timed = |work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64() * 1e3
    };
    let mut turns = Vec::with_capacity(TURNS);
    for number in 2..2 + TURNS as u64 {
        let mut claim = None;
        let bare = timed(&mut || (0..2).for_each(|_| write_durably(&files)));
        let tasks = timed(&mut || {
            for _ in 0..2 {
                let files = Arc::clone(&files);
                runtime.block_on(async { tokio::task::spawn_blocking(move || write_durably(&files)).await.unwrap() });
            }
        });
        let refresh = timed(&mut || claim = Some(runtime.block_on(refreshed(&store, number))));
        let claim = claim.unwrap();
        let end = timed(&mut || runtime.block_on(store.end_claim(&who(), &claim, ClaimEnding::Released)).unwrap());
        turns.push([bare, tasks, refresh, end, refresh / bare, refresh / tasks]);
    }
    println!("{TURNS} refreshes and what they sync, by turns: median [quartiles]");
    for (what, name) in
        ["bare, ms", "tasks, ms", "store, ms", "end, ms", "store/bare", "store/tasks"].into_iter().enumerate()
    {
        let mut values: Vec<f64> = turns.iter().map(|turn| turn[what]).collect();
        values.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| values[TURNS * quarter / 4]);
        println!("  {name:<11}  {median:.2} [{low:.2}, {high:.2}]");
    }
    println!();
}

/// Files written without the store, for comparison.
struct Files {
    dir: PathBuf,
    folder: File,
    bytes: Vec<u8>,
}

fn write_durably(Files { dir, folder, bytes }: &Files) {
    let mut file = File::create(dir.join("bare.new")).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    fs::rename(dir.join("bare.new"), dir.join("bare")).unwrap();
    folder.sync_all().unwrap();
}

async fn refreshed(store: &FileStore, number: u64) -> Claim {
    let who = who();
    store.load(&who).await.unwrap();
    let claim = granted(store.claim(&who, SPEND, flight(number.into()), AT_LEAST).await.unwrap());
    let record = store.load(&who).await.unwrap().unwrap();
    let (sent, got) = (format!("rt-{}", number - 1), format!("rt-{number}"));
    applied(store.change(&who, mark(store, record.version(), &sent, number.into(), number).await).await.unwrap());
    applied(store.change(&who, commit(store, Epoch::new(1), &sent, &got, number).await).await.unwrap());
    claim
}

fn home_of_many(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ground = Ground::new();
    // The bench never opens these records. They are copies of the first one under other names.
    runtime.block_on(install(&ground.open(), &who(), "rt-1"));
    let record = fs::read(ground.record(&who())).unwrap();
    let mut index = fs::OpenOptions::new().append(true).open(ground.home().join("index")).unwrap();
    for number in 1..MANY {
        let who = identity(&format!("account-{number}"));
        fs::write(ground.record(&who), &record).unwrap();
        fs::write(ground.lock(&format!("{}.commit", ground.name(&who))), "").unwrap();
        writeln!(index, "{}", line(&ground.home(), &who)).unwrap();
    }
    let mut group = criterion.benchmark_group("home of 10,000");
    group.sample_size(20);
    group.bench_function("open", |bench| bench.iter(|| ground.open()));
    group.bench_function("open and list", |bench| {
        bench.iter(|| {
            let listed = runtime.block_on(ground.open().list()).unwrap();
            assert_eq!(listed.len(), MANY);
        });
    });
    for number in 0..MANY {
        fs::write(ground.home().join("held").join(format!("{number:064x}")), format!("held {}\n", who().key()))
            .unwrap();
    }
    let store = ground.open();
    let digest = runtime.block_on(digest(&store, "rt-2"));
    group.bench_function("reserve", |bench| {
        bench.iter(|| runtime.block_on(store.reserve(&who(), digest, moment(0))).unwrap());
    });
    group.bench_function("the first reservation of a boot", |bench| {
        let mut now = moment(0);
        bench.iter(|| {
            now.boot.0 += 1;
            runtime.block_on(store.reserve(&who(), digest, now)).unwrap()
        });
    });
    group.bench_function("list again", |bench| {
        bench.iter_batched_ref(
            || {
                let store = open(&ground.home());
                runtime.block_on(store.list()).unwrap();
                store
            },
            |store| runtime.block_on(store.list()).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, home_of_many);

fn main() {
    refresh();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
