//! The connections of a listener.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::answers::{Answers, Arrival};
use super::body::PageBody;
use super::page::{Outcome, bare, page};
use super::request::{Site, Verdict, decide};

/// The maximum number of open connections that have sent no complete head. Browsers open connections in advance.
pub(super) const MAX_SILENT: usize = 16;

/// The maximum length of a request's head in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The number of times that the open connections' tasks are given a turn to read their requests, before the oldest
/// connection without a request is closed.
const TURNS: usize = 4;

/// The pause after a connection could not be accepted, for example because the process has too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// The times of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The time-out for the head of a request.
    pub(super) head: Duration,
    /// The time after the listener was dropped in which reloads of a shown page are answered.
    pub(super) linger: Duration,
}

/// Serves the connections until the listener is dropped. If a person was shown a page, its reloads are served for a while
/// longer.
///
/// `dropped` ends when the listener is dropped. `released` ends when another listener then asks for the port. Nothing is ever
/// sent on either channel.
pub(super) async fn serve(
    sockets: Vec<TcpListener>,
    site: Site,
    answers: Arc<Answers>,
    times: Times,
    dropped: oneshot::Receiver<Infallible>,
    released: oneshot::Receiver<Infallible>,
) {
    let mut connections = Connections { site, answers, times, tasks: JoinSet::new(), silent: VecDeque::new() };
    tokio::select! {
        () = connections.accept(&sockets) => {}
        _ = dropped => {}
    }
    if connections.answers.close() {
        tokio::select! {
            () = connections.accept(&sockets) => {}
            () = pause(times.linger) => {}
            // Another listener asks for the port.
            _ = released => {}
        }
    }
}

/// The open connections of one listener.
struct Connections {
    site: Site,
    answers: Arc<Answers>,
    times: Times,
    /// The tasks of the connections. Dropping the set closes the connections.
    tasks: JoinSet<()>,
    /// The connections that may have sent no request yet, the oldest first.
    silent: VecDeque<(Arc<AtomicBool>, AbortHandle)>,
}

impl Connections {
    async fn accept(&mut self, sockets: &[TcpListener]) {
        loop {
            tokio::select! {
                accepted = accept(sockets) => match accepted {
                    Ok(stream) => self.begin(stream).await,
                    Err(_) => pause(PAUSE).await,
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    async fn begin(&mut self, stream: TcpStream) {
        // In a burst of connections, many have sent a request that their tasks have not read yet. These turns give them
        // time to read it.
        for _ in 0..TURNS {
            self.silent.retain(|(has_asked, task)| !has_asked.load(Ordering::Relaxed) && !task.is_finished());
            if self.silent.len() < MAX_SILENT {
                break;
            }
            tokio::task::yield_now().await;
        }
        if self.silent.len() >= MAX_SILENT
            && let Some((_, oldest)) = self.silent.pop_front()
        {
            oldest.abort();
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let connection = serve_one(stream, self.site.clone(), self.answers.clone(), self.times.head, has_asked.clone());
        #[expect(clippy::disallowed_methods, reason = "the set ends the task when the listener's own task ends")]
        let task = self.tasks.spawn(connection);
        self.silent.push_back((has_asked, task));
    }
}

/// Accepts a connection from any of the sockets.
async fn accept(sockets: &[TcpListener]) -> io::Result<TcpStream> {
    poll_fn(|cx| {
        for socket in sockets {
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                return Poll::Ready(accepted.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    })
    .await
}

#[expect(clippy::disallowed_methods, reason = "the pause only delays accepting, and decides nothing about a session")]
fn pause(span: Duration) -> impl Future<Output = ()> {
    tokio::time::sleep(span)
}

/// Serves one request, and closes the connection.
async fn serve_one(stream: TcpStream, site: Site, answers: Arc<Answers>, head: Duration, has_asked: Arc<AtomicBool>) {
    // `Arrival::respond` waits until all receivers of the outcome are dropped. This receiver is kept until the page is
    // sent.
    let kept = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        respond(request, &site, &answers, &kept)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head).keep_alive(false).max_buf_size(MAX_HEAD);
    // After an error the browser has closed the connection, or has sent no HTTP. Nothing can be done about it.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// The response to one request. It keeps in `kept` the receiver of the outcome that it waited for.
async fn respond(
    request: Request<Incoming>,
    site: &Site,
    answers: &Answers,
    kept: &Mutex<Option<watch::Receiver<Option<Outcome>>>>,
) -> Result<Response<PageBody>, Infallible> {
    let (request, _) = request.into_parts();
    Ok(match decide(&request, site) {
        Verdict::Harmless(status) => harmless(status),
        Verdict::Unreadable => page(Outcome::Mismatched),
        Verdict::NoAnswer if answers.has_signed_in() => page(Outcome::AlreadyDone),
        Verdict::NoAnswer => page(Outcome::Mismatched),
        Verdict::Answer(callback) => match answers.arrive(callback) {
            Arrival::Known(outcome) => page(outcome),
            Arrival::Refused => bare(StatusCode::SERVICE_UNAVAILABLE),
            Arrival::Waits(mut pending) => {
                let outcome = pending.wait_for(Option::is_some).await.ok().and_then(|outcome| *outcome);
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
                page(outcome.unwrap_or(Outcome::Failed))
            }
        },
    })
}

/// The response to a request that consumes nothing.
fn harmless(status: StatusCode) -> Response<PageBody> {
    let mut response = bare(status);
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::METHOD_NOT_ALLOWED) {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    response
}
