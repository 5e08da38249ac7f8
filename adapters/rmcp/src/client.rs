//! The client that transports get.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::Method;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use tokenkeeper::{AuthSession, CallError, Destination};

use crate::RefusalOf;
use crate::attempts::{Failure, send_with};
use crate::destinations::Destinations;
use crate::messages::{Answer, EventStream, Get, Headers, Post, PostLimits};
use crate::operations::Operations;
use crate::streams::Wait;
use crate::unsent::{Note, RequestName, Unsent};

/// How long a cancellation may take whose caller does not wait for it. rmcp gives its own as long.
const CANCELLATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end of an MCP session waits for a token. rmcp waits as long for all of it.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// An rmcp client whose requests carry the tokens of one session, over an inner client `C`.
///
/// Cheap to clone. Clones share the session, and any number of transports may share one client.
///
/// - Each request gets the session's current lease. After a 401 the lease is invalidated, and the request is sent again
///   with another one, at most twice. Of any number of refused requests one refreshes.
/// - A request to a URL that is not the session's server or below it is an error, and nothing is sent (law 13).
/// - A request for which the host configured a token of its own (`auth_header`) goes to the inner client unchanged.
/// - The standing stream waits for logins and for faults that pass, and is opened with the token of that time. An open
///   stream stays open when tokens change.
///
/// # Concurrency and cancellation
///
/// Every future may be dropped at any await. A refresh that it waits for goes on.
pub struct SessionClient<C> {
    inner: C,
    shared: Arc<Shared>,
}

/// The part that clones share.
struct Shared {
    session: AuthSession,
    destinations: Destinations,
    operations: Operations,
    unsent: Unsent,
}

impl<C> SessionClient<C> {
    /// A client over `inner`, for requests of `session`.
    ///
    /// **`inner` must not follow redirects, or only those to the session's server.** Otherwise it may carry the token and
    /// the MCP session to another path or origin. A host's own reqwest client takes `tokenkeeper::http::redirects`, or is made
    /// by `SessionClient::new` (feature `reqwest`).
    pub fn over(inner: C, session: AuthSession) -> Self {
        let shared = Shared {
            session,
            destinations: Destinations::default(),
            operations: Operations::new(),
            unsent: Unsent::default(),
        };
        Self { inner, shared: Arc::new(shared) }
    }

    /// The session whose tokens the requests carry.
    pub fn session(&self) -> &AuthSession {
        &self.shared.session
    }
}

impl<C> SessionClient<C>
where
    C: StreamableHttpClient + Sync,
    C::Error: RefusalOf,
{
    async fn post(&self, post: Post, pinned: Option<String>) -> Answer<StreamableHttpPostResponse, C> {
        if pinned.is_some() {
            return post.send(&self.inner, pinned).await;
        }
        if let Some(request) = post.cancelled() {
            // In a box, because the future of every message would be larger otherwise.
            return Box::pin(self.cancel(post, request)).await;
        }
        let note = || post.request().map(|name| self.shared.unsent.note(name));
        Ok(self.deliver(&post, note).await?)
    }

    /// Sends a message. `note` is called when it has to wait for a token.
    async fn deliver(
        &self,
        post: &Post,
        note: impl Fn() -> Option<Note>,
    ) -> Result<StreamableHttpPostResponse, Failure<C::Error>> {
        let to = self.shared.destination(&post.uri)?;
        let call = self.shared.session.call(self.shared.operations.of(&post.message));
        send_with(call, &to, &Method::POST, note, |token| post.clone().send(&self.inner, token)).await
    }

    /// Sends the cancellation of `request`, and never waits for a token, because rmcp's time-outs would wait for it, too.
    async fn cancel(&self, post: Post, request: RequestName) -> Answer<StreamableHttpPostResponse, C> {
        if self.shared.unsent.take_cancellation(&request) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let waits = Arc::new(AtomicBool::new(false));
        let (client, noted) = (self.clone(), Arc::clone(&waits));
        let mut sending = Box::pin(async move {
            let note = || {
                noted.store(true, Ordering::Relaxed);
                None
            };
            client.deliver(&post, note).await
        });
        let sent = poll_fn(|context| match sending.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if waits.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(answer) = sent.await {
            return Ok(answer?);
        }
        #[expect(clippy::disallowed_methods, reason = "it may be dropped at any time, and is bounded")]
        drop(tokio::spawn(tokio::time::timeout(CANCELLATION_TIMEOUT, sending)));
        Ok(StreamableHttpPostResponse::Accepted)
    }

    async fn open(&self, get: Get, pinned: Option<String>) -> Answer<EventStream, C> {
        if pinned.is_some() {
            return get.send(&self.inner, pinned).await;
        }
        let to = self.shared.destination(&get.uri).map_err(Failure::from)?;
        let mut wait = Wait::new(&self.shared.session);
        loop {
            let call = self.shared.session.call(self.shared.operations.stream);
            let send = |token| get.clone().send(&self.inner, token);
            match send_with(call, &to, &Method::GET, || None, send).await {
                Ok(stream) => return Ok(stream),
                Err(Failure::Session(error)) if wait.until_passed(&error).await => {}
                Err(failure) => return Err(failure.into()),
            }
        }
    }
}

impl Shared {
    fn destination(&self, uri: &Arc<str>) -> Result<Destination, CallError> {
        Ok(self.destinations.of(&self.session, uri)?)
    }
}

impl<C> StreamableHttpClient for SessionClient<C>
where
    C: StreamableHttpClient + Sync,
    C::Error: RefusalOf,
{
    type Error = C::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Answer<StreamableHttpPostResponse, C> {
        let limits = PostLimits::None;
        self.post(Post { uri, message, session_id, headers: custom_headers, limits }, auth_header).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> Answer<StreamableHttpPostResponse, C> {
        let limits = PostLimits::EventSize(max_sse_event_size);
        self.post(Post { uri, message, session_id, headers: custom_headers, limits }, auth_header).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Answer<StreamableHttpPostResponse, C> {
        let limits = PostLimits::Response(limits);
        self.post(Post { uri, message, session_id, headers: custom_headers, limits }, auth_header).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Answer<(), C> {
        if auth_header.is_some() {
            return self.inner.delete_session(uri, session_id, auth_header, custom_headers).await;
        }
        let to = self.shared.destination(&uri).map_err(Failure::from)?;
        let call = self.shared.session.call(self.shared.operations.end).patience(END_PATIENCE);
        let send =
            |token| self.inner.delete_session(Arc::clone(&uri), Arc::clone(&session_id), token, custom_headers.clone());
        Ok(send_with(call, &to, &Method::DELETE, || None, send).await?)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Answer<EventStream, C> {
        let get = Get { uri, session_id, last_event_id, headers: custom_headers, max_event_size: None };
        self.open(get, auth_header).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> Answer<EventStream, C> {
        let max_event_size = Some(max_sse_event_size);
        self.open(Get { uri, session_id, last_event_id, headers: custom_headers, max_event_size }, auth_header).await
    }
}

impl<C: Clone> Clone for SessionClient<C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<C> fmt::Debug for SessionClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionClient").field("identity", self.session().identity()).finish_non_exhaustive()
    }
}
