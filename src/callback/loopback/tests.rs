//! The listener on real sockets.
#![allow(clippy::disallowed_methods, reason = "the tests' own tasks")]

#[path = "../../../tests/support/ports.rs"]
mod free;
mod hostile;
mod ports;
#[path = "../../../actors/tests/common/within.rs"]
mod within;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::callback::key_of_state;
use within::{until, within};

async fn listener() -> LoopbackListener {
    LoopbackListener::bind(LoopbackOptions::default()).await.unwrap()
}

fn address(listener: &LoopbackListener) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port()))
}

/// Opens a connection and sends `text` on it.
async fn send(to: SocketAddr, text: &str) -> TcpStream {
    let mut stream = within("a connection", TcpStream::connect(to)).await.unwrap();
    // The server may close the connection before it has read everything.
    let _ = within("a request", stream.write_all(text.as_bytes())).await;
    stream
}

/// Reads everything that the server sends until it closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within("the end of the response", stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

async fn ask(to: SocketAddr, text: &str) -> String {
    rest(send(to, text).await).await
}

fn request(method: &str, target: &str, port: u16) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")
}

fn get(listener: &LoopbackListener, target: &str) -> String {
    request("GET", target, listener.port())
}

/// A browser that asks for `target`, and waits for its page.
fn browse(listener: &LoopbackListener, target: &str) -> JoinHandle<String> {
    let (to, text) = (address(listener), get(listener, target));
    tokio::spawn(async move { ask(to, &text).await })
}

fn status(response: &str) -> &str {
    response.split_whitespace().nth(1).unwrap_or("none")
}

async fn received(listener: &LoopbackListener, state: &str) -> Received {
    within("an answer", listener.next(&[key_of_state(state)])).await
}

/// Asserts that a good answer still arrives, and that its browser gets the page.
async fn works(listener: &LoopbackListener, state: &str) {
    let browser = browse(listener, &format!("/callback?code=good&state={state}"));
    let received = received(listener, state).await;
    assert_eq!(received.callback().expose(), format!("code=good&state={state}"));
    within("the page", received.respond(Outcome::SignedIn)).await;
    assert!(browser.await.unwrap().contains("You are signed in"));
}

#[tokio::test]
async fn an_answer_arrives_and_its_page_comes_after_the_judgement() {
    let listener = listener().await;
    assert_eq!(listener.redirect_uri(), format!("http://127.0.0.1:{}/callback", listener.port()));
    let query = "code=SECRET&state=s&iss=https%3A%2F%2Fas.example&error_description=%3Cscript%3E";
    let browser = browse(&listener, &format!("/callback?{query}"));
    let received = received(&listener, "s").await;
    assert_eq!((received.callback().key, received.callback().expose()), (key_of_state("s"), query));
    assert!(!browser.is_finished(), "the browser waits for the decision");
    within("the page", received.respond(Outcome::Declined)).await;
    assert_eq!(listener.answers.waiting(key_of_state("s")), 0, "the page is sent, so that a process may end now");
    let response = browser.await.unwrap();
    assert_eq!(status(&response), "200");
    for header in [
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "cross-origin-opener-policy: same-origin",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "content-type: text/html; charset=utf-8",
        "connection: close",
    ] {
        assert!(response.contains(header), "{header} is not in {response}");
    }
    assert!(response.contains("Access was declined") && response.contains("history.replaceState"));
    assert!(!response.contains("SECRET") && !response.contains("<script>alert") && !response.contains("as.example"));
}

#[tokio::test]
async fn each_outcome_has_its_page() {
    let listener = listener().await;
    for (outcome, code, words) in [
        (Outcome::SignedIn, "200", "You are signed in"),
        (Outcome::Declined, "200", "Access was declined"),
        (Outcome::Mismatched, "400", "This answer does not match"),
        (Outcome::Expired, "410", "This sign-in has ended"),
        (Outcome::AlreadyDone, "200", "You are already signed in"),
        (Outcome::Failed, "500", "The sign-in was not completed"),
    ] {
        let state = format!("{outcome:?}");
        let browser = browse(&listener, &format!("/callback?code=c&state={state}"));
        within("the page", received(&listener, &state).await.respond(outcome)).await;
        let page = browser.await.unwrap();
        assert!(status(&page) == code && page.contains(words), "{outcome:?}: {page}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_twice_is_handed_on_once() {
    let listener = listener().await;
    let first = browse(&listener, "/callback?code=c&state=s");
    let received = received(&listener, "s").await;
    let second = browse(&listener, "/callback?code=other&state=s");
    let waits = || listener.answers.waiting(key_of_state("s"));
    until("both wait", || waits() == 2).await;
    within("both pages", received.respond(Outcome::SignedIn)).await;
    for page in [first.await.unwrap(), second.await.unwrap()] {
        assert!(page.contains("You are signed in"), "{page}");
    }
    for target in ["/callback?code=c&state=s", "/callback?code=other&state=s", "/callback"] {
        let reload = browse(&listener, target).await.unwrap();
        assert!(status(&reload) == "200" && reload.contains("You are already signed in"), "{target}: {reload}");
    }
    works(&listener, "another").await;
}

#[tokio::test]
async fn a_reload_after_a_refusal_shows_the_refusal() {
    let listener = listener().await;
    let first = browse(&listener, "/callback?error=access_denied&state=s");
    received(&listener, "s").await.respond(Outcome::Declined).await;
    assert!(first.await.unwrap().contains("Access was declined"));
    assert!(browse(&listener, "/callback?error=access_denied&state=s").await.unwrap().contains("Access was declined"));
    assert_eq!(status(&browse(&listener, "/callback").await.unwrap()), "400");
}

#[tokio::test]
async fn an_answer_that_was_not_judged_does_not_leave_the_browser_waiting() {
    let listener = listener().await;
    let browser = browse(&listener, "/callback?code=c&state=s");
    drop(received(&listener, "s").await);
    assert!(browser.await.unwrap().contains("The sign-in was not completed"));

    let browser = browse(&listener, "/callback?code=c&state=t");
    until("it waits", || listener.answers.waiting(key_of_state("t")) == 1).await;
    drop(listener);
    assert!(browser.await.unwrap().contains("The sign-in was not completed"));
}

#[tokio::test]
async fn answers_to_several_logins_are_told_apart() {
    let listener = listener().await;
    let keys = ["a", "b"].map(key_of_state);
    let browsers = ["a", "b"].map(|state| browse(&listener, &format!("/callback?code=c&state={state}")));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let received = within("an answer", listener.next(&keys)).await;
        seen.push(received.callback().key);
        received.respond(Outcome::SignedIn).await;
    }
    seen.sort();
    let mut wanted = keys.to_vec();
    wanted.sort();
    assert_eq!(seen, wanted);
    for browser in browsers {
        assert!(browser.await.unwrap().contains("You are signed in"));
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_no_answer() {
    let listener = listener().await;
    let browser = browse(&listener, "/callback?code=c&state=s");
    let keys = [key_of_state("s")];
    {
        let mut wait = std::pin::pin!(listener.next(&keys));
        assert!(futures_util::poll!(wait.as_mut()).is_pending());
    }
    received(&listener, "s").await.respond(Outcome::SignedIn).await;
    assert!(browser.await.unwrap().contains("You are signed in"));
}
