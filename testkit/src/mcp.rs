//! A small MCP server behind the tokens of the hostile server, on loopback in the test's own process.
//!
//! It speaks both wires of streamable HTTP, that of 2025-11-25 with sessions and that of 2026-07-28 without. It has tools for
//! tests, counts what arrives, and misbehaves on demand.
//!
//! ```
//! use tokenkeeper_testkit::hostile::HostileAs;
//! use tokenkeeper_testkit::mcp::{AnswerForm, McpResource};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let server = HostileAs::start().await?;
//! let resource = McpResource::start_with(server.verifier(), |settings| settings.answers = AnswerForm::Sse).await?;
//! let client = server.register(tokenkeeper_actors::values::record::ClientAuth::None);
//! let grant = server.grant_for(&client, &resource.uri(), "tools:read");
//!
//! // Let the client under test call tools at `resource.uri()` here, with `grant.access_token`.
//!
//! assert_eq!(resource.counts().status(401), 0);
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | tool | argument | result |
//! |---|---|---|
//! | `echo` | `text` | the text |
//! | `slow` | `milliseconds` | `done`, after that time |
//! | `progress` | `steps` | `done`, after as many progress notifications |
//! | `large` | `bytes` | a text of that length |
//! | `whoami` | | the token's `chain`, `ordinal` and `scope` ([`Admission`]), as JSON and as structured content |
//! | `restricted` | | `done`, for tokens with the scope `tools:admin` |
//! | `routed` | `region` | the region, which the wire of 2026 repeats in `Mcp-Param-Region` |
//! | `fail` | | an error of the tool (`isError`) |
//!
//! [`McpResource::hold`] holds any of them at a gate.
//!
//! | path | purpose |
//! |---|---|
//! | `/mcp` | MCP |
//! | `/.well-known/oauth-protected-resource/mcp` | metadata (RFC 9728), which names the hostile server |
//! | any other | 200 with `{}`. It shows where redirects lead, because its requests are logged as well |
//!
//! [`Admission`]: crate::hostile::Admission

mod answer;
mod call;
mod counts;
mod events;
mod listener;
mod message;
mod other_origin;
mod resource;
mod session;
mod settings;
mod state;
mod tools;
mod wire;
mod wire2025;
mod wire2026;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::hostile::clock::start;
use crate::hostile::{Gate, Verifier};
use events::Stop;
use state::Shared;

pub use counts::{McpCounts, ReceivedRequest};
pub use other_origin::OtherOrigin;
pub use settings::{AnswerForm, ChallengeForm, Cut, HoldAt, Instead, McpSettings, Wires};

/// The server. It listens on its own port on 127.0.0.1. Dropping it aborts its tasks and closes all its connections, as
/// soon as the runtime gets to it.
///
/// Its methods may be called at any time and from any thread. Their changes apply to later requests.
///
/// Several methods take an *operation*. It is a JSON-RPC method (`tools/call`), a tool (`echo`), an HTTP method other than
/// POST (`GET`), or `*` for all requests at `/mcp`.
pub struct McpResource {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The listener's task, which owns all others.
    _tasks: JoinSet<()>,
}

impl McpResource {
    /// Starts a resource with the default settings on the current runtime, which needs I/O and time enabled.
    ///
    /// # Errors
    ///
    /// If no port on 127.0.0.1 is available.
    pub async fn start(verifier: Verifier) -> io::Result<Self> {
        Self::start_with(verifier, |_| {}).await
    }

    /// Starts a resource with changed settings. See [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If no port on 127.0.0.1 is available, or not the one of the settings.
    pub async fn start_with(verifier: Verifier, change: impl FnOnce(&mut McpSettings)) -> io::Result<Self> {
        let mut settings = McpSettings::default();
        change(&mut settings);
        let listener = listener::bind(settings.port)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(verifier, address, settings));
        let mut tasks = JoinSet::new();
        let (counted, served) = (Arc::clone(&shared), Arc::clone(&shared));
        let connected = move || {
            counted.count(|counts| counts.connections += 1);
            counted.settings().has_nodelay
        };
        let serve = move |request| resource::serve(Arc::clone(&served), request);
        start(&mut tasks, listener::listen(listener, connected, serve));
        Ok(Self { address, shared, _tasks: tasks })
    }

    // --- addresses ---------------------------------------------------------------------------------------------------

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its origin, `http://127.0.0.1:…` without a trailing slash.
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The URL of its MCP endpoint, `http://127.0.0.1:…/mcp`, which is also the `resource` of its tokens.
    pub fn uri(&self) -> String {
        self.shared.uri.clone()
    }

    // --- behaviour ---------------------------------------------------------------------------------------------------

    /// Changes the settings.
    pub fn change(&self, change: impl FnOnce(&mut McpSettings)) {
        change(Arc::make_mut(&mut self.shared.state().settings));
    }

    /// Lets the next `times` requests of an operation get something else instead of their answer. They are not executed, and
    /// their tokens are not checked. Entries are used in their order.
    pub fn next(&self, operation: &str, times: usize, instead: Instead) {
        self.shared.state().instead.push(operation, times, instead);
    }

    /// Cuts the next `times` answers of an operation that are streams of events. Entries are used in their order.
    pub fn cut_next(&self, operation: &str, times: usize, cut: Cut) {
        self.shared.state().cuts.push(operation, times, cut);
    }

    /// Removes all entries of [`next`](Self::next) and [`cut_next`](Self::cut_next).
    pub fn calm(&self) {
        let mut state = self.shared.state();
        state.instead.clear();
        state.cuts.clear();
    }

    /// Holds all requests of an operation from now on, until the gate is opened. A second gate for the same place and
    /// operation replaces the first for later requests.
    #[must_use = "requests are held until the gate is opened"]
    pub fn hold(&self, operation: &str, at: HoldAt) -> Gate {
        let gate = Gate::closed();
        let mut state = self.shared.state();
        state.gates.retain(|(place, known, _)| (*place, &**known) != (at, operation));
        state.gates.push((at, operation.to_owned(), gate.clone()));
        gate
    }

    /// Forgets all MCP sessions, as a server does that restarts. Their calls are aborted, and their streams end.
    pub fn forget_sessions(&self) {
        let forgotten = std::mem::take(&mut self.shared.state().sessions.by_id);
        self.shared.count(|counts| counts.sessions -= forgotten.len() as u64);
    }

    /// Sends a notification on all standing streams, for example `notifications/tools/list_changed`. MCP sessions keep it for
    /// a stream that is opened later with `Last-Event-ID`. Subscriptions of the wire of 2026 get that one only.
    pub fn notify(&self, method: &str, params: Value) {
        self.shared.state().sessions.notify(method, &params);
    }

    /// Breaks the connections of all standing streams.
    pub fn cut_standing_streams(&self) {
        self.shared.state().sessions.stop_standing(Stop::Break);
    }

    /// Ends all standing streams properly, those of the wire of 2026 with a result.
    pub fn end_standing_streams(&self) {
        self.shared.state().sessions.stop_standing(Stop::End);
    }

    // --- counts ------------------------------------------------------------------------------------------------------

    /// The counts so far.
    pub fn counts(&self) -> McpCounts {
        self.shared.counts.borrow().clone()
    }

    /// Waits until `met` returns true, and returns the counts. See [`HostileAs::until`](crate::hostile::HostileAs::until).
    pub async fn until(&self, mut met: impl FnMut(&McpCounts) -> bool) -> McpCounts {
        let mut news = self.shared.counts.subscribe();
        loop {
            let counts = news.borrow_and_update().clone();
            // The sender lives as long as `self`, so the watch does not end.
            if met(&counts) || news.changed().await.is_err() {
                return counts;
            }
        }
    }

    /// The requests whose head has arrived, at all paths, in their order. The first 100,000 are kept.
    pub fn log(&self) -> Vec<ReceivedRequest> {
        self.shared.state().log.clone()
    }
}

impl fmt::Debug for McpResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpResource").field("address", &self.address).finish_non_exhaustive()
    }
}
