//! What can go wrong, and when.

use std::time::Duration;

use super::Gate;

/// Whether a fault strikes before the request is processed or after. It decides what became of the refresh token, and
/// the client cannot tell which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Nothing is processed: no refresh token is spent. A fault that only delays or holds lets the rest happen.
    Before,
    /// The request has been processed: the refresh token is spent, its successor issued.
    After,
}

/// Something that goes wrong with a request or its answer.
///
/// A fault first waits ([`delay`](Self::delay), [`hold`](Self::hold)), then says something else than the server would,
/// then says it badly. Constructors and the methods that change them combine:
///
/// ```
/// # use std::time::Duration;
/// # use tokenkeeper_testkit::hostile::{Fault, Gate, RetryAfter};
/// Fault::status(503).error("temporarily_unavailable").retry_after(RetryAfter::Seconds(2));
/// Fault::reset().delayed(Duration::from_millis(20));
/// Fault::body("application/x-www-form-urlencoded", "access_token={access_token}&refresh_token={refresh_token}");
/// Fault::status(200).html().halved().held(&Gate::closed());
/// ```
///
/// # Templates
///
/// In bodies and in the values of headers, `{access_token}`, `{refresh_token}`, `{expires_in}` and `{scope}` stand for
/// what the server has just issued, and for nothing where it issued nothing; `{origin}` is the server's
/// `http://127.0.0.1:…`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Fault {
    pub(super) delay: Duration,
    pub(super) gate: Option<Gate>,
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(&'static str, Value)>,
    pub(super) body: Option<Body>,
    pub(super) manner: Manner,
    pub(super) afterwards: Afterwards,
}

/// `Retry-After` (RFC 9110 section 10.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// In seconds.
    Seconds(u64),
    /// As a date: this far ahead of the wall clock when the answer is made.
    Date(Duration),
    /// As whatever text.
    Text(String),
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Template(String),
    DateAhead(Duration),
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Template(String),
    /// So many spaces.
    Filler(usize),
}

/// How an answer is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    Half,
    Drip { every: Duration, for_ever: bool },
    Reset,
    Close,
    Silence,
    GoAway { covering: bool },
    RefuseStream,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Keep,
    Close,
    ResetOnNext,
}

/// An error page as proxies write them.
pub(super) const PAGE: &str = "<html><head><title>Error</title></head><body><h1>Error</h1><hr>gateway</body></html>\n";

impl Fault {
    /// Nothing goes wrong: lets requests pass that come before a fault for a later one, and is what the methods below
    /// change.
    pub fn pass() -> Self {
        Self {
            delay: Duration::ZERO,
            gate: None,
            status: None,
            headers: Vec::new(),
            body: None,
            manner: Manner::Whole,
            afterwards: Afterwards::Keep,
        }
    }

    // --- waiting -----------------------------------------------------------------------------------------------------

    /// The server takes `time` longer.
    pub fn delay(time: Duration) -> Self {
        Self::pass().delayed(time)
    }

    /// The server waits until `gate` lets the request through.
    pub fn hold(gate: &Gate) -> Self {
        Self::pass().held(gate)
    }

    // --- saying something else ---------------------------------------------------------------------------------------

    /// An answer with `status` and nothing in it.
    pub fn status(status: u16) -> Self {
        Self { body: Some(Body::Template(String::new())), ..Self::pass() }.with_status(status)
    }

    /// An answer with status 200 (see [`with_status`](Self::with_status)) and a body from a template.
    pub fn body(content_type: impl Into<String>, template: impl Into<String>) -> Self {
        let body = Some(Body::Template(template.into()));
        Self { body, ..Self::pass() }.with_status(200).header("content-type", content_type)
    }

    /// A 200 that says it is JSON, and is not.
    pub fn garbage() -> Self {
        Self::body("application/json", "{\"access_token\": \u{1}]}} \u{fffd}")
    }

    /// A 200 that says it is JSON, followed by `bytes` spaces: held in memory as a whole.
    pub fn huge(bytes: usize) -> Self {
        Self { body: Some(Body::Filler(bytes)), ..Self::body("application/json", "") }
    }

    /// A 307 to an endpoint of this server that counts who comes: see
    /// [`Counts::redirects_followed`](super::Counts::redirects_followed). Nothing is processed there.
    pub fn redirect() -> Self {
        Self::status(307).header("location", "{origin}/elsewhere")
    }

    /// A 400 that asks for a DPoP proof with this nonce (RFC 9449 section 8).
    pub fn dpop_nonce(nonce: impl Into<String>) -> Self {
        Self::status(400).error("use_dpop_nonce").header("dpop-nonce", nonce)
    }

    /// A 401 at the resource, whatever the access token (RFC 6750 section 3).
    pub fn challenge() -> Self {
        Self::status(401).header("www-authenticate", "Bearer error=\"invalid_token\"")
    }

    // --- saying it badly ---------------------------------------------------------------------------------------------

    /// The connection is reset, without an answer; with HTTP/2, for all its streams.
    pub fn reset() -> Self {
        Self { manner: Manner::Reset, ..Self::pass() }
    }

    /// The connection is closed in good order, without an answer; with HTTP/2, for all its streams.
    pub fn close() -> Self {
        Self { manner: Manner::Close, ..Self::pass() }
    }

    /// No answer comes, and the connection stays open as long as the client and the server live.
    pub fn silence() -> Self {
        Self { manner: Manner::Silence, ..Self::pass() }
    }

    /// HTTP/2: GOAWAY whose last stream is an earlier one, which says that this request was not processed (RFC 9113
    /// section 6.8); [`After`](When::After) the work, it is a lie. Streams before it are still answered. HTTP/1.1: as
    /// [`close`](Self::close).
    pub fn go_away() -> Self {
        Self { manner: Manner::GoAway { covering: false }, ..Self::pass() }
    }

    /// HTTP/2: GOAWAY whose last stream is this one, which says that it may have been processed; then the connection is
    /// closed without an answer. HTTP/1.1: as [`close`](Self::close).
    pub fn go_away_covering() -> Self {
        Self { manner: Manner::GoAway { covering: true }, ..Self::pass() }
    }

    /// HTTP/2: RST_STREAM with REFUSED_STREAM, which says that this request was not processed (RFC 9113 section 8.7);
    /// [`After`](When::After) the work, it is a lie. HTTP/1.1: as [`close`](Self::close).
    pub fn refuse_stream() -> Self {
        Self { manner: Manner::RefuseStream, ..Self::pass() }
    }

    // --- changes -----------------------------------------------------------------------------------------------------

    /// The same, after `time`.
    pub fn delayed(self, time: Duration) -> Self {
        Self { delay: time, ..self }
    }

    /// The same, once `gate` has let the request through. A delay comes first.
    pub fn held(self, gate: &Gate) -> Self {
        Self { gate: Some(gate.clone()), ..self }
    }

    /// With this status; on its own, the server's answer with another status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// With a header besides, its value from a template. `content-type` takes the place of the server's.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Value::Template(value.into())));
        self
    }

    /// With a JSON body that has this `error` (RFC 6749 section 5.2).
    pub fn error(self, word: &str) -> Self {
        let body = serde_json::json!({ "error": word, "error_description": "scripted" }).to_string();
        Self { body: Some(Body::Template(body)), ..self }.header("content-type", "application/json")
    }

    /// With a page of HTML, as proxies write them.
    pub fn html(self) -> Self {
        Self { body: Some(Body::Template(PAGE.to_owned())), ..self }.header("content-type", "text/html")
    }

    /// With `Retry-After`.
    pub fn retry_after(mut self, when: RetryAfter) -> Self {
        let value = match when {
            RetryAfter::Seconds(seconds) => Value::Template(seconds.to_string()),
            RetryAfter::Date(ahead) => Value::DateAhead(ahead),
            RetryAfter::Text(text) => Value::Template(text),
        };
        self.headers.push(("retry-after", value));
        self
    }

    /// Half of the answer's bytes, then the end of the connection; with HTTP/2, of all its streams. A body is halved; an
    /// answer without one breaks off within its head, or, with HTTP/2, before it ends.
    pub fn halved(self) -> Self {
        Self { manner: Manner::Half, ..self }
    }

    /// The body comes byte by byte, with a pause of `every` before each.
    pub fn dripping(self, every: Duration) -> Self {
        Self { manner: Manner::Drip { every, for_ever: false }, ..self }
    }

    /// As [`dripping`](Self::dripping), and after the body white space without end: the answer is over when the client
    /// leaves or the server stops.
    pub fn dripping_for_ever(self, every: Duration) -> Self {
        Self { manner: Manner::Drip { every, for_ever: true }, ..self }
    }

    /// After the answer the connection is closed, though the answer said it would be kept: the client finds a dead one
    /// in its pool. With HTTP/2, once the answer is out.
    pub fn then_close(self) -> Self {
        Self { afterwards: Afterwards::Close, ..self }
    }

    /// After the answer the connection stays open, and is reset on the next request's first bytes: the race that every
    /// connection pool loses sometimes. That request is counted, and not processed. It takes no other fault.
    pub fn then_reset_next(self) -> Self {
        Self { afterwards: Afterwards::ResetOnNext, ..self }
    }

    /// Whether it takes the place of the server's own answer, and so of its work where it comes before that.
    pub(super) fn strikes(&self) -> bool {
        let speaks = self.status.is_some() || self.body.is_some() || !self.headers.is_empty();
        speaks || self.manner != Manner::Whole
    }

    /// Delays, and holds.
    pub(super) async fn wait(&self) {
        super::clock::pause(self.delay).await;
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
    }
}
