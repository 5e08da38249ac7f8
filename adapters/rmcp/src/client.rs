//! The client for rmcp's transports.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use tokenkeeper::{AuthSession, OperationKey};

use crate::attempts::Attempts;
use crate::destinations::Destinations;
use crate::messages::{Answer, EventStream, Get, Headers, Post, PostLimits};
use crate::operations::Operations;
use crate::streams::Wait;
use crate::unsent::{Note, Unsent};
use crate::{RefusalOf, SessionError, session_error};

/// The time-out of a cancellation whose caller does not wait for it. It is that of rmcp.
const CANCELLATION_TIMEOUT: Duration = Duration::from_secs(5);

/// The time-out of an answer to a request of the server, if its sender does not wait for it. Half of it is for the token.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum time that the end of an MCP session waits for a token. rmcp's time-out for the whole end is the same.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// An rmcp client whose requests carry the tokens of one session, over an inner client `C`.
///
/// Cheap to clone. Clones share the session, and any number of transports may share one client.
///
/// - Each request gets the session's current lease. After a 401 the lease is invalidated, and the request is sent again
///   with another one, at most twice. All refused requests share one refresh.
/// - A request to a URL that is not the session's server or below it is an error, and nothing is sent (law 13).
/// - A token that is bound to a key (DPoP) is sent in the headers, with its proof. rmcp does not expose the headers of answers,
///   so the session makes a separate request to the server to get the nonces that the server wants
///   ([`Call::next_of`](tokenkeeper::Call::next_of)).
/// - A request for which the host configured a token itself (`auth_header`, or an `Authorization` header among its
///   `custom_headers`) goes to the inner client unchanged.
/// - The standing stream waits for logins, and until transient faults have passed. It is then opened with the current token.
///   An open stream stays open when tokens change.
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
    /// the MCP session to another path or origin. A reqwest client needs the policy `tokenkeeper::http::redirects`.
    /// `SessionClient::new` makes one with it (feature `reqwest`).
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
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep the message twice")]
    fn post(
        &self,
        post: Post,
        pinned: Option<String>,
    ) -> impl Future<Output = Answer<StreamableHttpPostResponse, C>> + Send + '_ {
        async move {
            if is_pinned(pinned.as_ref(), &post.headers) {
                return post.send(&self.inner, pinned).await;
            }
            if post.is_control() {
                // This is boxed, because otherwise the future of every message would be larger.
                return Box::pin(self.control(post)).await;
            }
            let note = || post.request().map(|name| self.shared.unsent.note(name));
            self.deliver(&post, note).await
        }
    }

    /// Sends a message. `note` is called when it has to wait for a token.
    async fn deliver(&self, post: &Post, note: impl Fn() -> Option<Note>) -> Answer<StreamableHttpPostResponse, C> {
        let operation = self.shared.operations.of(&post.message);
        let mut attempts = self.attempts(&post.uri, Method::POST, operation, note)?;
        loop {
            let (token, headers) = attempts.token(&post.headers).await.map_err(SessionError::into_rmcp)?;
            let (uri, message, session_id) = (post.uri.clone(), post.message.clone(), post.session_id.clone());
            let attempt = Post { uri, message, session_id, headers, limits: post.limits };
            match attempt.send(&self.inner, token).await {
                Ok(answer) => return Ok(answer),
                // This is boxed, because few messages need it.
                Err(error) => Box::pin(attempts.again(error)).await?,
            }
        }
    }

    /// Sends a cancellation, or an answer to a request of the server, and never waits for a token. rmcp sends these messages
    /// one after another, and gives up each after 5 s. The time-outs of its calls would otherwise wait for the token, too.
    async fn control(&self, post: Post) -> Answer<StreamableHttpPostResponse, C> {
        let limit = match post.cancelled() {
            Some(request) if self.shared.unsent.take_cancellation(&request) => {
                return Ok(StreamableHttpPostResponse::Accepted);
            }
            Some(_) => CANCELLATION_TIMEOUT,
            None => ANSWER_TIMEOUT,
        };
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
            return answer;
        }
        #[expect(clippy::disallowed_methods, reason = "it may be dropped at any time, and is bounded")]
        drop(tokio::spawn(tokio::time::timeout(limit, sending)));
        Ok(StreamableHttpPostResponse::Accepted)
    }

    async fn open(&self, get: Get, pinned: Option<String>) -> Answer<EventStream, C> {
        if is_pinned(pinned.as_ref(), &get.headers) {
            return get.send(&self.inner, pinned).await;
        }
        let mut wait = Wait::new(&self.shared.session);
        loop {
            let error = match self.open_once(&get).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let Some(own) = session_error(&error) else { return Err(error) };
            if !wait.until_passed(own).await {
                return Err(error);
            }
        }
    }

    async fn open_once(&self, get: &Get) -> Answer<EventStream, C> {
        let mut attempts = self.attempts(&get.uri, Method::GET, self.shared.operations.stream, || None)?;
        loop {
            let (token, headers) = attempts.token(&get.headers).await.map_err(SessionError::into_rmcp)?;
            match (Get { headers, ..get.clone() }).send(&self.inner, token).await {
                Ok(stream) => return Ok(stream),
                Err(error) => attempts.again(error).await?,
            }
        }
    }

    fn attempts<N: Fn() -> Option<Note>>(
        &self,
        uri: &Arc<str>,
        method: Method,
        operation: OperationKey,
        note: N,
    ) -> Result<Attempts<N>, StreamableHttpError<C::Error>> {
        let mut call = self.shared.session.call(operation);
        if method == Method::DELETE {
            call = call.patience(END_PATIENCE);
        }
        match self.shared.destinations.of(&self.shared.session, uri) {
            Ok(to) => Ok(Attempts::new(call, to, method, note)),
            Err(error) => Err(SessionError::new(error.into(), None).into_rmcp()),
        }
    }
}

/// Whether the host configured the authorization itself.
fn is_pinned(token: Option<&String>, headers: &Headers) -> bool {
    token.is_some() || headers.contains_key(&AUTHORIZATION)
}

impl<C> StreamableHttpClient for SessionClient<C>
where
    C: StreamableHttpClient + Sync,
    C::Error: RefusalOf,
{
    type Error = C::Error;

    fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> impl Future<Output = Answer<StreamableHttpPostResponse, C>> + Send + '_ {
        self.post(Post { uri, message, session_id, headers, limits: PostLimits::None }, auth_header)
    }

    fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: Headers,
        max_sse_event_size: usize,
    ) -> impl Future<Output = Answer<StreamableHttpPostResponse, C>> + Send + '_ {
        self.post(
            Post { uri, message, session_id, headers, limits: PostLimits::EventSize(max_sse_event_size) },
            auth_header,
        )
    }

    fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> impl Future<Output = Answer<StreamableHttpPostResponse, C>> + Send + '_ {
        self.post(Post { uri, message, session_id, headers, limits: PostLimits::Response(limits) }, auth_header)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Answer<(), C> {
        if is_pinned(auth_header.as_ref(), &custom_headers) {
            return self.inner.delete_session(uri, session_id, auth_header, custom_headers).await;
        }
        let mut attempts = self.attempts(&uri, Method::DELETE, self.shared.operations.end, || None)?;
        loop {
            let (token, headers) = attempts.token(&custom_headers).await.map_err(SessionError::into_rmcp)?;
            let (uri, session_id) = (Arc::clone(&uri), Arc::clone(&session_id));
            match self.inner.delete_session(uri, session_id, token, headers).await {
                Ok(()) => return Ok(()),
                Err(error) => attempts.again(error).await?,
            }
        }
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
