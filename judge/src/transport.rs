//! The callers' two transports, on which no caller waits for a connection of its own.

use std::io;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};
use tokenkeeper::AccessToken;
use tokio::sync::Semaphore;

/// The most connections of HTTP/1.1. A server in this process has as many again.
const MAX_CONNECTIONS: usize = 192;
/// The requests that share one connection of HTTP/2.
const MAX_STREAMS: usize = 1024;
/// The files that a process needs besides: libraries, the runtime, connections for token requests.
const OTHER_FILES: usize = 64;
/// The files counted for a connection. Both of its ends are in this process, or there are two pools. An answered
/// connection also takes a moment to return to its pool, while its permit is free and another connection may open.
const FILES_PER_CONNECTION: usize = 4;
/// With fewer connections callers are not concurrent enough.
const MIN_CONNECTIONS: usize = 8;
/// Longer than any answer takes, unless a fault delays it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client with a pool of its own, and a bound on the requests in flight.
pub(crate) struct Transport {
    client: Client,
    permits: Semaphore,
}

/// The answer did not come.
pub(crate) struct NoAnswer;

/// Makes the two transports: HTTP/1.1 and HTTP/2, or two pools of HTTP/1.1 for a server that speaks nothing else.
pub(crate) fn pair(http2: bool) -> io::Result<[Transport; 2]> {
    let files = OTHER_FILES + FILES_PER_CONNECTION * MAX_CONNECTIONS;
    let connections = (open_files(files)?.min(files) - OTHER_FILES) / FILES_PER_CONNECTION;
    let first = Transport::new(client().http1_only().pool_max_idle_per_host(connections), connections)?;
    let second = if http2 {
        Transport::new(client().http2_prior_knowledge(), MAX_STREAMS)?
    } else {
        Transport::new(client().http1_only().pool_max_idle_per_host(connections), connections)?
    };
    Ok([first, second])
}

impl Transport {
    fn new(builder: ClientBuilder, permits: usize) -> io::Result<Self> {
        let client = builder.build().map_err(|error| io::Error::other(error.without_url()))?;
        Ok(Self { client, permits: Semaphore::new(permits) })
    }

    /// Calls the MCP server with this token, and returns the status of its answer.
    pub(crate) async fn call(&self, resource: &str, token: &AccessToken) -> Result<u16, NoAnswer> {
        let request = self
            .client
            .post(resource)
            .bearer_auth(token.expose())
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        self.send(request).await.map(|(status, _)| status)
    }

    /// Posts a form, and returns status and body of the answer.
    pub(crate) async fn submit(&self, endpoint: &str, form: String) -> Result<(u16, Vec<u8>), NoAnswer> {
        let request = self.client.post(endpoint).header("content-type", "application/x-www-form-urlencoded").body(form);
        self.send(request).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), NoAnswer> {
        let _permit = self.permits.acquire().await.map_err(|_| NoAnswer)?;
        let answer = request.send().await.map_err(|_| NoAnswer)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|_| NoAnswer)?;
        Ok((status, body.to_vec()))
    }
}

/// A client for loopback that sends each request once, to the address that it was given.
pub(crate) fn client() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .timeout(TIMEOUT)
        // Servers close idle connections, some of them after two seconds. A request must not meet that.
        .pool_idle_timeout(Duration::from_secs(1))
}

/// Raises the limit of open files to `wanted` where possible, and returns the limit.
///
/// # Errors
///
/// When the limit is too low for any storm or soak.
pub(crate) fn open_files(wanted: usize) -> io::Result<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let as_count = |limit: Option<u64>| limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut current = as_count(limit.current);
    if current < wanted {
        let raised = wanted.min(as_count(limit.maximum));
        let request = Rlimit { current: Some(raised as u64), maximum: limit.maximum };
        if setrlimit(Resource::Nofile, request).is_ok() {
            current = raised;
        }
    }
    let min = OTHER_FILES + FILES_PER_CONNECTION * MIN_CONNECTIONS;
    if current < min {
        let message = format!("this process may open {current} files and needs {min}: say `ulimit -n {wanted}` first");
        return Err(io::Error::other(message));
    }
    Ok(current)
}
