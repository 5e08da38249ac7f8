//! The client over reqwest connects only to addresses within the reach of a request (law 24).
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::cell::RefCell;
use std::future::Future;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokenkeeper::http::{Body, Departure, Egress, Exchange, HttpClient, HttpError, NotSent, Reach, ReqwestClient};
use tokenkeeper_testkit::http_contract::reach::{ask_for_a_public_name, no_proxy_of_the_environment_is_asked};
use tokio::io::AsyncReadExt as _;

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

/// A resolver that counts its questions, and answers each with these addresses.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>, Vec<SocketAddr>);

impl Counting {
    fn asked(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Resolve for Counting {
    fn resolve(&self, _: Name) -> Resolving {
        self.0.fetch_add(1, Ordering::SeqCst);
        let addresses = self.1.clone();
        Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
    }
}

/// The error of `call`, and the bytes of each connection to `proxy`, which closes it after a first read.
async fn through(proxy: TcpListener, call: impl Future<Output = HttpError>) -> (HttpError, Vec<Vec<u8>>) {
    let proxy = tokio::net::TcpListener::from_std(proxy).unwrap();
    let heard = RefCell::new(Vec::new());
    let serves = async {
        loop {
            let (mut stream, _) = proxy.accept().await.unwrap();
            heard.borrow_mut().push(Vec::new());
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            bytes.truncate(length);
            *heard.borrow_mut().last_mut().unwrap() = bytes;
        }
    };
    let error = tokio::select! {
        () = serves => unreachable!(),
        error = call => error,
    };
    // The client may be done with a connection before it is accepted.
    let late = proxy.into_std().unwrap();
    let mut heard = heard.into_inner();
    heard.extend(std::iter::from_fn(|| late.accept().ok()).map(|(mut stream, _)| {
        let mut bytes = Vec::new();
        stream.set_nonblocking(false).unwrap();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    }));
    (error, heard)
}

/// Also the child process of the test below.
#[test]
fn asks_for_a_public_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask_for_a_public_name(Arc::new(ReqwestClient::new().unwrap()))).unwrap();
    runtime.shutdown_background();
}

#[test]
fn no_proxy_of_the_environment_is_asked_for_a_public_name() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["asks_for_a_public_name", "--exact"]);
    assert_eq!(no_proxy_of_the_environment_is_asked(child), Ok(()));
}

/// The builder's proxies are not the host's egress guard, and one that the host declares is. Literals are refused on both
/// ways, and no proxy is asked for the loopback.
#[tokio::test]
async fn only_a_proxy_that_the_host_declares_is_asked() {
    for declares in [false, true] {
        let (proxy, port) = listener();
        let (server, at) = listener();
        let via: url::Url = format!("http://user:hush@127.0.0.1:{port}").parse().unwrap();
        let names = Counting::default();
        let client = if declares {
            ReqwestClient::with_egress(reqwest::Client::builder, Egress::Proxy(via.clone())).unwrap()
        } else {
            let proxied = || reqwest::Client::builder().proxy(reqwest::Proxy::all(via.clone()).unwrap());
            ReqwestClient::with_egress(proxied, Egress::Resolver(Arc::new(names.clone()))).unwrap()
        };
        for literal in ["127.0.0.1", "2130706433", "[::ffff:7f00:1]", "169.254.169.254"] {
            let error = send(&client, &format!("https://{literal}:{at}/"), Reach::Public).await;
            assert_eq!(error, HttpError::NotSent(NotSent::Forbidden), "{literal}");
        }
        let uri = format!("http://localhost:{at}/").parse().unwrap();
        within("a connection", client.connect(&uri, Reach::PublicOrLoopback)).await.unwrap().unwrap();
        assert_eq!((connections(&proxy), connections(&server)), (0, 1));

        let call = send(&client, "https://tokenkeeper.invalid/", Reach::Public);
        let (error, heard) = through(proxy, call).await;
        assert_eq!((error, heard.len()), (HttpError::NotSent(NotSent::Unreachable), usize::from(declares)));
        // Without TLS there is no tunnel. The proxy must not get the request in its place.
        let is_tunnel = |bytes: &Vec<u8>| bytes.is_empty() || bytes.starts_with(b"CONNECT tokenkeeper.invalid:443 ");
        assert!(heard.iter().all(is_tunnel), "{heard:?}");
        assert!(!format!("{:?}", Egress::Proxy(via)).contains("hush"));
    }
}

/// A proxy without a tunnel would read the tokens.
#[tokio::test]
async fn no_request_ends_at_a_proxy() {
    let (proxy, port) = listener();
    let via =
        move || reqwest::Client::builder().proxy(reqwest::Proxy::all(format!("http://127.0.0.1:{port}")).unwrap());
    let client = ReqwestClient::with(via).unwrap();
    let mut exchange = get("https://tokenkeeper.invalid/token", Reach::Any);
    *exchange.request.body_mut() = Body::new("refresh_token=rt-hush");
    let call = async { within("the end of an exchange", client.send(exchange)).await.unwrap_err() };
    let (error, heard) = through(proxy, call).await;
    assert_eq!(error, HttpError::NotSent(NotSent::Unreachable));
    assert!(heard.iter().all(|bytes| bytes.is_empty() || bytes.starts_with(b"CONNECT ")), "{heard:?}");
}

/// A public name with an address of this machine. Without TLS the connector refuses `https` before it looks the name up.
#[tokio::test]
async fn a_public_name_of_the_loopback_is_forbidden() {
    let (server, port) = listener();
    for reach in [Reach::Public, Reach::PublicOrLoopback] {
        let names = Counting(Arc::default(), vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
        let egress = Egress::Resolver(Arc::new(names.clone()));
        let client = ReqwestClient::with_egress(reqwest::Client::builder, egress).unwrap();
        let error = send(&client, &format!("https://as.example.com:{port}/"), reach).await;
        let why = if names.asked() == 0 { NotSent::Unreachable } else { NotSent::Forbidden };
        assert_eq!(error, HttpError::NotSent(why));
        assert!(names.asked() <= 1);
    }
    assert_eq!(connections(&server), 0);
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
    assert_eq!(names.asked(), 0);
    assert!(client.enforces_reach());
}
