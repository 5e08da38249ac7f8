//! The rig as an authorization server with an MCP server behind it, and its counters.

use serde_json::{Value, json};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::rigs::Rig;

/// The lifetime of its access tokens in seconds, unless a test wants another one.
const LIFETIME: &str = "3600";

/// The rig that most tests share, one after another. It ends with the process.
static SHARED: Mutex<Option<Authority>> = Mutex::const_new(None);

/// A running rig.
pub(crate) struct Authority(Rig);

/// The counts of a rig since it was reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Clients that were registered.
    pub(crate) registrations: u64,
    /// Authorization requests that were pushed with success.
    pub(crate) pushed: u64,
    /// Codes that were exchanged with success.
    pub(crate) codes: u64,
    /// Refreshes with success.
    pub(crate) refreshes: u64,
    /// Token requests of these two kinds that were refused.
    pub(crate) refused: u64,
    /// Grants that were made.
    pub(crate) grants: u64,
    /// Grants that were revoked.
    pub(crate) revoked: u64,
}

impl Authority {
    /// The shared rig, with nothing in it. People consent by themselves. Returns `None`, after a notice on standard error, on
    /// a machine without Node.
    pub(crate) async fn shared() -> Option<MappedMutexGuard<'static, Self>> {
        let mut shared = SHARED.lock().await;
        if shared.is_none() {
            *shared = Self::start(&[]);
        }
        shared.as_ref()?.0.post("/reset", &json!({ "store": true }));
        MutexGuard::try_map(shared, Option::as_mut).ok()
    }

    /// A rig with these further environment variables.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Option<Self> {
        let usual = [("AUTO_CONSENT", "1"), ("AT_TTL", LIFETIME)];
        Rig::start(&[&usual[..], variables].concat()).map(Self)
    }

    /// The MCP server behind it.
    pub(crate) fn resource(&self) -> &str {
        self.0.ready["mcp"].as_str().unwrap()
    }

    pub(crate) fn issuer(&self) -> &str {
        self.0.ready["issuer"].as_str().unwrap()
    }

    /// Posts to an admin endpoint.
    pub(crate) fn tell(&self, path: &str, what: &Value) {
        self.0.post(path, what);
    }

    pub(crate) fn stats(&self) -> Value {
        self.0.get("/stats")
    }

    /// Its counts. No used refresh token and no used code was ever presented.
    pub(crate) fn counts(&self) -> Counts {
        let stats = self.stats();
        let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let refused = |grant: &str| {
            let errors = stats["token"]["by_grant"][grant]["error"].as_object();
            errors.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum::<u64>()
        };
        for never in ["/refresh/consumed_rt_presented", "/refresh/reuse_detected", "/code_reuse_detected"] {
            assert_eq!(number(never), 0, "{never}: {stats:#}");
        }
        Counts {
            registrations: number("/registrations/success"),
            pushed: number("/par"),
            codes: number("/token/by_grant/authorization_code/success"),
            refreshes: number("/refresh/success"),
            refused: refused("authorization_code") + refused("refresh_token"),
            grants: number("/grants_created"),
            revoked: number("/grants_revoked"),
        }
    }

    /// The access tokens, refresh tokens and grants that are alive.
    pub(crate) fn live(&self) -> (u64, u64, u64) {
        let live = &self.stats()["live"];
        let number = |kind: &str| live[kind].as_u64().unwrap();
        (number("access_tokens"), number("refresh_tokens"), number("grants"))
    }
}
