//! The host of `examples/agent_host`: chaos, the death of its actors in mid refresh, and the order of its end.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test, with a host of its own"
)]

#[path = "../examples/agent_host/host.rs"]
mod host;
#[path = "../actors/tests/common/within.rs"]
mod within;

use std::time::Duration;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use ractor::{Actor, ActorCell, ActorRef, ActorStatus};
use rmcp::model::CallToolRequestParams;
use tokenkeeper::actor::{self, AuthSpec};
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::{AuthRuntime, Login, SessionSpec, ShutdownReport, TokenOptions, stores};
use tokenkeeper_testkit::hostile::{ChainId, Fault, Grant, HostileAs, When};
use tokenkeeper_testkit::mcp::{HoldAt, McpResource};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use host::{Host, ToHost, call};
use within::within;

#[cfg(feature = "cluster")]
impl ractor::Message for ToHost {}
#[cfg(feature = "cluster")]
impl ractor::Message for host::Call {}

/// How many tasks call tools, through two MCP sessions.
const CALLERS: usize = 16;

/// A host with two MCP sessions on one identity, and its servers.
struct Rig {
    server: HostileAs,
    resource: McpResource,
    chain: ChainId,
    spec: AuthSpec,
    host: ActorRef<ToHost>,
}

impl Rig {
    /// Starts the servers and the host, and signs in.
    async fn start(access_lifetime: Duration) -> Self {
        let (rig, grant) = Self::not_signed_in(access_lifetime).await;
        rig.sign_in(grant).await;
        rig
    }

    async fn not_signed_in(access_lifetime: Duration) -> (Self, Grant) {
        let server = HostileAs::start().await.unwrap();
        server.rules(|rules| rules.access_lifetime = access_lifetime);
        let resource = McpResource::start(server.verifier()).await.unwrap();
        let grant = server.grant_for(&server.register(ClientAuth::None), &resource.uri(), "tools:read tools:call");
        let spec = actor::prepare(AuthRuntime::builder(stores::memory::open().unwrap())).await.unwrap();
        let uris = vec![resource.uri(), resource.uri()];
        let (host, _) = Actor::spawn(None, Host, (spec.clone(), uris)).await.unwrap();
        (Self { server, resource, chain: grant.chain, spec, host }, grant)
    }

    async fn sign_in(&self, grant: Grant) {
        let session = self.spec.runtime().session(SessionSpec::mcp(&self.resource.uri()).unwrap());
        let login = Login::at(grant.binding)
            .refresh_token(grant.refresh_token.expose())
            .access_token(grant.access_token.expose(), Some(grant.lifetime));
        session.install(login).await.unwrap();
    }

    /// Begins as many calls of `echo` through each MCP session.
    fn calls(&self, each: usize) -> JoinSet<()> {
        let mut calls = JoinSet::new();
        for number in 0..2 * each {
            calls.spawn(echo(self.host.clone(), number % 2));
        }
        calls
    }

    fn supervisor(&self) -> ActorCell {
        let auth = self.spec.runtime();
        let running = |child: &ActorCell| child.get_status() == ActorStatus::Running;
        let is_supervisor = |child: &ActorCell| actor::is_supervisor(&auth, child.get_id());
        self.host.get_children().into_iter().find(|child| is_supervisor(child) && running(child)).unwrap()
    }

    /// The MCP sessions.
    fn sessions(&self) -> Vec<ActorCell> {
        let auth = self.spec.runtime();
        self.host.get_children().into_iter().filter(|child| !actor::is_supervisor(&auth, child.get_id())).collect()
    }

    /// Ends the host.
    async fn end(&self) -> ShutdownReport {
        within("the end", self.host.call(ToHost::End, None)).await.unwrap().unwrap()
    }
}

fn request() -> CallToolRequestParams {
    let arguments = serde_json::json!({ "text": "hello" }).as_object().unwrap().clone();
    CallToolRequestParams::new("echo").with_arguments(arguments)
}

async fn echo(host: ActorRef<ToHost>, server: usize) {
    let answer = call(&host, server, request()).await;
    let result = answer.unwrap_or_else(|error| panic!("a call failed: {error}: {error:?}"));
    assert_eq!(result.content[0].as_text().unwrap().text, "hello");
}

/// Actors are killed at random, tokens live for two seconds, and one token request in ten fails. No call fails, no refresh
/// token is presented twice, and the session goes on. `TOKENKEEPER_CHAOS_SECONDS` sets the length, which is 6 s by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_actors_are_killed_and_token_requests_fail() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = variable("TOKENKEEPER_CHAOS_SECONDS").unwrap_or(6);
    let seed = variable("TOKENKEEPER_CHAOS_SEED").unwrap_or_else(any);
    println!("TOKENKEEPER_CHAOS_SEED={seed}");
    let rig = Rig::start(Duration::from_secs(2)).await;
    let pass = || (When::Before, Fault::pass());
    rig.server.in_turn([(When::Before, Fault::status(503))].into_iter().chain((1..10).map(|_| pass())));

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(calls(rig.host.clone(), number % 2, until));
    }
    let killed = kills(&rig, until, seed).await;
    let calls: u64 = callers.join_all().await.into_iter().sum();

    let counts = rig.server.counts();
    println!("{calls} calls, {killed} actors killed, {counts:?}");
    assert!(calls > 0 && killed > 0 && counts.rotations > 1 && counts.faults > 0, "nothing happened");
    assert_eq!((counts.replays, counts.most_concurrent), (0, 1));
    assert!(rig.server.is_alive(rig.chain), "the session goes on");
    assert!(rig.end().await.is_clean());
}

#[derive(Clone, Copy, Debug)]
enum Victims {
    /// Both MCP sessions.
    Sessions,
    /// The actors of the identity and of its issuer.
    Actors,
    /// The runtime's whole tree.
    Supervisor,
}

#[tokio::test]
async fn two_hundred_calls_survive_the_death_of_everything_in_mid_refresh() {
    let rig = Rig::start(Duration::from_secs(3600)).await;
    within("the first calls", rig.calls(1).join_all()).await;
    for (round, victims) in [Victims::Sessions, Victims::Actors, Victims::Supervisor].into_iter().enumerate() {
        // A session remembers that a token which came of a refusal was refused again, so each round expires the tokens of
        // both, which a refusal of the old token does not.
        let gate = rig.server.hold_next(When::After);
        let session = rig.spec.runtime().session(SessionSpec::mcp(&rig.resource.uri()).unwrap());
        let forced = tokio::spawn(async move {
            session.token_with(TokenOptions { force: true, ..TokenOptions::default() }).await.map(drop)
        });
        within("the token request", gate.reached(1)).await;
        rig.server.kill_access_tokens();
        let calls = rig.calls(100);
        within("the refused calls", rig.resource.until(|counts| counts.status(401) > round as u64)).await;
        let doomed = match victims {
            Victims::Sessions => rig.sessions(),
            Victims::Actors => rig.supervisor().get_children(),
            Victims::Supervisor => vec![rig.supervisor()],
        };
        doomed.iter().for_each(ActorCell::kill);
        for dead in &doomed {
            within("an end", dead.wait(None)).await.unwrap();
        }
        gate.open();
        within("200 calls", calls.join_all()).await;
        drop(within("the forced refresh", forced).await);
        let counts = rig.server.counts();
        assert_eq!((counts.replays, counts.most_concurrent), (0, 1), "{victims:?}");
        assert!(rig.server.is_alive(rig.chain), "{victims:?}");
    }
    assert!(rig.end().await.is_clean());
    assert_eq!(rig.resource.counts().sessions, 0, "each MCP session was ended at the server");
}

#[tokio::test]
async fn a_host_that_ends_answers_a_waiting_call_then_ends_its_mcp_sessions_and_then_the_runtime() {
    let rig = Rig::start(Duration::from_secs(3600)).await;
    within("the first calls", rig.calls(1).join_all()).await;
    let gate = rig.server.hold_next(When::After);
    rig.server.kill_access_tokens();
    let calls = rig.calls(4);
    within("the token request", gate.reached(1)).await;
    let ending = rig.end();
    tokio::pin!(ending);
    assert!(futures_util::poll!(&mut ending).is_pending());
    gate.open();
    within("the waiting calls", calls.join_all()).await;
    assert!(ending.await.is_clean());
    let (auth, mcp) = (rig.server.counts(), rig.resource.counts());
    assert_eq!((auth.token_requests, auth.replays), (1, 0));
    assert_eq!((mcp.answered("DELETE", 204), mcp.sessions), (2, 0), "{mcp:?}");
}

#[tokio::test]
async fn a_call_whose_caller_has_given_up_ends_and_is_not_made_after_a_late_login() {
    let (rig, grant) = Rig::not_signed_in(Duration::from_secs(3600)).await;
    let asks = async |server| {
        let ask = |reply| ToHost::Call(server, host::Call(request(), reply));
        within("the time-out", rig.host.call(ask, Some(Duration::from_millis(100)))).await.unwrap()
    };
    assert!(asks(0).await.is_timeout());
    rig.sign_in(grant).await;
    within("a call of each session", rig.calls(1).join_all()).await;
    assert_eq!(rig.resource.counts().executed("echo"), 2);

    let tool = rig.resource.hold("echo", HoldAt::InTool);
    assert!(asks(0).await.is_timeout());
    assert_eq!(tool.came(), 1);
    within("the cancellation", rig.resource.until(|counts| counts.of("notifications/cancelled") == 1)).await;
    assert!(rig.end().await.is_clean());
}

/// Calls a tool again and again. Returns how often.
async fn calls(host: ActorRef<ToHost>, server: usize, until: Instant) -> u64 {
    let mut count = 0;
    while Instant::now() < until {
        echo(host.clone(), server).await;
        count += 1;
        sleep(Duration::from_millis(5)).await;
    }
    count
}

/// Kills actors at random. They are the MCP sessions, the runtime's supervisor, and the actors of sessions and issuers.
async fn kills(rig: &Rig, until: Instant, seed: u64) -> u64 {
    let auth = rig.spec.runtime();
    let mut random = TestRng::from_seed(RngAlgorithm::XorShift, &seed.to_le_bytes().repeat(2));
    let mut killed = 0;
    while Instant::now() < until {
        sleep(Duration::from_millis(u64::from(random.next_u32() % 200))).await;
        let children = rig.host.get_children();
        let supervisors = children.iter().filter(|child| actor::is_supervisor(&auth, child.get_id()));
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
fn any() -> u64 {
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
