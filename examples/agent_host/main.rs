//! An agent host on actors, without a network. It has two MCP sessions and a plain HTTP client on one identity. They get
//! through a login, the refusal of a token, and the death of all their actors.
//!
//! `host.rs` is the host, to be copied. This file has the servers, the person, and what happens.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program to read, which is its own host")]

mod host;

use std::error::Error;
use std::time::Duration;

use futures_util::future::join_all;
use ractor::{Actor, ActorRef};
use rmcp::model::CallToolRequestParams;
use tokenkeeper::http::redirects;
use tokenkeeper::{AuthRuntime, Interaction, LogIn, OfferedPrompt, Prompt, SessionSpec, actor, stores};
use tokenkeeper_testkit::login_server::{Browser, LoginServer};
use tokenkeeper_testkit::mcp::McpResource;
use tokenkeeper_tower::execute;

use host::{Host, ToHost, call};

// Only for hosts whose ractor has the feature `cluster`.
#[cfg(feature = "cluster")]
impl ractor::Message for ToHost {}
#[cfg(feature = "cluster")]
impl ractor::Message for host::Call {}

/// The person, whose browser opens each page and whose answer comes back to the runtime's listener.
struct Person;

#[async_trait::async_trait]
impl Interaction for Person {
    async fn show(&self, prompt: &Prompt) {
        if let (OfferedPrompt::Browser { url }, true) = (&prompt.prompt, prompt.is_first) {
            println!("host: sign in at {}", url.as_str().split('?').next().unwrap_or_default());
            let answered = Browser::complete(url.as_str()).await;
            println!("person: {}", if answered.is_ok() { "signed in" } else { "failed to sign in" });
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // An authorization server, and an MCP server that takes its tokens.
    let server = LoginServer::start().await?;
    let resource = McpResource::start(server.verifier()).await?;
    server.verifier().add_resource(&resource.uri());

    // Without a tree of its own, a host needs no more than this.
    let plain = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
    let unknown = plain.session(SessionSpec::mcp(&resource.uri())?).token().await;
    println!("plain runtime: {}", unknown.err().map(|error| error.to_string()).unwrap_or_default());
    let _ = plain.shutdown(Duration::from_secs(5)).await;

    // In a tree, the runtime is a child of the host, beside the actors of the MCP sessions.
    let spec = actor::prepare(AuthRuntime::builder(stores::memory::open()?)).await?;
    let (host, ended) = Actor::spawn(None, Host, (spec.clone(), vec![resource.uri(), resource.uri()])).await?;
    let session = spec.runtime().session(SessionSpec::mcp(&resource.uri())?);

    // Both MCP sessions wait for the login, and so do the calls that were made already.
    let early = tokio::spawn({
        let host = host.clone();
        async move { calls(&host, 4).await }
    });
    println!("host: 8 calls wait for a login; signed in: {:?}", session.log_in(LogIn::default(), &Person).await?);
    early.await??;
    println!("host: all 8 calls are answered, through {} MCP sessions", resource.counts().sessions_opened);

    // The server refuses the token in the middle of a crowd of calls.
    let before = server.hostile().counts().token_requests;
    server.hostile().kill_access_tokens();
    let http =
        reqwest::Client::builder().redirect(redirects(&tokenkeeper::ResourceUri::parse(&resource.uri())?)).build()?;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let request =
        http.post(resource.uri()).header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/list");
    let request = request
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(list)
        .build()?;
    let (crowd, plain) = tokio::join!(calls(&host, 100), execute(&http, &session, request));
    crowd?;
    println!("plain HTTP client: {}", plain?.status());
    println!("host: 200 calls answered, {} token request", server.hostile().counts().token_requests - before);

    // An MCP session and the auth runtime's whole tree are killed. The host starts them again.
    println!("somebody kills the host's {} children", host.get_children().len());
    for child in host.get_children() {
        child.kill();
    }
    calls(&host, 4).await?;
    println!("host: 8 calls answered by what it has started again");

    let report = host.call(ToHost::End, None).await?.unwrap();
    ended.await?;
    println!("host: ended; {} MCP sessions left, auth clean: {}", resource.counts().sessions, report.is_clean());
    assert!(report.is_clean() && server.hostile().counts().replays == 0);
    Ok(())
}

/// As many calls at once through each of the two MCP sessions.
async fn calls(host: &ActorRef<ToHost>, each: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments = serde_json::json!({ "text": "hello" }).as_object().cloned().unwrap_or_default();
    let request = CallToolRequestParams::new("echo").with_arguments(arguments);
    let answers = join_all((0..2 * each).map(|number| call(host, number % 2, request.clone()))).await;
    for answer in answers {
        answer?;
    }
    Ok(())
}
