//! The client over reqwest connects only to addresses within the reach of a request (law 24).
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokenkeeper::http::{Body, Departure, Egress, Exchange, HttpClient, HttpError, NotSent, Reach, ReqwestClient};
use tokenkeeper_testkit::http_contract::reach::{ask_for_a_public_name, no_proxy_of_the_environment_is_asked};

use within::within;

fn get(uri: &str, reach: Reach) -> Exchange {
    let mut request = Request::new(Body::default());
    *request.uri_mut() = uri.parse().unwrap();
    let departure = Departure::at_any_time();
    Exchange { request, timeout: Duration::from_secs(20), max_answer: 1_000, departure, reach }
}

async fn send(client: &ReqwestClient, uri: &str, reach: Reach) -> HttpError {
    within("the end of an exchange", client.send(get(uri, reach))).await.unwrap_err()
}

/// A listener whose connections are counted.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn connections(listener: &TcpListener) -> usize {
    std::iter::from_fn(|| listener.accept().ok()).count()
}

/// A resolver that counts its questions, and knows no name.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Resolve for Counting {
    fn resolve(&self, _: Name) -> Resolving {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(Box::new(std::iter::empty()) as Addrs)))
    }
}

#[test]
#[ignore = "the child process of the test below"]
fn asks_for_a_public_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask_for_a_public_name(Arc::new(ReqwestClient::new().unwrap()))).unwrap();
    runtime.shutdown_background();
}

#[test]
fn no_proxy_of_the_environment_is_asked_for_a_public_name() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["asks_for_a_public_name", "--exact", "--ignored"]);
    assert_eq!(no_proxy_of_the_environment_is_asked(child), Ok(()));
}

/// The builder's proxies are not the host's egress guard, and one that the host declares is. Literals are refused on both
/// ways, and the loopback is never asked of a proxy.
#[tokio::test]
async fn only_a_proxy_that_the_host_declares_is_asked() {
    let (proxy, port) = listener();
    let (server, at) = listener();
    let through: url::Url = format!("http://user:hush@127.0.0.1:{port}").parse().unwrap();
    let builder = || reqwest::Client::builder().dns_resolver(Counting::default());
    let proxied = || builder().proxy(reqwest::Proxy::all(through.clone()).unwrap());

    let direct = ReqwestClient::with(proxied).unwrap();
    let declared = ReqwestClient::with_egress(builder, Egress::Proxy(through.clone())).unwrap();
    for (client, asked) in [(&direct, 0), (&declared, 1)] {
        // Tests have no TLS, so there is no tunnel. The proxy must not get the request in its place.
        let error = send(client, "https://tokenkeeper.invalid/", Reach::Public).await;
        assert_eq!((error, connections(&proxy)), (HttpError::NotSent(NotSent::Unreachable), asked));
        for literal in
            ["https://127.0.0.1/", "https://2130706433/", "https://[::ffff:7f00:1]/", "https://169.254.169.254/"]
        {
            let error = send(client, literal, Reach::Public).await;
            assert_eq!(error, HttpError::NotSent(NotSent::Forbidden), "{literal}");
        }
        let uri = format!("http://localhost:{at}/");
        within("a connection", client.connect(&uri.parse().unwrap(), Reach::PublicOrLoopback)).await.unwrap().unwrap();
        assert_eq!((connections(&proxy), connections(&server)), (0, 1));
    }
    assert!(!format!("{:?}", Egress::Proxy(through)).contains("hush"));
}

/// A proxy without a tunnel would read the tokens.
#[tokio::test]
async fn no_request_ends_at_a_proxy() {
    let (proxy, port) = listener();
    let through =
        move || reqwest::Client::builder().proxy(reqwest::Proxy::all(format!("http://127.0.0.1:{port}")).unwrap());
    let client = ReqwestClient::with(through).unwrap();
    let mut exchange = get("https://as.example.com/token", Reach::Any);
    *exchange.request.body_mut() = Body::new("refresh_token=rt");
    let error = within("the end of an exchange", client.send(exchange)).await.unwrap_err();
    assert_eq!(error, HttpError::NotSent(NotSent::Unreachable));
    let (mut stream, _) = proxy.accept().unwrap();
    let mut received = Vec::new();
    stream.set_nonblocking(false).unwrap();
    std::io::Read::read_to_end(&mut stream, &mut received).unwrap();
    assert_eq!(received, b"");
}

/// A name is not looked up for a request that its URL already forbids.
#[tokio::test]
async fn a_forbidden_url_costs_no_look_up() {
    let names = Counting::default();
    let egress = Egress::Resolver(Arc::new(names.clone()));
    let client = ReqwestClient::with_egress(reqwest::Client::builder, egress).unwrap();
    for uri in ["http://as.example.com/", "https://localhost/", "https://a.localhost./", "https://user@as.example.com/"]
    {
        assert_eq!(send(&client, uri, Reach::Public).await, HttpError::NotSent(NotSent::Forbidden), "{uri}");
    }
    assert_eq!(names.0.load(Ordering::SeqCst), 0);
    assert!(client.enforces_reach());
}
