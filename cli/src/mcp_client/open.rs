//! The choice of the wire, and the MCP sessions of the wire of 2025.

use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::answers::Answered;
use super::{McpClient, RequestFailure};
use crate::wire::envelope::MessageParts;
use crate::wire::http::SendRecord;
use crate::wire::message::McpMessage;
use crate::wire::session::{SessionHeaders, SessionNumber};
use crate::wire::unanswered::Unanswered;

/// The revision without MCP sessions.
pub(super) const MODERN: &str = "2026-07-28";

/// The revisions with MCP sessions, the newest first.
const WITH_SESSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// The time-out of `server/discover`. A server that does not know this request may not answer.
const DISCOVERY: Duration = Duration::from_secs(10);

/// The time-out of a reopening, so that no request waits for ever if the server does not answer.
const REOPENING: Duration = Duration::from_secs(60);

/// A wire that was chosen.
#[derive(Clone, Debug)]
pub(super) enum OpenWire {
    /// The wire of 2026-07-28.
    Modern,
    /// The wire of 2025-11-25 and before, in an MCP session.
    Session(SessionHeaders),
}

impl OpenWire {
    /// A request of this wire. `members` are the JSON members of its parameters, without the braces around them.
    pub(super) fn message(&self, id: u64, method: &str, members: &str) -> Option<McpMessage> {
        let meta = match self {
            Self::Modern => format!(r#""_meta":{}"#, meta()),
            Self::Session(_) => String::new(),
        };
        let comma = if members.is_empty() || meta.is_empty() { "" } else { "," };
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":{},"params":{{{members}{comma}{meta}}}}}"#,
            Value::from(method)
        );
        McpMessage::read(Bytes::from(text))
    }
}

impl McpClient {
    /// Chooses the wire. The server is asked for its revisions by `server/discover`. If it does not know that request, it gets
    /// `initialize`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future may leave an MCP session open at the server.
    pub(crate) async fn open(&self) -> Result<(), RequestFailure> {
        let open = match self.speaks_modern().await? {
            true => OpenWire::Modern,
            false => OpenWire::Session(self.initialized().await?),
        };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(())
    }

    async fn speaks_modern(&self) -> Result<bool, RequestFailure> {
        let discovery = self.ask(&OpenWire::Modern, "server/discover", "");
        #[expect(clippy::disallowed_methods, reason = "it bounds a question that has no effect; a refresh goes on")]
        let Ok(answered) = tokio::time::timeout(DISCOVERY, discovery).await else { return Ok(false) };
        let answered = match answered {
            Ok(answered) => answered,
            // There is no authorization, or the server cannot be reached. Another request would fail in the same way.
            Err(failure @ (Unanswered::Call(_) | Unanswered::NotSent { .. })) => return Err(failure.into()),
            Err(_) => return Ok(false),
        };
        if answered.status == 429 || answered.status == 503 {
            return answered.result(0).map(|_| false);
        }
        let Ok(message) = answered.result(0) else { return Ok(false) };
        let result = MessageParts::read(&message).and_then(|message| message.result);
        let result: Value = result.and_then(|result| serde_json::from_str(result.get()).ok()).unwrap_or_default();
        let supported = result["supportedVersions"].as_array();
        Ok(supported.is_some_and(|supported| supported.iter().any(|revision| revision == MODERN)))
    }

    /// Opens an MCP session, and returns its headers.
    async fn initialized(&self) -> Result<SessionHeaders, RequestFailure> {
        let members =
            format!(r#""protocolVersion":"{}","capabilities":{{}},"clientInfo":{}"#, WITH_SESSIONS[0], client_info());
        let none = OpenWire::Session(SessionHeaders::default());
        let answered = self.ask(&none, "initialize", &members).await?;
        let headers = answered.headers.clone();
        let message = answered.result(0)?;
        let parts = MessageParts::read(&message).ok_or(Unanswered::NoAnswer)?;
        let result: Value = parts.result.and_then(|result| serde_json::from_str(result.get()).ok()).unwrap_or_default();
        if !WITH_SESSIONS.iter().any(|revision| result["protocolVersion"] == *revision) {
            return Err(RequestFailure::UnknownRevision);
        }
        let session = SessionHeaders::of(&headers, &parts);
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.post(&OpenWire::Session(session.clone()), initialized.to_owned()).await?;
        Ok(session)
    }

    /// Opens a new MCP session in the place of number `lost`. All requests that meet the loss share one reopening.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the reopening. The next request that meets the loss begins another one.
    pub(super) async fn reopen(&self, lost: SessionNumber) -> Result<(), RequestFailure> {
        let _reopening = self.reopening.lock().await;
        if !matches!(self.opened()?, OpenWire::Session(session) if session.number == lost) {
            return Ok(());
        }
        #[expect(clippy::disallowed_methods, reason = "it bounds requests of MCP; a refresh goes on")]
        let session = tokio::time::timeout(REOPENING, self.initialized()).await;
        let session = session.unwrap_or(Err(Unanswered::Broken.into())).map_err(|failure| match failure {
            RequestFailure::Unanswered(reason) => Unanswered::NotReopened(Box::new(reason)).into(),
            failure => failure,
        })?;
        let session = OpenWire::Session(session.numbered(lost + 1));
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(())
    }

    /// Sends a request that opens a wire. Its number is 0, which no other request has.
    async fn ask(&self, open: &OpenWire, method: &str, members: &str) -> Result<Answered, Unanswered> {
        let message = open.message(0, method, members).ok_or(Unanswered::NoAnswer)?;
        self.exchange(&message, 0, open, &AtomicBool::default(), &mut SendRecord::default()).await
    }
}

fn client_info() -> Value {
    json!({ "name": "tokenkeeper", "version": env!("CARGO_PKG_VERSION") })
}

/// The members that each request has on the wire of 2026-07-28.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": client_info(),
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}
