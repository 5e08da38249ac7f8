//! Access tokens for child processes, with real ones in Python and Node, and with clients that keep to no rule.
#![cfg(unix)]
#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod clients;
mod ends;
mod file;
mod programs;
mod socket;
mod users;
#[path = "../../actors/tests/common/within.rs"]
mod within;

use std::time::Duration;

use serde_json::{Value, json};
use tokenkeeper::child::{CAPABILITY_VARIABLE, ChildGrant, FILE_VARIABLE, HandOff, SOCKET_VARIABLE};
use tokenkeeper::{AuthRuntime, AuthSession, Login, SessionSpec, stores};
use tokenkeeper_testkit::hostile::{Grant, HostileAs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

use within::within;

/// The lifetime of the tokens of tests that let some expire.
const SHORT: Duration = Duration::from_secs(2);

/// A server, and a host with one session at it.
struct Scene {
    server: HostileAs,
    grant: Grant,
    runtime: AuthRuntime,
    session: AuthSession,
}

impl Scene {
    /// A host that never signed in.
    async fn new() -> Self {
        let server = HostileAs::start().await.unwrap();
        let grant = server.grant();
        let builder = AuthRuntime::builder(stores::memory::open().unwrap());
        let runtime = within("a runtime", builder.spawn()).await.unwrap();
        let session = runtime.session(SessionSpec::mcp(&server.resource()).unwrap());
        Self { server, grant, runtime, session }
    }

    /// A host that is signed in, and has an access token.
    async fn signed_in() -> Self {
        let scene = Self::new().await;
        let (token, lifetime) = (scene.grant.access_token.expose(), scene.grant.lifetime);
        scene.install(scene.login().access_token(token, Some(lifetime))).await;
        scene
    }

    /// A host that is signed in, and whose access token is over.
    async fn expired() -> Self {
        let scene = Self::new().await;
        scene.install(scene.login()).await;
        scene
    }

    fn login(&self) -> Login {
        Login::at(self.grant.binding.clone()).refresh_token(self.grant.refresh_token.expose())
    }

    async fn install(&self, login: Login) {
        within("the login", self.session.install(login)).await.unwrap();
    }

    /// A hand-off without a process, for tests that ask by themselves.
    fn child(&self, how: HandOff) -> Child {
        let mut command = Command::new("true");
        let grant = self.session.hand_to(&mut command, how).unwrap();
        let value = |name: &str| {
            let value = command.as_std().get_envs().find(|(set, _)| *set == name);
            value.and_then(|(_, value)| value).map(|value| value.to_str().unwrap().to_owned())
        };
        let (socket, capability, file) = (value(SOCKET_VARIABLE), value(CAPABILITY_VARIABLE), value(FILE_VARIABLE));
        Child { socket, capability, file, grant }
    }
}

/// The variables of a child process, and its grant.
struct Child {
    socket: Option<String>,
    capability: Option<String>,
    file: Option<String>,
    grant: ChildGrant,
}

impl Child {
    async fn connect(&self) -> UnixStream {
        within("a connection", UnixStream::connect(self.socket.as_ref().unwrap())).await.unwrap()
    }

    /// The line that asks with these members.
    fn line(&self, members: &Value) -> String {
        let mut ask = json!({ "child": self.capability });
        ask.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        format!("{ask}\n")
    }

    async fn ask(&self, members: Value) -> Value {
        let mut stream = self.connect().await;
        exchange(&mut stream, self.line(&members).as_bytes()).await
    }
}

/// Sends these bytes, and returns the one line of the answer.
async fn exchange(stream: &mut UnixStream, bytes: &[u8]) -> Value {
    let mut answer = String::new();
    let exchange = async {
        stream.write_all(bytes).await.unwrap();
        // A host that has not read everything closes with a reset, after its answer.
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    };
    within("an answer", exchange).await;
    assert_eq!(answer.matches('\n').count(), 1, "{answer}");
    serde_json::from_str(&answer).unwrap()
}
