//! A server in memory. It must be ready before each call, and notes what arrives.

use std::cell::Cell;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response};
use tower::Service;

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub url: String,
    pub authorization: Option<String>,
    pub body: String,
}

impl Seen {
    pub fn has(&self, token: &str) -> bool {
        self.authorization.as_deref() == Some(&format!("Bearer {token}"))
    }
}

/// Status and challenge of an answer. Status 0 is a connection that breaks.
pub type Answer = (u16, Option<&'static str>);

pub struct Server {
    shared: Arc<Shared>,
    /// Clones of a service that is ready are not ready (see `tower::Service`).
    is_ready: bool,
}

struct Shared {
    answer: Box<dyn Fn(&Seen) -> Answer + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    held: Arc<AtomicUsize>,
    /// The largest number of answers that were not dropped yet when a request arrived.
    held_at_arrival: AtomicUsize,
    /// The number of times that the server may still become ready. After that, it fails.
    readiness: AtomicUsize,
}

impl Server {
    pub fn new(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Shared {
            answer: Box::new(answer),
            seen: Mutex::default(),
            held: Arc::default(),
            held_at_arrival: AtomicUsize::new(0),
            readiness: AtomicUsize::new(usize::MAX),
        };
        Self { shared: Arc::new(shared), is_ready: false }
    }

    /// A server that accepts this token alone.
    pub fn accepting(token: &'static str) -> Self {
        Self::new(move |seen| if seen.has(token) { (200, None) } else { (401, Some(super::INVALID)) })
    }

    /// Lets the server become ready this many times, and fail after that.
    pub fn ready_times(self, times: usize) -> Self {
        self.shared.readiness.store(times, Ordering::SeqCst);
        self
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The number of requests so far.
    pub fn count(&self) -> usize {
        self.seen().len()
    }

    /// The number of answers that were not dropped yet.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// The largest such number when a request arrived.
    pub fn held_at_arrival(&self) -> usize {
        self.shared.held_at_arrival.load(Ordering::SeqCst)
    }
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), is_ready: false }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl<B: AsRef<str>> Service<Request<B>> for Server {
    type Response = Response<Held>;
    type Error = io::Error;
    type Future = Ready<io::Result<Response<Held>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_ready {
            let left = self.shared.readiness.load(Ordering::SeqCst);
            if left == 0 {
                return Poll::Ready(Err(io::Error::other("worn out")));
            }
            self.shared.readiness.store(left - 1, Ordering::SeqCst);
            self.is_ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        let held = self.shared.held.load(Ordering::SeqCst);
        self.shared.held_at_arrival.fetch_max(held, Ordering::SeqCst);
        let authorization = request.headers().get(AUTHORIZATION);
        assert!(request.headers().get_all(AUTHORIZATION).iter().count() <= 1);
        let seen = Seen {
            url: request.uri().to_string(),
            authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
            body: request.body().as_ref().to_owned(),
        };
        let (status, challenge) = (self.shared.answer)(&seen);
        self.shared.seen.lock().unwrap().push(seen);
        if status == 0 {
            return ready(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
        }
        let mut answer = Response::new(Held::new(&self.shared.held));
        *answer.status_mut() = status.try_into().unwrap();
        if let Some(challenge) = challenge {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        ready(Ok(answer))
    }
}

/// The body of an answer, which is counted until it is dropped. It is not `Sync`.
#[derive(Debug)]
pub struct Held(Arc<AtomicUsize>, PhantomData<Cell<()>>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count), PhantomData)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A body that can be read once. It is neither `Clone` nor `Sync`.
#[derive(Debug)]
pub struct Stream(&'static str, PhantomData<Cell<()>>);

impl Stream {
    pub fn new(text: &'static str) -> Self {
        Self(text, PhantomData)
    }
}

impl AsRef<str> for Stream {
    fn as_ref(&self) -> &str {
        self.0
    }
}
