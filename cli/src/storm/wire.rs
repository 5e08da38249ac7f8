//! The two transports, on which no caller waits for a socket of its own.

use std::io;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};
use tokenkeeper::AccessToken;
use tokio::sync::Semaphore;

/// How many connections of HTTP/1.1 there are at most; a server in this process has as many again.
const CONNECTIONS: usize = 192;
/// How many requests share one connection of HTTP/2.
const STREAMS: usize = 1024;
/// What a process needs besides: its library files, its runtime, the token requests' own connections.
const OTHER_FILES: usize = 64;
/// How many files a connection is counted as. Both ends are here, or two pools are; and one that is answered takes a moment
/// to come back to its pool, in which its place is given away and another may be opened.
const FILES_EACH: usize = 4;
/// With fewer connections it is no storm.
const CONNECTIONS_LEAST: usize = 8;
/// No answer takes so long, unless a fault holds it up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One transport: a client with a pool of its own, and places for those who wait.
pub(super) struct Wire {
    client: Client,
    places: Semaphore,
}

/// Why there is no answer.
pub(super) struct Broken;

/// Makes the two: HTTP/1.1 and HTTP/2, or two pools of HTTP/1.1 for a server that speaks nothing else.
pub(super) fn pair(speaks_http2: bool) -> io::Result<[Wire; 2]> {
    let files = OTHER_FILES + FILES_EACH * CONNECTIONS;
    let connections = (open_files(files)?.min(files) - OTHER_FILES) / FILES_EACH;
    let first = Wire::new(plain().http1_only().pool_max_idle_per_host(connections), connections)?;
    let second = if speaks_http2 {
        Wire::new(plain().http2_prior_knowledge(), STREAMS)?
    } else {
        Wire::new(plain().http1_only().pool_max_idle_per_host(connections), connections)?
    };
    Ok([first, second])
}

impl Wire {
    fn new(builder: ClientBuilder, places: usize) -> io::Result<Self> {
        let client = builder.build().map_err(|error| io::Error::other(error.without_url()))?;
        Ok(Self { client, places: Semaphore::new(places) })
    }

    /// Calls the MCP server with this token: the answer's status.
    pub(super) async fn call(&self, resource: &str, token: &AccessToken) -> Result<u16, Broken> {
        let request = self
            .client
            .post(resource)
            .bearer_auth(token.expose())
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        self.send(request).await.map(|(status, _)| status)
    }

    /// Posts a form, and reads the answer.
    pub(super) async fn submit(&self, endpoint: &str, form: String) -> Result<(u16, Vec<u8>), Broken> {
        let request = self.client.post(endpoint).header("content-type", "application/x-www-form-urlencoded").body(form);
        self.send(request).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), Broken> {
        let _place = self.places.acquire().await.map_err(|_| Broken)?;
        let answer = request.send().await.map_err(|_| Broken)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|_| Broken)?;
        Ok((status, body.to_vec()))
    }
}

/// A client for loopback that does what it is told, once.
pub(super) fn plain() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .timeout(TIMEOUT)
        // Servers close what lies idle, some after two seconds; a request must not meet that.
        .pool_idle_timeout(Duration::from_secs(1))
}

/// How many files this process may open, after asking for `wanted`.
#[cfg(unix)]
pub(super) fn open_files(wanted: usize) -> io::Result<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let as_count = |limit: Option<u64>| limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut now = as_count(limit.current);
    if now < wanted {
        let raised = wanted.min(as_count(limit.maximum));
        let asked = Rlimit { current: Some(raised as u64), maximum: limit.maximum };
        if setrlimit(Resource::Nofile, asked).is_ok() {
            now = raised;
        }
    }
    let least = OTHER_FILES + FILES_EACH * CONNECTIONS_LEAST;
    if now < least {
        let message = format!("this process may open {now} files and needs {least}: say `ulimit -n {wanted}` first");
        return Err(io::Error::other(message));
    }
    Ok(now)
}

#[cfg(not(unix))]
pub(super) fn open_files(_: usize) -> io::Result<usize> {
    Ok(usize::MAX)
}
