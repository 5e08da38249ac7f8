//! Requests of browsers, other programs and web pages that must change nothing.

use super::super::serving::MAX_SILENT;
use super::*;

#[tokio::test]
async fn silent_connections_are_not_waited_for_and_are_bounded() {
    let listener = listener().await;
    let mut silent = Vec::new();
    for _ in 0..MAX_SILENT {
        silent.push(send(address(&listener), "").await);
    }
    works(&listener, "s").await;
    // The connection of the good answer has displaced the oldest silent one.
    assert_eq!(rest(silent.remove(0)).await, "");
    for stream in &silent {
        let mut byte = [0];
        assert_eq!(stream.try_read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "it is open");
    }
    // A browser uses a connection that it opened in advance.
    let mut early = silent.pop().unwrap();
    early.write_all(get(&listener, "/callback?code=good&state=t").as_bytes()).await.unwrap();
    received(&listener, "t").await.respond(Outcome::SignedIn).await;
    assert!(rest(early).await.contains("You are signed in"));
}

#[tokio::test]
async fn browsers_that_wait_for_a_judgement_do_not_count_as_silent() {
    let listener = listener().await;
    let browser = browse(&listener, "/callback?code=c&state=s");
    let received = received(&listener, "s").await;
    let mut silent = Vec::new();
    for _ in 0..=MAX_SILENT {
        silent.push(send(address(&listener), "").await);
    }
    assert_eq!(rest(silent.remove(0)).await, "");
    received.respond(Outcome::SignedIn).await;
    assert!(browser.await.unwrap().contains("You are signed in"));
}

#[tokio::test]
async fn only_a_get_of_the_path_brings_an_answer() {
    let listener = listener().await;
    let (port, to) = (listener.port(), address(&listener));
    let answer = "/callback?code=good&state=s";
    for (text, wanted) in [
        (request("HEAD", answer, port), "200"),
        (request("OPTIONS", answer, port), "204"),
        (request("POST", answer, port), "405"),
        (request("DELETE", answer, port), "405"),
        (request("GET", "/favicon.ico", port), "404"),
        (request("HEAD", "/favicon.ico", port), "404"),
        (request("GET", "/?code=good&state=s", port), "404"),
        (request("GET", "/callback/?code=good&state=s", port), "404"),
        (request("GET", "/CALLBACK?code=good&state=s", port), "404"),
        (request("GET", answer, port).replace("\r\n\r\n", "\r\nSec-Purpose: prefetch;prerender\r\n\r\n"), "503"),
    ] {
        let response = ask(to, &text).await;
        assert_eq!(status(&response), wanted, "{text}");
        assert!(response.ends_with("\r\n\r\n"), "no body: {response}");
        assert!(!response.to_ascii_lowercase().contains("access-control"), "no page may read it: {response}");
    }
    works(&listener, "s").await;
}

#[tokio::test]
async fn a_request_of_another_host_is_refused() {
    let listener = listener().await;
    let (port, to) = (listener.port(), address(&listener));
    for hosts in [
        format!("Host: attacker.example:{port}\r\n"),
        "Host: 127.0.0.1\r\n".to_owned(),
        format!("Host: 127.0.0.1:{}\r\n", port.wrapping_add(1)),
        format!("Host: 127.0.0.1.attacker.example:{port}\r\n"),
        format!("Host: attacker@127.0.0.1:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nHost: attacker.example:{port}\r\n"),
        format!("Host: attacker.example:{port}\r\nHost: 127.0.0.1:{port}\r\n"),
        "Host: \r\n".to_owned(),
        String::new(),
    ] {
        let response = ask(to, &format!("GET /callback?code=bad&state=s HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(status(&response), "421", "{hosts:?}");
        assert!(!response.contains("<html"));
    }
    let absolute =
        format!("GET http://attacker.example/callback?code=bad&state=s HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    assert_eq!(status(&ask(to, &absolute).await), "421");
    for host in ["LOCALHOST", "[::1]"] {
        let text = format!("GET /callback HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        assert_eq!(status(&ask(to, &text).await), "400", "{host} is the listener's own host, and brings no answer");
    }
    works(&listener, "s").await;
}

#[tokio::test]
async fn a_forged_answer_gets_a_page_and_the_wait_goes_on() {
    let listener = listener().await;
    for target in [
        "/callback?code=bad&state=forged",
        "/callback?error=access_denied&state=forged",
        "/callback?code=bad&state=forged",
    ] {
        let browser = browse(&listener, target);
        let page = tokio::select! {
            page = browser => page.unwrap(),
            _ = received(&listener, "s") => panic!("{target} was taken"),
        };
        assert!(status(&page) == "400" && page.contains("This answer does not match"), "{target}: {page}");
        assert_eq!(listener.answers.waiting(key_of_state("forged")), 0);
    }
    works(&listener, "s").await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_gets_a_page_at_once() {
    let listener = listener().await;
    for query in [
        "code=a&code=b&state=s",
        "code=a&state=s&state=s",
        "code=a&state=s&state=t",
        "code=a&state=s&iss=a&iss=b",
        "code=a",
        "state=s",
        "a",
        "%ff=%ff",
        "",
    ] {
        let page = browse(&listener, &format!("/callback?{query}")).await.unwrap();
        assert!(status(&page) == "400" && page.contains("This answer does not match"), "{query}: {page}");
    }
    works(&listener, "s").await;
}

#[tokio::test]
async fn a_request_that_is_too_long_or_no_http_is_refused() {
    let listener = listener().await;
    let to = address(&listener);
    let long = browse(&listener, &format!("/callback?state=s&code={}", "a".repeat(9 * 1024))).await.unwrap();
    assert!(status(&long) == "400" && long.contains("This answer does not match"), "{long}");
    for length in [20 * 1024, 200 * 1024] {
        let response = browse(&listener, &format!("/callback?state=s&code={}", "a".repeat(length))).await.unwrap();
        assert!(["431", "414", "none"].contains(&status(&response)), "{response}");
    }
    let many = request("GET", "/callback?code=a&state=s", listener.port())
        .replace("\r\n\r\n", &format!("\r\n{}\r\n", "a: b\r\n".repeat(200)));
    assert_eq!(status(&ask(to, &many).await), "431");
    for noise in ["GET\r\n\r\n", "\u{16}\u{3}\u{1}TLS\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let response = ask(to, noise).await;
        assert!(["400", "505", "none"].contains(&status(&response)), "{noise:?}: {response}");
    }
    works(&listener, "s").await;
}

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for_and_ends() {
    let times = Times { head: Duration::from_millis(200), ..TIMES };
    let listener = LoopbackListener::bind_with(LoopbackOptions::default(), times).await.unwrap();
    let mut slow = send(address(&listener), "GET /callback?code=bad&state=s HTTP/1.1\r\nHost: 127").await;
    let silent = send(address(&listener), "").await;
    works(&listener, "s").await;
    let dripping = async {
        while slow.write_all(b".").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the time-out of the head", dripping).await;
    assert!(["408", "none"].contains(&status(&rest(silent).await)));
    works(&listener, "t").await;
}

#[tokio::test]
async fn a_flood_of_answers_is_bounded() {
    let listener = listener().await;
    let flood: Vec<_> = (0..16).map(|n| browse(&listener, &format!("/callback?code=bad&state=forged{n}"))).collect();
    let waiting = || (0..16).map(|n| listener.answers.waiting(key_of_state(&format!("forged{n}")))).sum::<usize>();
    until("all wait", || waiting() == 16).await;
    let refused = browse(&listener, "/callback?code=good&state=s").await.unwrap();
    assert_eq!(status(&refused), "503");
    // The host asks for the next answer, and all forged ones get their page.
    works(&listener, "s").await;
    for browser in flood {
        assert_eq!(status(&browser.await.unwrap()), "400");
    }

    let same: Vec<_> = (0..20).map(|_| browse(&listener, "/callback?code=c&state=t")).collect();
    let received = received(&listener, "t").await;
    until("as many as may wait", || listener.answers.waiting(key_of_state("t")) == 16).await;
    until("the others are refused", || same.iter().filter(|browser| browser.is_finished()).count() == 4).await;
    received.respond(Outcome::SignedIn).await;
    let mut pages = Vec::new();
    for browser in same {
        pages.push(browser.await.unwrap());
    }
    assert_eq!(pages.iter().filter(|page| status(page) == "200").count(), 16);
    assert_eq!(pages.iter().filter(|page| status(page) == "503").count(), 4);
}

/// The host waits until the page is sent. A browser whose request never ends must not delay the host.
#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_host() {
    for extra in [
        "Content-Length: 100",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue\r\nContent-Length: 5",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    ] {
        let listener = listener().await;
        let text = get(&listener, "/callback?code=c&state=s").replace("\r\n\r\n", &format!("\r\n{extra}\r\n\r\n"));
        let stream = send(address(&listener), &text).await;
        let received = received(&listener, "s").await;
        within("the page", received.respond(Outcome::SignedIn)).await;
        drop(stream);
    }
}
