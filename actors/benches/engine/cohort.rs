//! Callers parked on one flight, compared with the minimum cost of waking so many tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::runtime::{AuthRuntime, Settings};
use tokenkeeper_actors::values::Lease;
use tokio::sync::{Semaphore, oneshot};

use crate::setting::{self, Server};
use crate::{allocations, line, nanos};

const CALLERS: usize = 10_000;
const ROUNDS: usize = 120;
/// Long enough for all callers to park.
const QUIET: Duration = Duration::from_millis(60);

/// Notes when the last caller of a round is done.
struct Finish<T> {
    /// The value that the callers share.
    shared: T,
    left: AtomicUsize,
    done: std::sync::Mutex<Option<oneshot::Sender<Instant>>>,
}

impl<T> Finish<T> {
    fn new(shared: T) -> (Arc<Self>, oneshot::Receiver<Instant>) {
        let (tell, told) = oneshot::channel();
        (Arc::new(Self { shared, left: AtomicUsize::new(CALLERS), done: std::sync::Mutex::new(Some(tell)) }), told)
    }

    fn one_more(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(tell) = self.done.lock().expect("no panic").take()
        {
            let _ = tell.send(Instant::now());
        }
    }
}

pub(crate) async fn run() {
    let clock = setting::clock();
    let source = Arc::new(Server { clock: Arc::clone(&clock), gate: Semaphore::new(0) });
    let store = Arc::new(MemoryStore::new(setting::digests()));
    let settings = Settings::new(Arc::clone(&source) as _);
    let runtime = AuthRuntime::builder(store, settings).spawn().await.expect("a runtime");
    let (mut bare, mut cohort, mut allocated) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let session = runtime.session(setting::identity(round));
        session.install(setting::login(round, clock.now(), false)).await.expect("installed");
        let (finish, told) = Finish::new(session.clone());
        let before = allocations();
        for _ in 0..CALLERS {
            let finish = Arc::clone(&finish);
            tokio::spawn(async move {
                finish.shared.token().await.expect("a lease");
                finish.one_more();
            });
        }
        tokio::time::sleep(QUIET).await;
        let began = Instant::now();
        source.gate.add_permits(1);
        let ended = told.await.expect("an end");
        cohort.push(nanos(ended - began) / 1e6);
        allocated = allocations() - before;
        bare.push(oneshots(session.token().await.expect("a lease")).await);
    }
    let least = line("10,000 bare oneshots, sent and received", "ms", &mut bare);
    let cohort = line("10,000 callers of one flight, from its answer to the last of them", "ms", &mut cohort);
    println!("| ratio of the minima | {:.2} | | |", cohort / least);
    println!("| allocations for each caller, its task included | {:.1} | | |", allocated as f64 / CALLERS as f64);
    drop(runtime.shutdown(Duration::from_secs(1)).await);
}

async fn oneshots(lease: Lease) -> f64 {
    let (finish, told) = Finish::new(());
    let waiting: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (tell, told) = oneshot::channel::<Lease>();
            let finish = Arc::clone(&finish);
            tokio::spawn(async move {
                told.await.expect("a lease");
                finish.one_more();
            });
            tell
        })
        .collect();
    tokio::time::sleep(QUIET).await;
    let began = Instant::now();
    // Sent from a task, as by an actor.
    tokio::spawn(async move { waiting.into_iter().for_each(|tell| drop(tell.send(lease.clone()))) });
    nanos(told.await.expect("an end") - began) / 1e6
}
