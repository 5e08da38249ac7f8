//! A server whose every answer a test writes by hand, byte for byte.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::client::{INITIALIZED, ProxyClient, initialize, within};

/// The server. Requests wait until the test takes them.
pub(crate) struct OddServer {
    url: String,
    requests: UnboundedReceiver<OddRequest>,
    waiting: VecDeque<OddRequest>,
}

/// A request that arrived, and its connection.
pub(crate) struct OddRequest {
    pub(crate) method: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    socket: TcpStream,
    again: UnboundedSender<OddRequest>,
}

/// A stream of events that has begun.
pub(crate) struct OddStream(OddRequest);

impl OddServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (sender, requests) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                tokio::spawn(read(socket, sender.clone()));
            }
        });
        Self { url, requests, waiting: VecDeque::new() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The next request with this HTTP method.
    pub(crate) async fn next(&mut self, method: &str) -> OddRequest {
        if let Some(at) = self.waiting.iter().position(|exchange| exchange.method == method) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let exchange = within(method, self.requests.recv()).await.unwrap();
            if exchange.method == method {
                return exchange;
            }
            self.waiting.push_back(exchange);
        }
    }

    /// The next POST.
    pub(crate) async fn post(&mut self) -> OddRequest {
        self.next("POST").await
    }

    /// The requests that have arrived and were not taken, by their HTTP methods.
    pub(crate) fn left(&mut self) -> Vec<String> {
        while let Ok(exchange) = self.requests.try_recv() {
            self.waiting.push_back(exchange);
        }
        self.waiting.iter().map(|exchange| exchange.method.clone()).collect()
    }

    /// Lets a client open a session with this identifier, and returns the standing stream's request.
    pub(crate) async fn open(&mut self, proxy: &mut ProxyClient, session: &str) -> OddRequest {
        proxy.send(initialize().to_string()).await;
        self.answer_initialize(session).await;
        assert_eq!(proxy.message().await["result"]["protocolVersion"], "2025-06-18");
        proxy.send(INITIALIZED).await;
        let initialized = self.post().await;
        assert_eq!(initialized.body, INITIALIZED.as_bytes());
        initialized.accepted().await;
        self.next("GET").await
    }

    pub(crate) async fn answer_initialize(&mut self, session: &str) {
        let post = self.post().await;
        assert_eq!(post.json()["method"], "initialize");
        let result = json!({ "protocolVersion": "2025-06-18", "serverInfo": { "name": "odd", "version": "1" },
            "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true, "listChanged": true } } });
        let answer = json!({ "jsonrpc": "2.0", "id": post.json()["id"], "result": result });
        post.reply(200, &[("content-type", "application/json"), ("mcp-session-id", session)], answer.to_string()).await;
    }
}

async fn read(mut socket: TcpStream, requests: UnboundedSender<OddRequest>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match socket.read_buf(&mut bytes).await {
            Ok(1..) => {}
            _ => return,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let method = lines.next().unwrap().split(' ').next().unwrap().to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + length {
        match socket.read_buf(&mut bytes).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let (body, again) = (bytes[end..].to_vec(), requests.clone());
    let _ = requests.send(OddRequest { method, headers, body, socket, again });
}

impl OddRequest {
    /// The first header with this name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names of all headers that begin with this.
    pub(crate) fn headers_like(&self, start: &str) -> Vec<(&str, &str)> {
        let names = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        names.filter(|(name, _)| name.starts_with(start)).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Answers, and reads the next request of the connection.
    pub(crate) async fn reply(self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.as_ref().len();
        let head = format!("HTTP/1.1 {status} Odd\r\n{headers}content-length: {length}\r\n\r\n");
        self.raw([head.as_bytes(), body.as_ref()].concat()).await;
    }

    /// Answers with a message.
    pub(crate) async fn answer(self, body: impl AsRef<[u8]>) {
        self.reply(200, &[("content-type", "application/json")], body).await;
    }

    /// Answers the request with this result.
    pub(crate) async fn result(self, result: Value) {
        let answer = json!({ "jsonrpc": "2.0", "id": self.json()["id"], "result": result });
        self.answer(answer.to_string()).await;
    }

    pub(crate) async fn accepted(self) {
        self.reply(202, &[], "").await;
    }

    /// Sends any bytes, and reads the next request of the connection.
    pub(crate) async fn raw(mut self, bytes: impl AsRef<[u8]>) {
        if self.socket.write_all(bytes.as_ref()).await.is_ok() {
            tokio::spawn(read(self.socket, self.again));
        }
    }

    /// Sends any bytes, and closes the connection.
    pub(crate) async fn write_and_close(mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
        self.socket.shutdown().await.unwrap();
    }

    /// Begins to answer with events.
    pub(crate) async fn events(mut self) -> OddStream {
        let head = "HTTP/1.1 200 Odd\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        self.socket.write_all(head.as_bytes()).await.unwrap();
        OddStream(self)
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        let _ = within("the end of a connection", self.socket.read_to_end(&mut rest)).await;
    }
}

impl OddStream {
    /// Sends bytes of the stream. Returns whether the client has taken them.
    pub(crate) async fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.0.socket.write_all(&chunk).await.is_ok()
    }

    /// Sends an event with this data.
    pub(crate) async fn event(&mut self, data: impl std::fmt::Display) {
        assert!(self.bytes(format!("data: {data}\n\n")).await);
    }

    /// Ends the stream properly.
    pub(crate) async fn end(mut self) {
        self.0.socket.write_all(b"0\r\n\r\n").await.unwrap();
        tokio::spawn(read(self.0.socket, self.0.again));
    }

    /// Breaks the connection.
    pub(crate) fn cut(self) {
        drop(self);
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn closed(self) {
        self.0.closed().await;
    }
}
