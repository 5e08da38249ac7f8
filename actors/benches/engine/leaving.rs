//! The memory that is left behind by identities that never signed in, by issuers, and by sessions that need a login.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell};
use tokenkeeper_actors::law::flight::Urgency;
use tokenkeeper_actors::law::issuer::IssuerPolicy;
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::permit::{IssuerPermits, Permission};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::runtime::issuer::{FindSupervisor, Permits};
use tokenkeeper_actors::runtime::{AuthRuntime, AuthSession, Settings};
use tokenkeeper_actors::values::Jitter;
use tokenkeeper_actors::values::record::Issuer;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::calm::Calm;
use crate::live;
use crate::memory::awake;
use crate::setting::{self, Content, Lean, Server};

const SESSIONS: usize = 100_000;
const ISSUERS: usize = 20_000;
/// Long enough for all to be awake at once, even on a busy machine.
const IDLE_AFTER: Duration = Duration::from_secs(40);

/// Prints the live heap since `before`, with the numbers of slots (or limiters), actors and tasks.
fn tell(what: &str, before: f64, slots: usize, actors: usize) {
    let (bytes, tasks) = (live() - before, Handle::current().metrics().num_alive_tasks());
    println!("| {what} | {:.0} KB | {slots} slots, {actors} actors, {tasks} tasks | |", bytes / 1e3);
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

pub(crate) async fn run() {
    sessions("never signed in", Arc::new(MemoryStore::new(setting::digests())), RefreshPolicy::OnDemand, false).await;
    let store =
        Lean { clock: setting::clock(), inner: MemoryStore::new(setting::digests()), content: Content::Tombstone };
    let warm = RefreshPolicy::KeepWarm { inactivity: None };
    sessions("kept warm, logged out, with a handle kept", Arc::new(store), warm, true).await;
    issuers().await;
}

/// Asks for the token of each session once, and waits until their actors have ended.
async fn sessions(what: &str, store: Arc<dyn TokenStore>, refresh: RefreshPolicy, are_handles_kept: bool) {
    let source = Arc::new(Server { clock: setting::clock(), gate: Semaphore::new(0) });
    let (host, _) = Actor::spawn(None, Calm, ()).await.expect("a host");
    let host = host.get_cell();
    let policy = Policy { refresh, ..Policy::default() };
    let builder = AuthRuntime::builder(store, Settings { policy, ..Settings::new(source) }).idle_after(IDLE_AFTER);
    let runtime = builder.spawn_linked(host.clone()).await.expect("a runtime");
    let before = live();
    let count = |what: &str| tell(what, before, runtime.session_count(), awake(&host));
    count(&format!("{what}: before"));
    let mut handles: Vec<AuthSession> = Vec::new();
    for number in 0..SESSIONS {
        let session = runtime.session(setting::identity(number));
        assert!(session.token().await.is_err(), "it needs a login");
        if are_handles_kept {
            handles.push(session);
        }
    }
    assert_eq!(awake(&host), SESSIONS, "all are awake at once");
    count(&format!("{what}: {SESSIONS} of them, just asked for"));
    let left = handles.len();
    until(|| awake(&host) == 0 && runtime.session_count() == left).await;
    count(&format!("{what}: a while later"));
    drop(runtime.shutdown(Duration::from_secs(10)).await);
}

/// Asks each issuer for a permit once, and waits until their actors have ended.
async fn issuers() {
    let (supervisor, _) = Actor::spawn(None, Calm, ()).await.expect("a supervisor");
    let supervisor: ActorCell = supervisor.get_cell();
    let find = {
        let supervisor = supervisor.clone();
        move || -> FindSupervisor {
            let supervisor = supervisor.clone();
            Box::pin(async move { Some(supervisor) })
        }
    };
    let before = live();
    let permits = Permits::new(IssuerPolicy::default(), setting::clock(), || Jitter::new(0), find, None);
    let actors = || supervisor.get_children().len();
    let issuer = |number: usize| Issuer(format!("https://as-{number}.example.com"));
    tell("issuers: before", before, 0, actors());
    let ask = async |number: usize| match permits.ask(Some(&issuer(number)), Urgency::Callers).await {
        Permission::Granted(permit) => permit.give_back(None),
        answer => panic!("no permit: {answer:?}"),
    };
    for number in 0..ISSUERS {
        ask(number).await;
    }
    tell(&format!("issuers: {ISSUERS} of them, just asked"), before, ISSUERS, actors());
    until(|| actors() == 0).await;
    tell("issuers: a minute later", before, ISSUERS, actors());
    ask(0).await;
    tell("issuers: after the next request", before, 1, actors());
}
