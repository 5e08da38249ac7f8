//! Eight proxies whose access token has died, ours and those of mcp-remote, at a strict authorization server.
//!
//! `npm ci --prefix benches/mcp-remote && cargo bench -p tokenkeeper-cli --bench wake`, with the number of runs as an argument
//! (5).
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench of processes"
)]

#[allow(dead_code, unreachable_pub, reason = "the tests take more of it")]
#[path = "../tests/proxy/client.rs"]
mod client;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::Grant;
use tokenkeeper_testkit::login_server::LoginServer;
use tokenkeeper_testkit::mcp::{McpResource, Wires};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use client::{INITIALIZED, ProxyClient, call, home, initialize};

/// How many proxies wake at the same time.
const INSTANCES: usize = 8;

/// The lifetime of the token that expires. All proxies start within it.
const LIFETIME: Duration = Duration::from_secs(15);

/// mcp-remote replaces a token this many seconds before its end. The end in its file is later by this, so that it does so when the
/// token is over, as after a sleep of the machine.
const MARGIN: u64 = 60;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// All scopes of the server, because mcp-remote asks for these.
const SCOPES: &str = "tools:read tools:call";

/// The port of mcp-remote's listener, which its registration names.
const PORT: u16 = 34_567;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    Tokenkeeper,
    McpRemote,
}

/// When the access token dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Before the proxies start.
    BeforeStart,
    /// It expires while they run, for example while the machine sleeps.
    Expired,
    /// The server revokes it while they run.
    Revoked,
}

/// The result of one run.
#[derive(Debug)]
struct Outcome {
    failed: usize,
    token_requests: u64,
    replays: u64,
    is_chain_alive: bool,
    /// From the start of the process, or from the first call with the dead token, to the answer. Those that failed are left out.
    answered: Vec<Duration>,
    /// The resident memory of each process, in kB.
    memory: Vec<u64>,
}

#[tokio::main]
async fn main() {
    let runs = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    println!("{INSTANCES} proxies, {runs} runs each; times are medians (largest)\n");
    println!(
        "| the access token | proxy | token requests | replays | failed | chain alive | answered after | memory of one |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for death in [Death::BeforeStart, Death::Expired, Death::Revoked] {
        for contestant in [Contestant::Tokenkeeper, Contestant::McpRemote] {
            let mut outcomes = Vec::new();
            for _ in 0..runs {
                outcomes.push(run(contestant, death).await);
            }
            print(contestant, death, &outcomes);
        }
    }
}

async fn run(contestant: Contestant, death: Death) -> Outcome {
    let server = LoginServer::start().await.unwrap();
    let resource = McpResource::start_with(server.verifier(), |settings| settings.wires = Wires::Only2025);
    let resource = resource.await.unwrap();
    let (hostile, uri) = (server.hostile(), resource.uri());
    if death == Death::Expired {
        hostile.rules(|rules| rules.access_lifetime = LIFETIME);
    }
    let granted = Instant::now();
    let grant = hostile.grant_for(&hostile.register(ClientAuth::None), &uri, SCOPES);
    let home = home();
    contestant.sign_in(&home, &server, &uri, &grant, death).await;
    if death == Death::BeforeStart {
        hostile.kill_access_tokens();
    }
    let opened = (0..INSTANCES).map(|_| {
        let start = Instant::now();
        let mut proxy = ProxyClient::of(contestant.command(&home, &uri));
        tokio::spawn(async move {
            let answered = ask(&mut proxy, initialize(), start).await;
            if answered.is_some() {
                proxy.send(INITIALIZED).await;
            }
            (proxy, answered)
        })
    });
    let mut all = join(opened.collect()).await;
    let before = hostile.counts();
    if death != Death::BeforeStart {
        assert!(all.iter().all(|(_, answered)| answered.is_some()), "{contestant:?} starts with a good token");
        assert_eq!(before.token_requests, 0);
        match death {
            Death::Expired => {
                tokio::time::sleep_until((granted + LIFETIME + Duration::from_secs(1)).into()).await;
                hostile.rules(|rules| rules.access_lifetime = Duration::from_secs(3600));
            }
            _ => hostile.kill_access_tokens(),
        }
        let calls = all.into_iter().map(|(mut proxy, _)| {
            tokio::spawn(async move {
                let answered = ask(&mut proxy, call(1, "echo", json!({ "text": "a" })), Instant::now()).await;
                (proxy, answered)
            })
        });
        all = join(calls.collect()).await;
    }
    let counts = hostile.counts();
    let answered: Vec<_> = all.iter().filter_map(|(_, answered)| *answered).collect();
    Outcome {
        failed: INSTANCES - answered.len(),
        token_requests: counts.token_requests,
        replays: counts.replays,
        is_chain_alive: hostile.is_alive(grant.chain),
        answered,
        memory: all.iter().map(|(proxy, _)| memory(proxy.child.id().unwrap())).collect(),
    }
}

async fn join<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}

/// The time until a request was answered with a result. `None` if it failed.
async fn ask(proxy: &mut ProxyClient, request: Value, start: Instant) -> Option<Duration> {
    let id = request["id"].clone();
    proxy.send(request.to_string()).await;
    let answer = async {
        loop {
            let message: Value = serde_json::from_str(&proxy.line().await).ok()?;
            if message["id"] == id && message.get("method").is_none() {
                return message.get("result").map(|_| start.elapsed());
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.ok().flatten()
}

impl Contestant {
    fn command(self, home: &TempDir, url: &str) -> Command {
        match self {
            Self::Tokenkeeper => client::command(home, &["proxy", url]),
            Self::McpRemote => {
                let folder =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/mcp-remote/node_modules/mcp-remote");
                let mut command = Command::new("node");
                command.arg(folder.join("dist/proxy.js")).args([url, &PORT.to_string(), "--transport", "http-only"]);
                command.env("MCP_REMOTE_CONFIG_DIR", home.path());
                // No browser opens.
                command.env("PATH", folder_of("node")).env_remove("DISPLAY").env_remove("BROWSER");
                command
            }
        }
    }

    /// Stores the login where the proxy keeps it.
    async fn sign_in(self, home: &TempDir, server: &LoginServer, url: &str, grant: &Grant, death: Death) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let is_alive = death != Death::BeforeStart;
        let end = match death {
            Death::BeforeStart => now - 2 * MARGIN,
            Death::Expired => now + LIFETIME.as_secs(),
            Death::Revoked => now + 3600,
        };
        match self {
            Self::Tokenkeeper => {
                let mut login = json!({
                    "server": url, "issuer": server.issuer(), "token_endpoint": grant.binding.token_endpoint,
                    "client_id": grant.binding.client.id, "scope": grant.scope,
                    "refresh_token": grant.refresh_token.expose(),
                });
                if is_alive {
                    login["access_token"] = grant.access_token.expose().into();
                    login["expires_at"] = end.into();
                }
                let mut import = client::command(home, &["import"]);
                import.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
                let mut import = import.spawn().unwrap();
                import.stdin.take().unwrap().write_all(login.to_string().as_bytes()).await.unwrap();
                assert!(import.wait().await.unwrap().success());
            }
            Self::McpRemote => {
                let folder = home.path().join("mcp-remote-v1");
                fs::create_dir(&folder).unwrap();
                let hash = base16ct::lower::encode_string(&Md5::digest(url.as_bytes()));
                let client = json!({
                    "client_id": grant.binding.client.id, "token_endpoint_auth_method": "none",
                    "redirect_uris": [format!("http://localhost:{PORT}/oauth/callback")], "issuer": server.issuer(),
                });
                let tokens = json!({
                    "access_token": grant.access_token.expose(), "token_type": "Bearer", "expires_in": 3600,
                    "refresh_token": grant.refresh_token.expose(), "scope": grant.scope, "issuer": server.issuer(),
                    "expires_at": (end + MARGIN) * 1000, "requested_scope": grant.scope,
                });
                fs::write(folder.join(format!("{hash}_client_info.json")), client.to_string()).unwrap();
                fs::write(folder.join(format!("{hash}_tokens.json")), tokens.to_string()).unwrap();
            }
        }
    }
}

/// The folder of a program, so that no other program is found there.
fn folder_of(program: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    path.split(':').find(|folder| Path::new(folder).join(program).is_file()).unwrap().to_owned()
}

/// The resident memory of a process in kB. 0 if it has ended.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

fn print(contestant: Contestant, death: Death, outcomes: &[Outcome]) {
    let name = match contestant {
        Contestant::Tokenkeeper => "tokenkeeper",
        Contestant::McpRemote => "mcp-remote 0.15.1",
    };
    let death = match death {
        Death::BeforeStart => "is over at the start",
        Death::Expired => "expires while they run",
        Death::Revoked => "is revoked while they run",
    };
    let list = |of: &dyn Fn(&Outcome) -> String| outcomes.iter().map(of).collect::<Vec<_>>().join(", ");
    let mut times: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.answered.clone()).collect();
    times.sort();
    let times = match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(largest)) => format!("{} ({}) ms", median.as_millis(), largest.as_millis()),
        _ => "never".to_owned(),
    };
    let mut memory: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.memory.clone()).collect();
    memory.sort_unstable();
    let memory = memory[memory.len() / 2];
    println!(
        "| {death} | {name} | {} | {} | {} | {} | {times} | {}.{} MB |",
        list(&|outcome| outcome.token_requests.to_string()),
        list(&|outcome| outcome.replays.to_string()),
        list(&|outcome| outcome.failed.to_string()),
        list(&|outcome| if outcome.is_chain_alive { "yes".to_owned() } else { "no".to_owned() }),
        memory / 1000,
        memory % 1000 / 100,
    );
}
