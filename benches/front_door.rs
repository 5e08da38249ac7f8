//! The cost of the front door in a host: a hit, 10,000 callers of one flight, and memory. Prints one table. See
//! `benches/README.md`.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark that cannot go on says so and ends")]
#![allow(clippy::disallowed_methods, reason = "a benchmark owns its tasks, and measures with a watch of its own")]

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::future::join_all;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokenkeeper::engine::law::flight::{Revocation, TokenRequest};
use tokenkeeper::engine::law::profile::{Evidence, Tokens};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::source::{NotRevoked, TokenSource};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::{Scopes, Validity};
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{
    AccessToken, AuthRuntime, AuthSession, Lease, Login, ServerIdentity, SessionSpec, SourceName, Spending, TokenKind,
    stores,
};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};

/// Counts allocations. Its counters cost all allocating code the same.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LIFETIME: Duration = Duration::from_secs(3_600);

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a tokio runtime");
    println!("\n| what | minimum | median | maximum |\n|---|---|---|---|");
    runtime.block_on(hits());
    runtime.block_on(cohort());
    runtime.block_on(memory());
}

/// Prints a line of the table, and returns the minimum.
fn line(what: &str, unit: &str, samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let (least, middle, most) = (samples[0], samples[samples.len() / 2], samples[samples.len() - 1]);
    println!("| {what} | {least:.1} {unit} | {middle:.1} {unit} | {most:.1} {unit} |");
    least
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn live() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

/// A server that answers as soon as it has a permit.
#[derive(Debug)]
struct Server {
    clock: SystemClock,
    gate: Semaphore,
}

#[async_trait]
impl TokenSource for Server {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn request(&self, _identity: &ServerIdentity, _request: TokenRequest) -> Evidence {
        self.gate.acquire().await.expect("never closed").forget();
        Evidence::Tokens(Box::new(Tokens {
            access: AccessToken::new("a".repeat(600)),
            kind: TokenKind::Bearer,
            validity: Validity::new(self.clock.now(), Some(LIFETIME)),
            refresh: None,
            granted: Some(Scopes::default()),
            subject: None,
            binding: None,
        }))
    }

    async fn revoke(&self, _identity: &ServerIdentity, _revocation: Revocation) -> Result<(), NotRevoked> {
        Err(NotRevoked::NotOffered)
    }
}

async fn host() -> (AuthRuntime, Arc<Server>) {
    let server = Arc::new(Server { clock: SystemClock::new().expect("a clock"), gate: Semaphore::new(0) });
    let builder = AuthRuntime::builder(stores::memory::open().expect("a store"));
    let auth = builder.source(SourceName::REFRESH_TOKEN, Arc::clone(&server) as _).spawn().await;
    (auth.expect("a runtime"), server)
}

fn spec(number: usize) -> SessionSpec {
    let spec = SessionSpec::mcp("https://mcp.example.com/mcp").expect("a URL");
    spec.account(format!("account-{number}")).expect("an account")
}

/// A session that is signed in with tokens of 600 bytes. Without an access token its first caller needs a flight.
async fn signed_in(auth: &AuthRuntime, number: usize, with_access: bool) -> AuthSession {
    let session = auth.session(spec(number));
    let client = Client::public("client");
    let issuer = IssuerSettings::new("https://as.example.com", "https://as.example.com/token", client);
    let mut login = Login::at(issuer.expect("an issuer")).refresh_token(format!("{number:0>600}"));
    if with_access {
        login = login.access_token("a".repeat(600), Some(LIFETIME));
    }
    session.install(login).await.expect("installed");
    session
}

const HITS: u32 = 20_000;
const SAMPLES: usize = 256;

async fn hits() {
    let (auth, _server) = host().await;
    let session = signed_in(&auth, 1, true).await;
    let bare = Arc::new(ArcSwap::from_pointee(session.token().await.expect("a lease")));
    for tasks in [1, 2, 8, 64] {
        let (mut loads, mut hits) = (Vec::new(), Vec::new());
        // Measured in turns, so that other load on the machine affects both.
        for _ in 0..SAMPLES.div_ceil(tasks).max(8) {
            loads.extend(sample(tasks, || load(Arc::clone(&bare))).await);
            hits.extend(sample(tasks, || hit(session.clone())).await);
        }
        let load = line(&format!("bare `load_full`, {tasks} tasks"), "ns", &mut loads);
        let hit = line(&format!("hit: `AuthSession::token`, {tasks} tasks"), "ns", &mut hits);
        println!("| ratio of the minima, {tasks} tasks | {:.2} | | |", hit / load);
    }
    let before = allocations();
    hit(session).await;
    println!("| allocations in {HITS} hits | {} | | |", allocations() - before);
    drop(auth.shutdown(Duration::from_secs(1)).await);
}

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

fn nanos(span: Duration) -> f64 {
    span.as_secs_f64() * 1e9
}

/// The time of one operation in each of `tasks` that run side by side.
async fn sample<F>(tasks: usize, work: impl Fn() -> F) -> Vec<f64>
where
    F: Future<Output = f64> + Send + 'static,
{
    let running: Vec<_> = (0..tasks).map(|_| tokio::spawn(work())).collect();
    join_all(running).await.into_iter().map(|sample| sample.expect("no panic")).collect()
}

const CALLERS: usize = 10_000;
const ROUNDS: usize = 60;
/// Long enough for all callers to wait.
const QUIET: Duration = Duration::from_millis(60);

async fn cohort() {
    let (auth, server) = host().await;
    let (mut bare, mut woken) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let session = signed_in(&auth, round, false).await;
        let (done, finished) = finish();
        for _ in 0..CALLERS {
            let (session, done) = (session.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                session.token().await.expect("a lease");
                done.one_more();
            });
        }
        tokio::time::sleep(QUIET).await;
        let began = Instant::now();
        server.gate.add_permits(1);
        woken.push(nanos(finished.await.expect("an end") - began) / 1e6);
        bare.push(oneshots(session.token().await.expect("a lease")).await);
    }
    let least = line("10,000 bare oneshots, sent and received", "ms", &mut bare);
    let cohort = line("10,000 callers of one flight, from its answer to the last of them", "ms", &mut woken);
    println!("| ratio of the minima | {:.2} | | |", cohort / least);
    drop(auth.shutdown(Duration::from_secs(1)).await);
}

/// Notes when the last caller of a round is done.
struct Finish {
    left: AtomicUsize,
    done: std::sync::Mutex<Option<oneshot::Sender<Instant>>>,
}

fn finish() -> (Arc<Finish>, oneshot::Receiver<Instant>) {
    let (tell, told) = oneshot::channel();
    (Arc::new(Finish { left: AtomicUsize::new(CALLERS), done: std::sync::Mutex::new(Some(tell)) }), told)
}

impl Finish {
    fn one_more(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(tell) = self.done.lock().expect("no panic").take()
        {
            let _ = tell.send(Instant::now());
        }
    }
}

async fn oneshots(lease: Lease) -> f64 {
    let (done, finished) = finish();
    let waiting: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (tell, told) = oneshot::channel::<Lease>();
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                told.await.expect("a lease");
                done.one_more();
            });
            tell
        })
        .collect();
    tokio::time::sleep(QUIET).await;
    let began = Instant::now();
    // Sent from a task, as by an actor.
    tokio::spawn(async move { waiting.into_iter().for_each(|tell| drop(tell.send(lease.clone()))) });
    nanos(finished.await.expect("an end") - began) / 1e6
}

const IDENTITIES: usize = 10_000;

/// The memory of signed-in sessions. The store in memory is part of it.
async fn memory() {
    let (auth, _server) = host().await;
    let before = live();
    let sessions: Vec<AuthSession> = (0..IDENTITIES).map(|number| auth.session(spec(number))).collect();
    println!("| opened, with a handle kept: live heap for each | {:.0} B | | |", (live() - before) / IDENTITIES as f64);
    for number in 0..IDENTITIES {
        signed_in(&auth, number, true).await;
    }
    println!(
        "| signed in and awake, with its record: live heap for each | {:.0} B | | |",
        (live() - before) / IDENTITIES as f64
    );
    drop(sessions);
    drop(auth.shutdown(Duration::from_secs(1)).await);
}
