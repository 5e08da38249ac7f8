//! The servers, which the tests of one SDK share, one after another.

use serde_json::{Value, json};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::authority::Authority;
use crate::rigs::{Program, Rig, ask};
use crate::within::within;

/// The SDK of an MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    TypeScript,
    Python,
}

/// They end with the process.
static TYPESCRIPT: Mutex<Option<Servers>> = Mutex::const_new(None);
static PYTHON: Mutex<Option<Servers>> = Mutex::const_new(None);

/// An MCP server, and the authorization server that it asks about tokens.
pub struct Servers {
    pub authority: Authority,
    mcp: Rig,
}

/// The counts of the MCP server since it was reset.
#[derive(Debug)]
pub struct Counts(Value);

impl Counts {
    /// The answers at `/mcp`.
    pub fn answered(&self, method: &str, status: u16) -> u64 {
        self.0["answers"][format!("{method} {status}")].as_u64().unwrap_or_default()
    }

    /// The calls that were executed.
    pub fn executed(&self, tool: &str) -> u64 {
        self.0["executed"][tool].as_u64().unwrap_or_default()
    }
}

impl Servers {
    /// The shared servers, with nothing in them. Returns `None`, after a notice on standard error, on a machine without the
    /// interpreters.
    pub async fn shared(sdk: Sdk) -> Option<MappedMutexGuard<'static, Self>> {
        let mut shared = match sdk {
            Sdk::TypeScript => TYPESCRIPT.lock().await,
            Sdk::Python => PYTHON.lock().await,
        };
        if shared.is_none() {
            *shared = Self::start(sdk, &[]);
        }
        let servers = shared.as_ref()?;
        servers.authority.tell("/reset", &json!({ "store": true }));
        servers.forget();
        MutexGuard::try_map(shared, Option::as_mut).ok()
    }

    /// Servers of one test alone, with these environment variables for the MCP server.
    pub fn start(sdk: Sdk, variables: &[(&str, &str)]) -> Option<Self> {
        let authority = Authority::start(&[])?;
        let program = match sdk {
            Sdk::TypeScript => Program::McpTypeScript,
            Sdk::Python => Program::McpPython,
        };
        let mcp = Rig::start_program(program, &[variables, &[("ISSUER", authority.issuer())]].concat())?;
        let servers = Self { authority, mcp };
        let audience = json!({ "uri": servers.resource(), "scopes": ["mcp:tools", "mcp:admin"] });
        servers.authority.tell("/audience", &audience);
        Some(servers)
    }

    /// The MCP server.
    pub fn resource(&self) -> &str {
        self.mcp.ready["mcp"].as_str().unwrap()
    }

    pub fn counts(&self) -> Counts {
        Counts(self.mcp.get("/stats"))
    }

    /// Resets the counts of the MCP server.
    pub fn forget(&self) {
        self.mcp.post("/reset", &json!({}));
    }

    /// Lets all calls go on that wait at the gate.
    pub fn release(&self) {
        self.mcp.post("/release", &json!({}));
    }

    /// Waits until this many calls wait at the gate.
    pub async fn until_waiting(&self, calls: u64) {
        self.until("a call at the gate", json!({ "waiting": calls })).await;
    }

    /// Waits until this many streams of GET are open.
    pub async fn until_streams(&self, streams: u64) {
        self.until("the standing streams", json!({ "streams": streams })).await;
    }

    async fn until(&self, what: &'static str, state: Value) {
        let admin = self.mcp.admin().to_owned();
        let wait = tokio::task::spawn_blocking(move || ask(&admin, "POST", "/until", &state.to_string()));
        within(what, wait).await.unwrap();
    }
}
