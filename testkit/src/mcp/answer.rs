//! Answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde_json::{Value, json};

/// An answer to a request.
pub(super) type Answer = Response<AnswerBody>;

/// The body of an answer.
pub(super) enum AnswerBody {
    /// One piece, until it was sent.
    Whole(Option<Bytes>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self::Whole(bytes) = self.get_mut();
        Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        let Self::Whole(bytes) = self;
        SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// An answer without a body. An invalid status becomes 500.
pub(super) fn empty(status: u16) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

pub(super) fn json(status: u16, value: &Value) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = AnswerBody::Whole(Some(value.to_string().into()));
    with(answer, header::CONTENT_TYPE, "application/json")
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
