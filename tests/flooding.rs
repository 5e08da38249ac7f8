//! A server that floods the client over reqwest does not keep the host's runtime.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use http::{Method, Request};
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, HttpError, MaybeSent, Reach, ReqwestClient};
use tokio::sync::oneshot;

const REQUEST: &str = "refresh_token=rt";

/// The bytes after which the client pauses for other tasks. Another event may end a pause, but not two in a row.
const TURN: usize = 64 * 1024;

/// A server that answers one request with `flood`. It reports the arrival of the request, and the time at which the socket
/// takes no more of the flood or has all of it.
fn serve(flood: Vec<u8>) -> (String, oneshot::Receiver<()>, mpsc::Receiver<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let uri = format!("http://{}/token", listener.local_addr().unwrap());
    let ((arrived, arrival), (wrote, written)) = (oneshot::channel(), mpsc::channel());
    #[expect(
        clippy::disallowed_methods,
        reason = "a server outside the runtime under test, which ends with its client"
    )]
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(REQUEST.as_bytes()) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        arrived.send(()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let at_once = stream.write(&flood).unwrap();
        wrote.send(()).unwrap();
        stream.set_nonblocking(false).unwrap();
        // The client may close the connection within the flood.
        let _ = stream.write_all(&flood[at_once..]).and_then(|()| stream.read(&mut [0]));
    });
    (uri, arrival, written)
}

/// The outcome of one exchange on a runtime with one thread, and the number of turns that another task has while the flood is
/// read. The runtime stands still until the flood is in the socket.
fn turns(flood: Vec<u8>, max_answer: usize) -> (Result<http::StatusCode, HttpError>, usize) {
    let (uri, arrival, written) = serve(flood);
    let mut request = Request::new(Body::new(REQUEST));
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri.parse().unwrap());
    let timeout = Duration::from_secs(20);
    let exchange = Exchange { request, timeout, max_answer, departure: Departure::at_any_time(), reach: Reach::Any };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = ReqwestClient::new().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a task of this test, which waits for it")]
        let mut exchange = tokio::spawn(async move { client.send(exchange).await.map(|answer| answer.status()) });
        arrival.await.unwrap();
        written.recv().unwrap();
        let mut turns = 0;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut exchange => break outcome.unwrap(),
                () = tokio::task::yield_now() => turns += 1,
            }
        };
        (outcome, turns)
    })
}

#[test]
fn another_task_runs_while_hints_are_skipped() {
    let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    let hints = hint.repeat(7 * TURN / hint.len());
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    let (outcome, turns) = turns([hints.clone(), answer].concat(), 1_000);
    assert_eq!(outcome, Ok(http::StatusCode::OK));
    assert!(turns >= 6, "{turns} turns");
}

#[test]
fn hints_without_end_are_an_answer_that_is_too_large() {
    let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    let (outcome, turns) = turns(hint.repeat(32 * TURN / hint.len()), 1_000);
    assert_eq!(outcome, Err(HttpError::MaybeSent(MaybeSent::TooLarge)));
    assert!(turns >= 7, "{turns} turns");
}

#[test]
fn another_task_runs_while_a_body_is_read() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let (outcome, turns) = turns([head, vec![b' '; 32 * TURN]].concat(), 16 * TURN);
    assert_eq!(outcome, Err(HttpError::MaybeSent(MaybeSent::TooLarge)));
    assert!(turns >= 8, "{turns} turns");
}

/// The framing of a chunked body has no end of its own. hyper does not count the zeros before a chunk's size.
#[test]
fn framing_without_a_body_is_bounded() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let (outcome, turns) = turns([head, vec![b'0'; 32 * TURN]].concat(), 1_000);
    assert_eq!(outcome, Err(HttpError::MaybeSent(MaybeSent::TooLarge)));
    assert!(turns >= 7, "{turns} turns");
}
