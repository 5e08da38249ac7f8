use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use reqwest::{Client, Method, Request};

use super::super::failure::Failure;
use super::super::{ahead, once};
use super::*;
use crate::http::NotSent;

/// A resolver whose answers are scripted. It fails when they are used up.
#[derive(Default)]
struct Scripted(Mutex<Vec<Vec<SocketAddr>>>);

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), 22);
        let answers = answers.iter().rev().map(|answer| answer.iter().map(address).collect());
        Arc::new(Self(Mutex::new(answers.collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Resolve for Scripted {
    fn resolve(&self, _: Name) -> Resolving {
        let answer = self.0.lock().unwrap().pop();
        Box::pin(async move {
            let answer = answer.ok_or_else(|| io::Error::other("no such name"))?;
            Ok(Box::new(answer.into_iter()) as Addrs)
        })
    }
}

fn name() -> Name {
    "as.example.com".parse().unwrap()
}

#[tokio::test]
async fn the_answer_is_the_one_that_was_checked() {
    let script = Scripted::new(&[&["8.8.8.8", "2606:4700::1", "64:ff9b::808:808"], &["127.0.0.1"]]);
    let addresses: Vec<_> =
        Guard::new(script.clone()).resolve(name()).await.unwrap().map(|at| at.to_string()).collect();
    // Port 0 stands for the port of the request. The resolver's ports are ignored.
    assert_eq!(addresses, ["8.8.8.8:0", "[2606:4700::1]:0", "[64:ff9b::808:808]:0"]);
    assert_eq!(script.left(), 1);
}

#[tokio::test]
async fn one_address_out_of_reach_refuses_all() {
    for private in
        ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "169.254.169.254"]
    {
        for answer in [vec![private], vec!["8.8.8.8", private], vec![private, "8.8.8.8"]] {
            let refused = Guard::new(Scripted::new(&[&answer])).resolve(name()).await.err().unwrap();
            assert!(refused.is::<OutOfReach>(), "{answer:?}: {refused}");
        }
    }
}

#[tokio::test]
async fn the_system_is_asked_and_its_loopback_refused() {
    let refused = Guard::over_the_system().resolve("localhost".parse().unwrap()).await.err().unwrap();
    assert!(refused.is::<OutOfReach>(), "{refused}");
}

/// Two listeners on one port of two loopback addresses, which stand for a public and a private server.
fn listeners() -> (TcpListener, TcpListener, u16) {
    loop {
        let public = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        let port = public.local_addr().unwrap().port();
        if let Ok(private) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            public.set_nonblocking(true).unwrap();
            private.set_nonblocking(true).unwrap();
            return (public, private, port);
        }
    }
}

/// The number of connections that wait.
fn connections(listener: &TcpListener) -> usize {
    std::iter::from_fn(|| listener.accept().ok()).count()
}

/// A name that changes its address after the check (DNS rebinding). The connection goes to the address that was checked.
#[cfg_attr(not(target_os = "linux"), ignore = "it needs a second IPv4 address of the loopback")]
#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let (public, private, port) = listeners();
    let script = Scripted::new(&[&["127.0.0.2"], &["127.0.0.1"], &["127.0.0.2", "127.0.0.1"], &["127.0.0.2"]]);
    let guard = Guard { resolver: script.clone(), allows: |address| address != Ipv4Addr::LOCALHOST };
    let client = once(Client::builder().no_proxy().dns_resolver(guard)).build().unwrap();
    for (left, expected) in [(3, None), (2, Some(NotSent::Forbidden)), (1, Some(NotSent::Forbidden)), (0, None)] {
        let url = format!("http://as.example.com:{port}/token").parse().unwrap();
        let outcome = ahead::establish(client.execute(Request::new(Method::GET, url))).await;
        let why = outcome.err().map(|error| Failure::from(error.unwrap()).before_sending(true));
        assert_eq!((why, script.left()), (expected, left));
    }
    assert_eq!((connections(&public), connections(&private)), (2, 0));
}
