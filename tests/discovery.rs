//! Discovery over real sockets, with the client that ships.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "these are tests with servers of their own"
)]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokenkeeper::ResourceUri;
use tokenkeeper::discovery::{Discovery, DiscoveryError, Freshness, Probe};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::http::ReqwestClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use within::within;

/// A resource and its authorization server, on one port.
struct Server {
    base: String,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

impl Server {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Self { base, requests: Mutex::default(), connections: AtomicUsize::new(0) });
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        server
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            let mut piece = [0; 1024];
            match stream.read(&mut piece).await {
                Ok(read @ 1..) => head.extend_from_slice(&piece[..read]),
                Ok(0) | Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let request = head.lines().next().unwrap().rsplit_once(' ').unwrap().0.to_owned();
        assert!(!head.to_ascii_lowercase().contains("authorization:"), "{head}");
        self.requests.lock().unwrap().push(request.clone());
        let _ = stream.write_all(self.answer(&request).as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn answer(&self, request: &str) -> String {
        let base = &self.base;
        let (status, header, body) = match request {
            "POST /mcp" => {
                let challenge = format!("Bearer resource_metadata=\"{base}/redirected\", scope=\"a\"");
                (401, format!("WWW-Authenticate: Basic realm=\"x\", {challenge}\r\n"), String::new())
            }
            "GET /redirected" => (302, "Location: /prm\r\n".to_owned(), String::new()),
            "GET /prm" => {
                let body = format!(r#"{{"resource":"{base}/mcp","authorization_servers":["{base}/as"]}}"#);
                (200, String::new(), body)
            }
            "GET /.well-known/openid-configuration/as" => {
                let issuer = format!("{base}/as");
                let endpoints = format!(r#""authorization_endpoint":"{issuer}/a","token_endpoint":"{issuer}/t""#);
                let body =
                    format!(r#"{{"issuer":"{issuer}",{endpoints},"code_challenge_methods_supported":["S256"]}}"#);
                (200, String::new(), body)
            }
            "GET /.well-known/oauth-protected-resource/huge" => (200, String::new(), " ".repeat(10 * 1024 * 1024)),
            "GET /.well-known/oauth-protected-resource/private" => {
                (302, "Location: http://10.255.255.1/x\r\n".to_owned(), String::new())
            }
            _ => (404, String::new(), String::new()),
        };
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    fn resource(&self, path: &str) -> ResourceUri {
        ResourceUri::parse(&[&self.base, path].concat()).unwrap()
    }
}

fn discovery() -> Discovery {
    Discovery::new(Arc::new(ReqwestClient::new().unwrap()), Arc::new(SystemClock::new().unwrap()))
}

#[tokio::test]
async fn from_the_first_401_to_the_token_endpoint() {
    let server = Server::start().await;
    let (found, resource) = (discovery(), server.resource("/mcp"));
    let probe = within("the probe", found.probe(&resource)).await.unwrap();
    assert!(matches!(&probe, Probe::Challenged(challenges) if challenges.len() == 2), "{probe:?}");
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (found, resource, probe) = (found.clone(), resource.clone(), probe.clone());
            tokio::spawn(async move {
                found.authorization_server(&resource, probe.challenge(), None, Freshness::Cached).await
            })
        })
        .collect();
    for caller in callers {
        let discovered = within("a caller", caller).await.unwrap().unwrap();
        assert_eq!(discovered.resource.resource, resource.as_str());
        assert_eq!(discovered.server.token_endpoint, format!("{}/as/t", server.base));
        discovered.server.require_pkce().unwrap();
    }
    let due = [
        "POST /mcp",
        "GET /redirected",
        "GET /prm",
        "GET /.well-known/oauth-authorization-server/as",
        "GET /.well-known/openid-configuration/as",
    ];
    assert_eq!(*server.requests.lock().unwrap(), due);
    assert_eq!(server.connections.load(Ordering::SeqCst), due.len());
}

#[tokio::test]
async fn ten_megabytes_and_a_redirect_into_the_network_are_refused() {
    let server = Server::start().await;
    let found = discovery();
    let huge = within("10 MB", found.resource(&server.resource("/huge"), None, Freshness::Cached)).await;
    assert_eq!(huge, Err(DiscoveryError::TooLarge));
    let private = within("a redirect", found.resource(&server.resource("/private"), None, Freshness::Cached)).await;
    assert_eq!(private, Err(DiscoveryError::UnsafeAddress { member: "Location" }));
}

#[tokio::test]
async fn a_closed_port_cannot_be_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let resource = ResourceUri::parse(&format!("http://{}/mcp", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let result = within("a closed port", discovery().resource(&resource, None, Freshness::Cached)).await;
    assert_eq!(result, Err(DiscoveryError::Unreachable));
}
