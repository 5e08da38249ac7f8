//! The answers of the server, from whole bodies and from streams.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use serde_json::value::RawValue;
use tokenkeeper::OperationKey;

use super::open::OpenWire;
use super::{McpClient, RequestFailure};
use crate::wire::envelope::{self, MessageKind, MessageParts, is_same_id, member, text};
use crate::wire::headers;
use crate::wire::http::{AnswerEvents, BodyFailure, McpRequest, SendRecord};
use crate::wire::message::McpMessage;
use crate::wire::unanswered::Unanswered;

/// The maximum wait for the end of a stream after the answer, so that its connection can be used again.
const DRAIN: Duration = Duration::from_millis(50);

/// The maximum number of failed attempts in a row to resume a stream that broke.
const MAX_FAILURES: u32 = 5;

/// The default pause before a stream is resumed, and the minimum for a pause that the server names.
const RESUME: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(20));

/// An answer to a request. If the answer came as a stream, the body is the message with the result.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Answered {
    /// The message that has the result of the request with this number.
    pub(super) fn result(self, id: u64) -> Result<Vec<u8>, RequestFailure> {
        let is_success = matches!(self.status, 200..300);
        let parts = envelope::messages(&self.body).unwrap_or_default();
        let is_alone = parts.len() == 1;
        for part in parts {
            let Some(message) = MessageParts::read(part) else { continue };
            if is_success && message.result.is_some() && is_answer(&message, id) {
                return Ok(part.to_vec());
            }
            if let Some(error) = message.rpc_error()
                && (is_alone || is_answer(&message, id))
            {
                let text = member(error, "message").and_then(text).unwrap_or_default().into_owned();
                let code = message.error_code().unwrap_or_default();
                return Err(RequestFailure::Rpc { status: self.status, code, text, retry_after: self.retry_after });
            }
        }
        Err(match is_success {
            true => Unanswered::NoAnswer.into(),
            false => Unanswered::Status { status: self.status, retry_after: self.retry_after }.into(),
        })
    }
}

impl McpClient {
    /// Sends a request, and reads its answer. A stream of the wire of 2025 is resumed where that is possible.
    pub(super) async fn exchange(
        &self,
        message: &McpMessage,
        id: u64,
        open: &OpenWire,
        has_left: &AtomicBool,
        record: &mut SendRecord,
    ) -> Result<Answered, Unanswered> {
        let answer = self.send(message, open, has_left, record).await?;
        let (status, headers, retry_after) = (answer.status, answer.headers.clone(), answer.retry_after());
        let body = match status.is_success() && answer.has_events() {
            true => {
                // The stream of `initialize` belongs to the MCP session that it opens.
                self.streamed(answer.events(), id, open).await?
            }
            false => answer.body().await?,
        };
        Ok(Answered { status: status.as_u16(), headers, retry_after, body })
    }

    /// The message of a stream that answers the request with this number.
    async fn streamed(&self, mut events: AnswerEvents, id: u64, open: &OpenWire) -> Result<Vec<u8>, Unanswered> {
        let mut last_id = None;
        loop {
            match self.answer_among(&mut events, id, open).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) | Err(BodyFailure::Broken) => {}
                Err(BodyFailure::TooLarge) => return Err(Unanswered::TooLarge),
            }
            last_id = events.last_id().map(<[u8]>::to_vec).or(last_id);
            events = match &last_id {
                Some(last) => self.resumed(open, last, events.retry()).await.ok_or(Unanswered::Broken)?,
                None => return Err(Unanswered::Broken),
            };
        }
    }

    async fn answer_among(
        &self,
        events: &mut AnswerEvents,
        id: u64,
        open: &OpenWire,
    ) -> Result<Option<Vec<u8>>, BodyFailure> {
        while let Some(event) = events.next().await? {
            for part in envelope::messages(&event).unwrap_or_default() {
                let Some(message) = MessageParts::read(part) else { continue };
                match message.kind() {
                    MessageKind::Response if is_answer(&message, id) => {
                        let rest = async { while let Ok(Some(_)) = events.next().await {} };
                        #[expect(clippy::disallowed_methods, reason = "it bounds a wait that only saves a connection")]
                        let _ = tokio::time::timeout(DRAIN, rest).await;
                        return Ok(Some(part.to_vec()));
                    }
                    MessageKind::Request => self.reply(&message, open).await,
                    // This client does not use notifications.
                    MessageKind::Response | MessageKind::Notification => {}
                }
            }
        }
        Ok(None)
    }

    /// Answers a request of the server. This client has no capabilities, so only a `ping` has a result.
    async fn reply(&self, request: &MessageParts<'_>, open: &OpenWire) {
        let id = request.id.map_or("null", RawValue::get);
        let answer = match &*request.method() {
            "ping" => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#),
            _ => String::from_utf8(envelope::error(id, -32601, "the client has no such method", None))
                .unwrap_or_default(),
        };
        if matches!(open, OpenWire::Session(_)) {
            // A failure is ignored. The server notices a missing answer by itself.
            let _ = self.post(open, answer).await;
        }
    }

    /// Asks for the rest of a stream. Returns `None` if the stream cannot be resumed.
    #[expect(clippy::disallowed_methods, reason = "pauses between whole requests")]
    async fn resumed(&self, open: &OpenWire, last_id: &[u8], retry: Option<Duration>) -> Option<AnswerEvents> {
        let OpenWire::Session(session) = open else { return None };
        let mut headers = headers::of_get();
        session.add_to(&mut headers);
        headers.insert(headers::LAST_EVENT, HeaderValue::from_bytes(last_id).ok()?);
        let operation = OperationKey::of("GET");
        let request = McpRequest { method: Method::GET, headers, body: Bytes::new(), operation };
        let mut pause = retry.unwrap_or(RESUME.0).max(RESUME.1);
        for _ in 0..MAX_FAILURES {
            tokio::time::sleep(pause).await;
            match self.wire.send(&request, &AtomicBool::default()).await.map_err(Unanswered::from) {
                Ok(answer) if answer.status.is_success() && answer.has_events() => return Some(answer.events()),
                Ok(answer) if answer.status.is_server_error() || answer.status.as_u16() == 429 => {}
                Err(Unanswered::Broken | Unanswered::NotSent { .. }) => {}
                _ => return None,
            }
            pause *= 2;
        }
        None
    }
}

/// Whether a message answers the request with this number. An error that names no request counts as its answer.
fn is_answer(message: &MessageParts<'_>, id: u64) -> bool {
    let named = message.id.map_or("null", RawValue::get);
    is_same_id(named, &id.to_string()) || named == "null" && message.rpc_error().is_some()
}

/// The parameter of the next page, if the list has one.
pub(super) fn next_cursor(page: &[u8]) -> Option<String> {
    let result = MessageParts::read(page)?.result?;
    let cursor = member(result, "nextCursor").and_then(text)?;
    Some(format!(r#""cursor":{}"#, Value::from(&*cursor)))
}
