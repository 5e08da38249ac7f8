//! A new MCP session in the place of one that the server has lost.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokenkeeper::OperationKey;

use super::exchange::SendState;
use super::relay::MessageRelay;
use super::session::changed_lists;
use crate::wire::envelope::{self, MessageKind, MessageParts};
use crate::wire::http::{McpAnswer, McpRequest};
use crate::wire::message::McpMessage;
use crate::wire::session::{SessionHeaders, SessionNumber};
use crate::wire::unanswered::Unanswered;

/// The time-out of a reopening, so that no request waits for ever if the server does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);

impl MessageRelay {
    /// Opens a new MCP session in the place of number `lost`, by repeating the client's own messages. The client is not
    /// involved. All requests that meet the loss share one reopening.
    ///
    /// The client then gets notifications that the lists have changed, because another server may have answered.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the reopening. The next request that meets the loss begins another one.
    pub(super) async fn reopen(&self, lost: SessionNumber) -> Result<(), Unanswered> {
        let _reopening = self.session.reopening.lock().await;
        if self.session.headers().number != lost {
            return Ok(());
        }
        #[expect(clippy::disallowed_methods, reason = "it bounds requests of MCP; a refresh goes on")]
        let (session_headers, changes) =
            tokio::time::timeout(TIMEOUT, self.open()).await.unwrap_or(Err(Unanswered::Broken))?;
        self.notes.note("the server had lost the MCP session: a new one was opened");
        for change in changes {
            self.output.send(&change).await;
        }
        self.session.reopened(session_headers);
        Ok(())
    }

    /// Opens a new MCP session, and returns its headers and the notifications for the client.
    async fn open(&self) -> Result<(SessionHeaders, Vec<Bytes>), Unanswered> {
        let setup = self.session.setup();
        let initialize = setup.initialize.ok_or(Unanswered::NoAnswer)?;
        let (headers, answer) = self.quietly(&initialize, &SessionHeaders::default()).await?;
        let result =
            MessageParts::read(&answer).filter(|answer| answer.result.is_some()).ok_or(Unanswered::NoAnswer)?;
        let session_headers = SessionHeaders::of(&headers, &result);
        // The MCP session can be used even if the server refuses a log level or a subscription.
        for message in setup.initialized.iter().chain(&setup.level).chain(setup.subscriptions.values()) {
            let done = self.quietly(message, &session_headers).await;
            if message.kind == MessageKind::Notification {
                done?;
            }
        }
        Ok((session_headers, changed_lists(&result)))
    }

    /// Sends a message of the client once more. Returns the answer, which is not passed on to the client.
    async fn quietly(
        &self,
        message: &McpMessage,
        session_headers: &SessionHeaders,
    ) -> Result<(HeaderMap, Vec<u8>), Unanswered> {
        let answer = self.send(message, session_headers, &SendState::default()).await?;
        let (status, headers, retry_after) = (answer.status, answer.headers.clone(), answer.retry_after());
        if !status.is_success() {
            return Err(Unanswered::Status { status: status.as_u16(), retry_after });
        }
        match self.answer_of(answer).await {
            // A notification has no answer.
            Err(Unanswered::Broken) if message.kind != MessageKind::Request => Ok((headers, Vec::new())),
            answer => Ok((headers, answer?)),
        }
    }

    /// Reads the message that answers a request of the proxy itself. Other messages in the answer are passed on to the client.
    pub(super) async fn answer_of(&self, answer: McpAnswer) -> Result<Vec<u8>, Unanswered> {
        if !answer.has_events() {
            return Ok(answer.body().await?);
        }
        let mut events = answer.events();
        while let Some(event) = events.next().await? {
            for part in envelope::messages(&event).unwrap_or_default() {
                if MessageParts::read(part).is_some_and(|part| part.kind() == MessageKind::Response) {
                    return Ok(part.to_vec());
                }
                self.pass(part).await;
            }
        }
        Err(Unanswered::Broken)
    }

    /// Ends the MCP session at the server, if there is one.
    pub(super) async fn end_session(&self) {
        let session_headers = self.session.headers();
        if !session_headers.has_session() {
            return;
        }
        let mut headers = HeaderMap::new();
        session_headers.add_to(&mut headers);
        let operation = OperationKey::of("DELETE");
        let request = McpRequest { method: Method::DELETE, headers, body: Bytes::new(), operation };
        // A server may refuse the request (405). Nothing depends on its success.
        let _ = self.wire.send(&request, &AtomicBool::default()).await;
    }

    /// Keeps the MCP session alive by a `ping` after each `span`.
    #[expect(clippy::disallowed_methods, reason = "pauses between whole requests")]
    pub(super) async fn ping(&self, span: Duration) {
        let mut number: u64 = 0;
        let ready = self.session.ready();
        loop {
            tokio::time::sleep(span).await;
            if ready.borrow().is_none() {
                continue;
            }
            number += 1;
            let ping = format!(r#"{{"jsonrpc":"2.0","id":"tokenkeeper-ping-{number}","method":"ping"}}"#);
            if let Some(ping) = McpMessage::read(Bytes::from(ping)) {
                // If the server has lost the MCP session, `post` reopens it. Other failures are ignored.
                let _ = self.post(&ping, &SendState::default()).await;
            }
        }
    }

    /// The revision that a message is sent with on the wire of 2026-07-28. `None` on that of 2025.
    ///
    /// A notification that names no revision gets that of the client's requests, unless the client has opened an MCP session.
    pub(super) fn revision_of(&self, message: &McpMessage) -> Option<String> {
        if message.revision.is_some() || message.kind != MessageKind::Notification {
            return message.revision.clone();
        }
        if self.session.has_begun() { None } else { self.modern.get().cloned() }
    }
}
