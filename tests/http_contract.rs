//! The client over reqwest keeps the HTTP contract.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use tokenkeeper::http::{HttpClient, ReqwestClient};
use tokenkeeper_testkit::http_contract::{Harness, run_all};

struct Reqwest;

impl Harness for Reqwest {
    fn client(&self) -> Arc<dyn HttpClient> {
        Arc::new(ReqwestClient::new().unwrap())
    }
}

/// A host's client with every feature that repeats requests turned on.
struct AsEagerAsCanBe;

impl Harness for AsEagerAsCanBe {
    fn client(&self) -> Arc<dyn HttpClient> {
        Arc::new(
            ReqwestClient::with(|| {
                reqwest::Client::builder()
                    .redirect(reqwest::redirect::Policy::limited(10))
                    .retry(reqwest::retry::for_host("127.0.0.1").no_budget().classify_fn(|seen| {
                        // Retries after every outcome.
                        seen.retryable()
                    }))
                    .pool_max_idle_per_host(8)
                    .proxy(reqwest::Proxy::all("http://127.0.0.1:1").unwrap())
            })
            .unwrap(),
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_over_reqwest_keeps_the_contract() {
    run_all(&Reqwest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_it_whatever_its_host_asks_of_reqwest() {
    run_all(&AsEagerAsCanBe).await;
}
