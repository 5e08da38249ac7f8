//! A client of an MCP server, for commands that make requests themselves.

mod answers;
mod connection;
mod failure;
mod open;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokenkeeper::OperationKey;

use crate::wire::envelope::MessageParts;
use crate::wire::headers;
use crate::wire::http::{McpAnswer, McpRequest, McpWire, SendRecord};
use crate::wire::message::McpMessage;
use crate::wire::session::is_lost;
use crate::wire::tools::{KnownTools, ToolFilter};
use crate::wire::unanswered::Unanswered;

use answers::next_cursor;
pub(crate) use connection::{Connection, OpenFailure, ServerArguments, within};
pub(crate) use failure::RequestFailure;
use open::{MODERN, OpenWire};

/// The maximum number of pages of a list that are read.
const MAX_PAGES: usize = 256;

/// The error codes for headers that do not match the message. The second one is that of early drafts.
const MISMATCH: [i64; 2] = [-32020, -32001];

/// A client of one server over one pool of connections, on either wire.
#[derive(Debug)]
pub(crate) struct McpClient {
    wire: McpWire,
    /// `None` until the wire is chosen.
    open: Mutex<Option<OpenWire>>,
    /// Held while an MCP session is being reopened.
    reopening: tokio::sync::Mutex<()>,
    tools: Mutex<KnownTools>,
    next_id: AtomicU64,
    /// The requests that were given up after they had been sent, and whose cancellation was not sent to the server yet.
    abandoned: Mutex<Vec<u64>>,
}

/// A request that is being sent. Dropping it before its answer gives the request up.
struct SentRequest<'a> {
    client: &'a McpClient,
    id: u64,
    /// Whether the server may have the request, and has not refused it.
    has_left: &'a AtomicBool,
    is_over: bool,
}

impl McpClient {
    pub(crate) fn new(wire: McpWire) -> Self {
        Self {
            wire,
            open: Mutex::default(),
            reopening: tokio::sync::Mutex::default(),
            tools: Mutex::default(),
            next_id: AtomicU64::new(1),
            abandoned: Mutex::default(),
        }
    }

    /// Sends a request with these parameters, which are JSON members without the braces around them. Returns the message with
    /// its result.
    ///
    /// The request is sent again only if the server has certainly not executed it, which is so after a refused token, a lost
    /// MCP session or missing headers. `record` notes how the request was sent, and `has_left` whether the server may have
    /// executed it.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the connection, which cancels the request on the wire of 2026-07-28. On the wire of 2025,
    /// [`cancel_abandoned`](Self::cancel_abandoned) notifies the server.
    pub(crate) async fn request(
        &self,
        method: &str,
        members: &str,
        has_left: &AtomicBool,
        record: &mut SendRecord,
    ) -> Result<Vec<u8>, RequestFailure> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut sent = SentRequest { client: self, id, has_left, is_over: false };
        let done = self.answered(id, method, members, has_left, record).await;
        sent.is_over = true;
        done
    }

    async fn answered(
        &self,
        id: u64,
        method: &str,
        members: &str,
        has_left: &AtomicBool,
        record: &mut SendRecord,
    ) -> Result<Vec<u8>, RequestFailure> {
        let (mut may_reopen, mut may_learn) = (true, true);
        loop {
            let open = self.opened()?;
            let message = open.message(id, method, members).ok_or(Unanswered::NoAnswer)?;
            let answered = self.exchange(&message, id, &open, has_left, record).await?;
            if answered.status == 400
                && std::mem::take(&mut may_learn)
                && self.learns_headers(&message, &open, &answered.body).await
            {
                has_left.store(false, Ordering::Relaxed);
                continue;
            }
            if let OpenWire::Session(session) = &open
                && session.has_session()
                && is_lost(answered.status, &answered.body)
                && std::mem::take(&mut may_reopen)
            {
                has_left.store(false, Ordering::Relaxed);
                self.reopen(session.number).await?;
                continue;
            }
            return answered.result(id);
        }
    }

    /// Sends a message in an MCP session, or with the headers of the wire of 2026-07-28.
    async fn send(
        &self,
        message: &McpMessage,
        open: &OpenWire,
        has_left: &AtomicBool,
        record: &mut SendRecord,
    ) -> Result<McpAnswer, Unanswered> {
        let mut headers = headers::of_post();
        match open {
            OpenWire::Modern => headers::add_metadata(&mut headers, message, MODERN, &self.tools()),
            OpenWire::Session(session) => session.add_to(&mut headers),
        }
        let operation = OperationKey::of(&message.operation());
        let request = McpRequest { method: Method::POST, headers, body: message.bytes.clone(), operation };
        Ok(self.wire.send_recorded(&request, has_left, record).await?)
    }

    /// All pages of `tools/list`, each as the message with the page.
    pub(crate) async fn list_tools(&self) -> Result<Vec<Vec<u8>>, RequestFailure> {
        let (mut pages, mut members) = (Vec::new(), String::new());
        loop {
            let page = self.request("tools/list", &members, &AtomicBool::default(), &mut SendRecord::default()).await?;
            let next = next_cursor(&page);
            pages.push(page);
            match next {
                // A server that names the same page again would cause an endless loop.
                Some(next) if pages.len() < MAX_PAGES && next != members => members = next,
                _ => return Ok(pages),
            }
        }
    }

    /// Lists the tools after a call was refused because of its headers. Returns whether the call may now get the right headers.
    /// The server has not executed the call.
    async fn learns_headers(&self, call: &McpMessage, open: &OpenWire, refusal: &[u8]) -> bool {
        let Some(tool) = call.tool().filter(|_| matches!(open, OpenWire::Modern)) else { return false };
        let code = MessageParts::read(refusal).and_then(|refusal| refusal.error_code());
        if !code.is_some_and(|code| MISMATCH.contains(&code)) || self.tools().knows(tool) {
            return false;
        }
        let Ok(pages) = Box::pin(self.list_tools()).await else { return false };
        for page in pages {
            let _ = self.tools().listed(&page, &ToolFilter::default(), true);
        }
        self.tools().knows(tool)
    }

    /// Notifies the server of an MCP session of the requests that were given up.
    pub(crate) async fn cancel_abandoned(&self) {
        let abandoned = std::mem::take(&mut *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(open @ OpenWire::Session(_)) = self.opened() else { return };
        for id in abandoned {
            let cancelled =
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
            if self.post(&open, cancelled).await.is_err() {
                return;
            }
        }
    }

    /// Ends the MCP session at the server, if there is one.
    pub(crate) async fn end_session(&self) {
        let Ok(OpenWire::Session(session)) = self.opened() else { return };
        if !session.has_session() {
            return;
        }
        let mut headers = HeaderMap::new();
        session.add_to(&mut headers);
        let operation = OperationKey::of("DELETE");
        let request = McpRequest { method: Method::DELETE, headers, body: Bytes::new(), operation };
        // A server may refuse the request (405). Nothing depends on its success.
        let _ = self.wire.send(&request, &AtomicBool::default()).await;
    }

    /// Sends a notification or an answer, which has no answer.
    async fn post(&self, open: &OpenWire, text: String) -> Result<(), Unanswered> {
        let message = McpMessage::read(Bytes::from(text)).ok_or(Unanswered::NoAnswer)?;
        let answer = self.send(&message, open, &AtomicBool::default(), &mut SendRecord::default()).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(Unanswered::Status { status: answer.status.as_u16(), retry_after: answer.retry_after() }),
        }
    }

    fn opened(&self) -> Result<OpenWire, Unanswered> {
        // Requests are made only after the client was opened.
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Unanswered::NoAnswer)
    }

    fn tools(&self) -> MutexGuard<'_, KnownTools> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SentRequest<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.has_left.load(Ordering::Relaxed) {
            self.client.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}
