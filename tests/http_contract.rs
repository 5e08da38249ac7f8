//! Runs the checks of [`tokenkeeper_testkit::http_contract`] on [`ReqwestClient`].
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

/// A client whose application turns on everything in reqwest that sends a request again or elsewhere.
/// [`ReqwestClient::with`] must override all of it.
struct WithRetriesAndRedirects;

impl Harness for WithRetriesAndRedirects {
    fn client(&self) -> Arc<dyn HttpClient> {
        Arc::new(
            ReqwestClient::with(|| {
                reqwest::Client::builder()
                    .redirect(reqwest::redirect::Policy::limited(10))
                    .retry(reqwest::retry::for_host("127.0.0.1").no_budget().classify_fn(|seen| {
                        // Retries after every outcome.
                        seen.retryable()
                    }))
                    // A request on a pooled connection that has died is sent again.
                    .pool_max_idle_per_host(8)
                    // Nothing listens there. Requests to loopback must not use it.
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
async fn it_keeps_the_contract_with_retries_and_redirects_turned_on() {
    run_all(&WithRetriesAndRedirects).await;
}
