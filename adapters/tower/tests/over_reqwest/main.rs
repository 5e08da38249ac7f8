//! reqwest's client with sessions of a real runtime, on real sockets, against the hostile server.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod one_request;
mod storms;
#[path = "../../../../actors/tests/common/within.rs"]
mod within;

use std::time::Duration;

use reqwest::{Client, Request, Response};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::http::redirects;
use tokenkeeper::{AuthRuntime, AuthSession, Login, SessionSpec};
use tokenkeeper_testkit::hostile::HostileAs;
use tokenkeeper_tower::{SendError, SessionLayer, SessionService, execute};
use tower::{Layer, ServiceExt};

use within::{until, within};

/// A host with one session at the server, and a client whose redirects stay within it.
struct Host {
    _runtime: AuthRuntime,
    session: AuthSession,
    client: Client,
    url: String,
}

/// The two ways to send a request.
#[derive(Clone, Copy, Debug)]
enum By {
    Layer,
    Execute,
}

impl By {
    const BOTH: [By; 2] = [By::Layer, By::Execute];
}

impl Host {
    /// A host that never signed in.
    async fn new(server: &HostileAs) -> Self {
        let builder = AuthRuntime::builder(MemoryStore::new(DigestKey::new([7; 32])));
        let runtime = within("a runtime", builder.spawn()).await.unwrap();
        let session = runtime.session(SessionSpec::mcp(&server.resource()).unwrap());
        let policy = redirects(session.identity().resource().unwrap());
        let client = Client::builder().no_proxy().redirect(policy).build().unwrap();
        Self { _runtime: runtime, session, client, url: server.resource() }
    }

    /// A host that is signed in. Its access token is good for an hour, or has expired.
    async fn signed_in(server: &HostileAs, is_fresh: bool) -> Self {
        let host = Self::new(server).await;
        let grant = server.grant();
        let lifetime = if is_fresh { grant.lifetime } else { Duration::from_millis(1) };
        let login = Login::at(grant.binding.clone())
            .refresh_token(grant.refresh_token.expose())
            .access_token(grant.access_token.expose(), Some(lifetime));
        within("the login", host.session.install(login)).await.unwrap();
        if !is_fresh {
            until("the expiry", || host.session.at_hand().is_none()).await;
        }
        host
    }

    fn layered(&self) -> SessionService<Client, Request> {
        SessionLayer::new(self.session.clone()).layer(self.client.clone())
    }

    fn post(&self) -> Request {
        self.client.post(&self.url).body("{}").build().unwrap()
    }

    async fn send(&self, by: By, request: Request) -> Result<Response, SendError<reqwest::Error>> {
        match by {
            By::Layer => within("an answer", self.layered().oneshot(request)).await,
            By::Execute => within("an answer", execute(&self.client, &self.session, request)).await,
        }
    }

    async fn status(&self, by: By) -> u16 {
        self.send(by, self.post()).await.unwrap().status().as_u16()
    }
}
