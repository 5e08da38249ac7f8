//! Requests for documents, their limits, and what a server may not make them do.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::scripted::{Reply, Servers, fetcher};
use super::*;

const URL: &str = "https://a.example/doc";

async fn get_with(
    servers: &Arc<Servers>,
    url: &str,
    reach: Reach,
    kept: Option<&Validator>,
) -> Result<Fetched, DiscoveryError> {
    let url = Url::parse(url).unwrap();
    fetcher(servers).get(Query { url: &url, reach, redirected: reach, member: "m", kept }).await
}

async fn get(servers: &Arc<Servers>) -> Result<Fetched, DiscoveryError> {
    get_with(servers, URL, Reach::Public, None).await
}

async fn get_reply(reply: Reply) -> Result<Fetched, DiscoveryError> {
    let servers = Servers::new();
    servers.on(URL, reply);
    get(&servers).await
}

fn text(fetched: Result<Fetched, DiscoveryError>) -> String {
    String::from_utf8(fetched.unwrap().document.unwrap().as_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_document_is_asked_for_plainly() {
    let servers = Servers::new();
    servers.on(URL, Reply::status(200).body("{}"));
    assert_eq!(text(get(&servers).await), "{}");
    let [sent] = &servers.sent()[..] else { panic!() };
    assert_eq!(
        (&sent.method, sent.url.as_str(), sent.body.as_str(), sent.reach),
        (&Method::GET, URL, "", Reach::Public)
    );
    assert_eq!(sent.headers[header::ACCEPT], "application/json");
    assert_eq!(sent.headers.len(), 2, "nothing identifies the session");
}

#[tokio::test(start_paused = true)]
async fn a_compressed_document_is_decoded_within_its_limit() {
    let gzipped = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        Reply::status(200).header("content-encoding", "gzip").body(encoder.finish().unwrap())
    };
    assert_eq!(text(get_reply(gzipped(b"{\"a\":1}")).await), "{\"a\":1}");
    assert_eq!(get_reply(gzipped(&[b' '; 10 * 1024 * 1024])).await.unwrap_err(), DiscoveryError::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_the_length_reaches_the_client() {
    let servers = Servers::new();
    servers.on(URL, Reply::error(HttpError::MaybeSent(MaybeSent::TooLarge)));
    assert_eq!(get(&servers).await.unwrap_err(), DiscoveryError::TooLarge);
    assert_eq!(MAX_DOCUMENT, 65_536);
}

#[tokio::test(start_paused = true)]
async fn each_status_has_its_meaning() {
    for (status, due) in [
        (404, DiscoveryError::NotFound { status: 404 }),
        (401, DiscoveryError::NotFound { status: 401 }),
        (410, DiscoveryError::NotFound { status: 410 }),
        (408, DiscoveryError::ServerTrouble { status: 408 }),
        (429, DiscoveryError::ServerTrouble { status: 429 }),
        (500, DiscoveryError::ServerTrouble { status: 500 }),
        (503, DiscoveryError::ServerTrouble { status: 503 }),
        (204, DiscoveryError::Unreadable { member: None }),
        (206, DiscoveryError::Unreadable { member: None }),
        (300, DiscoveryError::Unreadable { member: None }),
        (304, DiscoveryError::Unreadable { member: None }),
    ] {
        assert_eq!(get_reply(Reply::status(status).body("{}")).await.unwrap_err(), due, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_has_its_meaning() {
    for (error, due) in [
        (HttpError::NotSent(NotSent::Unreachable), DiscoveryError::Unreachable),
        (HttpError::NotSent(NotSent::Untrusted), DiscoveryError::Untrusted),
        (HttpError::NotSent(NotSent::Forbidden), DiscoveryError::UnsafeAddress { member: "m" }),
        (HttpError::NotSent(NotSent::Unbuildable), DiscoveryError::UnsafeAddress { member: "m" }),
        (HttpError::MaybeSent(MaybeSent::TimedOut), DiscoveryError::Unreachable),
        (HttpError::MaybeSent(MaybeSent::Broken), DiscoveryError::Unreachable),
    ] {
        assert_eq!(get_reply(Reply::error(error)).await.unwrap_err(), due, "{error}");
    }
}

/// The age of an answer counts from its request (RFC 9111 section 4.2.3).
#[tokio::test(start_paused = true)]
async fn a_lifetime_counts_from_the_request() {
    let servers = Servers::closed();
    servers.on(URL, Reply::status(200).body("{}").header("cache-control", "max-age=60"));
    let (fetched, ()) = tokio::join!(get(&servers), async {
        tokio::time::advance(Duration::from_secs(5)).await;
        servers.open(1);
    });
    assert_eq!(fetched.unwrap().fresh_until, ElapsedTime::from_millis(560_000));
}

/// The time-out covers all hops, so a server cannot hold a login by many slow ones.
#[tokio::test(start_paused = true)]
async fn a_slow_server_is_given_up() {
    let servers = Servers::new();
    servers.on(URL, Reply::redirect(302, "/slow")).on("https://a.example/slow", Reply::hanging());
    assert_eq!(get(&servers).await.unwrap_err(), DiscoveryError::Unreachable);
    assert_eq!(servers.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn three_redirects_are_followed() {
    let servers = Servers::new();
    servers
        .on(URL, Reply::redirect(301, "/two?x=1#fragment"))
        .on("https://a.example/two?x=1", Reply::redirect(302, "//b.example/three"))
        .on("https://b.example/three", Reply::redirect(307, "https://c.example/four"))
        .on("https://c.example/four", Reply::status(200).body("{}"));
    assert_eq!(text(get(&servers).await), "{}");
    assert_eq!(servers.count(), 4);
    assert!(servers.sent().iter().all(|sent| sent.method == Method::GET && sent.headers.len() == 2));
    for status in [303, 308] {
        servers.on("https://c.example/four", Reply::redirect(status, "/five"));
        assert_eq!(get(&servers).await.unwrap_err(), DiscoveryError::TooManyRedirects);
    }
    assert_eq!(servers.count(), 12, "the fifth URL is not asked");
}

/// A redirect is a URL that a server names.
#[tokio::test(start_paused = true)]
async fn no_redirect_leads_to_an_unsafe_address() {
    for target in [
        "http://a.example/doc",
        "http://localhost/doc",
        "https://localhost/doc",
        "https://127.0.0.1/doc",
        "https://127.1/doc",
        "https://2130706433/doc",
        "https://0x7f.1/doc",
        "https://0177.0.0.1/doc",
        "https://[::1]/doc",
        "https://[::ffff:127.0.0.1]/doc",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/doc",
        "https://user:password@b.example/doc",
        "ftp://a.example/doc",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:application/json,{}",
        "https://",
    ] {
        let servers = Servers::new();
        servers.on(URL, Reply::redirect(302, target));
        let unsafe_address = DiscoveryError::UnsafeAddress { member: "Location" };
        assert_eq!(get(&servers).await.unwrap_err(), unsafe_address, "{target}");
        assert_eq!(servers.count(), 1, "{target}");
    }
    let without = get_reply(Reply::status(302)).await.unwrap_err();
    assert_eq!(without, DiscoveryError::Unreadable { member: Some("Location") });
}

#[tokio::test(start_paused = true)]
async fn https_stays_https_on_loopback_too() {
    let servers = Servers::new();
    let local = "http://127.0.0.1:9/doc";
    servers.on(local, Reply::redirect(302, "https://127.0.0.1/doc"));
    servers.on("https://127.0.0.1/doc", Reply::redirect(302, local));
    let result = get_with(&servers, local, Reach::PublicOrLoopback, None).await;
    assert_eq!(result.unwrap_err(), DiscoveryError::UnsafeAddress { member: "Location" });
    assert_eq!(servers.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_beyond_the_reach() {
    for (url, reach) in [
        ("https://127.0.0.1/doc", Reach::Public),
        ("http://127.0.0.1/doc", Reach::Public),
        ("http://10.0.0.1/doc", Reach::PublicOrLoopback),
        ("https://10.0.0.1/doc", Reach::PublicOrLoopback),
        ("http://10.0.0.1/doc", Reach::Any),
        ("http://a.example/doc", Reach::Any),
        ("https://a.example/doc#x", Reach::Any),
        ("https://u:p@a.example/doc", Reach::Any),
    ] {
        let servers = Servers::new();
        let result = get_with(&servers, url, reach, None).await;
        assert_eq!(result.unwrap_err(), DiscoveryError::UnsafeAddress { member: "m" }, "{url}");
        assert_eq!(servers.count(), 0, "{url}");
    }
}

/// The person who named a server in a private network did not name all of that network.
#[tokio::test(start_paused = true)]
async fn a_redirect_keeps_the_reach_within_its_origin_only() {
    let servers = Servers::new();
    let private = "https://10.0.0.1/doc";
    servers
        .on(private, Reply::redirect(302, "/next"))
        .on("https://10.0.0.1/next", Reply::redirect(302, "https://10.0.0.2/"));
    let url = Url::parse(private).unwrap();
    let query = Query { url: &url, reach: Reach::Any, redirected: Reach::Public, member: "m", kept: None };
    let result = fetcher(&servers).get(query).await;
    assert_eq!(result.unwrap_err(), DiscoveryError::UnsafeAddress { member: "Location" });
    assert_eq!(servers.take_urls(), [private, "https://10.0.0.1/next"]);
}

/// A server could name a host that leads a client without enforcement into this network, so such a client fetches nothing
/// that a server named.
#[tokio::test(start_paused = true)]
async fn a_careless_client_fetches_what_a_person_named() {
    let servers = Servers::careless();
    servers.on(URL, Reply::status(200).body("{}"));
    assert_eq!(get(&servers).await.unwrap_err(), DiscoveryError::ReachNotEnforced);
    assert_eq!(servers.count(), 0);
    assert_eq!(text(get_with(&servers, URL, Reach::Any, None).await), "{}");
    let url = Url::parse(URL).unwrap();
    let trusting = Fetcher { trusts_client: true, ..fetcher(&servers) };
    let query = Query { url: &url, reach: Reach::Public, redirected: Reach::Public, member: "m", kept: None };
    assert_eq!(text(trusting.get(query).await), "{}");
}

#[tokio::test(start_paused = true)]
async fn a_version_is_revalidated_at_the_url_that_answered() {
    let servers = Servers::new();
    let target = "https://b.example/doc";
    servers.on(URL, Reply::redirect(302, target));
    servers.on(target, Reply::status(200).body("{}").header("etag", "\"1\""));
    let validator = get(&servers).await.unwrap().validator.unwrap();

    servers.on(target, Reply::status(304).header("cache-control", "max-age=60"));
    let fetched = get_with(&servers, URL, Reach::Public, Some(&validator)).await.unwrap();
    assert!(fetched.document.is_none());
    assert_eq!(fetched.validator.as_ref(), Some(&validator), "the 304 leaves the tag out, so the old one stays");
    let tags: Vec<_> = servers.sent().iter().map(|sent| sent.headers.get(header::IF_NONE_MATCH).cloned()).collect();
    assert_eq!(tags, [None, None, None, Some(HeaderValue::from_static("\"1\""))]);
    assert_eq!(fetched.fresh_until.as_millis(), 560_000);
}
