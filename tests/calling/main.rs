//! One request's way through the front door, with a plain HTTP client on real sockets, against servers that refuse in every
//! way they can.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod destinations;
mod logins;
mod refusals;
#[path = "../../actors/tests/common/within.rs"]
mod within;

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::{
    AuthRuntime, AuthSession, Call, CallError, Destination, Login, Next, OperationKey, Reason, SessionSpec,
};
use tokenkeeper_testkit::hostile::{Grant, HostileAs};

use within::within;

const WAIT: Duration = Duration::from_secs(60);
const OPERATION: &str = "tools/call search";

/// A host with one session at a server, and its own HTTP client.
struct Host {
    store: MemoryStore,
    runtime: AuthRuntime,
    session: AuthSession,
    to: Destination,
    client: reqwest::Client,
}

impl Host {
    /// A host that never signed in.
    async fn new(resource: &str) -> Self {
        Self::over(MemoryStore::new(DigestKey::new([7; 32])), resource).await
    }

    async fn over(store: MemoryStore, resource: &str) -> Self {
        let builder = AuthRuntime::builder(store.process()).idle_after(Duration::from_millis(1));
        let runtime = within("a runtime", builder.spawn()).await.unwrap();
        let session = runtime.session(SessionSpec::mcp(resource).unwrap());
        let to = session.destination(resource).unwrap();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { store, runtime, session, to, client: client.build().unwrap() }
    }

    /// A host that is signed in at `server`, with an access token.
    async fn signed_in(server: &HostileAs) -> Self {
        let host = Self::new(&server.resource()).await;
        host.install(&server.grant()).await;
        host
    }

    async fn install(&self, grant: &Grant) {
        let login = Login::at(grant.binding.clone())
            .refresh_token(grant.refresh_token.expose())
            .access_token(grant.access_token.expose(), Some(grant.lifetime));
        within("the login", self.session.install(login)).await.unwrap();
    }

    fn call(&self) -> Call {
        self.session.call(OperationKey::of(OPERATION))
    }

    /// Sends one attempt, and returns the answer's status and headers.
    async fn attempt(&self, call: &mut Call, method: &Method) -> Result<(StatusCode, HeaderMap), CallError> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = within("an authorization", call.authorize(&self.to, method)).await? {
            authorization.apply(&mut headers);
        }
        let request = self.client.request(method.clone(), self.to.url()).headers(headers).body("{}");
        let answer = within("an answer", request.send()).await.unwrap();
        Ok((answer.status(), answer.headers().clone()))
    }

    /// A whole request, sent again as the call asks for it.
    async fn send(&self, call: &mut Call, method: Method) -> Result<StatusCode, CallError> {
        loop {
            let (status, headers) = self.attempt(call, &method).await?;
            match within("a decision", call.next(status, &headers)).await? {
                Next::Again => {}
                Next::Done => return Ok(status),
            }
        }
    }
}

/// The reason why a call has no token.
fn reason<T: std::fmt::Debug>(result: Result<T, CallError>) -> Reason {
    let error = result.unwrap_err();
    error.token_error().unwrap_or_else(|| panic!("{error:?}")).reason()
}
