//! A server of another origin.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::{Answer, json};
use super::counts::ReceivedRequest;
use super::listener;
use crate::hostile::clock::start;

/// A server on a port of its own, which answers each request with 200 and `{}` and records it. It shows which headers a client
/// takes along when the resource redirects it to another origin. Dropping it ends it.
pub struct OtherOrigin {
    address: SocketAddr,
    requests: Arc<watch::Sender<Vec<ReceivedRequest>>>,
    /// The listener's task, which owns all others.
    _tasks: JoinSet<()>,
}

impl OtherOrigin {
    /// Starts a server on the current runtime, which needs I/O and time enabled.
    ///
    /// # Errors
    ///
    /// If no port on 127.0.0.1 is available.
    pub async fn start() -> io::Result<Self> {
        let listener = listener::bind(0)?;
        let address = listener.local_addr()?;
        let requests: Arc<watch::Sender<Vec<ReceivedRequest>>> = Arc::default();
        let recorded = Arc::clone(&requests);
        let serve = move |request: Request<_>| ready(answer(&recorded, request));
        let mut tasks = JoinSet::new();
        start(&mut tasks, listener::listen(listener, || true, serve));
        Ok(Self { address, requests, _tasks: tasks })
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far, in the order of their arrival.
    pub fn log(&self) -> Vec<ReceivedRequest> {
        self.requests.borrow().clone()
    }

    /// Waits until this many requests have arrived, and returns them. The future may be dropped at any time.
    pub async fn until(&self, count: usize) -> Vec<ReceivedRequest> {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.requests.subscribe().wait_for(|requests| requests.len() >= count).await;
        self.log()
    }
}

fn answer<B>(recorded: &watch::Sender<Vec<ReceivedRequest>>, request: Request<B>) -> Answer {
    let request = ReceivedRequest::new(&request.into_parts().0);
    recorded.send_modify(|requests| requests.push(request));
    json(200, &json!({}))
}

impl fmt::Debug for OtherOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherOrigin").field("address", &self.address).finish_non_exhaustive()
    }
}
