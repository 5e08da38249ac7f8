//! The person who is signed in, at servers on real sockets and at providers that answer as their documentation has it.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "tasks of tests")]

mod attacks;
mod limits;
mod logins;
mod memory;
mod places;
mod providers;
mod refusals;
mod sharing;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
mod web;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::user::{UserContext, UserError, UserOptions, UserStats};
use tokenkeeper::{AuthRuntime, AuthSession, Login, RuntimeBuilder, SessionSpec};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};

use support::within::within;
use support::{Ahead, digest_key};

/// A host whose people sign in at one server with a userinfo endpoint.
struct Host {
    server: LoginServer,
    store: MemoryStore,
    clock: Ahead,
    runtime: AuthRuntime,
}

impl Host {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(configure: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Self {
        let server = LoginServer::builder().userinfo(json!({ "groups": ["staff"] })).start().await.unwrap();
        let (store, clock) = (MemoryStore::new(digest_key()), Ahead::new());
        let runtime = start(&store, &clock, configure).await;
        Self { server, store, clock, runtime }
    }

    fn session(&self, account: &str) -> AuthSession {
        self.runtime.session(SessionSpec::mcp(&self.server.resource_url()).unwrap().account(account).unwrap())
    }

    /// The session of `person`, who is signed in.
    async fn signed_in(&self, person: &str) -> AuthSession {
        let session = self.session(person);
        self.sign_in(&session, person).await;
        session
    }

    /// Signs `person` in, in place of any person before.
    async fn sign_in(&self, session: &AuthSession, person: &str) {
        let grant = self.server.grant_as(person);
        let login = Login::at(grant.binding).subject(person).refresh_token(grant.refresh_token);
        within("a login", session.install(login.access_token(grant.access_token, Some(grant.lifetime)))).await.unwrap();
    }

    /// The requests for a person, and those for tokens.
    fn requests(&self) -> (u64, u64) {
        let counts = self.server.counts();
        (counts.of(Endpoint::UserInfo), counts.tokens.token_requests)
    }

    fn stats(&self) -> UserStats {
        self.runtime.user_stats()
    }

    /// Waits until the fetch that is under way has reached the server `times` times in all.
    async fn asked(&self, times: u64) {
        within("a request", self.server.until(|counts| counts.of(Endpoint::UserInfo) >= times)).await;
    }
}

async fn start(
    store: &MemoryStore,
    clock: &Ahead,
    configure: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> AuthRuntime {
    let builder = AuthRuntime::builder(store.process()).clock(Arc::new(clock.clone()));
    within("a runtime", configure(builder).spawn()).await.unwrap()
}

async fn user(session: &AuthSession) -> Result<UserContext, UserError> {
    within("a user", session.user()).await
}

async fn user_with(session: &AuthSession, options: UserOptions) -> Result<UserContext, UserError> {
    within("a user", session.user_with(options)).await
}

/// The options of a server that fetches the person at each call, as the MCP server of the seed did.
fn each_call_fetches() -> UserOptions {
    UserOptions { max_age: Duration::ZERO, ..UserOptions::default() }
}

fn stale_for(stale_if_error: Duration) -> UserOptions {
    UserOptions { stale_if_error, ..UserOptions::default() }
}

/// Lets all other tasks run until they wait.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
