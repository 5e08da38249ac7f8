//! The allocations of a message whose token is at hand. It is alone in its process, because all threads are counted.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_types, reason = "rmcp's trait takes a HashMap")]

use std::alloc::System;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{AuthRuntime, Login, SessionSpec, stores};
use tokenkeeper_rmcp::SessionClient;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const URL: &str = "https://mcp.example.com/mcp";

type Headers = HashMap<HeaderName, HeaderValue>;
type Answer<T> = Result<T, StreamableHttpError<Infallible>>;

/// An inner client that sends nothing.
#[derive(Clone)]
struct NoServer;

impl StreamableHttpClient for NoServer {
    type Error = Infallible;

    async fn post_message(
        &self,
        _: Arc<str>,
        _: ClientJsonRpcMessage,
        _: Option<Arc<str>>,
        token: Option<String>,
        _: Headers,
    ) -> Answer<StreamableHttpPostResponse> {
        assert_eq!(token.as_deref(), Some("token"));
        Ok(StreamableHttpPostResponse::Accepted)
    }

    async fn delete_session(&self, _: Arc<str>, _: Arc<str>, _: Option<String>, _: Headers) -> Answer<()> {
        Ok(())
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: Headers,
    ) -> Answer<BoxStream<'static, Result<Sse, SseError>>> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

fn counted(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.allocations + change.reallocations
}

#[tokio::test]
async fn a_message_with_a_token_at_hand_allocates_its_copy_and_the_token_alone() {
    let runtime = AuthRuntime::builder(stores::memory::open().unwrap()).spawn().await.unwrap();
    let session = runtime.session(SessionSpec::mcp(URL).unwrap());
    let issuer = IssuerSettings::new("https://as.example", "https://as.example/token", Client::public("client"));
    let login = Login::at(issuer.unwrap()).access_token("token", Some(Duration::from_secs(3_600)));
    session.install(login).await.unwrap();
    assert!(session.at_hand().is_some());

    let client = SessionClient::over(NoServer, session);
    let (uri, limits): (Arc<str>, _) = (URL.into(), StreamableHttpResponseLimits::default());
    let version = (HeaderName::from_static("mcp-protocol-version"), HeaderValue::from_static("2025-11-25"));
    let headers = Headers::from([version]);
    for json in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"tokens"}}}"#,
    ] {
        let message: ClientJsonRpcMessage = serde_json::from_str(json).unwrap();
        let post = async |message, headers| {
            client.post_message_with_response_limits(uri.clone(), message, None, None, headers, limits).await.unwrap()
        };
        // The URL and the operation of the first message are remembered.
        post(message.clone(), headers.clone()).await;
        let region = Region::new(ALLOCATOR);
        drop(black_box((message.clone(), headers.clone())));
        let of_copy = counted(&region);
        let (message, headers) = (message, headers.clone());
        let region = Region::new(ALLOCATOR);
        post(message, headers).await;
        assert_eq!(counted(&region), of_copy + 1, "{json}");
    }
}
