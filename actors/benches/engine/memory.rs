//! The memory of an identity, awake and idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::runtime::{AuthRuntime, AuthSession, Settings, TokenOptions};
use tokio::sync::Semaphore;

use crate::calm::Calm;
use crate::setting::{self, Content, Lean, Server, resident};
use crate::{allocations, live};

const IDENTITIES: usize = 100_000;
/// Long enough for all to be awake at once, even on a busy machine.
const IDLE_AFTER: Duration = Duration::from_secs(25);

/// The number of live actors of identities.
pub(crate) fn awake(host: &ActorCell) -> usize {
    host.get_children().iter().map(|supervisor| supervisor.get_children().len()).sum()
}

pub(crate) async fn run() {
    let clock = setting::clock();
    let store = Arc::new(Lean {
        clock: Arc::clone(&clock),
        inner: MemoryStore::new(setting::digests()),
        content: Content::Grant,
    });
    let source = Arc::new(Server { clock, gate: Semaphore::new(0) });
    let (host, _) = Actor::spawn(None, Calm, ()).await.expect("a host");
    let builder = AuthRuntime::builder(store, Settings::new(source)).idle_after(IDLE_AFTER);
    let runtime = builder.spawn_linked(host.get_cell()).await.expect("a runtime");

    let (heap, rss) = (live(), resident());
    let tell = |what: &str| {
        let each = |bytes: f64| bytes / IDENTITIES as f64;
        println!(
            "| {what}: live heap, and resident memory, for each identity | {:.0} B | {:.0} B | |",
            each(live() - heap),
            each(resident() - rss)
        );
    };
    let sessions: Vec<AuthSession> = (0..IDENTITIES).map(|number| runtime.session(setting::identity(number))).collect();
    tell("opened, with a handle kept");
    for round in ["started", "came back"] {
        let began = Instant::now();
        use_all(&sessions).await;
        println!("| {IDENTITIES} sessions {round} and answered | {:.2} s | | |", began.elapsed().as_secs_f64());
        assert_eq!(awake(&host.get_cell()), IDENTITIES, "all are awake at once");
        tell("awake");
        // Waits until the supervisor has removed the last actor.
        let mut before = f64::MAX;
        while awake(&host.get_cell()) > 0 || live() < before {
            before = live();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tell("idle");
    }
    let before = allocations();
    for session in &sessions {
        session.token().await.expect("a lease");
    }
    println!("| allocations in {IDENTITIES} hits on idle identities | {} | | |", allocations() - before);
    assert_eq!(awake(&host.get_cell()), 0, "no actor had to wake up");
    drop(runtime.shutdown(Duration::from_secs(10)).await);
}

/// Requests a token from every session's actor, several hundred at a time.
async fn use_all(sessions: &[AuthSession]) {
    // No published lease lasts this long, so the request goes to the actor. The actor answers with the longest
    // lifetime available.
    let request = TokenOptions { min_lifetime: Duration::from_secs(86_400), ..TokenOptions::default() };
    for some in sessions.chunks(500) {
        let asked = some.iter().map(|session| session.token_with(request));
        for answer in futures_util::future::join_all(asked).await {
            answer.expect("a lease");
        }
    }
}
