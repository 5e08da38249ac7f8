//! The allocations of a request whose token is at hand. It is alone in its process, because all threads are counted.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{AuthRuntime, Login, SessionSpec, stores};
use tokenkeeper_tower::SessionLayer;
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A service that allocates nothing.
#[derive(Clone)]
struct Nothing;

impl Service<Request<()>> for Nothing {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(request.headers().contains_key("authorization"));
        ready(Ok(Response::new(())))
    }
}

/// A request whose header map has room for one more header.
fn request() -> Request<()> {
    let mut request = Request::get("https://mcp.example.com/mcp").body(()).unwrap();
    *request.headers_mut() = HeaderMap::with_capacity(8);
    request.headers_mut().insert("accept", HeaderValue::from_static("application/json"));
    request
}

async fn allocations(layer: SessionLayer<Request<()>>) -> usize {
    let mut client = layer.layer(Nothing);
    // The first request is remembered.
    client.call(request()).await.unwrap();
    let request = request();
    let region = Region::new(ALLOCATOR);
    client.call(request).await.unwrap();
    let change = region.change();
    change.allocations + change.reallocations
}

#[tokio::test]
async fn a_request_with_a_token_at_hand_allocates_its_header_and_the_copy_alone() {
    let runtime = AuthRuntime::builder(stores::memory::open().unwrap()).spawn().await.unwrap();
    let session = runtime.session(SessionSpec::mcp("https://mcp.example.com/mcp").unwrap());
    let issuer = IssuerSettings::new("https://as.example", "https://as.example/token", Client::public("client"));
    let login = Login::at(issuer.unwrap()).access_token("token", Some(Duration::from_secs(3_600)));
    session.install(login).await.unwrap();
    assert!(session.at_hand().is_some());
    assert_eq!(allocations(SessionLayer::once(session.clone())).await, 1, "the header's text");

    let request = request();
    let region = Region::new(ALLOCATOR);
    drop(request.clone());
    let copy = region.change().allocations;
    assert_eq!(allocations(SessionLayer::new(session)).await, 1 + copy);
}
