//! HTTP without redirects, as the browser of a person whose consent is automatic, and as an MCP client.

use serde_json::{Value, json};
use tokenkeeper::discovery::Challenge;
use tokenkeeper::{AccessToken, Lease};
use url::Url;

use crate::within::within;

#[derive(Clone)]
pub(crate) struct Web(reqwest::Client);

/// The answer of the MCP server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) challenges: Vec<Challenge>,
    body: Value,
}

impl Answer {
    /// The text that a tool returned.
    pub(crate) fn text(&self) -> &str {
        self.body["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{self:?}"))
    }
}

impl Web {
    pub(crate) fn new() -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            // The rig closes connections that were idle for two seconds. No request may meet that.
            .pool_idle_timeout(std::time::Duration::from_secs(1));
        Self(client.build().unwrap())
    }

    /// Opens the authorization page, and returns the address that it redirects to.
    pub(crate) async fn consent(&self, page: &Url) -> Url {
        let answer = within("the page", self.0.get(page.clone()).send()).await.unwrap();
        let Some(location) = answer.headers().get("location") else {
            panic!("no redirect: {}", answer.text().await.unwrap())
        };
        Url::parse(location.to_str().unwrap()).unwrap()
    }

    /// Opens a page, and returns its HTML.
    pub(crate) async fn open(&self, page: &Url) -> String {
        let answer = within("the page", self.0.get(page.clone()).send()).await.unwrap();
        within("the page's text", answer.text()).await.unwrap()
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, server: &str, lease: &Lease, tool: &str, arguments: &Value) -> Answer {
        self.call_with(server, lease.token(), tool, arguments).await
    }

    async fn call_with(&self, server: &str, token: &AccessToken, tool: &str, arguments: &Value) -> Answer {
        let parameters = json!({ "name": tool, "arguments": arguments });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters });
        let request = self.0.post(server).bearer_auth(token.expose());
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("content-type", "application/json").body(message.to_string());
        let answer = within("the MCP server", request.send()).await.unwrap();
        let (status, challenges) = (answer.status().as_u16(), Challenge::parse(answer.headers()));
        let body = within("its answer", answer.bytes()).await.unwrap();
        Answer { status, challenges, body: serde_json::from_slice(&body).unwrap_or_default() }
    }
}
