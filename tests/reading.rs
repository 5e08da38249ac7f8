//! The client over reqwest reads what has arrived, however rude the peer is.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, header};
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, HttpError, MaybeSent, Reach, ReqwestClient, decode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use within::within;

const OBJECT: &str = r#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600}"#;

const REQUEST: &str = "refresh_token=rt";

/// The time-out of a request whose time-out must not pass.
const AMPLE: Duration = Duration::from_secs(3_600);

/// How the peer ends the connection.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
    /// It does not, before the client does.
    Never,
    /// It does not either, and goes on sending blanks.
    Drip,
}

/// A server that gives one answer, byte for byte, to the first request.
struct Peer {
    uri: String,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Peer {
    async fn start(answer: impl Into<Vec<u8>>, end: End) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (uri, answer) = (format!("http://{}/token", listener.local_addr().unwrap()), answer.into());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        #[expect(clippy::disallowed_methods, reason = "a server of this test, which ends it")]
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                // The client may be gone.
                drop(serve(stream, &answer, end).await);
            }
        });
        Self { uri, requests, task }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: &[u8], end: End) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(REQUEST.as_bytes()) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(answer).await?;
    match end {
        End::Close => stream.shutdown().await,
        End::Reset => stream.set_zero_linger(),
        End::Never => stream.read(&mut [0]).await.map(drop),
        End::Drip => loop {
            stream.write_all(b" ").await?;
            pause().await;
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "a peer that is slow on purpose")]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

fn exchange(uri: &str, timeout: Duration) -> Exchange {
    let mut request = Request::new(Body::new(REQUEST));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.parse().unwrap();
    Exchange { request, timeout, max_answer: 10_000, departure: Departure::at_any_time(), reach: Reach::Any }
}

/// The outcome of one request to a peer, which arrives once.
async fn asked(answer: impl Into<Vec<u8>>, end: End, timeout: Duration) -> Result<Response<Body>, HttpError> {
    let peer = Peer::start(answer, end).await;
    let client = ReqwestClient::new().unwrap();
    let outcome = within("the end of an exchange", client.send(exchange(&peer.uri, timeout))).await;
    assert_eq!(peer.requests.load(Ordering::SeqCst), 1);
    outcome
}

/// The text of an answer, decoded.
fn text(outcome: Result<Response<Body>, HttpError>) -> Result<String, HttpError> {
    let answer = decode(outcome?, 10_000).map_err(HttpError::MaybeSent)?;
    Ok(String::from_utf8(answer.body().as_bytes().to_vec()).unwrap())
}

fn message(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), body].concat()
}

fn compressed(body: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_object_that_is_whole_is_the_answer_however_its_message_ends() {
    let whole = OBJECT.as_bytes();
    let marked = ["\u{feff}", OBJECT].concat();
    let chunk = |body: &[u8]| [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
    let gzip = compressed(OBJECT);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (what, answer, due) in [
        ("a length that is too large", message("Content-Length: 999\r\n", whole), OBJECT),
        ("a length above the limit", message("Content-Length: 99999999\r\n", whole), OBJECT),
        ("a byte order mark", message("Content-Length: 999\r\n", marked.as_bytes()), marked.as_str()),
        ("no last chunk", message(chunked, &chunk(whole)), OBJECT),
        (
            "several chunks and no last one",
            message(chunked, &[chunk(&whole[..9]), chunk(&whole[9..])].concat()),
            OBJECT,
        ),
        ("half a chunk", message(chunked, &[b"fff\r\n", whole].concat()), OBJECT),
        ("a bad chunk after it", message(chunked, &[chunk(whole), b"zz\r\n".to_vec()].concat()), OBJECT),
        ("gzip", message("Content-Encoding: gzip\r\nContent-Length: 999\r\n", &gzip), OBJECT),
        ("gzip without its checksum", message("Content-Length: 999\r\n", &gzip[..gzip.len() - 8]), OBJECT),
    ] {
        for end in [End::Close, End::Reset, End::Never] {
            let read = text(asked(answer.clone(), end, AMPLE).await);
            assert_eq!(read.as_deref(), Ok(due), "{what}, {end:?}");
        }
    }
}

/// The server has consumed the refresh token that was presented. The new one must not be lost.
#[tokio::test]
async fn both_tokens_of_an_object_that_breaks_off_are_the_answer() {
    let chunk = |body: &str| format!("ffff\r\n{body}").into_bytes();
    for length in [OBJECT.len() - 1, OBJECT.len() - 3, OBJECT.len() - 12, OBJECT.len() - 19] {
        let half = &OBJECT[..length];
        let gzip = compressed(half);
        for (what, answer) in [
            ("a length", message("Content-Length: 64\r\n", half.as_bytes())),
            ("a length above the limit", message("Content-Length: 99999999\r\n", half.as_bytes())),
            ("half a chunk", message("Transfer-Encoding: chunked\r\n", &chunk(half))),
            ("neither", message("", half.as_bytes())),
            ("gzip without its checksum", message("Content-Length: 999\r\n", &gzip[..gzip.len() - 8])),
        ] {
            for end in [End::Close, End::Reset] {
                let read = text(asked(answer.clone(), end, AMPLE).await);
                assert_eq!(read.as_deref(), Ok(half), "{what}, {end:?}");
            }
        }
        let answer = message("Content-Length: 999\r\n", half.as_bytes());
        let read = text(asked(answer, End::Never, Duration::from_millis(300)).await);
        assert_eq!(read.as_deref(), Ok(half), "silence");
    }
    let endless = [&OBJECT[..OBJECT.len() - 1], &",\"x\":1".repeat(10_000)].concat();
    let answer = asked(message("", endless.as_bytes()), End::Close, AMPLE).await.unwrap();
    assert_eq!(answer.body().as_bytes(), &endless.as_bytes()[..10_000], "as much as is kept");
}

#[tokio::test]
async fn both_tokens_under_another_status_than_200_are_no_answer() {
    for status in ["201 Created", "400 Bad Request", "500 X"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 64\r\n\r\n{}", &OBJECT[..OBJECT.len() - 1]);
        let outcome = asked(answer, End::Close, AMPLE).await;
        assert_eq!(outcome.err(), Some(HttpError::MaybeSent(MaybeSent::Broken)), "{status}");
    }
}

#[tokio::test]
async fn an_object_whose_message_never_ends_is_the_answer_at_the_time_out() {
    let answer = message("Content-Length: 9999\r\n", OBJECT.as_bytes());
    let read = text(asked(answer, End::Drip, Duration::from_millis(300)).await);
    assert_eq!(read.as_deref().map(str::trim_end), Ok(OBJECT));
}

#[tokio::test]
async fn bytes_after_the_object_are_returned_with_it() {
    let body = [OBJECT, "\n<!-- served by a proxy -->"].concat();
    let read = text(asked(message("Content-Length: 999\r\n", body.as_bytes()), End::Close, AMPLE).await);
    assert_eq!(read.as_deref(), Ok(body.as_str()));
}

#[tokio::test]
async fn anything_less_than_both_tokens_is_lost_with_its_message() {
    let half = br#"{"access_token":"at-1","refresh_token":"rt-1"#;
    let gzip = compressed(std::str::from_utf8(half).unwrap());
    for (what, answer) in [
        ("half an object", message("Content-Length: 999\r\n", half)),
        ("half an object in a chunk", message("Transfer-Encoding: chunked\r\n\r\nff\r\n", half)),
        ("one token", message("Content-Length: 999\r\n", br#"{"access_token":"at-1","expires_in":3600"#)),
        ("half an object in gzip", message("Content-Length: 999\r\n", &gzip[..gzip.len() - 8])),
        ("a form", message("Content-Length: 999\r\n", b"access_token=at&refresh_token=rt")),
        ("an array", message("Content-Length: 999\r\n", b"[{}]")),
        ("nothing", message("Content-Length: 999\r\n", b"")),
    ] {
        let lost = |why| Some(HttpError::MaybeSent(why));
        assert_eq!(asked(answer.clone(), End::Close, AMPLE).await.err(), lost(MaybeSent::Broken), "{what}");
        assert_eq!(asked(answer.clone(), End::Reset, AMPLE).await.err(), lost(MaybeSent::Broken), "{what}");
        let short = Duration::from_millis(1_200);
        assert_eq!(asked(answer, End::Never, short).await.err(), lost(MaybeSent::TimedOut), "{what}");
    }
}

#[tokio::test]
async fn an_invalid_header_line_costs_no_answer() {
    for header in [
        "Set-Cookie: ___utmva=dmo\u{1}OZPF; path=/\r\n",
        "X-Folded: one\r\n\ttwo\r\n   three\r\n",
        "X-Blank : 1\r\n",
        "X Blank: 1\r\n",
        "X-\u{e9}: \u{e9}\r\n",
        "no colon\r\n",
        ": no name\r\n",
        "X-Escape: \u{1b}[0m\u{7f}\r\n",
        &"X-Trace: 1\r\n".repeat(150),
        &"X-Trace: 1\r\n".repeat(900),
        &format!("X-Long: {}\r\n", "x".repeat(100_000)),
    ] {
        let headers = format!("{header}Retry-After: 5\r\nContent-Length: {}\r\n", OBJECT.len());
        let answer = asked(message(&headers, OBJECT.as_bytes()), End::Never, AMPLE).await;
        let shown: String = header.chars().take(40).collect();
        let retry_after = answer.as_ref().map(|answer| answer.headers().get(header::RETRY_AFTER).is_some());
        assert_eq!(retry_after, Ok(true), "{shown:?}");
        assert_eq!(text(answer).as_deref(), Ok(OBJECT), "{shown:?}");
    }
}

/// A dead peer is noticed by the kernel's probes, because the time-out may be minutes away.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_waits_for_its_answer_is_probed() {
    let peer = Peer::start("", End::Never).await;
    // The settings of a host that wants none of it.
    let client = ReqwestClient::with(|| {
        reqwest::Client::builder().tcp_keepalive(None).tcp_user_timeout(None).read_timeout(Duration::from_millis(1))
    });
    let client = client.unwrap();
    let port = peer.uri.rsplit([':', '/']).nth(1).unwrap().parse::<u16>().unwrap();
    let timer = async {
        loop {
            if peer.requests.load(Ordering::SeqCst) == 1
                && let Some(timer) = keep_alive_timer(port)
            {
                return timer;
            }
            tokio::task::yield_now().await;
        }
    };
    let call = client.send(exchange(&peer.uri, AMPLE));
    let timer = tokio::select! {
        outcome = call => panic!("{outcome:?}"),
        timer = within("a probe that is due", timer) => timer,
    };
    assert!(timer <= Duration::from_secs(10), "{timer:?}");
}

/// When the next probe of the connection to `port` is due, if it has such a timer (proc(5), `/proc/net/tcp`).
#[cfg(target_os = "linux")]
fn keep_alive_timer(port: u16) -> Option<Duration> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!(":{port:04X}");
    // An earlier connection to this port may still be listed.
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().filter(|remote| remote.ends_with(&peer))?;
        let (kind, ticks) = fields.nth(2)?.split_once(':')?;
        // 2 is keep-alive. Ticks are hundredths of a second.
        (kind == "02").then(|| Duration::from_millis(10 * u64::from_str_radix(ticks, 16).unwrap()))
    })
}
