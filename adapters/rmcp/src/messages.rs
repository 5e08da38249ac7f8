//! The requests of rmcp's transport, with the parameters of the methods of its trait.

use std::sync::Arc;

use futures_util::future::Either;
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, RequestId};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;

use crate::unsent::RequestName;

#[expect(clippy::disallowed_types, reason = "rmcp's trait takes this type")]
pub(crate) type Headers = std::collections::HashMap<HeaderName, HeaderValue>;

/// The result of a request to the inner client `C`.
pub(crate) type Answer<T, C> = Result<T, StreamableHttpError<<C as StreamableHttpClient>::Error>>;

pub(crate) type EventStream = BoxStream<'static, Result<Sse, SseError>>;

/// The message that a transport sends. Each attempt sends a copy.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) uri: Arc<str>,
    pub(crate) message: ClientJsonRpcMessage,
    pub(crate) session_id: Option<Arc<str>>,
    pub(crate) headers: Headers,
    pub(crate) limits: PostLimits,
}

/// The limits of an answer, which depend on the method of the trait. They are passed to the same method of the inner client.
#[derive(Clone, Copy)]
pub(crate) enum PostLimits {
    None,
    EventSize(usize),
    Response(StreamableHttpResponseLimits),
}

impl Post {
    /// Sends the message through `inner`.
    ///
    /// This is not an `async fn`, because that would keep the message twice, and moving a message costs as much as the rest of
    /// the adapter.
    pub(crate) fn send<C>(
        self,
        inner: &C,
        token: Option<String>,
    ) -> impl Future<Output = Answer<StreamableHttpPostResponse, C>> + Send + '_
    where
        C: StreamableHttpClient + Sync,
    {
        let Self { uri, message, session_id, headers, limits } = self;
        match limits {
            PostLimits::None => Either::Left(inner.post_message(uri, message, session_id, token, headers)),
            PostLimits::EventSize(size) => Either::Right(Either::Left(
                inner.post_message_with_max_sse_event_size(uri, message, session_id, token, headers, size),
            )),
            PostLimits::Response(limits) => Either::Right(Either::Right(
                inner.post_message_with_response_limits(uri, message, session_id, token, headers, limits),
            )),
        }
    }

    /// The name of the request, if the message is one.
    pub(crate) fn request(&self) -> Option<RequestName> {
        match &self.message {
            ClientJsonRpcMessage::Request(request) => Some(self.named(&request.id)),
            _ => None,
        }
    }

    /// The name of the request that the message cancels, if it cancels one.
    pub(crate) fn cancelled(&self) -> Option<RequestName> {
        match &self.message {
            ClientJsonRpcMessage::Notification(notification) => match &notification.notification {
                ClientNotification::CancelledNotification(cancelled) => {
                    cancelled.params.request_id.as_ref().map(|id| self.named(id))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the message is a cancellation, or an answer to a request of the server. rmcp sends these apart from requests.
    pub(crate) fn is_control(&self) -> bool {
        match &self.message {
            ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => true,
            ClientJsonRpcMessage::Request(_) | ClientJsonRpcMessage::Notification(_) => self.cancelled().is_some(),
        }
    }

    fn named(&self, id: &RequestId) -> RequestName {
        RequestName { session_id: self.session_id.clone(), id: id.clone() }
    }
}

/// The stream of events that a transport opens.
#[derive(Clone)]
pub(crate) struct Get {
    pub(crate) uri: Arc<str>,
    pub(crate) session_id: Option<Arc<str>>,
    pub(crate) last_event_id: Option<String>,
    pub(crate) headers: Headers,
    /// The limit of an event's size, if the method of the trait has one.
    pub(crate) max_event_size: Option<usize>,
}

impl Get {
    pub(crate) async fn send<C>(self, inner: &C, token: Option<String>) -> Answer<EventStream, C>
    where
        C: StreamableHttpClient + Sync,
    {
        let Self { uri, session_id, last_event_id, headers, max_event_size } = self;
        match max_event_size {
            None => inner.get_stream(uri, session_id, last_event_id, token, headers).await,
            Some(size) => {
                inner.get_stream_with_max_sse_event_size(uri, session_id, last_event_id, token, headers, size).await
            }
        }
    }
}
