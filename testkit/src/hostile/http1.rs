//! HTTP/1.1, hand-written because faults need the socket itself.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::clock::pause;
use super::dispatcher::{Answer, Call, Dispatcher, Head};
use super::fault::{Afterwards, Manner};
use super::reply::Reply;

/// The maximum size of a head, and of a body.
const MOST: usize = 1 << 20;

/// A connection whose first bytes have been read.
pub(super) struct Http1 {
    dispatcher: Arc<Dispatcher>,
    stream: TcpStream,
    read: BytesMut,
}

/// A request's head, and the length of its body.
struct Start {
    head: Head,
    /// `None` without a `Content-Length`. This server reads no chunks.
    body: Option<usize>,
    keep: bool,
}

/// The next step for a connection.
enum Next {
    Another,
    /// Read the next request, and reset the connection instead of answering.
    Doomed,
    Close,
    Reset,
}

impl Http1 {
    pub(super) fn new(dispatcher: Arc<Dispatcher>, stream: TcpStream, read: BytesMut) -> Self {
        Self { dispatcher, stream, read }
    }

    /// Answers requests one after another, until the client or a fault ends the connection.
    pub(super) async fn serve(mut self) {
        // The reason of a broken connection is not reported. Its requests are counted.
        let next = self.converse().await.unwrap_or(Next::Reset);
        match next {
            Next::Reset => reset(&self.stream),
            Next::Close | Next::Another | Next::Doomed => close(self.stream).await,
        }
    }

    async fn converse(&mut self) -> io::Result<Next> {
        let mut doomed = false;
        loop {
            let Some(start) = self.start().await? else { return Ok(Next::Close) };
            let call = self.dispatcher.arrive(&start.head);
            if doomed {
                return Ok(Next::Reset);
            }
            let Some(body) = self.body(start.body).await? else {
                self.write(&Reply::empty(411), false).await?;
                return Ok(Next::Close);
            };
            let answer = call.answer(&start.head, &body).await;
            match self.deliver(answer, start.keep, call).await? {
                Next::Another => {}
                Next::Doomed => doomed = true,
                end @ (Next::Close | Next::Reset) => return Ok(end),
            }
        }
    }

    /// Reads a head. Returns `None` if the client left before it began one.
    async fn start(&mut self) -> io::Result<Option<Start>> {
        loop {
            match parse(&self.read) {
                Ok(Some((start, length))) => {
                    self.read.advance(length);
                    return Ok(Some(start));
                }
                Ok(None) if self.read.len() <= MOST => {}
                Ok(None) | Err(_) => return Err(self.broken()),
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) if self.read.is_empty() => return Ok(None),
                Ok(0) => return Err(self.broken()),
                Ok(_) => {}
                Err(error) if self.read.is_empty() => return Err(error),
                Err(_) => return Err(self.broken()),
            }
        }
    }

    fn broken(&self) -> io::Error {
        self.dispatcher.count(|counts| counts.broken_heads += 1);
        ErrorKind::InvalidData.into()
    }

    async fn body(&mut self, length: Option<usize>) -> io::Result<Option<Bytes>> {
        let Some(length) = length else { return Ok(None) };
        if length > MOST {
            return Err(ErrorKind::InvalidData.into());
        }
        while self.read.len() < length {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Some(self.read.split_to(length).freeze()))
    }

    async fn deliver(&mut self, answer: Answer, keep: bool, call: Call) -> io::Result<Next> {
        let Answer { reply, manner, afterwards } = answer;
        match manner {
            Manner::Whole => self.write(&reply, keep).await?,
            Manner::Drip { every, for_ever } => self.drip(&reply, every, for_ever, keep, &call).await?,
            Manner::Halves { pause: between } => {
                let whole = message(&reply, keep);
                let (first, second) = whole.split_at(whole.len() - reply.body.len().div_ceil(2));
                self.stream.write_all(first).await?;
                pause(between).await;
                call.leave();
                self.stream.write_all(second).await?;
            }
            Manner::Half => {
                let whole = message(&reply, keep);
                let half = match reply.body.len() {
                    0 => whole.len() / 2,
                    body => whole.len() - body.div_ceil(2),
                };
                self.stream.write_all(&whole[..half]).await?;
                return Ok(Next::Close);
            }
            Manner::Silence => {
                // The request ends when the client leaves, and counts as concurrent until then.
                let _ = tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await;
                drop(call);
                return Ok(Next::Close);
            }
            Manner::Reset => return Ok(Next::Reset),
            Manner::Close | Manner::GoAway { .. } | Manner::RefuseStream => return Ok(Next::Close),
        }
        Ok(match afterwards {
            Afterwards::Keep if keep => Next::Another,
            Afterwards::Keep | Afterwards::Close => Next::Close,
            Afterwards::ResetOnNext => Next::Doomed,
        })
    }

    async fn write(&mut self, reply: &Reply, keep: bool) -> io::Result<()> {
        self.stream.write_all(&message(reply, keep)).await
    }

    async fn drip(
        &mut self,
        reply: &Reply,
        every: Duration,
        for_ever: bool,
        keep: bool,
        call: &Call,
    ) -> io::Result<()> {
        let length = if for_ever { None } else { Some(reply.body.len()) };
        self.stream.write_all(&head(reply, length, keep)).await?;
        for (at, byte) in reply.body.iter().enumerate() {
            pause(every).await;
            if length == Some(at + 1) {
                call.leave();
            }
            match length {
                Some(_) => self.stream.write_all(&[*byte]).await?,
                None => self.stream.write_all(&chunk(*byte)).await?,
            }
        }
        if length.is_some() {
            return Ok(());
        }
        loop {
            pause(every).await;
            self.stream.write_all(&chunk(b' ')).await?;
        }
    }
}

/// Resets a connection.
#[allow(deprecated, reason = "what replaces it is younger than the tokio asked for; and it does not wait, with zero")]
pub(super) fn reset(stream: &TcpStream) {
    // A broken connection cannot be reset.
    let _ = stream.set_linger(Some(Duration::ZERO));
}

/// Closes a connection cleanly. Everything written arrives, even if unread bytes of the client remain.
pub(super) async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
}

fn parse(read: &[u8]) -> Result<Option<(Start, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(read)? else { return Ok(None) };
    let value = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let values = |name: &str| {
        let headers = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        headers.map(|header| String::from_utf8_lossy(header.value).trim().to_owned()).collect()
    };
    let body = match value("transfer-encoding") {
        Some(_) => None,
        None => {
            Some(value("content-length").unwrap_or("0".to_owned()).parse().map_err(|_| httparse::Error::HeaderValue)?)
        }
    };
    let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        authorization: value("authorization"),
        proofs: values("dpop"),
        content_type: value("content-type").unwrap_or_default(),
        if_none_match: value("if-none-match"),
    };
    Ok(Some((Start { head, body, keep: request.version == Some(1) && !closes }, length)))
}

fn message(reply: &Reply, keep: bool) -> BytesMut {
    let mut message = head(reply, Some(reply.body.len()), keep);
    message.extend_from_slice(&reply.body);
    message
}

/// The head of an answer. Without a length the answer is chunked.
fn head(reply: &Reply, length: Option<usize>, keep: bool) -> BytesMut {
    let reason = http::StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason());
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason.unwrap_or_default());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(length) => head.push_str(&format!("content-length: {length}\r\n")),
        None => head.push_str("transfer-encoding: chunked\r\n"),
    }
    if !keep {
        head.push_str("connection: close\r\n");
    }
    head.push_str("\r\n");
    BytesMut::from(head.as_bytes())
}

fn chunk(byte: u8) -> [u8; 6] {
    [b'1', b'\r', b'\n', byte, b'\r', b'\n']
}
