//! Clients with one planted fault each.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Response, StatusCode, header};
use tokenkeeper::http::{
    Body, Departure, Exchange, HttpClient, HttpConnection, HttpError, MaybeSent, NotSent, Reach, ReqwestClient,
};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{ElapsedTime, Moment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Fault;

/// A practically infinite time-out.
const EVER: Duration = Duration::from_secs(3_600);

/// The client over reqwest, wrapped with a fault.
pub(crate) struct Faulty {
    fault: Fault,
    inner: ReqwestClient,
    last: Mutex<String>,
    cookie: Mutex<Option<HeaderValue>>,
}

/// A clock that is past every deadline.
#[derive(Debug)]
struct Late;

impl Clock for Late {
    fn now(&self) -> Moment {
        Moment { elapsed: ElapsedTime::from_millis(1), ..Moment::default() }
    }
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, inner: ReqwestClient::new().unwrap(), last: Mutex::default(), cookie: Mutex::default() }
    }

    /// The exchange after the fault's change.
    fn bend(&self, mut exchange: Exchange) -> Exchange {
        match self.fault {
            Fault::ChangesTheBody => exchange.request.body_mut().extend(b"\n"),
            Fault::IgnoresTheClock => exchange.departure = Departure::at_any_time(),
            Fault::IsAlwaysLate => {
                exchange.departure = Departure::by(Arc::new(Late), ElapsedTime::from_millis(0));
            }
            Fault::NeverTimesOut => exchange.timeout = EVER,
            Fault::AsksForCompression => {
                exchange.request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            }
            Fault::ReadsOneByteMore => exchange.max_answer += 1,
            Fault::ReadsOneByteLess => exchange.max_answer -= 1,
            Fault::IgnoresTheReachOfConnections => exchange.reach = Reach::Any,
            Fault::KeepsCookies => {
                let cookie = self.cookie.lock().unwrap().take();
                exchange.request.headers_mut().extend(cookie.map(|cookie| (header::COOKIE, cookie)));
            }
            _ => {}
        }
        exchange.reach = self.reach(exchange.request.uri(), exchange.reach);
        exchange
    }

    /// The reach after the fault's change.
    fn reach(&self, uri: &http::Uri, reach: Reach) -> Reach {
        let host = uri.host().unwrap_or_default();
        let is_name = host.to_ascii_lowercase().contains("local");
        match self.fault {
            Fault::IgnoresTheReachOfLiterals if !is_name => Reach::Any,
            Fault::IgnoresTheReachOfNames if is_name => Reach::Any,
            Fault::ReachesEveryLoopback if reach == Reach::PublicOrLoopback => Reach::Any,
            Fault::ReachesNoLoopback => Reach::Public,
            Fault::AsksTheProxy if host.ends_with(".invalid") => Reach::Any,
            _ => reach,
        }
    }

    /// The outcome after the fault's change.
    fn bend_back(&self, outcome: Result<Response<Body>, HttpError>) -> Result<Response<Body>, HttpError> {
        match (self.fault, outcome) {
            (Fault::CallsAStatusAnError, Ok(answer)) if !answer.status().is_success() => {
                Err(HttpError::MaybeSent(MaybeSent::Broken))
            }
            (Fault::LosesAHeader, Ok(mut answer)) => {
                answer.headers_mut().remove(header::RETRY_AFTER);
                Ok(answer)
            }
            (Fault::LosesTheEncoding, Ok(mut answer)) => {
                answer.headers_mut().remove(header::CONTENT_ENCODING);
                Ok(answer)
            }
            (Fault::KeepsCookies, Ok(answer)) => {
                *self.cookie.lock().unwrap() = answer.headers().get(header::SET_COOKIE).cloned();
                Ok(answer)
            }
            (Fault::SaysSentWhenRefused, Err(HttpError::NotSent(_))) => Err(HttpError::MaybeSent(MaybeSent::Broken)),
            (Fault::SaysNotSentWhenLost, Err(HttpError::MaybeSent(_))) => Err(HttpError::NotSent(NotSent::Unreachable)),
            (Fault::TakesHalfForAWhole, Err(_)) => Ok(Response::new(Body::default())),
            (Fault::CallsTooLargeBroken, Err(HttpError::MaybeSent(MaybeSent::TooLarge))) => {
                Err(HttpError::MaybeSent(MaybeSent::Broken))
            }
            (Fault::CallsBrokenTooLong, Err(HttpError::MaybeSent(MaybeSent::Broken))) => {
                Err(HttpError::MaybeSent(MaybeSent::TimedOut))
            }
            (_, outcome) => outcome,
        }
    }
}

#[async_trait]
impl HttpClient for Faulty {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        *self.last.lock().unwrap() = String::from_utf8_lossy(exchange.request.body().as_bytes()).into_owned();
        let again = |exchange: &Exchange| Exchange {
            request: exchange.request.clone(),
            departure: exchange.departure.clone(),
            ..*exchange
        };
        let mut exchange = self.bend(exchange);
        let mut second = again(&exchange);
        let outcome = match self.fault {
            Fault::BelievesTheTimer => {
                let timeout = std::mem::replace(&mut exchange.timeout, EVER);
                in_time(timeout, self.inner.send(exchange)).await
            }
            _ => self.inner.send(exchange).await,
        };
        let repeat = match (self.fault, &outcome) {
            (Fault::SendsTwice, _) => true,
            (Fault::TriesAgainWhenLost, Err(HttpError::MaybeSent(_))) => true,
            (Fault::TriesAgainWhenAsked, Ok(answer)) => answer.status() == StatusCode::SERVICE_UNAVAILABLE,
            (Fault::FollowsRedirects, Ok(answer)) => match answer.headers().get(header::LOCATION) {
                Some(to) if to.as_bytes().starts_with(b"http") => {
                    *second.request.uri_mut() = to.to_str().unwrap().parse().unwrap();
                    true
                }
                _ => false,
            },
            _ => false,
        };
        let outcome = if repeat { self.inner.send(second).await } else { outcome };
        self.bend_back(outcome)
    }

    async fn connect(&self, uri: &http::Uri, _: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        match self.fault {
            Fault::IgnoresTheReachOfConnections => {
                let connection = self.inner.connect(uri, Reach::Any).await?;
                Ok(connection.map(|connection| Box::new(AnyReach(connection)) as Box<_>))
            }
            _ => Ok(None),
        }
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

/// A connection that carries each request as if it had been made for it.
#[derive(Debug)]
struct AnyReach(Box<dyn HttpConnection>);

#[async_trait]
impl HttpConnection for AnyReach {
    async fn send(self: Box<Self>, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        self.0.send(Exchange { reach: Reach::Any, ..exchange }).await
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::ShowsTheBody => f.debug_struct("Faulty").field("last", &self.last).finish(),
            _ => f.write_str("Faulty"),
        }
    }
}

/// The outcome of a call, or [`MaybeSent::TimedOut`] when the timer fires, even if the answer is there too.
#[expect(clippy::disallowed_methods, reason = "the planted fault")]
async fn in_time(
    timeout: Duration,
    call: impl Future<Output = Result<Response<Body>, HttpError>>,
) -> Result<Response<Body>, HttpError> {
    tokio::select! {
        biased;
        () = tokio::time::sleep(timeout) => Err(HttpError::MaybeSent(MaybeSent::TimedOut)),
        outcome = call => outcome,
    }
}

/// A host's own client over reqwest, with reqwest's time-outs and tolerance.
#[derive(Debug)]
pub(crate) struct Strict(reqwest::Client, Option<Duration>);

impl Strict {
    pub(crate) fn new(fault: Fault) -> Self {
        let builder = reqwest::Client::builder().http1_only();
        match fault {
            Fault::TimesOutByTheRead => {
                Self(builder.read_timeout(Duration::from_millis(300)).build().unwrap(), Some(EVER))
            }
            _ => Self(builder.build().unwrap(), None),
        }
    }

    async fn exchange(&self, exchange: Exchange) -> Result<Response<Body>, reqwest::Error> {
        let request = exchange.request.map(|body| body.as_bytes().to_vec());
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(self.1.unwrap_or(exchange.timeout));
        let answer = self.0.execute(request).await?;
        let mut whole = Response::new(());
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = answer.headers().clone();
        let body = answer.bytes().await?;
        Ok(whole.map(|()| Body::new(body)))
    }
}

#[async_trait]
impl HttpClient for Strict {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        self.exchange(exchange).await.map_err(|error| {
            HttpError::MaybeSent(if error.is_timeout() { MaybeSent::TimedOut } else { MaybeSent::Broken })
        })
    }
}

/// A naive client. It keeps its connections, and resends a request that a connection lost.
#[derive(Debug, Default)]
pub(crate) struct KeepAlive(Mutex<BTreeMap<String, TcpStream>>);

#[async_trait]
impl HttpClient for KeepAlive {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        let host = exchange.request.uri().authority().unwrap().to_string();
        let body = exchange.request.body().as_bytes();
        let mut request =
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend(body);
        let kept = self.0.lock().unwrap().remove(&host);
        let answered = match kept {
            Some(stream) => ask(stream, &request).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let answered = match answered {
            Ok(answered) => Ok(answered),
            Err(_) => fresh(&host, &request).await,
        };
        let (answer, stream) = answered.map_err(|_| HttpError::MaybeSent(MaybeSent::Broken))?;
        self.0.lock().unwrap().insert(host, stream);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Response::builder().status(status.unwrap_or(StatusCode::OK)).body(Body::default()).unwrap())
    }
}

/// A naive client that connects ahead, with a fault.
#[derive(Debug)]
pub(crate) struct Ahead(pub(crate) Fault);

/// A connection of [`Ahead`]. It sends every request, wherever it belongs, and does not look for the peer.
#[derive(Debug)]
struct Line(Fault, Option<TcpStream>);

#[async_trait]
impl HttpClient for Ahead {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        Box::new(Line(self.0, None)).send(exchange).await
    }

    async fn connect(&self, uri: &http::Uri, _: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        let stream = TcpStream::connect(uri.authority().unwrap().as_str()).await;
        let mut stream = match (self.0, stream) {
            (Fault::ConnectsToNothing, Err(_)) => None,
            (_, stream) => Some(stream.map_err(|_| NotSent::Unreachable)?),
        };
        if let (Fault::SpeaksTooSoon, Some(stream)) = (self.0, &mut stream) {
            stream.write_all(b"POST").await.unwrap();
        }
        Ok(Some(Box::new(Line(self.0, stream))))
    }
}

#[async_trait]
impl HttpConnection for Line {
    async fn send(self: Box<Self>, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        let host = exchange.request.uri().authority().unwrap().to_string();
        let body = exchange.request.body().as_bytes();
        let mut request =
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend(body);
        let answered = match self.1.filter(|_| self.0 != Fault::ConnectsAgain) {
            Some(stream) => ask(stream, &request).await,
            None => fresh(&host, &request).await,
        };
        answered.map(|_| Response::new(Body::default())).map_err(|_| HttpError::MaybeSent(MaybeSent::Broken))
    }
}

async fn fresh(host: &str, request: &[u8]) -> io::Result<(String, TcpStream)> {
    ask(TcpStream::connect(host).await?, request).await
}

async fn ask(mut stream: TcpStream, request: &[u8]) -> io::Result<(String, TcpStream)> {
    stream.write_all(request).await?;
    let mut answer = [0; 1024];
    match stream.read(&mut answer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok((String::from_utf8_lossy(&answer[..length]).into_owned(), stream)),
    }
}
