//! A transport of rmcp, and calls over it.

use std::sync::Arc;

use rmcp::model::{CallToolRequestParams, ProgressNotificationParam};
use rmcp::service::{NotificationContext, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, Peer, ServiceError};
use serde_json::{Value, json};
use tokenkeeper_rmcp::SessionClient;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::within::within;

/// A transport, and the notifications that it got.
pub struct Mcp {
    service: RunningService<RoleClient, Listener>,
    listener: Listener,
}

impl Mcp {
    pub async fn connect(
        client: SessionClient<reqwest::Client>,
        config: StreamableHttpClientTransportConfig,
        lifecycle: ClientLifecycleMode,
    ) -> Self {
        let listener = Listener::default();
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let serving = listener.clone().serve_with_lifecycle(transport, lifecycle);
        Self { service: within("a connection", serving).await.unwrap(), listener }
    }

    /// The names of the tools.
    pub async fn tools(&self) -> Vec<String> {
        let tools = within("the tools", self.service.list_all_tools()).await.unwrap();
        let mut names: Vec<_> = tools.into_iter().map(|tool| tool.name.into_owned()).collect();
        names.sort();
        names
    }

    /// Calls a tool, and returns its text.
    pub async fn call(&self, tool: &'static str, arguments: Value) -> Result<String, ServiceError> {
        within(tool, call(self.service.peer().clone(), tool, arguments)).await
    }

    /// Begins a call of a tool.
    pub fn begin(&self, tool: &'static str, arguments: Value) -> JoinHandle<Result<String, ServiceError>> {
        tokio::spawn(call(self.service.peer().clone(), tool, arguments))
    }

    /// Calls the tool `echo`.
    pub async fn echo(&self) -> Result<(), ServiceError> {
        assert_eq!(self.call("echo", json!({ "text": "hi" })).await?, "hi");
        Ok(())
    }

    /// Waits for this many notifications of progress, since the transport was made.
    pub async fn until_progress(&self, count: u64) {
        let mut heard = self.listener.progress.subscribe();
        within("progress", heard.wait_for(|heard| *heard == count)).await.unwrap();
    }

    /// Has the server send a notification on the standing stream, and waits for it.
    pub async fn hears(&self) {
        let mut heard = self.listener.list_changed.subscribe();
        let before = *heard.borrow_and_update();
        assert_eq!(self.call("announce", json!({})).await.unwrap(), "done");
        within("a notification", heard.wait_for(|heard| *heard > before)).await.unwrap();
    }

    /// Ends the MCP session.
    pub async fn end(self) {
        within("the end of a transport", self.service.cancel()).await.unwrap();
    }
}

async fn call(peer: Peer<RoleClient>, tool: &'static str, arguments: Value) -> Result<String, ServiceError> {
    let Value::Object(arguments) = arguments else { panic!("{arguments}") };
    let result = peer.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
    let text = result.content[0].as_text().unwrap().text.clone();
    assert_ne!(result.is_error, Some(true), "{text}");
    Ok(text)
}

/// A handler that counts notifications.
#[derive(Clone, Default)]
struct Listener {
    progress: Arc<watch::Sender<u64>>,
    list_changed: Arc<watch::Sender<u64>>,
}

impl ClientHandler for Listener {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.send_modify(|heard| *heard += 1);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.list_changed.send_modify(|heard| *heard += 1);
    }
}
