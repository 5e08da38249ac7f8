//! The host of `examples/agent_host`, under chaos.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test, with a host of its own"
)]

#[path = "../examples/agent_host/host.rs"]
mod host;

use std::time::Duration;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use ractor::{Actor, ActorCell, ActorRef};
use rmcp::model::CallToolRequestParams;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::{AuthRuntime, Login, SessionSpec, actor, stores};
use tokenkeeper_testkit::hostile::{Fault, HostileAs, When};
use tokenkeeper_testkit::mcp::McpResource;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use host::{Host, ToHost, call};

#[cfg(feature = "cluster")]
impl ractor::Message for ToHost {}
#[cfg(feature = "cluster")]
impl ractor::Message for host::Call {}

/// How many tasks call tools, through two MCP sessions.
const CALLERS: usize = 16;

/// Actors are killed at random, tokens live for two seconds, and one token request in ten fails. No call fails, no refresh
/// token is presented twice, and the session goes on. `TOKENKEEPER_CHAOS_SECONDS` sets the length, which is 8 s by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_actors_are_killed_and_token_requests_fail() {
    let seconds = std::env::var("TOKENKEEPER_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let seed: u64 =
        std::env::var("TOKENKEEPER_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand);
    println!("TOKENKEEPER_CHAOS_SEED={seed}");

    let server = HostileAs::start().await.unwrap();
    server.rules(|rules| rules.access_lifetime = Duration::from_secs(2));
    server.in_turn(
        [(When::Before, Fault::status(503))].into_iter().chain((1..10).map(|_| (When::Before, Fault::pass()))),
    );
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let grant = server.grant_for(&server.register(ClientAuth::None), &resource.uri(), "tools:read tools:call");
    let chain = grant.chain;

    let spec = actor::prepare(AuthRuntime::builder(stores::memory::open().unwrap())).await.unwrap();
    let (host, ended) = Actor::spawn(None, Host, (spec.clone(), vec![resource.uri(), resource.uri()])).await.unwrap();
    let session = spec.runtime().session(SessionSpec::mcp(&resource.uri()).unwrap());
    session.install(Login::at(grant.binding).refresh_token(grant.refresh_token.expose())).await.unwrap();

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(calls(host.clone(), number % 2, until));
    }
    let killed = kills(&host, &spec.runtime(), until, seed).await;
    let calls: u64 = callers.join_all().await.into_iter().sum();

    let counts = server.counts();
    println!("{calls} calls, {killed} actors killed, {} token requests, {counts:?}", counts.token_requests);
    assert!(calls > 0 && killed > 0 && counts.rotations > 1 && counts.faults > 0, "nothing happened");
    assert_eq!((counts.replays, counts.most_concurrent), (0, 1));
    assert!(server.is_alive(chain), "the session goes on");
    let report = host.call(ToHost::End, None).await.unwrap().unwrap();
    assert!(report.is_clean(), "{report:?}");
    ended.await.unwrap();
}

/// Calls a tool again and again. Returns how often.
async fn calls(host: ActorRef<ToHost>, server: usize, until: Instant) -> u64 {
    let arguments = serde_json::json!({ "text": "hello" }).as_object().unwrap().clone();
    let request = CallToolRequestParams::new("echo").with_arguments(arguments);
    let mut count = 0;
    while Instant::now() < until {
        let answer = call(&host, server, request.clone()).await;
        let result = answer.unwrap_or_else(|failure| panic!("call {count} failed: {failure}: {failure:?}"));
        assert_eq!(result.content[0].as_text().unwrap().text, "hello");
        count += 1;
        sleep(Duration::from_millis(5)).await;
    }
    count
}

/// Kills actors at random. They are the MCP sessions, the runtime's supervisor, and the actors of sessions and issuers.
async fn kills(host: &ActorRef<ToHost>, auth: &AuthRuntime, until: Instant, seed: u64) -> u64 {
    let mut random = TestRng::from_seed(RngAlgorithm::XorShift, &seed.to_le_bytes().repeat(2));
    let mut killed = 0;
    while Instant::now() < until {
        sleep(Duration::from_millis(u64::from(random.next_u32() % 200))).await;
        let children = host.get_children();
        let supervisors = children.iter().filter(|child| actor::is_supervisor(auth, child.get_id()));
        let below: Vec<ActorCell> = supervisors.flat_map(|supervisor| supervisor.get_children()).collect();
        let all: Vec<ActorCell> = children.into_iter().chain(below).collect();
        if let Some(victim) = all.get(random.next_u32() as usize % all.len().max(1)) {
            victim.kill();
            killed += 1;
        }
    }
    killed
}

/// A seed that differs from run to run.
fn rand() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into()
}

/// The host is short enough to be copied. Imports, comments and blank lines are not counted.
#[test]
fn the_host_has_at_most_120_lines() {
    let text = include_str!("../examples/agent_host/host.rs");
    let is_code =
        |line: &&str| !matches!(line.trim(), "") && !line.trim().starts_with("//") && !line.starts_with("use ");
    let lines = text.lines().filter(is_code).count();
    assert!(lines <= 120, "{lines} lines");
}
