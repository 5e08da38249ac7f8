//! The way of one message of the client, until it is answered.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::value::RawValue;
use tokenkeeper::OperationKey;

use super::refusal::Refusal;
use super::relay::Relay;
use super::session::{Terms, is_lost};
use crate::paint::harmless;
use crate::wire::envelope::{self, Envelope, Kind, is_same_id};
use crate::wire::headers;
use crate::wire::http::{Answer, BodyError, Events, Request, SendError};
use crate::wire::message::Message;

/// How long the end of a stream is waited for after the answer, so that its connection can be used again.
const DRAIN: Duration = Duration::from_millis(50);

/// How often in a row a stream that broke is asked for in vain.
const MAX_FAILURES: u32 = 5;

/// The pause before a stream is resumed, unless the server names one, and the shortest one.
const RESUME: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(20));

/// The state of a message on its way, which the relay shares with it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether it may have left.
    pub(super) has_left: AtomicBool,
    /// Whether its answer is on the way to the client.
    pub(super) is_answered: AtomicBool,
    /// Whether the client has cancelled it, and expects no answer.
    pub(super) is_cancelled: AtomicBool,
    /// Whether the messages behind it need not wait for it any more.
    pub(super) is_released: AtomicBool,
}

/// The answer of the server to a POST.
pub(super) enum Arrived {
    Whole { status: u16, headers: HeaderMap, retry_after: Option<Duration>, body: Vec<u8> },
    Events { headers: HeaderMap, events: Box<Events> },
}

/// A request whose answer arrives, with the headers that came with it.
struct Asked<'a> {
    message: &'a Message,
    progress: &'a Progress,
    headers: &'a HeaderMap,
}

impl Relay {
    /// Sends a notification or an answer of the client. A failure is noted, because nothing can answer it.
    pub(super) async fn notify(&self, message: &Message, progress: &Progress) {
        let failure = match self.post(message, progress).await {
            Ok((Arrived::Whole { status: 200..300, .. } | Arrived::Events { .. }, _)) => {
                return self.session.took(message);
            }
            Ok((Arrived::Whole { status, retry_after, .. }, _)) => Refusal::Status { status, retry_after },
            Err(refusal) => refusal,
        };
        let name = if message.method.is_empty() { "an answer" } else { &message.method };
        self.notes.note(&format!("{} was not taken: {}", harmless(name), failure.message()));
    }

    /// Sends a request, and passes everything on that the server sends for it. Each request is answered, unless the client
    /// has cancelled it.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the connection, which cancels the request on the wire of 2026-07-28.
    pub(super) async fn request(&self, message: &Message, progress: &Progress) {
        let done = match self.post(message, progress).await {
            Ok((Arrived::Events { headers, events }, terms)) => {
                self.stream(message, progress, *events, &headers, &terms).await
            }
            Ok((Arrived::Whole { status, headers, retry_after, body }, _)) => {
                self.whole(message, progress, status, &headers, &body).await.map_err(|refusal| match refusal {
                    Refusal::Status { status, .. } => Refusal::Status { status, retry_after },
                    refusal => refusal,
                })
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = done
            && !progress.is_cancelled.load(Ordering::Relaxed)
        {
            let id = message.id.as_deref().unwrap_or("null");
            self.output.send(&refusal.answer(id, &self.commands)).await;
            progress.is_answered.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a message, and once more in a new session if the server has lost the present one.
    pub(super) async fn post(&self, message: &Message, progress: &Progress) -> Result<(Arrived, Terms), Refusal> {
        let mut terms =
            if self.revision_of(message).is_some() { Terms::default() } else { self.session.terms_of(message) };
        let (mut may_renew, mut may_hold) = (message.kind != Kind::Response, is_first(message));
        loop {
            let answer = self.send(message, &terms, progress).await;
            let lacks_login = matches!(&answer, Err(refusal) if refusal.is_login_required());
            if lacks_login && std::mem::take(&mut may_hold) && self.desk.signed_in(self.wire.session()).await {
                continue;
            }
            let answer = answer?;
            let (status, headers, retry_after) = (answer.status.as_u16(), answer.headers.clone(), answer.retry_after());
            if answer.status.is_success() {
                self.has_served.store(true, Ordering::Relaxed);
                if answer.has_events() {
                    return Ok((Arrived::Events { headers, events: Box::new(answer.events()) }, terms));
                }
            }
            let body = answer.body().await?;
            if may_renew && terms.has_session() && is_lost(status, &body) {
                may_renew = false;
                self.renew(terms.epoch).await.map_err(|refusal| Refusal::NotRenewed(Box::new(refusal)))?;
                terms = self.session.terms();
                continue;
            }
            return Ok((Arrived::Whole { status, headers, retry_after, body }, terms));
        }
    }

    /// Sends a message once, on these terms.
    pub(super) async fn send(&self, message: &Message, terms: &Terms, progress: &Progress) -> Result<Answer, Refusal> {
        let mut headers = headers::of_post();
        match self.revision_of(message) {
            Some(revision) => {
                let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
                headers::add_metadata(&mut headers, message, &revision, &tools);
            }
            None => terms.add_to(&mut headers),
        }
        let operation = OperationKey::of(&message.operation());
        let request = Request { method: Method::POST, headers, body: message.bytes.clone(), operation };
        self.exchange(&request, &progress.has_left, is_first(message)).await
    }

    /// Sends a request, and begins a login if one is required.
    async fn exchange(&self, request: &Request, has_left: &AtomicBool, is_first: bool) -> Result<Answer, Refusal> {
        let answer = self.wire.send(request, has_left).await;
        if let Err(SendError::Call(error)) = &answer
            && error.is_login_required()
        {
            self.lacked_login.store(true, Ordering::Relaxed);
            self.desk.begin(is_first);
        }
        Ok(answer?)
    }

    /// Opens a stream by GET, after the event with this identifier if there is one.
    pub(super) async fn get(&self, terms: &Terms, last_id: Option<&[u8]>) -> Result<Answer, Refusal> {
        let mut headers = headers::of_get();
        terms.add_to(&mut headers);
        if let Some(Ok(id)) = last_id.map(http::HeaderValue::from_bytes) {
            headers.insert(headers::LAST_EVENT, id);
        }
        let request = Request { method: Method::GET, headers, body: Bytes::new(), operation: OperationKey::of("GET") };
        self.exchange(&request, &AtomicBool::default(), false).await
    }

    /// Passes an answer on that came as a whole.
    async fn whole(
        &self,
        message: &Message,
        progress: &Progress,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let request = Asked { message, progress, headers };
        let is_success = matches!(status, 200..300);
        let parts = envelope::messages(body).unwrap_or_default();
        let is_alone = parts.len() == 1;
        let mut is_answered = false;
        for part in parts {
            // The body of a failure may be JSON and no message.
            if is_success || is_alone && Envelope::read(part).is_some_and(|part| part.rpc_error().is_some()) {
                is_answered |= self.deliver(part, Some(&request), is_alone).await;
            }
        }
        match is_answered {
            true => Ok(()),
            false if is_success => Err(Refusal::NoAnswer),
            false => Err(Refusal::Status { status, retry_after: None }),
        }
    }

    /// Passes a stream on until the answer. On the wire of 2025 it is resumed where that is possible.
    async fn stream(
        &self,
        message: &Message,
        progress: &Progress,
        mut events: Events,
        headers: &HeaderMap,
        terms: &Terms,
    ) -> Result<(), Refusal> {
        let is_modern = self.revision_of(message).is_some();
        let request = Asked { message, progress, headers };
        let mut last_id = None;
        loop {
            match self.passed(&mut events, &request).await {
                Ok(true) => return Ok(()),
                Ok(false) | Err(BodyError::Broken) => {}
                Err(BodyError::TooLarge) => return Err(Refusal::TooLarge),
            }
            if is_modern && message.method == "subscriptions/listen" {
                // The end of the stream is the end of the subscription, which the client learns by this on standard output.
                let id = message.id.as_deref().unwrap_or("null");
                let ended =
                    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
                self.output.send(ended.as_bytes()).await;
                return Ok(());
            }
            last_id = events.last_id().map(<[u8]>::to_vec).or(last_id);
            let Some(id) = last_id.as_deref().filter(|_| !is_modern) else { return Err(Refusal::Broken) };
            match self.resumed(terms, id, events.retry(), progress).await {
                Some(resumed) => events = resumed,
                None => return Err(Refusal::Broken),
            }
        }
    }

    /// Passes the events of a stream on, and returns whether one of them was the answer.
    async fn passed(&self, events: &mut Events, request: &Asked<'_>) -> Result<bool, BodyError> {
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
                #[expect(clippy::disallowed_methods, reason = "it bounds a courtesy to the pool of connections")]
                let _ = tokio::time::timeout(DRAIN, rest).await;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks for the rest of a stream. `None` if it cannot be had.
    #[expect(clippy::disallowed_methods, reason = "pauses between whole requests")]
    async fn resumed(
        &self,
        terms: &Terms,
        last_id: &[u8],
        retry: Option<Duration>,
        progress: &Progress,
    ) -> Option<Events> {
        let mut pause = retry.unwrap_or(RESUME.0).max(RESUME.1);
        for _ in 0..MAX_FAILURES {
            tokio::time::sleep(pause).await;
            if progress.is_cancelled.load(Ordering::Relaxed) {
                return None;
            }
            match self.get(terms, Some(last_id)).await {
                Ok(answer) if answer.status.is_success() && answer.has_events() => return Some(answer.events()),
                Ok(answer) if answer.status.is_server_error() || answer.status.as_u16() == 429 => {}
                Err(Refusal::Broken | Refusal::NotSent { .. }) => {}
                _ => return None,
            }
            pause *= 2;
        }
        None
    }

    /// Passes messages on that belong to no request of the client.
    pub(super) async fn pass(&self, event: &[u8]) {
        for part in envelope::messages(event).unwrap_or_default() {
            self.deliver(part, None, false).await;
        }
    }

    /// Passes a message of the server on, and returns whether it is the answer to `request`.
    ///
    /// An error that names no request, or as the only message another one, is the answer as well.
    async fn deliver(&self, part: &[u8], request: Option<&Asked<'_>>, is_alone: bool) -> bool {
        let Some(envelope) = Envelope::read(part) else { return false };
        let (Some(Asked { message, progress, headers }), Kind::Response) = (request, envelope.kind()) else {
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

    /// The answer to `tools/list` without the tools that are not offered.
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

/// Whether it is the first request of a client, for which a login is waited for.
fn is_first(message: &Message) -> bool {
    matches!(&*message.method, "initialize" | "server/discover")
}
