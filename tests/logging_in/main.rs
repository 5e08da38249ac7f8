//! Whole logins of hosts with one person, through a listener on loopback with a browser on real sockets, by pasted text, and
//! by a code on another device. The authorization server is scripted.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod browser;
mod person;
#[path = "../support/ports.rs"]
mod ports;
mod processes;
mod ways;
#[path = "../../actors/tests/common/within.rs"]
mod within;

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::{AuthRuntime, AuthSession, InteractionError, LogIn, LoggedIn, LoginKey, SessionSpec, Way};
use tokenkeeper_testkit::scripted::{LoginCounts, ScriptedLogins};
use tokio::task::JoinHandle;

use person::Person;

const WAIT: Duration = Duration::from_secs(60);

/// A store, and the scripted server of all runtimes on it.
struct Place {
    clock: Arc<SystemClock>,
    store: MemoryStore,
    logins: ScriptedLogins,
}

impl Place {
    fn new() -> Self {
        let clock = Arc::new(SystemClock::new().unwrap());
        let logins = ScriptedLogins::new(clock.clone());
        Self { clock, store: MemoryStore::new(DigestKey::new([7; 32])), logins }
    }

    /// A runtime of another process.
    async fn runtime(&self) -> AuthRuntime {
        let builder = AuthRuntime::builder(self.store.process())
            .login_source(Arc::new(self.logins.clone()))
            .clock(self.clock.clone());
        within::within("a runtime", builder.spawn()).await.unwrap()
    }

    /// Requests that were prepared and shown, and codes that were redeemed.
    fn counts(&self) -> (u64, u64, u64) {
        let LoginCounts { prepared, shown, redeemed, replayed, .. } = self.logins.counts();
        assert_eq!(replayed, 0, "a code was presented twice");
        (prepared, shown, redeemed)
    }

    /// The address that the server sends the browser to.
    fn redirect(&self, key: LoginKey, answer: tokenkeeper_testkit::scripted::PersonAnswer) -> String {
        self.logins.redirect(key, answer).unwrap()
    }
}

fn session(runtime: &AuthRuntime) -> AuthSession {
    runtime.session(SessionSpec::mcp("https://mcp.example.com/mcp").unwrap())
}

type Logging = JoinHandle<Result<LoggedIn, InteractionError>>;

/// A login that runs as a task of its own.
fn log_in(session: &AuthSession, request: LogIn, person: &Person) -> Logging {
    let (session, person) = (session.clone(), person.clone());
    tokio::spawn(async move { session.log_in(request, &person).await })
}

/// The end of a login.
async fn end(logging: Logging) -> Result<LoggedIn, InteractionError> {
    within::within("the login", logging).await.unwrap()
}

async fn token(session: &AuthSession) -> String {
    within::within("a token", session.token()).await.unwrap().token().expose().to_owned()
}
