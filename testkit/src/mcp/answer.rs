//! Answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// An answer to a request.
pub(super) type Answer = Response<AnswerBody>;

/// Work that a body does while it is read. It is dropped with the body, when the client has left.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The chunks of a stream that wait to be sent.
const CHUNKS: usize = 16;

/// The body of an answer.
pub(super) enum AnswerBody {
    /// One piece, until it was sent.
    Whole(Option<Bytes>),
    /// Chunks, and the work that sends them until it is done.
    Stream { chunks: mpsc::Receiver<Result<Bytes, Broken>>, work: Option<Work> },
    /// The connection breaks at the next poll.
    Breaking,
}

/// The end of a connection in the middle of an answer.
#[derive(Debug)]
pub(super) struct Broken;

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        match this {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { chunks, work } => {
                if work.as_mut().is_some_and(|work| work.as_mut().poll(cx).is_ready()) {
                    *work = None;
                }
                match ready!(chunks.poll_recv(cx)) {
                    None => Poll::Ready(None),
                    Some(Ok(chunk)) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                    // While this is pending, hyper sends the chunks before. After an error it would drop them.
                    Some(Err(Broken)) => {
                        *this = Self::Breaking;
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                }
            }
            Self::Breaking => Poll::Ready(Some(Err(Broken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream { .. } | Self::Breaking => SizeHint::default(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was cut on purpose")
    }
}

impl std::error::Error for Broken {}

/// An answer without a body. An invalid status becomes 500.
pub(super) fn empty(status: u16) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

pub(super) fn json(status: u16, value: &Value) -> Answer {
    json_text(status, value.to_string())
}

/// An answer with a JSON document that was serialized before.
pub(super) fn json_text(status: u16, text: String) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = AnswerBody::Whole(Some(text.into()));
    with(answer, header::CONTENT_TYPE, "application/json")
}

/// An answer with server-sent events, which `work` sends.
pub(super) fn events<F>(work: impl FnOnce(mpsc::Sender<Result<Bytes, Broken>>) -> F) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    let (out, chunks) = mpsc::channel(CHUNKS);
    let mut answer = empty(200);
    *answer.body_mut() = AnswerBody::Stream { chunks, work: Some(Box::pin(work(out))) };
    with(with(answer, header::CONTENT_TYPE, "text/event-stream"), header::CACHE_CONTROL, "no-store")
}

/// A JSON-RPC error.
pub(super) fn error(status: u16, id: Option<&Value>, code: i64, message: &str, data: Option<Value>) -> Answer {
    json(status, &error_message(id, code, message, data))
}

/// A JSON-RPC error as a message.
pub(super) fn error_message(id: Option<&Value>, code: i64, message: &str, data: Option<Value>) -> Value {
    let mut error = json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = data;
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

/// Adds a header. One that cannot be written is left out.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: impl AsRef<[u8]>) -> Answer {
    if let Ok(value) = HeaderValue::from_bytes(value.as_ref()) {
        answer.headers_mut().append(name, value);
    }
    answer
}
