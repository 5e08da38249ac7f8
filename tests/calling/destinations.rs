//! Where tokens may be sent (law 13).

use http::Method;
use tokenkeeper::{CallError, Misdirected, SessionSpec};
use tokenkeeper_testkit::hostile::HostileAs;

use crate::Host;

#[tokio::test]
async fn no_other_url_has_a_destination_so_none_gets_a_header() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    let origin = server.issuer();
    for below in ["", "/", "/x/y", "?session=1", "/x#top"] {
        let url = format!("{origin}/mcp{below}");
        assert_eq!(host.session.destination(&url).unwrap().url(), url);
    }
    for path in ["", "/", "/mcp2", "/MCP", "/steal", "/mcp/../steal", "/mcp/%2e%2e/steal", "/mcp/..%2fsteal", "//mcp"] {
        let end = host.session.destination(&format!("{origin}{path}"));
        assert!(matches!(end, Err(Misdirected::OtherPath { .. })), "{path}: {end:?}");
    }
    let port = server.address().port();
    let others = [
        format!("https://127.0.0.1:{port}/mcp"),
        format!("http://127.0.0.1:{}/mcp", if port == 1 { 2 } else { 1 }),
        format!("http://localhost:{port}/mcp"),
        format!("http://127.0.0.1:{port}@evil.example/mcp"),
        "https://evil.example/mcp".to_owned(),
        "file:///mcp".to_owned(),
    ];
    for url in others {
        let end = host.session.destination(&url);
        assert!(matches!(end, Err(Misdirected::OtherOrigin { .. })), "{url}: {end:?}");
    }
    let end = host.session.destination(&format!("http://user:secret@127.0.0.1:{port}/mcp"));
    assert!(end.is_err() && !format!("{end:?}").contains("secret"));
    for url in ["", "/mcp", "mcp", "http://"] {
        assert_eq!(host.session.destination(url).unwrap_err(), Misdirected::NoUrl, "{url}");
    }
}

#[tokio::test]
async fn a_destination_serves_its_own_identity_alone() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::signed_in(&server).await;
    let other = host.runtime.session(SessionSpec::mcp(&server.resource()).unwrap().account("another").unwrap());
    let of_other = other.destination(&server.resource()).unwrap();
    let end = host.call().authorize(&of_other, &Method::POST).await;
    assert!(matches!(end, Err(CallError::Misdirected(Misdirected::OtherSession))), "{end:?}");
    // Another handle on the same identity is the same session.
    let same = host.runtime.session(SessionSpec::mcp(&server.resource()).unwrap());
    let to = same.destination(&server.resource()).unwrap();
    assert_eq!(to, host.to);
    assert!(host.call().authorize(&to, &Method::POST).await.unwrap().is_some());
    assert_eq!(server.counts().resource_requests, 0);
}

#[tokio::test]
async fn a_destination_shows_nothing_of_its_url() {
    let server = HostileAs::start().await.unwrap();
    let host = Host::new(&server.resource()).await;
    let to = host.session.destination(&format!("{}?key=secret", server.resource())).unwrap();
    assert!(!format!("{to:?}").contains("secret"));
    assert_eq!(to.identity(), host.session.identity());
}
