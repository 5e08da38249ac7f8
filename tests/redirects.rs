//! The redirects that a host's own client follows with a token, on real sockets.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "tasks of tests")]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reqwest::Client;
use tokenkeeper::ResourceUri;
use tokenkeeper::http::redirects;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use within::within;

const BODY: &str = "{\"id\":1}";

/// An origin that redirects some of its paths, answers 200 to the others, and notes what arrives.
struct Origin {
    url: String,
    redirects: BTreeMap<&'static str, (u16, String)>,
    arrived: Mutex<Vec<String>>,
}

impl Origin {
    async fn start(redirects: impl FnOnce(&str) -> BTreeMap<&'static str, (u16, String)>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let origin = Arc::new(Self { redirects: redirects(&url), url, arrived: Mutex::default() });
        let serving = Arc::clone(&origin);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        origin
    }

    /// An origin that answers 200 to everything.
    async fn other() -> Arc<Self> {
        Self::start(|_| BTreeMap::new()).await
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut read = Vec::new();
        let head = loop {
            let mut piece = [0; 1024];
            match stream.read(&mut piece).await {
                Ok(length @ 1..) => read.extend_from_slice(&piece[..length]),
                Ok(0) | Err(_) => return,
            }
            let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if body.len() >= if head.contains("content-length:") { BODY.len() } else { 0 } {
                break text;
            }
        };
        let text = String::from_utf8_lossy(&read);
        let request = text.lines().next().unwrap().rsplit_once(' ').unwrap().0;
        let parts = [("authorization: bearer at", " token"), ("x-secret: s", " secret"), (BODY, " body")];
        let carried = parts.iter().filter(|(part, _)| head.contains(part)).map(|(_, name)| *name);
        self.arrived.lock().unwrap().push([request].into_iter().chain(carried).collect());
        let (_, path) = request.split_once(' ').unwrap();
        let (status, location) = match self.redirects.get(path) {
            Some((status, to)) => (*status, format!("Location: {to}\r\n")),
            None => (200, String::new()),
        };
        let answer = format!("HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn arrived(&self) -> Vec<String> {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// Sends a POST with a token, and returns the status and URL of the answer.
async fn post(resource: &str, url: &str) -> (u16, String) {
    let policy = redirects(&ResourceUri::parse(resource).unwrap());
    let client = Client::builder().no_proxy().redirect(policy).build().unwrap();
    let request = client.post(url).bearer_auth("at").header("x-secret", "s").body(BODY);
    let answer = within("an answer", request.send()).await.unwrap();
    (answer.status().as_u16(), answer.url().to_string())
}

#[tokio::test]
async fn a_token_follows_307_and_308_within_its_resource_and_nothing_else() {
    for status in [301, 302, 303, 307, 308] {
        let other = Origin::other().await;
        let elsewhere = other.at("/mcp");
        // Paths of the same origin, written in every way that a server can, and another origin.
        for (to, is_followed) in [
            ("/mcp/deeper", true),
            ("{origin}/mcp/deeper", true),
            ("mcp/deeper?session=1", true),
            ("/steal", false),
            ("{origin}/steal", false),
            ("/mcp/../steal", false),
            ("/mcp/%2e%2e/steal", false),
            ("/mcp/..%2fsteal", false),
            ("/mcp/%252e%252e/steal", false),
            ("/mcp2", false),
            ("/", false),
            ("//127.0.0.1:9/mcp", false),
            (elsewhere.as_str(), false),
        ] {
            let place = |url: &str| BTreeMap::from([("/mcp", (status, to.replace("{origin}", url)))]);
            let origin = Origin::start(place).await;
            let (answered, url) = post(&origin.at("/mcp"), &origin.at("/mcp")).await;
            let arrived = origin.arrived();
            assert_eq!(arrived[0], "POST /mcp token secret body", "{status} {to}");
            if is_followed && status >= 307 {
                let query = if to.contains('?') { "?session=1" } else { "" };
                assert_eq!(arrived[1..], [format!("POST /mcp/deeper{query} token secret body")], "{status} {to}");
                assert_eq!((answered, url), (200, origin.at(&format!("/mcp/deeper{query}"))));
            } else {
                assert_eq!(arrived.len(), 1, "{status} {to}: {arrived:?}");
                assert_eq!((answered, url), (status, origin.at("/mcp")), "the redirect's own answer");
            }
        }
        assert_eq!(other.arrived(), [""; 0], "{status}");
    }
}

#[tokio::test]
async fn the_scheme_is_part_of_the_origin() {
    let to_https = |url: &str| BTreeMap::from([("/mcp", (307, url.replace("http:", "https:") + "/mcp/x"))]);
    let origin = Origin::start(to_https).await;
    assert_eq!(post(&origin.at("/mcp"), &origin.at("/mcp")).await.0, 307);
    assert_eq!(origin.arrived().len(), 1);
}

#[tokio::test]
async fn five_redirects_are_followed_and_the_sixth_is_the_answer() {
    let paths = ["/mcp", "/mcp/1", "/mcp/2", "/mcp/3", "/mcp/4", "/mcp/5", "/mcp/6"];
    let chain = |length: usize| {
        move |_: &str| paths.windows(2).take(length).map(|two| (two[0], (308, two[1].to_owned()))).collect()
    };
    for (length, end) in [(5, (200, "/mcp/5")), (6, (308, "/mcp/5"))] {
        let origin = Origin::start(chain(length)).await;
        let (status, url) = post(&origin.at("/mcp"), &origin.at("/mcp")).await;
        assert_eq!((status, url), (end.0, origin.at(end.1)));
        assert_eq!(origin.arrived().len(), 6);
    }
    let circle = Origin::start(|_| BTreeMap::from([("/mcp", (307, "/mcp".to_owned()))])).await;
    assert_eq!(post(&circle.at("/mcp"), &circle.at("/mcp")).await.0, 307);
    assert_eq!(circle.arrived().len(), 6);
}

#[tokio::test]
async fn requests_that_do_not_begin_at_the_resource_are_not_redirected() {
    let origin = Origin::start(|_| BTreeMap::from([("/login", (307, "/mcp".to_owned()))])).await;
    assert_eq!(post(&origin.at("/mcp"), &origin.at("/login")).await.0, 307);
    assert_eq!(origin.arrived(), ["POST /login token secret body"]);

    // Another origin's request, redirected to the resource.
    let to_resource = origin.at("/mcp");
    let other = Origin::start(|_| BTreeMap::from([("/x", (308, to_resource))])).await;
    assert_eq!(post(&origin.at("/mcp"), &other.at("/x")).await.0, 308);
    assert_eq!(origin.arrived(), [""; 0]);
}
