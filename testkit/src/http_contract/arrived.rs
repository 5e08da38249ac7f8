//! An answer that has arrived is read.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use http::{HeaderValue, Response, header};
use tokenkeeper::http::{Body, Exchange, HttpClient, decode};
use tokio::sync::oneshot;

use super::Finding;
use super::kit::{AMPLE, BODY, Outcome, SHORT, answer, answered, arrived_once, call_within, exchange, ok, shown};
use super::server::{Act, Server};
use crate::contract::{Breach, ensure, same};

const OBJECT: &str = r#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600}"#;

/// [`OBJECT`] in each encoding, by Node's zlib. `deflate` has a zlib wrapper in practice, and sometimes none.
const COMPRESSED: &[(&str, &[u8])] = &[
    (
        "gzip",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x4a\x4c\x4e\x4e\x2d\x2e\x8e\x2f\xc9\xcf\x4e\xcd\
          \x53\xb2\x52\x4a\x2c\xd1\x35\x54\xd2\x51\x2a\x4a\x4d\x2b\x4a\x2d\xce\x80\x0b\x17\x41\x84\x53\x2b\
          \x0a\x32\x8b\x52\x8b\xe3\x33\xf3\x94\xac\x8c\xcd\x0c\x0c\x6a\x01\xb0\x9d\x5f\xd4\x40\x00\x00\x00",
    ),
    (
        "deflate",
        b"\x78\x9c\xab\x56\x4a\x4c\x4e\x4e\x2d\x2e\x8e\x2f\xc9\xcf\x4e\xcd\x53\xb2\x52\x4a\x2c\xd1\x35\x54\
          \xd2\x51\x2a\x4a\x4d\x2b\x4a\x2d\xce\x80\x0b\x17\x41\x84\x53\x2b\x0a\x32\x8b\x52\x8b\xe3\x33\xf3\
          \x94\xac\x8c\xcd\x0c\x0c\x6a\x01\xc5\x1d\x15\x2a",
    ),
    (
        "deflate",
        b"\xab\x56\x4a\x4c\x4e\x4e\x2d\x2e\x8e\x2f\xc9\xcf\x4e\xcd\x53\xb2\x52\x4a\x2c\xd1\x35\x54\xd2\x51\
          \x2a\x4a\x4d\x2b\x4a\x2d\xce\x80\x0b\x17\x41\x84\x53\x2b\x0a\x32\x8b\x52\x8b\xe3\x33\xf3\x94\xac\
          \x8c\xcd\x0c\x0c\x6a\x01",
    ),
    (
        "br",
        b"\x1b\x3f\x00\x80\xad\x8e\xb7\x09\x78\x3d\xe8\xd8\x5c\x27\x95\x7d\x2d\x32\x63\xb3\xb7\x62\xd2\x2a\
          \x4c\xae\x59\x74\xca\xe8\x14\x4c\x5f\x7e\xb5\x88\x38\xc6\x81\x0c\xaa\x37\x4c\xd7\x42\x83\xe8\x8d\
          \xf8\x98\x50\x7a\x49\xf6\xf1\x26\x0f\xb6\x42\x8a\x0c\x88\xac\x11",
    ),
];

/// The time-out of the call whose time-out fires late.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// Returns a breach unless the call is answered with the bytes of `body`, decoded.
async fn is_read(client: &Arc<dyn HttpClient>, what: &str, timeout: Duration, act: Act, body: &str) -> Finding {
    let server = Server::always(act).await?;
    let outcome = call_within(client, &server, timeout, 10_000).await?;
    has_body(outcome, what, body)?;
    arrived_once(&server.log())
}

fn has_body(outcome: Outcome, what: &str, body: &str) -> Finding {
    ensure(outcome.is_ok(), || format!("{what}: the answer arrived, and the client says {}", shown(&outcome)))?;
    answered(&outcome, 200)?;
    let decoded = outcome
        .and_then(|answer: Response<Body>| decode(answer, 10_000).map_err(tokenkeeper::http::HttpError::MaybeSent));
    let text = decoded.map(|answer| String::from_utf8_lossy(answer.body().as_bytes()).into_owned());
    same(what, text.as_deref(), Ok(body))
}

/// The connection ends, or falls silent, after the object and before the end that the framing announced.
pub async fn a_whole_object_in_a_message_that_breaks_off_is_an_answer(client: Arc<dyn HttpClient>) -> Finding {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = OBJECT.len();
    for (what, message) in [
        ("a length one too large", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{OBJECT}", length + 1)),
        ("no last chunk", format!("{chunked}{length:x}\r\n{OBJECT}\r\n")),
        ("half a chunk", format!("{chunked}ff\r\n{OBJECT}")),
    ] {
        let message = message.into_bytes();
        is_read(&client, what, AMPLE, Act::AnswerAndEnd(message.clone()), OBJECT).await?;
        is_read(&client, what, SHORT, Act::AnswerAndHang(message), OBJECT).await?;
    }
    Ok(())
}

/// The connection ends, or falls silent, within the object and after its two tokens. The server has consumed the old
/// refresh token, so the new one must not be lost.
pub async fn both_tokens_in_a_message_that_breaks_off_are_an_answer(client: Arc<dyn HttpClient>) -> Finding {
    let pair = OBJECT.strip_suffix(r#","expires_in":3600}"#).unwrap_or(OBJECT);
    for (what, half) in [("no brace", &OBJECT[..OBJECT.len() - 1]), ("no more than the tokens", pair)] {
        for (framing, head) in [
            ("a length", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", OBJECT.len())),
            ("half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n".to_owned()),
        ] {
            let (what, message) = (format!("{what}, {framing}"), format!("{head}{half}").into_bytes());
            is_read(&client, &what, AMPLE, Act::AnswerAndEnd(message.clone()), half).await?;
            is_read(&client, &what, SHORT, Act::AnswerAndHang(message), half).await?;
        }
    }
    Ok(())
}

/// Header lines that are not HTTP, and that no client of a token endpoint needs.
pub async fn an_invalid_header_line_costs_no_answer(client: Arc<dyn HttpClient>) -> Finding {
    for (what, header) in [
        ("a control character", "Set-Cookie: a=\u{1}b; path=/\r\n"),
        ("a folded line", "X-Policy: one\r\n two\r\n"),
        ("a blank before the colon", "X-Cache : miss\r\n"),
        ("a name with a blank", "X Cache: miss\r\n"),
        ("a line without a colon", "nonsense\r\n"),
    ] {
        let act = Act::Answer(answer("200 OK", &format!("{header}Retry-After: 5\r\n"), OBJECT));
        is_read(&client, what, AMPLE, act, OBJECT).await?;
    }
    Ok(())
}

/// A proxy's headers, of which there may be many.
pub async fn more_than_a_hundred_headers_are_read(client: Arc<dyn HttpClient>) -> Finding {
    let many = "X-Trace: 0123456789\r\n".repeat(300);
    let act = Act::Answer(answer("200 OK", &many, OBJECT));
    is_read(&client, "300 headers", AMPLE, act, OBJECT).await
}

/// A proxy compresses although the request asks for `identity`. The client decodes the body, or returns it so that tokenkeeper
/// decodes it, for which tokenkeeper needs its feature `decompression`.
pub async fn a_compressed_answer_can_be_decoded(client: Arc<dyn HttpClient>) -> Finding {
    for (encoding, body) in COMPRESSED {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n", body.len());
        let server = Server::always(Act::Answer([head.as_bytes(), body].concat())).await?;
        let outcome = call_within(&client, &server, AMPLE, 10_000).await?;
        let is_as_it_arrived = outcome.as_ref().is_ok_and(|answer| answer.body().as_bytes() == *body);
        ensure(!is_as_it_arrived || tokenkeeper_decodes(encoding, body), || {
            format!(
                "{encoding}: the client returned a compressed answer as it arrived, and this build of tokenkeeper does not \
                 decode it: turn on tokenkeeper's feature `decompression`, or decode answers in the client"
            )
        })?;
        has_body(outcome, encoding, OBJECT)?;
        arrived_once(&server.log())?;
    }
    Ok(())
}

/// Whether tokenkeeper is built with its feature `decompression`.
fn tokenkeeper_decodes(encoding: &'static str, body: &[u8]) -> bool {
    let mut answer = Response::new(Body::new(body));
    answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    decode(answer, 10_000).is_ok_and(|answer| answer.body().as_bytes() == OBJECT.as_bytes())
}

/// The time-out passes while the runtime's only thread is blocked, and the answer arrives in that time. The client
/// finds both when the thread continues. A process that is stopped for a while does so, too.
#[expect(clippy::disallowed_methods, reason = "a runtime that is blocked on purpose, and a server outside it")]
pub async fn an_answer_that_arrived_outlives_a_late_time_out(client: Arc<dyn HttpClient>) -> Finding {
    let (report, outcome) = oneshot::channel();
    std::thread::spawn(move || drop(report.send(oversleep(&client))));
    let outcome = outcome.await.map_err(|_| Breach::new("the client panicked"))??;
    has_body(outcome, "an answer that came while the runtime was blocked", r#"{"access_token":"at"}"#)
}

/// The outcome of a call on a runtime that is blocked from the arrival of the request until the time-out is over.
#[expect(clippy::disallowed_methods, reason = "a runtime that is blocked on purpose, and a server outside it")]
fn oversleep(client: &Arc<dyn HttpClient>) -> Result<Outcome, Breach> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let exchange = exchange(&format!("http://{}/token", listener.local_addr()?))?;
    let (arrived, arrival) = oneshot::channel();
    let (sleep, sleeps) = mpsc::channel::<()>();
    let (wrote, written) = mpsc::channel();
    std::thread::spawn(move || {
        let serve = || {
            let (mut stream, _) = listener.accept()?;
            let mut request = Vec::new();
            while !request.ends_with(BODY.as_bytes()) {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                request.extend(byte);
            }
            let _ = arrived.send(());
            let _ = sleeps.recv();
            stream.write_all(&ok())?;
            let _ = wrote.send(());
            // Until the client closes the connection.
            stream.read(&mut [0; 1])
        };
        drop(serve());
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut call = client.send(Exchange { timeout: OVERSLEPT, ..exchange });
        tokio::select! {
            outcome = &mut call => return Ok(outcome),
            _ = arrival => {}
        }
        drop(sleep);
        let _ = written.recv();
        // Longer than the time-out, so that the timer is due when the runtime next looks at it.
        std::thread::sleep(2 * OVERSLEPT);
        Ok(call.await)
    })
}
