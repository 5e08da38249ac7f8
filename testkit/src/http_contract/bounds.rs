//! Time and memory are bounded, regardless of the peer's behaviour.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::http::{HttpClient, MaybeSent};

use super::Finding;
use super::kit::{AMPLE, SHORT, answer, answered, arrived_once, call_within, maybe_sent, maybe_sent_and, ok};
use super::server::{Act, Server};
use crate::contract::same;

/// The limit for an answer's body in these checks.
const MOST: usize = 10_000;

/// The bytes of hints that no client should read.
const FLOOD: usize = 16 * 1024 * 1024;

async fn is_over_in_time(client: &Arc<dyn HttpClient>, what: &str, act: Act) -> Finding {
    let server = Server::always(act).await?;
    let outcome = call_within(client, &server, SHORT, MOST).await?;
    maybe_sent_and(&outcome, MaybeSent::TimedOut, what)?;
    arrived_once(&server.log())
}

async fn is_too_large(client: &Arc<dyn HttpClient>, what: &str, act: Act) -> Finding {
    let server = Server::always(act).await?;
    let outcome = call_within(client, &server, AMPLE, MOST).await?;
    maybe_sent_and(&outcome, MaybeSent::TooLarge, what)?;
    arrived_once(&server.log())
}

/// A server that accepts and never answers, or stops in the middle of its answer.
pub async fn silence_ends_in_time(client: Arc<dyn HttpClient>) -> Finding {
    for (what, begin) in [
        ("silence", ""),
        ("silence within the head", "HTTP/1.1 200 OK\r\nConte"),
        ("silence within the body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        ("silence within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"),
        ("silence after a hint", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        is_over_in_time(&client, what, Act::AnswerAndHang(begin.into())).await?;
    }
    Ok(())
}

/// A byte now and then does not extend the time-out. The time-out covers the whole exchange.
pub async fn an_answer_that_drips_ends_in_time(client: Arc<dyn HttpClient>) -> Finding {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n";
    is_over_in_time(&client, "a body that drips", Act::Drip(head.into(), b" ".to_vec())).await?;
    let head = "HTTP/1.1 200 OK\r\nX: ";
    is_over_in_time(&client, "a head that drips", Act::Drip(head.into(), b"x".to_vec())).await?;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    is_over_in_time(&client, "chunks that drip", Act::Drip(head.into(), b"1\r\n \r\n".to_vec())).await
}

/// Informational responses that never end in an answer.
pub async fn endless_hints_end_in_time(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Drip(Vec::new(), b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec())).await?;
    let outcome = call_within(&client, &server, SHORT, MOST).await?;
    // The client may stop at its time-out or at a maximum number of hints.
    maybe_sent(&outcome, "endless hints")?;
    arrived_once(&server.log())
}

/// Informational responses are bounded like a head. The answer that follows 16 MiB of them is not waited for.
pub async fn a_flood_of_hints_is_not_read(client: Arc<dyn HttpClient>) -> Finding {
    let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    let mut flood = hint.repeat(FLOOD / hint.len());
    flood.extend(ok());
    let server = Server::always(Act::AnswerAndEnd(flood)).await?;
    let outcome = call_within(&client, &server, AMPLE, MOST).await?;
    maybe_sent(&outcome, "a flood of hints")?;
    arrived_once(&server.log())
}

/// The limit is inclusive.
pub async fn a_body_as_large_as_allowed_is_read(client: Arc<dyn HttpClient>) -> Finding {
    let body = "x".repeat(MOST);
    let unmeasured = format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes();
    for act in [Act::Answer(answer("200 OK", "", &body)), Act::AnswerAndEnd(unmeasured)] {
        let server = Server::always(act).await?;
        let outcome = call_within(&client, &server, AMPLE, MOST).await?;
        answered(&outcome, 200)?;
        same("the length read", outcome.map(|answer| answer.body().as_bytes().len()), Ok(MOST))?;
    }
    Ok(())
}

/// A body one byte longer is too large, regardless of how it is framed.
pub async fn a_body_one_byte_larger_is_too_large(client: Arc<dyn HttpClient>) -> Finding {
    let body = "x".repeat(MOST + 1);
    is_too_large(&client, "a length that is too large", Act::Answer(answer("200 OK", "", &body))).await?;
    let unmeasured = format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes();
    is_too_large(&client, "a body that is too large", Act::AnswerAndEnd(unmeasured)).await?;
    let chunks =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    is_too_large(&client, "chunks that are too large", Act::Answer(chunks.into())).await
}

/// Reading of an endless body stops at the limit.
pub async fn an_endless_body_is_too_large(client: Arc<dyn HttpClient>) -> Finding {
    let piece = vec![b' '; 4096];
    is_too_large(&client, "an endless body", Act::Flood(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), piece)).await?;
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096)).into_bytes();
    let head = b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    is_too_large(&client, "endless chunks", Act::Flood(head, chunk)).await
}

/// Reading of an endless head stops at a size limit or at the time-out.
pub async fn an_endless_head_ends(client: Arc<dyn HttpClient>) -> Finding {
    let begin = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (what, begin, piece) in [
        ("endless headers", begin.clone(), b"X-A: b\r\n".repeat(100)),
        ("an endless header", [begin, b"X-A: ".to_vec()].concat(), vec![b'x'; 4096]),
        ("an endless status line", b"HTTP/1.1 200 ".to_vec(), vec![b'x'; 4096]),
    ] {
        let server = Server::always(Act::Flood(begin, piece)).await?;
        let outcome = call_within(&client, &server, Duration::from_secs(5), MOST).await?;
        maybe_sent(&outcome, what)?;
        arrived_once(&server.log())?;
    }
    Ok(())
}

/// Memory is allocated for the bytes received, and not for the announced length.
pub async fn a_length_that_lies_takes_no_memory(client: Arc<dyn HttpClient>) -> Finding {
    for length in ["4611686018427387904", "18446744073709551614"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{{");
        let server = Server::always(Act::AnswerAndHang(head.into())).await?;
        let outcome = call_within(&client, &server, SHORT, MOST).await?;
        maybe_sent(&outcome, "a length that lies")?;
        arrived_once(&server.log())?;
    }
    Ok(())
}
