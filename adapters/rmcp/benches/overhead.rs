//! The cost of the adapter beside the same client with a fixed token. Prints one table. All runs are paired and interleaved,
//! and each group has a control, which compares the fixed token with itself.
//!
//! `cargo bench -p tokenkeeper-rmcp --all-features`. `PAIRS=4000` sets the number of pairs on loopback (2,000 by default), and
//! `PAIRS=0` measures the adapter alone.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on ends")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures with a watch of its own")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, ClientJsonRpcMessage, JsonObject};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::{AuthRuntime, AuthSession, Login, SessionSpec};
use tokenkeeper_rmcp::SessionClient;
use tokenkeeper_testkit::hostile::{Grant, HostileAs};
use tokenkeeper_testkit::mcp::{AnswerForm, McpResource};

/// The calls of one measurement of the adapter alone, because one takes less than the clock resolves.
const BATCH: usize = 64;

type Headers = HashMap<HeaderName, HeaderValue>;
type Mcp = RunningService<RoleClient, ()>;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("\n| measured | fixed token, p50 | adapter, p50 | ratio, geometric mean [95 %] |\n|---|---|---|---|");
    runtime.block_on(all());
}

async fn all() {
    let server = HostileAs::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let grant = server.grant_for(&server.register(ClientAuth::None), &resource.uri(), "tools:read");
    let auth = AuthRuntime::builder(MemoryStore::new(DigestKey::new([7; 32])).process()).spawn().await.unwrap();
    let session = auth.session(SessionSpec::mcp(&resource.uri()).unwrap());
    let login = Login::at(grant.binding.clone())
        .refresh_token(grant.refresh_token.expose())
        .access_token(grant.access_token.expose(), Some(grant.lifetime));
    session.install(login).await.unwrap();
    alone(&resource, &session, &grant).await;
    over_loopback(&resource, &session, &grant).await;
    assert_eq!((server.counts().token_requests, resource.counts().status(401)), (0, 0));
}

// --- the adapter alone ----------------------------------------------------------------------------------------------

async fn alone(resource: &McpResource, session: &AuthSession, grant: &Grant) {
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#;
    let with_argument = plain.replace("\"}", "\",\"arguments\":{\"query\":\"tokens\"}}");
    for (what, message) in [("no argument", plain), ("one argument", &with_argument)] {
        let message = serde_json::from_str(message).unwrap();
        alone_with(what, &message, resource, session, grant).await;
    }
}

async fn alone_with(
    what: &str,
    message: &ClientJsonRpcMessage,
    resource: &McpResource,
    session: &AuthSession,
    grant: &Grant,
) {
    let uri: Arc<str> = resource.uri().into();
    let id: Option<Arc<str>> = Some("session-1".into());
    let version = (HeaderName::from_static("mcp-protocol-version"), HeaderValue::from_static("2025-11-25"));
    let headers = Headers::from([version]);
    let adapter = SessionClient::over(NoServer, session.clone());
    let token = grant.access_token.expose();
    let limits = StreamableHttpResponseLimits::default();
    // As a transport calls its client. It copies the message, the headers and the configured token.
    let fixed = || {
        let (message, token) = (message.clone(), Some(token.to_owned()));
        NoServer.post_message_with_response_limits(uri.clone(), message, id.clone(), token, headers.clone(), limits)
    };
    let ours = || {
        let message = message.clone();
        adapter.post_message_with_response_limits(uri.clone(), message, id.clone(), None, headers.clone(), limits)
    };
    // The copies that any wrapper makes which may have to send a message again.
    let copies = || black_box((uri.clone(), message.clone(), id.clone(), headers.clone()));
    let mut rows = [Pairs::default(), Pairs::default(), Pairs::default()];
    for number in 0..4_000 {
        let first = || batch(async || drop(black_box(fixed().await.unwrap())));
        rows[0].measure(number, first, || batch(async || drop(black_box(fixed().await.unwrap())))).await;
        rows[1].measure(number, first, || batch(async || drop(black_box(ours().await.unwrap())))).await;
        rows[2].measure(number, first, || batch(async || drop(copies()))).await;
    }
    for (row, kind) in rows.iter().zip(["alone, control", "alone", "the wrapper's copies"]) {
        row.print(&format!("{kind}, {what}"));
    }
    println!("| bytes of the future | {} | {} | |", size_of_val(&fixed()), size_of_val(&ours()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let over_http = SessionClient::over(http.clone(), session.clone());
    let (one, other) = (size_of_post(&http, &uri, message), size_of_post(&over_http, &uri, message));
    println!("| bytes of the future over reqwest | {one} | {other} | |");
}

fn size_of_post<C: StreamableHttpClient>(client: &C, uri: &Arc<str>, message: &ClientJsonRpcMessage) -> usize {
    let limits = StreamableHttpResponseLimits::default();
    let (uri, message) = (uri.clone(), message.clone());
    size_of_val(&client.post_message_with_response_limits(uri, message, None, None, Headers::new(), limits))
}

async fn batch(call: impl AsyncFn()) -> Duration {
    let begun = Instant::now();
    for _ in 0..BATCH {
        call().await;
    }
    begun.elapsed() / BATCH as u32
}

/// An inner client that sends nothing.
#[derive(Clone)]
struct NoServer;

type Answer<T> = Result<T, StreamableHttpError<Infallible>>;

impl StreamableHttpClient for NoServer {
    type Error = Infallible;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Answer<StreamableHttpPostResponse> {
        black_box((uri, message, session_id, token, headers));
        Ok(StreamableHttpPostResponse::Accepted)
    }

    async fn delete_session(&self, _: Arc<str>, _: Arc<str>, _: Option<String>, _: Headers) -> Answer<()> {
        Ok(())
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: Headers,
    ) -> Answer<BoxStream<'static, Result<Sse, SseError>>> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

// --- whole calls ----------------------------------------------------------------------------------------------------

async fn over_loopback(resource: &McpResource, session: &AuthSession, grant: &Grant) {
    let pairs = std::env::var("PAIRS").ok().and_then(|pairs| pairs.parse().ok()).unwrap_or(2_000);
    if pairs == 0 {
        return;
    }
    let config = || StreamableHttpClientTransportConfig::with_uri(resource.uri());
    let fixed = async || {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let config = config().auth_header(grant.access_token.expose());
        ().serve(StreamableHttpClientTransport::with_client(client, config)).await.unwrap()
    };
    let static_one = fixed().await;
    let static_two = fixed().await;
    let client = Forwarding(reqwest::Client::builder().no_proxy().build().unwrap());
    let fixed = config().auth_header(grant.access_token.expose());
    let forwarding = ().serve(StreamableHttpClientTransport::with_client(client, fixed)).await.unwrap();
    let client = SessionClient::with(session.clone(), reqwest::ClientBuilder::no_proxy).unwrap();
    let ours = ().serve(StreamableHttpClientTransport::with_client(client, config())).await.unwrap();

    let echo = call("echo", "text", "x".into());
    let large = call("echo", "text", "x".repeat(64 * 1024).into());
    let slow = call("slow", "milliseconds", 5.into());
    let runs = [
        ("JSON", &echo, pairs, AnswerForm::Json),
        ("events", &echo, pairs, AnswerForm::Sse),
        ("JSON, argument of 64 KiB", &large, pairs, AnswerForm::Json),
        ("JSON, a server that takes 5 ms", &slow, pairs / 5, AnswerForm::Json),
    ];
    for (what, params, pairs, answers) in runs {
        resource.change(|settings| settings.answers = answers);
        let rows = [
            (format!("{what}, control"), &static_one, &static_two),
            (format!("{what}, a wrapper that only forwards"), &static_one, &forwarding),
            (what.to_owned(), &static_one, &ours),
            (format!("{what}, beside that wrapper"), &forwarding, &ours),
        ];
        for (what, fixed, other) in rows {
            let mut measured = Pairs::default();
            for number in 0..pairs {
                measured.measure(number, || timed(fixed, params), || timed(other, params)).await;
            }
            measured.print(&what);
        }
    }
}

/// A client that adds nothing to reqwest's. A transport over it is compiled once more, and runs beside another's with
/// caches that hold other code, as that of the adapter does.
#[derive(Clone)]
struct Forwarding(reqwest::Client);

impl StreamableHttpClient for Forwarding {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<reqwest::Error>> {
        self.0.post_message(uri, message, session_id, token, headers).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<reqwest::Error>> {
        self.0.post_message_with_response_limits(uri, message, session_id, token, headers, limits).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<(), StreamableHttpError<reqwest::Error>> {
        self.0.delete_session(uri, session_id, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<reqwest::Error>> {
        self.0.get_stream(uri, session_id, last_event_id, token, headers).await
    }
}

async fn timed(mcp: &Mcp, params: &CallToolRequestParams) -> Duration {
    let params = params.clone();
    let begun = Instant::now();
    black_box(mcp.peer().call_tool(params).await.unwrap());
    begun.elapsed()
}

fn call(tool: &'static str, argument: &str, value: serde_json::Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(JsonObject::from_iter([(argument.to_owned(), value)]))
}

// --- pairs ----------------------------------------------------------------------------------------------------------

/// The times of both members of each pair.
#[derive(Default)]
struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Measures a pair. Every other pair begins with its second member.
    async fn measure<A: Future<Output = Duration>, B: Future<Output = Duration>>(
        &mut self,
        number: usize,
        first: impl FnOnce() -> A,
        second: impl FnOnce() -> B,
    ) {
        let (one, other) = if number.is_multiple_of(2) {
            let one = first().await;
            (one, second().await)
        } else {
            let other = second().await;
            (first().await, other)
        };
        self.0.push((one.as_secs_f64(), other.as_secs_f64()));
    }

    /// Prints medians, and the geometric mean of the ratios. The slowest and quickest hundredth of the ratios is left out,
    /// because the machine did something else meanwhile.
    fn print(&self, what: &str) {
        let mut logs: Vec<f64> = self.0.iter().map(|(one, other)| (other / one).ln()).collect();
        logs.sort_by(f64::total_cmp);
        let cut = logs.len() / 100;
        let logs = &logs[cut..logs.len() - cut];
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let bound = 1.96 * (variance / count).sqrt();
        println!(
            "| {what} | {} | {} | {:.3} [{:.3}, {:.3}] |",
            shown(median(self.0.iter().map(|pair| pair.0))),
            shown(median(self.0.iter().map(|pair| pair.1))),
            mean.exp(),
            (mean - bound).exp(),
            (mean + bound).exp()
        );
    }
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn shown(seconds: f64) -> String {
    if seconds < 1e-5 { format!("{:.0} ns", seconds * 1e9) } else { format!("{:.1} µs", seconds * 1e6) }
}
