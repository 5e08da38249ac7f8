//! Faults and the time at which they strike.

use std::time::Duration;

use super::Gate;

/// Whether a fault strikes before the request is processed or after. It decides whether the refresh token is spent, and
/// the client cannot see the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Nothing is processed, and no refresh token is spent. A fault that only delays or holds lets the request be
    /// processed afterwards.
    Before,
    /// The request has been processed, the refresh token spent, and its successor issued.
    After,
}

/// A failure of a request or its answer.
///
/// A fault first waits ([`delay`](Self::delay), [`hold`](Self::hold)), then changes the answer, then damages its
/// delivery. Constructors and the methods that change them combine:
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
/// In bodies and in header values, `{access_token}`, `{refresh_token}`, `{expires_in}` and `{scope}` stand for the
/// issued values, and for empty text if nothing was issued. `{origin}` is the server's `http://127.0.0.1:…`.
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
    /// As a date this far ahead of the wall clock when the answer is made.
    Date(Duration),
    /// As arbitrary text.
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
    /// This many spaces.
    Filler(usize),
}

/// The way an answer is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    Half,
    Halves { pause: Duration },
    Drip { every: Duration, for_ever: bool },
    Reset,
    Close,
    Silence,
    GoAway { covering: bool },
    RefuseStream,
}

/// The fate of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Keep,
    Close,
    ResetOnNext,
}

/// An error page like those of proxies.
pub(super) const PAGE: &str = "<html><head><title>Error</title></head><body><h1>Error</h1><hr>gateway</body></html>\n";

impl Fault {
    /// No fault. It lets requests pass that precede a later fault, and is the starting point for the methods below.
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

    /// The server waits until `gate` releases the request.
    pub fn hold(gate: &Gate) -> Self {
        Self::pass().held(gate)
    }

    // --- other answers -----------------------------------------------------------------------------------------------

    /// An answer with `status` and no body.
    pub fn status(status: u16) -> Self {
        Self { body: Some(Body::Template(String::new())), ..Self::pass() }.with_status(status)
    }

    /// An answer with status 200 (see [`with_status`](Self::with_status)) and a body from a template.
    pub fn body(content_type: impl Into<String>, template: impl Into<String>) -> Self {
        let body = Some(Body::Template(template.into()));
        Self { body, ..Self::pass() }.with_status(200).header("content-type", content_type)
    }

    /// An answer with status 200 that claims to be JSON and is not.
    pub fn garbage() -> Self {
        Self::body("application/json", "{\"access_token\": \u{1}]}} \u{fffd}")
    }

    /// An answer with status 200 that claims to be JSON, followed by `bytes` spaces. It is held in memory as a whole.
    pub fn huge(bytes: usize) -> Self {
        Self { body: Some(Body::Filler(bytes)), ..Self::body("application/json", "") }
    }

    /// A 307 to an endpoint of this server that counts its requests in
    /// [`Counts::redirects_followed`](super::Counts::redirects_followed). Nothing is processed there.
    pub fn redirect() -> Self {
        Self::status(307).header("location", "{origin}/elsewhere")
    }

    /// A 400 that demands a DPoP proof with this nonce (RFC 9449 section 8).
    pub fn dpop_nonce(nonce: impl Into<String>) -> Self {
        Self::status(400).error("use_dpop_nonce").header("dpop-nonce", nonce)
    }

    /// A 401 at the resource, even for a good access token (RFC 6750 section 3).
    pub fn challenge() -> Self {
        Self::status(401).header("www-authenticate", "Bearer error=\"invalid_token\"")
    }

    // --- damaged delivery --------------------------------------------------------------------------------------------

    /// The connection is reset without an answer. With HTTP/2 that affects all its streams.
    pub fn reset() -> Self {
        Self { manner: Manner::Reset, ..Self::pass() }
    }

    /// The connection is closed cleanly without an answer. With HTTP/2 that affects all its streams.
    pub fn close() -> Self {
        Self { manner: Manner::Close, ..Self::pass() }
    }

    /// No answer comes, and the connection stays open as long as the client and the server run.
    pub fn silence() -> Self {
        Self { manner: Manner::Silence, ..Self::pass() }
    }

    /// With HTTP/2, a GOAWAY with an earlier last stream, which declares this request unprocessed (RFC 9113 section
    /// 6.8). With [`After`](When::After) that is false. Earlier streams are still answered. With HTTP/1.1, the same as
    /// [`close`](Self::close).
    pub fn go_away() -> Self {
        Self { manner: Manner::GoAway { covering: false }, ..Self::pass() }
    }

    /// With HTTP/2, a GOAWAY with this request as its last stream, which declares that it may have been processed. Then
    /// the connection is closed without an answer. With HTTP/1.1, the same as [`close`](Self::close).
    pub fn go_away_covering() -> Self {
        Self { manner: Manner::GoAway { covering: true }, ..Self::pass() }
    }

    /// With HTTP/2, an RST_STREAM with REFUSED_STREAM, which declares this request unprocessed (RFC 9113 section 8.7).
    /// With [`After`](When::After) that is false. With HTTP/1.1, the same as [`close`](Self::close).
    pub fn refuse_stream() -> Self {
        Self { manner: Manner::RefuseStream, ..Self::pass() }
    }

    // --- changes -----------------------------------------------------------------------------------------------------

    /// Adds a delay of `time`.
    pub fn delayed(self, time: Duration) -> Self {
        Self { delay: time, ..self }
    }

    /// Holds the request until `gate` releases it. A delay comes first.
    pub fn held(self, gate: &Gate) -> Self {
        Self { gate: Some(gate.clone()), ..self }
    }

    /// Sets the status. On its own, it sends the server's normal answer with another status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Adds a header, its value from a template. `content-type` replaces the server's.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Value::Template(value.into())));
        self
    }

    /// Sets a JSON body with this `error` (RFC 6749 section 5.2).
    pub fn error(self, word: &str) -> Self {
        let body = serde_json::json!({ "error": word, "error_description": "scripted" }).to_string();
        Self { body: Some(Body::Template(body)), ..self }.header("content-type", "application/json")
    }

    /// Sets a page of HTML like those of proxies as the body.
    pub fn html(self) -> Self {
        Self { body: Some(Body::Template(PAGE.to_owned())), ..self }.header("content-type", "text/html")
    }

    /// Adds `Retry-After`.
    pub fn retry_after(mut self, when: RetryAfter) -> Self {
        let value = match when {
            RetryAfter::Seconds(seconds) => Value::Template(seconds.to_string()),
            RetryAfter::Date(ahead) => Value::DateAhead(ahead),
            RetryAfter::Text(text) => Value::Template(text),
        };
        self.headers.push(("retry-after", value));
        self
    }

    /// Sends half of the answer's bytes, then ends the connection (with HTTP/2, all its streams). A body is halved. An
    /// answer without a body breaks off within its head, or, with HTTP/2, before its end.
    pub fn halved(self) -> Self {
        Self { manner: Manner::Half, ..self }
    }

    /// Sends half of the body, and the other half after `pause`.
    pub fn in_halves(self, pause: Duration) -> Self {
        Self { manner: Manner::Halves { pause }, ..self }
    }

    /// Sends the body byte by byte, with a pause of `every` before each.
    pub fn dripping(self, every: Duration) -> Self {
        Self { manner: Manner::Drip { every, for_ever: false }, ..self }
    }

    /// Like [`dripping`](Self::dripping), and endless white space after the body. The answer ends when the client
    /// leaves or the server stops.
    pub fn dripping_for_ever(self, every: Duration) -> Self {
        Self { manner: Manner::Drip { every, for_ever: true }, ..self }
    }

    /// Closes the connection after the answer, although the answer promised to keep it. The client finds a dead
    /// connection in its pool. With HTTP/2, after the whole answer.
    pub fn then_close(self) -> Self {
        Self { afterwards: Afterwards::Close, ..self }
    }

    /// Keeps the connection open after the answer, and resets it on the first bytes of the next request, which is the
    /// race of every connection pool. That request is counted, and not processed. It takes no other fault.
    pub fn then_reset_next(self) -> Self {
        Self { afterwards: Afterwards::ResetOnNext, ..self }
    }

    /// Whether it replaces the server's own answer, and with [`When::Before`] its processing too.
    pub(super) fn strikes(&self) -> bool {
        let speaks = self.status.is_some() || self.body.is_some() || !self.headers.is_empty();
        speaks || self.manner != Manner::Whole
    }

    /// Applies the delay and the gate.
    pub(super) async fn wait(&self) {
        super::clock::pause(self.delay).await;
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
    }
}
