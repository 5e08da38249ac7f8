//! The port of a listener, in both address families, and its release.

use super::free::free_port;
use super::*;

async fn bind(options: LoopbackOptions) -> Result<LoopbackListener, ListenError> {
    within("a listener", LoopbackListener::bind(options)).await
}

fn at(port: u16) -> LoopbackOptions {
    LoopbackOptions { port: Some(port), ..LoopbackOptions::default() }
}

#[tokio::test]
async fn both_families_are_served_on_one_port() {
    let listener = listener().await;
    let port = listener.port();
    let text = format!("GET /callback?code=c&state=s HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n");
    let browser = tokio::spawn(async move { ask(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), &text).await });
    received(&listener, "s").await.respond(Outcome::SignedIn).await;
    assert!(browser.await.unwrap().contains("You are signed in"));
    works(&listener, "t").await;
}

#[tokio::test]
async fn a_required_port_that_is_taken_is_an_error_and_a_preferred_one_is_not() {
    let port = free_port();
    let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let error = bind(at(port)).await.unwrap_err();
    assert_eq!(error, ListenError::PortTaken { port });
    assert!(error.to_string().contains(&port.to_string()) && error.to_string().contains("choose another port"));
    let preferred = || LoopbackOptions { preferred: Some(port), ..LoopbackOptions::default() };
    let listener = bind(preferred()).await.unwrap();
    assert_ne!(listener.port(), port);
    works(&listener, "s").await;
    drop(other);
    let listener = bind(preferred()).await.unwrap();
    assert_eq!(listener.port(), port);
    assert_eq!(bind(at(port)).await.unwrap_err(), ListenError::PortTaken { port }, "a listener of this process has it");
    works(&listener, "s").await;
}

#[tokio::test]
async fn another_program_on_the_ipv6_port_matters_only_for_localhost() {
    let port = free_port();
    let other = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap();
    let localhost = LoopbackOptions { host: HostForm::Localhost, ..at(port) };
    assert_eq!(bind(localhost.clone()).await.unwrap_err(), ListenError::PortTaken { port });
    let literal = bind(at(port)).await.unwrap();
    works(&literal, "s").await;
    drop((other, literal));
    let listener = bind(localhost).await.unwrap();
    assert_eq!(listener.redirect_uri(), format!("http://localhost:{port}/callback"));
    works(&listener, "s").await;
}

#[tokio::test]
async fn a_path_is_checked_and_served() {
    for path in ["", "callback", "/a?b", "/a#b", "/a b", "/ä", "/%2e", &format!("/{}", "a".repeat(128))] {
        let options = LoopbackOptions { path: path.to_owned(), ..LoopbackOptions::default() };
        assert_eq!(bind(options).await.unwrap_err(), ListenError::Path, "{path}");
    }
    let options = LoopbackOptions { path: "/oauth/x_7-~.".to_owned(), ..LoopbackOptions::default() };
    let listener = bind(options).await.unwrap();
    assert!(listener.redirect_uri().ends_with("/oauth/x_7-~."));
    assert_eq!(status(&browse(&listener, "/callback?code=c&state=s").await.unwrap()), "404");
    let browser = browse(&listener, "/oauth/x_7-~.?code=c&state=s");
    received(&listener, "s").await.respond(Outcome::SignedIn).await;
    assert_eq!(status(&browser.await.unwrap()), "200");
}

#[tokio::test]
async fn reloads_are_answered_after_the_end_and_the_next_listener_gets_the_port() {
    let listener = bind(at(free_port())).await.unwrap();
    let (port, to) = (listener.port(), address(&listener));
    works(&listener, "s").await;
    drop(listener);
    let reload = ask(to, &request("GET", "/callback?code=good&state=s", port)).await;
    assert!(reload.contains("You are already signed in"), "{reload}");
    let late = ask(to, &request("GET", "/callback?code=c&state=late", port)).await;
    assert!(status(&late) == "410" && late.contains("This sign-in has ended"), "{late}");
    let next = bind(at(port)).await.unwrap();
    assert_eq!(
        status(&browse(&next, "/callback").await.unwrap()),
        "400",
        "the new listener does not know the earlier login"
    );
    works(&next, "s").await;
}

#[tokio::test]
async fn a_listener_without_an_answer_closes_at_once() {
    let listener = bind(at(free_port())).await.unwrap();
    let (port, to) = (listener.port(), address(&listener));
    let silent = send(to, "").await;
    assert_eq!(status(&ask(to, &request("GET", "/callback?code=bad&state=s&state=s", port)).await), "400");
    drop(listener);
    assert_eq!(rest(silent).await, "");
    within("the end", async { while TcpStream::connect(to).await.is_ok() {} }).await;
}

#[tokio::test]
async fn a_listener_that_answered_closes_after_a_while() {
    let times = Times { linger: Duration::from_millis(1), ..TIMES };
    let listener = LoopbackListener::bind_with(at(free_port()), times).await.unwrap();
    let to = address(&listener);
    works(&listener, "s").await;
    drop(listener);
    within("the end", async { while TcpStream::connect(to).await.is_ok() {} }).await;
}

#[test]
fn the_address_of_an_earlier_listener_can_be_taken_up() {
    for (uri, host) in
        [("http://127.0.0.1:53211/callback", HostForm::Ipv4Literal), ("http://localhost:80/x", HostForm::Localhost)]
    {
        let options = LoopbackOptions::of_redirect_uri(uri).unwrap();
        assert_eq!((options.host, options.redirect_uri(options.port.unwrap()).as_str()), (host, uri));
    }
    for uri in [
        "https://127.0.0.1:1/callback",
        "http://127.0.0.2:1/callback",
        "http://192.0.2.1:1/callback",
        "http://host.example:1/callback",
        "http://127.0.0.1:1/callback?a=b",
        "http://user@127.0.0.1:1/callback",
        "http://127.0.0.1:1/a%20b",
        "nonsense",
    ] {
        assert_eq!(LoopbackOptions::of_redirect_uri(uri), None, "{uri}");
    }
}

/// A host may keep a tokio runtime that it enters for one login at a time. Between logins nothing runs on it, not even the
/// serving task of a dropped listener.
#[test]
fn a_listener_of_a_runtime_that_rests_does_not_keep_others_waiting() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (resting, other) = (runtime(), runtime());
    let listener = resting.block_on(bind(at(free_port()))).unwrap();
    let port = listener.port();
    resting.block_on(works(&listener, "s"));
    drop(listener);
    assert_eq!(other.block_on(bind(at(port))).unwrap_err(), ListenError::PortTaken { port });
    let preferred = LoopbackOptions { preferred: Some(port), ..LoopbackOptions::default() };
    assert_ne!(other.block_on(bind(preferred)).unwrap().port(), port);
}
