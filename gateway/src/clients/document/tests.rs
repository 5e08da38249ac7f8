use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};
use http::Response;
use tokenkeeper::http::HttpError;

use super::*;

const ID: &str = "https://app.example/client.json";

/// A client of the HTTP port whose answer is the same for each document.
#[derive(Debug)]
struct Answers {
    answer: Mutex<(u16, String)>,
    requests: AtomicUsize,
    /// Requests to this host get no answer.
    slow: &'static str,
    /// Each answer takes one.
    released: Semaphore,
}

impl Answers {
    fn now(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl HttpClient for Answers {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        assert_eq!(exchange.reach, Reach::Public);
        self.requests.fetch_add(1, Ordering::SeqCst);
        if exchange.request.uri().host() == Some(self.slow) {
            std::future::pending::<()>().await;
        }
        self.released.acquire().await.unwrap().forget();
        let (status, body) = self.answer.lock().unwrap().clone();
        let mut answer = Response::new(Body::new(body));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(answer)
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

fn answers(status: u16, body: &str) -> (Arc<Answers>, Documents) {
    let (answer, released) = (Mutex::new((status, body.to_owned())), Semaphore::new(Semaphore::MAX_PERMITS));
    let http = Arc::new(Answers { answer, requests: AtomicUsize::new(0), slow: "slow.example", released });
    (Arc::clone(&http), Documents::new(Some(http), Reach::Public))
}

fn document(id: &str) -> String {
    format!(r#"{{"client_id":"{id}","client_name":"App","redirect_uris":["http://127.0.0.1/cb"]}}"#)
}

fn at(seconds: u64) -> WallTime {
    WallTime::from_millis(seconds * 1000)
}

#[tokio::test]
async fn a_document_is_fetched_once_in_ten_minutes() {
    let (http, documents) = answers(200, &document(ID));
    for seconds in [0, 1, 599] {
        let client = documents.client(ID, &[], at(seconds)).await.unwrap();
        assert_eq!((client.name.as_deref(), client.auth), (Some("App"), AuthMethod::None));
    }
    assert_eq!(http.requests(), 1);
    documents.client(ID, &[], at(600)).await.unwrap();
    assert_eq!(http.requests(), 2);
}

#[tokio::test]
async fn a_document_that_is_not_its_urls_own_is_no_client() {
    for body in [
        document("https://other.example/client.json"),
        document(ID).replace("http://127.0.0.1/cb", "http://evil.example/cb"),
        document(ID).replace(r#""redirect_uris""#, r#""client_secret":"s","redirect_uris""#),
        document(ID).replace(r#""redirect_uris""#, r#""token_endpoint_auth_method":"private_key_jwt","redirect_uris""#),
        format!(r#"{{"client_id":"{ID}","redirect_uris":[]}}"#),
    ] {
        let (_, documents) = answers(200, &body);
        assert_eq!(documents.client(ID, &[], at(0)).await, Err(DocumentError::Unusable), "{body}");
    }
}

#[tokio::test]
async fn trouble_of_a_host_passes_and_the_last_good_document_answers_meanwhile() {
    for (status, body) in [
        (302, String::new()),
        (403, "<html>".to_owned()),
        (404, document(ID)),
        (429, String::new()),
        (503, document(ID)),
        (200, "<html>".to_owned()),
        (200, r#"{"error":"slow down"}"#.to_owned()),
        (200, "x".repeat(MAX_DOCUMENT + 1)),
    ] {
        let (http, documents) = answers(status, &body);
        for seconds in [0, 29] {
            let answer = documents.client(ID, &[], at(seconds)).await;
            assert_eq!(answer, Err(DocumentError::Unreachable), "{status} {body}");
        }
        assert_eq!(http.requests(), 1, "a failure is remembered for half a minute");
        http.now(200, &document(ID));
        documents.client(ID, &[], at(30)).await.unwrap();
        http.now(status, &body);
        for seconds in [629, 630, 659, 660, 86_429] {
            assert!(documents.client(ID, &[], at(seconds)).await.is_ok(), "{status} {body} after {seconds}");
        }
        assert_eq!(http.requests(), 5, "two beforehand, and one at 630, at 660 and at 86429");
        assert_eq!(documents.client(ID, &[], at(86_459)).await, Err(DocumentError::Unreachable), "after a day");
    }
}

#[tokio::test]
async fn a_document_that_describes_no_client_any_more_ends_the_one_before() {
    let (http, documents) = answers(200, &document(ID));
    documents.client(ID, &[], at(0)).await.unwrap();
    http.now(200, &document(ID).replace(r#""redirect_uris""#, r#""client_secret":"s","redirect_uris""#));
    assert_eq!(documents.client(ID, &[], at(600)).await, Err(DocumentError::Unusable));
    http.now(503, "");
    assert_eq!(documents.client(ID, &[], at(630)).await, Err(DocumentError::Unreachable), "nor does it come back");
}

#[tokio::test]
async fn any_number_of_sign_ins_at_once_share_one_request() {
    let (http, documents) = answers(200, &document(ID));
    http.released.forget_permits(Semaphore::MAX_PERMITS);
    let all = join_all((0..100).map(|_| documents.client(ID, &[], at(0))));
    let release = async {
        // The one that sends the request is polled first.
        while http.requests() == 0 {
            tokio::task::yield_now().await;
        }
        http.released.add_permits(1);
    };
    let (all, ()) = join(all, release).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(http.requests(), 1);
}

#[tokio::test]
async fn a_browser_that_leaves_ends_the_request_of_no_other() {
    let (http, documents) = answers(200, &document(ID));
    http.released.forget_permits(Semaphore::MAX_PERMITS);
    let mut first = Box::pin(documents.client(ID, &[], at(0)));
    let mut second = Box::pin(documents.client(ID, &[], at(0)));
    assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
    drop(first);
    http.released.add_permits(1);
    assert!(second.await.is_ok());
    assert_eq!(http.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_leaves_room_for_the_others() {
    let (http, documents) = answers(200, &document(ID));
    let slow = join_all((0..64).map(|number| {
        let (documents, id) = (&documents, format!("https://slow.example/{number}"));
        async move { documents.client(&id, &[], at(0)).await }
    }));
    let mut slow = Box::pin(slow);
    assert!(futures_util::poll!(&mut slow).is_pending());
    assert_eq!(http.requests(), MAX_REQUESTS_OF_HOST);
    assert!(documents.client(ID, &[], at(0)).await.is_ok());
    // The others of the slow host give up their turn, and are not remembered as failures.
    tokio::time::advance(TURN).await;
    assert!(futures_util::poll!(&mut slow).is_pending());
    assert_eq!(http.requests(), MAX_REQUESTS_OF_HOST + 1);
    drop(slow);
    http.now(200, &document("https://slow.example/0"));
    assert_eq!(documents.client("https://slow.example/63", &[], at(1)).now_or_never(), None, "it is asked again");
}

#[tokio::test]
async fn one_host_displaces_no_document_of_another() {
    let (http, documents) = answers(200, &document(ID));
    documents.client(ID, &[], at(0)).await.unwrap();
    for number in 0..2 * MAX_KEPT {
        let id = format!("https://many.example/{number}");
        http.now(200, &document(&id));
        documents.client(&id, &[], at(1)).await.unwrap();
    }
    let requests = http.requests();
    assert_eq!(documents.kept().len(), MAX_KEPT_OF_HOST + 1);
    documents.client(ID, &[], at(2)).await.unwrap();
    assert_eq!(http.requests(), requests, "the other's document is still there");
}

#[tokio::test]
async fn a_url_that_leads_inside_is_not_fetched() {
    let (http, documents) = answers(200, &document(ID));
    for id in [
        "https://app.example/",
        "https://app.example",
        "http://app.example/client.json",
        "https://127.0.0.1/client.json",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/client.json",
        "https://localhost/client.json",
        "https://user@app.example/client.json",
        "https://app.example/client.json#x",
        "https://app.example/a/../client.json",
        "https://APP.example/client.json",
    ] {
        assert_eq!(documents.client(id, &[], at(0)).await, Err(DocumentError::Url), "{id}");
    }
    assert_eq!(http.requests(), 0);
}

#[tokio::test]
async fn any_number_of_documents_takes_a_bounded_place() {
    let (_, documents) = answers(200, "{}");
    for number in 0..3 * MAX_KEPT {
        let _ = documents.client(&format!("https://app-{number}.example/client"), &[], at(0)).await;
    }
    assert_eq!(documents.kept().len(), MAX_KEPT);
}

#[tokio::test(start_paused = true)]
async fn a_known_client_goes_on_while_strangers_keep_the_gateway_busy() {
    let (http, documents) = answers(200, &document(ID));
    documents.client(ID, &[], at(0)).await.unwrap();
    let permits = documents.requests.try_acquire_many(u32::try_from(MAX_REQUESTS).unwrap()).unwrap();
    assert!(documents.client(ID, &[], at(1000)).await.is_ok());
    assert_eq!(documents.client("https://app.example/other.json", &[], at(1000)).await, Err(DocumentError::Busy));
    drop(permits);
    assert_eq!(http.requests(), 1);
    documents.client(ID, &[], at(1000)).await.unwrap();
    assert_eq!(http.requests(), 2, "it is fetched again once there is room");
}
