//! The servers: an authorization server and an MCP server behind it, with counters.

mod events;
mod hostile;
mod rig;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::values::record::Binding;
use tokenkeeper::{AccessToken, RefreshToken};

pub(crate) use events::{EndpointEvent, EndpointEventKind, EndpointLog};

use crate::storm::RequestFault;
use hostile::HostileTarget;
use rig::{RigReady, RigTarget};

/// The server's delay before each answer of the token endpoint.
pub(crate) const ANSWER_DELAY: Duration = Duration::from_millis(50);

/// The place of a storm or a soak.
pub struct TargetSite(Kind);

enum Kind {
    /// A new server in this process for each contestant.
    BuiltIn,
    /// A running rig, whose counters are reset for each contestant.
    Rig(Box<RigReady>),
}

impl TargetSite {
    /// The testkit's hostile server, in this process.
    pub fn built_in() -> Self {
        Self(Kind::BuiltIn)
    }

    /// A running oidc-provider rig, by the line that it printed when it was ready.
    ///
    /// # Errors
    ///
    /// When the line is not an object with `issuer`, `admin`, `mcp` and `as_metadata`.
    pub fn rig(ready_line: &str) -> io::Result<Self> {
        RigReady::parse(ready_line).map(|ready| Self(Kind::Rig(Box::new(ready))))
    }

    /// The built-in server, or the rig whose ready line is in this file. `-` is standard input.
    pub(crate) fn chosen(against: Option<&Path>) -> io::Result<Self> {
        match against {
            None => Ok(Self::built_in()),
            Some(path) => Self::rig(&rig::ready_line(path)?),
        }
    }

    /// Whether the second transport can be HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        !self.is_rig()
    }

    pub(crate) fn is_rig(&self) -> bool {
        matches!(self.0, Kind::Rig(_))
    }

    /// Starts a server, or resets the rig. Nothing has been counted yet. `lifetime` is that of access tokens.
    pub(crate) async fn open(&self, lifetime: Duration) -> io::Result<TargetServer> {
        match &self.0 {
            Kind::BuiltIn => HostileTarget::start(lifetime).await.map(TargetServer::Hostile),
            Kind::Rig(ready) => RigTarget::reset((**ready).clone(), lifetime).await.map(TargetServer::Rig),
        }
    }
}

impl fmt::Debug for TargetSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_rig() { "TargetSite(rig)" } else { "TargetSite(built in)" })
    }
}

/// A server with the counters of one contestant.
pub(crate) enum TargetServer {
    Hostile(HostileTarget),
    Rig(RigTarget),
}

/// The result of a login at the server.
pub(crate) struct TargetLogin {
    pub(crate) binding: Binding,
    pub(crate) scope: String,
    pub(crate) access: AccessToken,
    pub(crate) refresh: RefreshToken,
    /// The lifetime of the access token.
    pub(crate) lifetime: Duration,
}

/// The server's counters since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TargetCounts {
    /// Refreshes that arrived; at a rig, those that were answered.
    pub(crate) token_requests: u64,
    /// Refreshes that arrived, answered or not.
    pub(crate) arrived: u64,
    /// The most refreshes in flight at once.
    pub(crate) most_concurrent: u64,
    /// Refreshes that brought new tokens, whether or not the answer arrived.
    pub(crate) rotations: u64,
    /// Spent refresh tokens presented.
    pub(crate) replays: u64,
    /// Faults that have struck. A rig has none.
    pub(crate) faults: u64,
    /// Chains of refresh tokens that ended.
    pub(crate) chains_revoked: u64,
    /// Whether the newest chain is alive.
    pub(crate) alive: bool,
}

impl TargetServer {
    /// The URL of the MCP server.
    pub(crate) fn resource(&self) -> &str {
        match self {
            Self::Hostile(server) => server.resource(),
            Self::Rig(rig) => rig.resource(),
        }
    }

    /// The log in which clients note their token requests.
    pub(crate) fn log(&self) -> Arc<EndpointLog> {
        match self {
            Self::Hostile(server) => server.log(),
            Self::Rig(rig) => rig.log(),
        }
    }

    /// Signs a user in.
    pub(crate) async fn sign_in(&mut self) -> io::Result<TargetLogin> {
        match self {
            Self::Hostile(server) => Ok(server.sign_in()),
            Self::Rig(rig) => rig.sign_in().await,
        }
    }

    /// Lets all access tokens expire. The built-in server's clock moves forward by `lifetime`.
    pub(crate) async fn expire(&self, lifetime: Duration) -> io::Result<()> {
        match self {
            Self::Hostile(server) => {
                server.advance(lifetime);
                Ok(())
            }
            Self::Rig(rig) => rig.expire_all().await,
        }
    }

    /// Refuses all access tokens issued so far.
    pub(crate) async fn refuse(&self) -> io::Result<()> {
        match self {
            Self::Hostile(server) => {
                server.kill_access_tokens();
                Ok(())
            }
            Self::Rig(rig) => rig.expire_all().await,
        }
    }

    /// Injects a fault into the next token request. A rig has no faults.
    pub(crate) fn inject_fault(&self, fault: RequestFault) {
        match self {
            Self::Hostile(server) => server.inject_fault(fault),
            Self::Rig(_) => {}
        }
    }

    /// Injects passing faults into one token request in ten, from now on. A refresh token whose answer was lost may be
    /// presented again for a while. A rig has no faults.
    pub(crate) fn inject_passing_faults(&self, seed: u64) {
        match self {
            Self::Hostile(server) => server.inject_passing_faults(seed),
            Self::Rig(_) => {}
        }
    }

    /// Ends the use of the server.
    pub(crate) async fn close(&self) -> io::Result<()> {
        match self {
            Self::Hostile(_) => Ok(()),
            Self::Rig(rig) => rig.close().await,
        }
    }

    pub(crate) async fn counts(&self) -> io::Result<TargetCounts> {
        match self {
            Self::Hostile(server) => Ok(server.counts()),
            Self::Rig(rig) => rig.counts().await,
        }
    }

    /// Starts to record events.
    pub(crate) fn record(&mut self) {
        match self {
            Self::Hostile(server) => server.record(),
            Self::Rig(rig) => rig.log().clear(),
        }
    }

    /// The events recorded so far, oldest first, from the first token request on.
    pub(crate) fn recorded(&self) -> Vec<EndpointEvent> {
        let events = match self {
            Self::Hostile(server) => server.recorded(),
            Self::Rig(rig) => rig.log().all(),
        };
        events::from_first_request(events)
    }
}
