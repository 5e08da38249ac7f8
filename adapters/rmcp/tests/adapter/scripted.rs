//! An inner client that is not reqwest. It answers by a script, and logs what the adapter hands over.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, InsufficientScopeError, SseError, StreamableHttpClient, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;
use tokenkeeper_rmcp::RefusalOf;

pub type Headers = HashMap<HeaderName, HeaderValue>;
pub type Answer<T> = Result<T, StreamableHttpError<ScriptedError>>;

/// The next answers. Without one the answer is `Good`.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Good,
    /// rmcp's error for this status with this first challenge, as its clients make it.
    Challenged(u16, &'static str),
    /// rmcp's error that has only a text.
    Text(&'static str),
    /// The client's own error, with its status.
    Own(Option<u16>),
    /// No answer.
    Silent,
}

/// One request, as the inner client got it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// The method of the trait, and its limits.
    pub method: String,
    pub uri: String,
    pub message: String,
    pub session_id: Option<String>,
    pub last_event_id: Option<String>,
    pub token: Option<String>,
    pub headers: Headers,
}

#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<(VecDeque<Step>, Vec<Sent>)>>);

impl Scripted {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(Arc::new(Mutex::new((steps.into_iter().collect(), Vec::new()))))
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.0.lock().unwrap().1.clone()
    }

    pub fn tokens(&self) -> Vec<Option<String>> {
        self.sent().into_iter().map(|sent| sent.token).collect()
    }

    async fn answer(&self, sent: Sent) -> Answer<()> {
        let step = {
            let mut state = self.0.lock().unwrap();
            state.1.push(sent);
            state.0.pop_front().unwrap_or(Step::Good)
        };
        match step {
            Step::Good => Ok(()),
            Step::Challenged(401, challenge) => {
                Err(StreamableHttpError::AuthRequired(AuthRequiredError::new(challenge.to_owned())))
            }
            Step::Challenged(_, challenge) => {
                Err(StreamableHttpError::InsufficientScope(InsufficientScopeError::new(challenge.to_owned(), None)))
            }
            Step::Text(text) => Err(StreamableHttpError::UnexpectedServerResponse(text.into())),
            Step::Own(status) => Err(StreamableHttpError::Client(ScriptedError(status))),
            Step::Silent => std::future::pending().await,
        }
    }

    async fn post(
        &self,
        method: String,
        sent: Sent,
        message: &ClientJsonRpcMessage,
    ) -> Answer<StreamableHttpPostResponse> {
        let message = serde_json::to_string(message).unwrap();
        self.answer(Sent { method, message, ..sent }).await?;
        Ok(StreamableHttpPostResponse::Accepted)
    }

    async fn get(&self, method: String, sent: Sent) -> Answer<BoxStream<'static, Result<Sse, SseError>>> {
        self.answer(Sent { method, ..sent }).await?;
        Ok(stream::empty().boxed())
    }
}

fn sent(uri: &str, session_id: Option<Arc<str>>, token: Option<String>, headers: Headers) -> Sent {
    Sent { uri: uri.to_owned(), session_id: session_id.map(|id| id.to_string()), token, headers, ..Sent::default() }
}

impl StreamableHttpClient for Scripted {
    type Error = ScriptedError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Answer<StreamableHttpPostResponse> {
        self.post("post".to_owned(), sent(&uri, session_id, token, headers), &message).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        size: usize,
    ) -> Answer<StreamableHttpPostResponse> {
        self.post(format!("post, events of {size}"), sent(&uri, session_id, token, headers), &message).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Answer<StreamableHttpPostResponse> {
        let method = format!("post, JSON of {}", limits.max_json_response_size);
        self.post(method, sent(&uri, session_id, token, headers), &message).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> Answer<()> {
        self.answer(Sent { method: "delete".to_owned(), ..sent(&uri, Some(session_id), token, headers) }).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> Answer<BoxStream<'static, Result<Sse, SseError>>> {
        self.get("get".to_owned(), Sent { last_event_id, ..sent(&uri, session_id, token, headers) }).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        token: Option<String>,
        headers: Headers,
        size: usize,
    ) -> Answer<BoxStream<'static, Result<Sse, SseError>>> {
        let sent = Sent { last_event_id, ..sent(&uri, session_id, token, headers) };
        self.get(format!("get, events of {size}"), sent).await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptedError(pub Option<u16>);

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an error of the inner client: {:?}", self.0)
    }
}

impl std::error::Error for ScriptedError {}

impl RefusalOf for ScriptedError {
    fn status(&self) -> Option<StatusCode> {
        self.0.map(|status| StatusCode::from_u16(status).unwrap())
    }
}
