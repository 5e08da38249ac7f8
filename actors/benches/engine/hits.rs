//! A hit, compared with other ways in which a host can share a token.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::runtime::{AuthRuntime, AuthSession, Settings};
use tokenkeeper_actors::values::Lease;
use tokio::sync::{Mutex, Semaphore};

use crate::setting::{self, Server};
use crate::{allocations, line, nanos};

/// Samples of each kind at each number of tasks.
const SAMPLES: usize = 256;

/// A first, simple actor. It answers every caller by message.
struct Plain;

enum PlainMessage {
    Get(RpcReplyPort<Lease>),
}

#[cfg(feature = "cluster")]
impl ractor::Message for PlainMessage {}

#[ractor::actor(message = PlainMessage, state = Lease, arguments = Lease)]
impl Plain {
    async fn pre_start(&self, _myself: ActorRef<PlainMessage>, lease: Lease) -> Result<Lease, ActorProcessingErr> {
        Ok(lease)
    }

    async fn handle(
        &self,
        _myself: ActorRef<PlainMessage>,
        message: PlainMessage,
        lease: &mut Lease,
    ) -> Result<(), ActorProcessingErr> {
        let PlainMessage::Get(reply) = message;
        drop(reply.send(lease.clone()));
        Ok(())
    }
}

pub(crate) async fn run() {
    let clock = setting::clock();
    let source = Arc::new(Server { clock: Arc::clone(&clock), gate: Semaphore::new(0) });
    let store = Arc::new(MemoryStore::new(setting::digests()));
    let runtime = AuthRuntime::builder(store, Settings::new(source)).spawn().await.expect("a runtime");
    let session = runtime.session(setting::identity(1));
    let at = tokenkeeper_actors::ports::clock::Clock::now(&*clock);
    session.install(setting::login(1, at, true)).await.expect("installed");
    let lease = session.token().await.expect("a lease");

    let bare = Arc::new(ArcSwap::from_pointee(lease.clone()));
    let (plain, _) = Actor::spawn(None, Plain, lease.clone()).await.expect("an actor");
    let mutex = Arc::new(Mutex::new(Some(lease)));
    for tasks in [1, 2, 8, 64] {
        let (mut loads, mut hits) = (Vec::new(), Vec::new());
        // Measured in turns, so that other load on the machine affects both.
        for _ in 0..SAMPLES.div_ceil(tasks).max(8) {
            loads.extend(sample(tasks, || load(Arc::clone(&bare))).await);
            hits.extend(sample(tasks, || hit(session.clone())).await);
        }
        let load = line(&format!("bare `load_full`, {tasks} tasks"), "ns", &mut loads);
        let hit = line(&format!("hit: `token()`, {tasks} tasks"), "ns", &mut hits);
        println!("| ratio of the minima, {tasks} tasks | {:.2} | | |", hit / load);
        let mut locks = sample_often(tasks, || lock(Arc::clone(&mutex))).await;
        line(&format!("tokio `Mutex<Option<Lease>>`, cloned, {tasks} tasks"), "ns", &mut locks);
        let mut calls = sample_often(tasks, || ask(plain.clone())).await;
        line(&format!("ractor call, answered by a plain actor, {tasks} tasks"), "ns", &mut calls);
    }
    let before = allocations();
    hit(session.clone()).await;
    println!("| allocations in {HITS} hits | {} | | |", allocations() - before);
    drop(runtime.shutdown(std::time::Duration::from_secs(1)).await);
}

const HITS: u32 = 20_000;
const CALLS: u32 = 500;

async fn load(bare: Arc<ArcSwap<Lease>>) -> f64 {
    let began = Instant::now();
    for _ in 0..HITS {
        black_box(bare.load_full());
    }
    nanos(began.elapsed()) / f64::from(HITS)
}

async fn hit(session: AuthSession) -> f64 {
    let began = Instant::now();
    for _ in 0..HITS {
        black_box(session.token().await.expect("a lease"));
    }
    nanos(began.elapsed()) / f64::from(HITS)
}

async fn lock(mutex: Arc<Mutex<Option<Lease>>>) -> f64 {
    let began = Instant::now();
    for _ in 0..CALLS {
        black_box(mutex.lock().await.clone());
    }
    nanos(began.elapsed()) / f64::from(CALLS)
}

async fn ask(plain: ActorRef<PlainMessage>) -> f64 {
    let began = Instant::now();
    for _ in 0..CALLS {
        let _ = black_box(call!(plain, PlainMessage::Get));
    }
    nanos(began.elapsed()) / f64::from(CALLS)
}

/// The time of one operation in each of `tasks` that run side by side.
async fn sample<F>(tasks: usize, work: impl Fn() -> F) -> Vec<f64>
where
    F: Future<Output = f64> + Send + 'static,
{
    let running: Vec<_> = (0..tasks).map(|_| tokio::spawn(work())).collect();
    join_all(running).await.into_iter().map(|sample| sample.expect("no panic")).collect()
}

async fn sample_often<F>(tasks: usize, work: impl Fn() -> F) -> Vec<f64>
where
    F: Future<Output = f64> + Send + 'static,
{
    let mut samples = Vec::new();
    for _ in 0..SAMPLES.div_ceil(tasks).min(64) {
        samples.extend(sample(tasks, &work).await);
    }
    samples
}
