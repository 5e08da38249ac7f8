//! A gate before an MCP server without protection. It checks the tokens, and records the bytes that pass.

use std::sync::{Arc, Mutex};

use tokenkeeper_testkit::hostile::{TokenVerdict, Verifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request that was let through, and its answer as far as it has passed.
#[derive(Clone, Default)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) body: Vec<u8>,
    answer: Vec<u8>,
}

/// The gate. Every request has a connection of its own.
pub(crate) struct Gate {
    pub(crate) url: String,
    passed: Arc<Mutex<Vec<Exchange>>>,
}

impl Gate {
    /// A gate before the server at this port. The path of its URL is `/mcp`.
    pub(crate) async fn before(port: u16, verifier: Verifier) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let passed = Arc::<Mutex<Vec<Exchange>>>::default();
        let (resource, record) = (url.clone(), Arc::clone(&passed));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (verifier, resource, record) = (verifier.clone(), resource.clone(), Arc::clone(&record));
                tokio::spawn(async move { pass(client, port, &verifier, &resource, &record).await });
            }
        });
        Self { url, passed }
    }

    /// The exchanges in the order in which they began.
    pub(crate) fn passed(&self) -> Vec<Exchange> {
        self.passed.lock().unwrap().clone()
    }
}

impl Exchange {
    /// The messages of the answer, as the server has written them.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let Some(end) = find(&self.answer, b"\r\n\r\n") else { return Vec::new() };
        let head = String::from_utf8_lossy(&self.answer[..end]).to_lowercase();
        let mut body = self.answer[end + 4..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        if !head.contains("text/event-stream") {
            return if body.starts_with(b"{") { vec![body] } else { Vec::new() };
        }
        let lines = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines = lines.filter_map(|line| line.strip_prefix(b"data: "));
        lines.filter(|data| !data.is_empty()).map(<[u8]>::to_vec).collect()
    }
}

/// Passes one request on.
async fn pass(mut client: TcpStream, port: u16, verifier: &Verifier, resource: &str, record: &Mutex<Vec<Exchange>>) {
    let Some((head, body)) = request(&mut client).await else { return };
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let authorization = header("authorization");
    if let TokenVerdict::Refused { status, challenge } =
        verifier.admit(authorization.as_deref().map(str::as_bytes), resource, &[])
    {
        let answer = format!(
            "HTTP/1.1 {status} Refused\r\nwww-authenticate: {challenge}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let number = {
        let mut record = record.lock().unwrap();
        let method = head.split(' ').next().unwrap().to_owned();
        record.push(Exchange { method, body: body.clone(), answer: Vec::new() });
        record.len() - 1
    };
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let is_left_out = |line: &&str| {
        let name = line.split(':').next().unwrap().to_lowercase();
        !["authorization", "connection", ""].contains(&&*name)
    };
    let lines: Vec<&str> = head.lines().filter(is_left_out).collect();
    let head = format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n"));
    server.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut part = vec![0; 64 * 1024];
    loop {
        let mut ended = [0; 1];
        let length = tokio::select! {
            length = server.read(&mut part) => length.unwrap_or_default(),
            // The client gives up the answer.
            _ = client.read(&mut ended) => return,
        };
        if length == 0 {
            return;
        }
        // Before it is passed, so that the record has all that the client has.
        record.lock().unwrap()[number].answer.extend_from_slice(&part[..length]);
        // The server keeps the connections of its streams, and the gate does not.
        if let Some(at) = find(&part[..length], b"connection: keep-alive") {
            part[at..at + 22].copy_from_slice(b"connection: close     ");
        }
        if client.write_all(&part[..length]).await.is_err() {
            return;
        }
    }
}

/// Reads the head and the body of a request.
async fn request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let lengths =
        head.lines().filter_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    let length: usize = lengths.sum();
    while bytes.len() < end + 4 + length {
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes[end + 4..].to_vec()))
}

/// The body without the marks of its chunks (RFC 9112 section 7.1). The last chunk may be incomplete.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = find(bytes, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap().trim(), 16).unwrap();
        let (from, to) = (end + 2, (end + 2 + size).min(bytes.len()));
        body.extend_from_slice(&bytes[from..to]);
        bytes = &bytes[(to + 2).min(bytes.len())..];
    }
    body
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
