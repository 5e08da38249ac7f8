//! What an identity occupies, awake and asleep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::runtime::{AuthRuntime, AuthSession, Settings, TokenOptions};
use tokio::sync::Semaphore;

use crate::calm::Calm;
use crate::setting::{self, Lean, Server, resident};
use crate::{allocations, live};

const IDENTITIES: usize = 100_000;
/// Long enough for all to be awake at once, even on a machine that is busy with something else.
const IDLE_AFTER: Duration = Duration::from_secs(25);

/// How many actors of identities live.
fn awake(host: &ActorCell) -> usize {
    host.get_children().iter().map(|supervisor| supervisor.get_children().len()).sum()
}

pub(crate) async fn run() {
    let clock = setting::clock();
    let store = Arc::new(Lean { clock: Arc::clone(&clock), inner: MemoryStore::new(setting::digests()) });
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
        // Until the supervisor has taken leave of the last of them.
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
    assert_eq!(awake(&host.get_cell()), 0, "nobody had to wake up");
    drop(runtime.shutdown(Duration::from_secs(10)).await);
}

/// Asks every session's actor, some hundred at a time.
async fn use_all(sessions: &[AuthSession]) {
    // More than a hit can tell by itself: the actor says that it is the most there is.
    let request = TokenOptions { min_lifetime: Duration::from_secs(86_400), ..TokenOptions::default() };
    for some in sessions.chunks(500) {
        let asked = some.iter().map(|session| session.token_with(request));
        for answer in futures_util::future::join_all(asked).await {
            answer.expect("a lease");
        }
    }
}
