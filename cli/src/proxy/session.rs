//! The MCP session at a server of the wire of 2025, and the messages with which it can be opened again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use tokio::sync::watch;

use crate::wire::elicitation;
use crate::wire::envelope::{MessageParts, member};
use crate::wire::message::McpMessage;
use crate::wire::session::{SessionHeaders, SessionNumber};

/// The maximum number of subscriptions that are remembered.
const MAX_SUBSCRIPTIONS: usize = 4096;

/// The lists for which a server may announce changes.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// The MCP session that the client's own messages have opened and configured.
#[derive(Debug)]
pub(super) struct ClientMcpSession {
    state: Mutex<State>,
    /// Held while the MCP session is being reopened.
    pub(super) reopening: tokio::sync::Mutex<()>,
    /// The MCP session that is ready for a standing stream.
    ready: watch::Sender<Option<SessionNumber>>,
}

#[derive(Debug, Default)]
struct State {
    number: SessionNumber,
    session_headers: SessionHeaders,
    setup: SessionSetup,
    shows_pages: bool,
}

/// The client's messages that open and configure an MCP session.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionSetup {
    pub(super) initialize: Option<McpMessage>,
    pub(super) initialized: Option<McpMessage>,
    pub(super) level: Option<McpMessage>,
    /// The subscriptions by their resource.
    pub(super) subscriptions: BTreeMap<String, McpMessage>,
}

impl ClientMcpSession {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), reopening: tokio::sync::Mutex::default(), ready: watch::Sender::new(None) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between two statements, so a panic of another task does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The headers for a request that is sent now. The first message of an MCP session has none.
    pub(super) fn headers_of(&self, message: &McpMessage) -> SessionHeaders {
        if message.method == "initialize" { SessionHeaders::default() } else { self.headers() }
    }

    pub(super) fn headers(&self) -> SessionHeaders {
        self.state().session_headers.clone()
    }

    /// Whether the client has opened an MCP session.
    pub(super) fn has_begun(&self) -> bool {
        self.state().setup.initialize.is_some()
    }

    /// Whether the client shows login pages. `false` until its MCP session is open.
    pub(super) fn shows_pages(&self) -> bool {
        self.state().shows_pages
    }

    pub(super) fn setup(&self) -> SessionSetup {
        self.state().setup.clone()
    }

    /// Notes that the client's `initialize` was answered with this result.
    pub(super) fn opened(&self, initialize: &McpMessage, headers: &HeaderMap, result: &MessageParts<'_>) {
        let mut state = self.state();
        state.setup = SessionSetup { initialize: Some(initialize.clone()), ..SessionSetup::default() };
        state.shows_pages = elicitation::shows_pages(initialize, result);
        state.number += 1;
        state.session_headers = SessionHeaders::of(headers, result).numbered(state.number);
        drop(state);
        self.ready.send_replace(None);
    }

    /// Remembers a message that was answered without an error, if a new MCP session needs it.
    pub(super) fn took(&self, message: &McpMessage) {
        let mut state = self.state();
        match (&*message.method, &message.uri) {
            ("notifications/initialized", _) => {
                state.setup.initialized = Some(message.clone());
                let number = state.setup.initialize.is_some().then_some(state.number);
                drop(state);
                self.ready.send_replace(number);
            }
            ("logging/setLevel", _) => state.setup.level = Some(message.clone()),
            ("resources/subscribe", Some(uri)) if state.setup.subscriptions.len() < MAX_SUBSCRIPTIONS => {
                state.setup.subscriptions.insert(uri.clone(), message.clone());
            }
            ("resources/unsubscribe", Some(uri)) => {
                state.setup.subscriptions.remove(uri);
            }
            _ => {}
        }
    }

    /// Puts a new MCP session in the place of the one with this number.
    pub(super) fn reopened(&self, session_headers: SessionHeaders) {
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        state.session_headers = session_headers.numbered(number);
        let is_ready = state.setup.initialized.is_some();
        drop(state);
        self.ready.send_replace(is_ready.then_some(number));
    }

    /// Watches which MCP session is ready for a standing stream.
    pub(super) fn ready(&self) -> watch::Receiver<Option<SessionNumber>> {
        self.ready.subscribe()
    }
}

/// The notifications that lists have changed, for each list whose changes the server announces according to its answer to
/// `initialize`.
pub(super) fn changed_lists(result: &MessageParts<'_>) -> Vec<Bytes> {
    let capabilities: Option<Value> = result
        .result
        .and_then(|result| member(result, "capabilities"))
        .and_then(|capabilities| serde_json::from_str(capabilities.get()).ok());
    let capabilities = capabilities.unwrap_or_default();
    let has_changes = |list: &&str| capabilities[*list]["listChanged"] == true;
    let notification =
        |list: &str| Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#));
    LISTS.into_iter().filter(has_changes).map(notification).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::wire::headers::{SESSION, VERSION};

    fn message(text: &'static str) -> McpMessage {
        McpMessage::read(Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_session_is_opened_set_up_and_renewed() {
        let session = ClientMcpSession::new();
        let initialize = message(r#"{"id":0,"method":"initialize"}"#);
        let answer = br#"{"id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"prompts":{}}}}"#;
        let result = MessageParts::read(answer).unwrap();
        let headers = HeaderMap::from_iter([(SESSION, HeaderValue::from_static("s1"))]);
        session.opened(&initialize, &headers, &result);
        let ready = session.ready();
        assert_eq!(*ready.borrow(), None);
        for text in [
            r#"{"method":"notifications/initialized"}"#,
            r#"{"id":1,"method":"logging/setLevel","params":{"level":"debug"}}"#,
            r#"{"id":2,"method":"resources/subscribe","params":{"uri":"a"}}"#,
            r#"{"id":3,"method":"resources/subscribe","params":{"uri":"b"}}"#,
            r#"{"id":4,"method":"resources/unsubscribe","params":{"uri":"a"}}"#,
        ] {
            session.took(&message(text));
        }
        let setup = session.setup();
        assert!(setup.initialized.is_some() && setup.level.is_some());
        assert_eq!(
            (setup.subscriptions.into_keys().collect::<Vec<_>>(), *ready.borrow()),
            (vec!["b".to_owned()], Some(1))
        );
        let mut sent = HeaderMap::new();
        session.headers_of(&initialize).add_to(&mut sent);
        assert!(sent.is_empty());
        session.headers().add_to(&mut sent);
        assert_eq!(
            (&sent[SESSION], &sent[VERSION]),
            (&HeaderValue::from_static("s1"), &HeaderValue::from_static("2025-06-18"))
        );
        assert!(!format!("{:?} {sent:?}", session.headers()).contains("s1"));
        session.reopened(SessionHeaders::default());
        assert_eq!((session.headers().number, session.headers().has_session(), *ready.borrow()), (2, false, Some(2)));
        assert_eq!(
            changed_lists(&result),
            [Bytes::from(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)]
        );
    }
}
