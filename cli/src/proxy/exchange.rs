//! The handling of one message of the client, until it is answered.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::value::RawValue;
use tokenkeeper::OperationKey;

use super::logins::PageWait;
use super::relay::MessageRelay;
use crate::paint::harmless;
use crate::remedy;
use crate::wire::envelope::{self, MessageKind, MessageParts, is_same_id};
use crate::wire::headers;
use crate::wire::http::{AnswerEvents, BodyFailure, McpAnswer, McpRequest, NotAnswered};
use crate::wire::message::McpMessage;
use crate::wire::session::{SessionHeaders, is_lost};
use crate::wire::unanswered::Unanswered;

/// The maximum wait for the end of a stream after the answer, so that its connection can be used again.
const DRAIN: Duration = Duration::from_millis(50);

/// The maximum number of failed attempts in a row to resume a stream that broke.
const MAX_FAILURES: u32 = 5;

/// The default pause before a stream is resumed, and the minimum for a pause that the server names.
const RESUME: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(20));

/// The state of a message that is being sent. The relay and the task of the message share it.
#[derive(Debug, Default)]
pub(super) struct SendState {
    /// Whether the message may have been sent.
    pub(super) has_left: AtomicBool,
    /// Whether its answer is on the way to the client.
    pub(super) is_answered: AtomicBool,
    /// Whether the client has cancelled the message, and expects no answer.
    pub(super) is_cancelled: AtomicBool,
    /// Whether the messages after this one no longer wait for it.
    pub(super) is_released: AtomicBool,
}

/// The answer of the server to a POST.
pub(super) enum PostAnswer {
    Whole { status: u16, headers: HeaderMap, retry_after: Option<Duration>, body: Vec<u8> },
    Events { headers: HeaderMap, events: Box<AnswerEvents> },
}

/// A request whose answer arrives, with the headers that came with it.
struct PendingRequest<'a> {
    message: &'a McpMessage,
    progress: &'a SendState,
    headers: &'a HeaderMap,
}

impl MessageRelay {
    /// Sends a notification or an answer of the client. A failure is written as a note, because the client expects no answer.
    pub(super) async fn notify(&self, message: &McpMessage, progress: &SendState) {
        let failure = match self.post(message, progress).await {
            Ok((PostAnswer::Whole { status: 200..300, .. }, _)) => return self.session.took(message),
            Ok((PostAnswer::Events { mut events, .. }, _)) => {
                self.session.took(message);
                while let Ok(Some(event)) = events.next().await {
                    self.pass(&event).await;
                }
                return;
            }
            Ok((PostAnswer::Whole { status, retry_after, .. }, _)) => Unanswered::Status { status, retry_after },
            Err(refusal) => refusal,
        };
        let name = if message.method.is_empty() { "an answer" } else { &message.method };
        self.notes.note(&format!("{} was not taken: {}", harmless(name), failure.message()));
    }

    /// Sends a request, and passes on every message that the server sends for it. Each request is answered, unless the client
    /// has cancelled it.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the connection, which cancels the request on the wire of 2026-07-28.
    pub(super) async fn request(&self, message: &McpMessage, progress: &SendState) {
        let mut done = self.answered(message, progress).await;
        if let Err(refusal) = &done
            && refusal.is_login_required()
            && self.session.shows_pages()
            && self.revision_of(message).is_none()
        {
            self.logins.begin(true, true);
            match self.logins.page(self.wire.session()).await {
                PageWait::SignedIn => done = self.answered(message, progress).await,
                PageWait::Page(page) => {
                    done = done.map_err(|refusal| Unanswered::LoginPage(Box::new(page), Box::new(refusal)))
                }
                PageWait::None => {}
            }
        }
        if let Err(refusal) = done
            && !progress.is_cancelled.load(Ordering::Relaxed)
        {
            let id = message.id.as_deref().unwrap_or("null");
            self.output.send(&refusal.answer(id, &self.remedy)).await;
            progress.is_answered.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a request, and passes on every message that the server sends for it, including the answer.
    async fn answered(&self, message: &McpMessage, progress: &SendState) -> Result<(), Unanswered> {
        match self.post(message, progress).await {
            Ok((PostAnswer::Events { headers, events }, session_headers)) => {
                self.stream(message, progress, *events, &headers, &session_headers).await
            }
            Ok((PostAnswer::Whole { status, headers, retry_after, body }, _)) => {
                self.whole(message, progress, status, &headers, &body).await.map_err(|refusal| match refusal {
                    Unanswered::Status { status, .. } => Unanswered::Status { status, retry_after },
                    refusal => refusal,
                })
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Sends a message. If the server has lost the MCP session, the message is sent once more in a new one.
    pub(super) async fn post(
        &self,
        message: &McpMessage,
        progress: &SendState,
    ) -> Result<(PostAnswer, SessionHeaders), Unanswered> {
        let mut session_headers = if self.revision_of(message).is_some() {
            SessionHeaders::default()
        } else {
            self.session.headers_of(message)
        };
        let (mut may_reopen, mut may_hold) = (message.kind != MessageKind::Response, is_first(message));
        let mut may_learn = true;
        loop {
            let answer = self.send(message, &session_headers, progress).await;
            let lacks_login = matches!(&answer, Err(refusal) if refusal.is_login_required());
            if lacks_login && std::mem::take(&mut may_hold) && self.logins.signed_in(self.wire.session()).await {
                continue;
            }
            let answer = answer?;
            let (status, headers, retry_after) = (answer.status.as_u16(), answer.headers.clone(), answer.retry_after());
            if answer.status.is_success() {
                self.has_served.store(true, Ordering::Relaxed);
                if answer.has_events() {
                    return Ok((PostAnswer::Events { headers, events: Box::new(answer.events()) }, session_headers));
                }
            }
            let body = answer.body().await?;
            if status == 400 && std::mem::take(&mut may_learn) && self.learns_headers(message, &body).await {
                continue;
            }
            if may_reopen && session_headers.has_session() && is_lost(status, &body) {
                may_reopen = false;
                self.reopen(session_headers.number)
                    .await
                    .map_err(|refusal| Unanswered::NotReopened(Box::new(refusal)))?;
                session_headers = self.session.headers();
                continue;
            }
            return Ok((PostAnswer::Whole { status, headers, retry_after, body }, session_headers));
        }
    }

    /// Sends a message once, in the MCP session with these headers.
    pub(super) async fn send(
        &self,
        message: &McpMessage,
        session_headers: &SessionHeaders,
        progress: &SendState,
    ) -> Result<McpAnswer, Unanswered> {
        let mut headers = headers::of_post();
        match self.revision_of(message) {
            Some(revision) => {
                let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
                headers::add_metadata(&mut headers, message, &revision, &tools);
            }
            None => session_headers.add_to(&mut headers),
        }
        let operation = OperationKey::of(&message.operation());
        let request = McpRequest { method: Method::POST, headers, body: message.bytes.clone(), operation };
        self.exchange(&request, &progress.has_left, is_first(message)).await
    }

    /// Sends a request, and begins a login if one is required.
    async fn exchange(
        &self,
        request: &McpRequest,
        has_left: &AtomicBool,
        is_first: bool,
    ) -> Result<McpAnswer, Unanswered> {
        let answer = self.wire.send(request, has_left).await;
        if let Err(NotAnswered::Call(error)) = &answer
            && remedy::needs_person(error)
        {
            self.lacked_login.store(true, Ordering::Relaxed);
        }
        if let Err(NotAnswered::Call(error)) = &answer
            && error.is_login_required()
        {
            // If the client shows pages, a login begins where its page becomes the answer to a request. The page of a login
            // that begins here would not be shown.
            if !self.session.shows_pages() {
                self.logins.begin(is_first, false);
            }
        }
        Ok(answer?)
    }

    /// Opens a stream by GET, after the event with this identifier if there is one.
    pub(super) async fn get(
        &self,
        session_headers: &SessionHeaders,
        last_id: Option<&[u8]>,
    ) -> Result<McpAnswer, Unanswered> {
        let mut headers = headers::of_get();
        session_headers.add_to(&mut headers);
        if let Some(Ok(id)) = last_id.map(http::HeaderValue::from_bytes) {
            headers.insert(headers::LAST_EVENT, id);
        }
        let request =
            McpRequest { method: Method::GET, headers, body: Bytes::new(), operation: OperationKey::of("GET") };
        self.exchange(&request, &AtomicBool::default(), false).await
    }

    /// Passes an answer on that came as a whole.
    async fn whole(
        &self,
        message: &McpMessage,
        progress: &SendState,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Unanswered> {
        let request = PendingRequest { message, progress, headers };
        let is_success = matches!(status, 200..300);
        let parts = envelope::messages(body).unwrap_or_default();
        let is_alone = parts.len() == 1;
        let mut is_answered = false;
        for part in parts {
            // The body of a failure may be JSON and no message.
            if is_success || is_alone && MessageParts::read(part).is_some_and(|part| part.rpc_error().is_some()) {
                is_answered |= self.deliver(part, Some(&request), is_alone).await;
            }
        }
        match is_answered {
            true => Ok(()),
            false if is_success => Err(Unanswered::NoAnswer),
            false => Err(Unanswered::Status { status, retry_after: None }),
        }
    }

    /// Passes a stream on until the answer. On the wire of 2025 it is resumed where that is possible.
    async fn stream(
        &self,
        message: &McpMessage,
        progress: &SendState,
        mut events: AnswerEvents,
        headers: &HeaderMap,
        session_headers: &SessionHeaders,
    ) -> Result<(), Unanswered> {
        let is_modern = self.revision_of(message).is_some();
        let request = PendingRequest { message, progress, headers };
        let mut last_id = None;
        loop {
            match self.passed(&mut events, &request).await {
                Ok(true) => return Ok(()),
                Ok(false) | Err(BodyFailure::Broken) => {}
                Err(BodyFailure::TooLarge) => return Err(Unanswered::TooLarge),
            }
            if is_modern && message.method == "subscriptions/listen" {
                // The end of the stream is the end of the subscription. On standard output, this notification reports it.
                let id = message.id.as_deref().unwrap_or("null");
                let ended =
                    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
                self.output.send(ended.as_bytes()).await;
                return Ok(());
            }
            last_id = events.last_id().map(<[u8]>::to_vec).or(last_id);
            let Some(id) = last_id.as_deref().filter(|_| !is_modern) else { return Err(Unanswered::Broken) };
            match self.resumed(session_headers, id, events.retry(), progress).await {
                Some(resumed) => events = resumed,
                None => return Err(Unanswered::Broken),
            }
        }
    }

    /// Passes the events of a stream on, and returns whether one of them was the answer.
    async fn passed(&self, events: &mut AnswerEvents, request: &PendingRequest<'_>) -> Result<bool, BodyFailure> {
        while let Some(event) = events.next().await? {
            let mut is_answered = false;
            for part in envelope::messages(&event).unwrap_or_default() {
                is_answered |= self.deliver(part, Some(request), false).await;
            }
            if is_answered {
                let rest = async {
                    while let Ok(Some(event)) = events.next().await {
                        self.pass(&event).await;
                    }
                };
                #[expect(clippy::disallowed_methods, reason = "it bounds a wait that only saves a connection")]
                let _ = tokio::time::timeout(DRAIN, rest).await;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks for the rest of a stream. Returns `None` if the stream cannot be resumed.
    #[expect(clippy::disallowed_methods, reason = "pauses between whole requests")]
    async fn resumed(
        &self,
        session_headers: &SessionHeaders,
        last_id: &[u8],
        retry: Option<Duration>,
        progress: &SendState,
    ) -> Option<AnswerEvents> {
        let mut pause = retry.unwrap_or(RESUME.0).max(RESUME.1);
        for _ in 0..MAX_FAILURES {
            tokio::time::sleep(pause).await;
            if progress.is_cancelled.load(Ordering::Relaxed) {
                return None;
            }
            match self.get(session_headers, Some(last_id)).await {
                Ok(answer) if answer.status.is_success() && answer.has_events() => return Some(answer.events()),
                Ok(answer) if answer.status.is_server_error() || answer.status.as_u16() == 429 => {}
                Err(Unanswered::Broken | Unanswered::NotSent { .. }) => {}
                _ => return None,
            }
            pause *= 2;
        }
        None
    }

    /// Passes on messages that belong to no request of the client.
    pub(super) async fn pass(&self, event: &[u8]) {
        for part in envelope::messages(event).unwrap_or_default() {
            self.deliver(part, None, false).await;
        }
    }

    /// Passes a message of the server on, and returns whether it is the answer to `request`.
    ///
    /// An error that names no request is the answer as well. So is an error that names another request, if it is the only
    /// message.
    async fn deliver(&self, part: &[u8], request: Option<&PendingRequest<'_>>, is_alone: bool) -> bool {
        let Some(envelope) = MessageParts::read(part) else { return false };
        let (Some(PendingRequest { message, progress, headers }), MessageKind::Response) = (request, envelope.kind())
        else {
            self.output.send(part).await;
            return false;
        };
        let id = message.id.as_deref().unwrap_or("null");
        let named = envelope.id.map_or("null", RawValue::get);
        let mut changed = None;
        if !is_same_id(named, id) {
            let Some(error) = envelope.rpc_error().filter(|_| is_alone || named == "null") else {
                self.output.send(part).await;
                return false;
            };
            changed = Some(envelope::error_of(id, error));
        } else if envelope.result.is_some() {
            match &*message.method {
                "initialize" => self.session.opened(message, headers, &envelope),
                "tools/list" => changed = self.listed(part, self.revision_of(message).is_some()),
                _ => self.session.took(message),
            }
        }
        self.output.send(changed.as_deref().unwrap_or(part)).await;
        progress.is_answered.store(true, Ordering::Relaxed);
        true
    }

    /// The answer to `tools/list` without the tools that are not offered. `None` if it is not changed.
    fn listed(&self, part: &[u8], is_modern: bool) -> Option<Vec<u8>> {
        if !is_modern && self.filter.is_empty() {
            return None;
        }
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, left_out) = tools.listed(part, &self.filter, is_modern)?;
        for name in left_out.iter().filter(|name| self.filter.admits(name)) {
            self.notes.note(&format!("the tool {} is left out: a parameter's header is invalid", harmless(name)));
        }
        Some(answer)
    }
}

/// Whether this is the first request of a client. Such a request waits for a login.
fn is_first(message: &McpMessage) -> bool {
    matches!(&*message.method, "initialize" | "server/discover")
}
