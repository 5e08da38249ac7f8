//! Clients on the official SDKs, through sign-in, expiry, rotation and a replay of their own.

use std::process::Stdio;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Router};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokenkeeper_gateway::{Inbound, UpstreamTrouble};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};
use tokenkeeper_testkit::mcp::McpResource;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::rig::{Browser, Rig};
use crate::rigs::{Program, python_of};

/// The longest that a task of a host may take.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Sdk {
    TypeScript,
    Python,
}

/// A running host, and its person's browser.
struct Host {
    _child: Child,
    tasks: ChildStdin,
    results: Lines<BufReader<ChildStdout>>,
    browser: Browser,
    /// The number of times that the person was asked.
    asked: usize,
}

impl Host {
    fn start(sdk: Sdk, rig: &Rig) -> Option<Self> {
        let (mut command, folder, main) = match sdk {
            Sdk::TypeScript => (Command::new("node"), Program::McpHosts.prepared()?, "web.mjs"),
            Sdk::Python => {
                let folder = Program::McpPython.prepared()?;
                (Command::new(python_of(&folder)), folder.parent().unwrap().join("mcp-hosts"), "web.py")
            }
        };
        command.arg(folder.join(main)).arg(rig.url("/mcp"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let results = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { tasks: child.stdin.take().unwrap(), _child: child, results, browser: rig.browser(), asked: 0 })
    }

    /// Does a task. Where the host opens a page, the person signs in.
    async fn run(&mut self, rig: &Rig, task: Value) -> Value {
        self.write(task).await;
        loop {
            let line = timeout(LONGEST, self.results.next_line()).await.expect("a result").unwrap();
            let result: Value = serde_json::from_str(&line.expect("the host runs")).unwrap();
            let Some(page) = result["open"].as_str() else { return result };
            self.asked += 1;
            let page = self.browser.get(page).await;
            assert_eq!(page.status, 200, "{}", page.body);
            let callback = self.browser.allow(rig, &page).await;
            self.write(json!(["callback", callback])).await;
        }
    }

    async fn done(&mut self, rig: &Rig, task: Value) -> Value {
        let result = self.run(rig, task.clone()).await;
        assert!(result.get("error").is_none(), "{task}: {result}");
        result["done"].clone()
    }

    async fn write(&mut self, line: Value) {
        self.tasks.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
}

/// Sends each request on to the upstream's MCP server, with the person's token there.
async fn forward(
    State((http, server)): State<(reqwest::Client, String)>,
    Extension(inbound): Extension<Inbound>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, HeaderMap, Bytes), UpstreamTrouble> {
    let lease = inbound.upstream("up")?.token().await?;
    let passed = ["accept", "content-type", "mcp-session-id", "mcp-protocol-version"];
    let pick = |headers: &HeaderMap, names: &[&str]| {
        let picked = headers.iter().filter(|(name, _)| names.contains(&name.as_str()));
        picked.map(|(name, value)| (name.clone(), value.clone())).collect::<HeaderMap>()
    };
    let request = http.post(server).headers(pick(&headers, &passed)).bearer_auth(lease.token().expose()).body(body);
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), pick(answer.headers(), &["content-type", "mcp-session-id"]));
    Ok((status, headers, answer.bytes().await.unwrap()))
}

async fn goes_through_its_life(sdk: Sdk) {
    let upstream = LoginServer::start().await.unwrap();
    let server = McpResource::start(upstream.verifier()).await.unwrap();
    upstream.verifier().add_resource(&server.uri());
    let uri = server.uri();
    let rig = Rig::before(
        upstream,
        &uri.clone(),
        |builder| builder,
        |http| Router::new().route("/mcp", post(forward)).with_state((http, uri)),
    )
    .await;
    let Some(mut host) = Host::start(sdk, &rig) else { return };
    let other = rig.register().await;
    let bystander = rig.signed_in(&other).await;
    assert_eq!(host.done(&rig, json!(["connect"])).await, "tokenkeeper-testkit");
    assert_eq!(host.done(&rig, json!(["call", "one"])).await, "one");
    assert_eq!(host.asked, 1);
    let logins = rig.upstream.counts().of(Endpoint::Authorization);

    // Expiry and rotation, of its own token and of the upstream's, without the person.
    for number in 1..=3 {
        rig.clock.pass(Duration::from_secs(601));
        rig.expire_upstream();
        host.done(&rig, json!(["expire"])).await;
        assert_eq!(host.done(&rig, json!(["call", "again"])).await, "again");
        assert_eq!(rig.gateway.counts().rotated, number);
    }
    assert_eq!((host.asked, rig.upstream.counts().of(Endpoint::Authorization)), (1, logins));

    // A replay of its own. The family ends, the upstream is not touched, and the person signs the host in anew.
    let before = rig.upstream.hostile().counts();
    rig.clock.pass(Duration::from_secs(601));
    host.done(&rig, json!(["replay"])).await;
    assert_eq!(host.done(&rig, json!(["call", "after"])).await, "after");
    assert_eq!(host.asked, 2);
    assert_eq!(rig.gateway.counts().replayed, 1);
    let after = rig.upstream.hostile().counts();
    assert_eq!((after.replays, after.revocation_requests), (0, 0));
    assert_eq!(after.token_requests, before.token_requests, "its person was signed in at the upstream already");
    assert!(rig.upstream.grants().iter().all(|grant| rig.upstream.hostile().is_alive(grant.chain)));
    assert_eq!(rig.refresh(&other, &bystander.refresh).await.0, 200, "the person's other client goes on");
    host.done(&rig, json!(["close"])).await;
}

#[tokio::test]
async fn a_client_on_the_typescript_sdk_goes_through_its_life() {
    goes_through_its_life(Sdk::TypeScript).await;
}

#[tokio::test]
async fn a_client_on_the_python_sdk_goes_through_its_life() {
    goes_through_its_life(Sdk::Python).await;
}
