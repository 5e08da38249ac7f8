use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use http::Response;
use tokenkeeper::http::HttpError;

use super::*;

const ID: &str = "https://app.example/client.json";

/// A client of the HTTP port that answers each request with one document.
#[derive(Debug)]
struct Answers {
    status: StatusCode,
    body: String,
    requests: AtomicUsize,
    is_down: AtomicBool,
}

#[async_trait]
impl HttpClient for Answers {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        assert_eq!(exchange.reach, Reach::Public);
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut answer = Response::new(Body::new(self.body.clone()));
        *answer.status_mut() = if self.is_down.load(Ordering::SeqCst) { StatusCode::BAD_GATEWAY } else { self.status };
        Ok(answer)
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

fn answers(status: StatusCode, body: &str) -> (Arc<Answers>, Documents) {
    let http = Arc::new(Answers {
        status,
        body: body.to_owned(),
        requests: AtomicUsize::new(0),
        is_down: AtomicBool::new(false),
    });
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
    let (http, documents) = answers(StatusCode::OK, &document(ID));
    for seconds in [0, 1, 599] {
        let client = documents.client(ID, at(seconds)).await.unwrap();
        assert_eq!((client.name.as_deref(), client.auth), (Some("App"), AuthMethod::None));
    }
    assert_eq!(http.requests.load(Ordering::SeqCst), 1);
    documents.client(ID, at(600)).await.unwrap();
    assert_eq!(http.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_document_that_is_not_its_urls_own_is_no_client() {
    for body in [
        document("https://other.example/client.json"),
        document(ID).replace("http://127.0.0.1/cb", "http://evil.example/cb"),
        document(ID).replace(r#""redirect_uris""#, r#""client_secret":"s","redirect_uris""#),
        document(ID).replace(r#""redirect_uris""#, r#""token_endpoint_auth_method":"private_key_jwt","redirect_uris""#),
        format!(r#"{{"client_id":"{ID}","redirect_uris":[]}}"#),
        "<html>".to_owned(),
    ] {
        let (_, documents) = answers(StatusCode::OK, &body);
        assert_eq!(documents.client(ID, at(0)).await, Err(DocumentError::Unusable), "{body}");
    }
    for (status, error) in
        [(302, DocumentError::Unusable), (404, DocumentError::Unusable), (503, DocumentError::Unreachable)]
    {
        let (http, documents) = answers(StatusCode::from_u16(status).unwrap(), &document(ID));
        assert_eq!(documents.client(ID, at(0)).await, Err(error));
        assert_eq!(documents.client(ID, at(29)).await, Err(error), "a failure is remembered for half a minute");
        assert_eq!(http.requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_url_that_leads_inside_is_not_fetched() {
    let (http, documents) = answers(StatusCode::OK, &document(ID));
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
        assert_eq!(documents.client(id, at(0)).await, Err(DocumentError::Url), "{id}");
    }
    assert_eq!(http.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn any_number_of_documents_takes_a_bounded_place() {
    let (_, documents) = answers(StatusCode::OK, "{}");
    for number in 0..3 * MAX_KEPT {
        let _ = documents.client(&format!("https://app.example/{number}"), at(0)).await;
    }
    assert_eq!(documents.kept().len(), MAX_KEPT);
}

#[tokio::test]
async fn a_known_client_goes_on_while_its_server_is_down_for_a_day() {
    let (http, documents) = answers(StatusCode::OK, &document(ID));
    documents.client(ID, at(0)).await.unwrap();
    http.is_down.store(true, Ordering::SeqCst);
    assert!(documents.client(ID, at(1000)).await.is_ok());
    let permits = documents.requests.try_acquire_many(u32::try_from(MAX_REQUESTS).unwrap()).unwrap();
    assert!(documents.client(ID, at(1000)).await.is_ok(), "also while strangers keep the gateway busy");
    assert_eq!(documents.client("https://app.example/other.json", at(1000)).await, Err(DocumentError::Busy));
    drop(permits);
    documents.client("https://app.example/other.json", at(90_000)).await.unwrap_err();
    assert_eq!(documents.client(ID, at(90_000)).await, Err(DocumentError::Unreachable));
}
