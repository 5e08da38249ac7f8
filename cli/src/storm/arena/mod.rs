//! Where a storm is held: an authorization server and its MCP server, and what they counted.

mod hostile;
mod log;
mod rig;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::values::record::Binding;
use tokenkeeper::{AccessToken, RefreshToken};

pub(super) use log::{Log, Sighting, What};

use super::faults::Weather;
use hostile::Hostile;
use rig::{Ready, Rig};

/// How long the server takes for each answer of the token endpoint.
pub(super) const ANSWER_DELAY: Duration = Duration::from_millis(50);
/// How long access tokens live, where clocks are put forward.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Where storms are held.
pub(super) enum Ground {
    /// On a server of our own, a new one for each contestant.
    BuiltIn,
    /// On a rig that runs already, its counters reset for each contestant.
    Rig(Box<Ready>),
}

impl Ground {
    /// The built-in server, or the rig whose ready line is in this file (`-`: on standard input).
    pub(super) fn new(against: Option<&Path>) -> io::Result<Self> {
        match against {
            None => Ok(Self::BuiltIn),
            Some(path) => Ready::read(path).map(|ready| Self::Rig(Box::new(ready))),
        }
    }

    /// Whether the second transport can be HTTP/2.
    pub(super) fn speaks_http2(&self) -> bool {
        matches!(self, Self::BuiltIn)
    }

    pub(super) fn is_rig(&self) -> bool {
        matches!(self, Self::Rig(_))
    }

    /// Opens it to a contestant: nothing has been counted yet. Access tokens live so long.
    pub(super) async fn open(&self, lifetime: Duration) -> io::Result<Arena> {
        match self {
            Self::BuiltIn => Hostile::start(lifetime).await.map(Arena::Hostile),
            Self::Rig(ready) => Rig::reset((**ready).clone(), lifetime).await.map(Arena::Rig),
        }
    }
}

/// A server, and what it knows of one contestant.
pub(super) enum Arena {
    Hostile(Hostile),
    Rig(Rig),
}

/// What a login brings.
pub(super) struct Grant {
    pub(super) binding: Binding,
    pub(super) scope: String,
    pub(super) access: AccessToken,
    pub(super) refresh: RefreshToken,
    pub(super) lifetime: Duration,
}

/// What the server counted since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Refreshes that arrived.
    pub(super) token_requests: u64,
    /// The most of them that were with the server at once.
    pub(super) most_concurrent: u64,
    /// Those of them that brought new tokens, whether or not the answer arrived.
    pub(super) rotations: u64,
    /// Spent refresh tokens presented.
    pub(super) replays: u64,
    /// Chains that ended.
    pub(super) chains_revoked: u64,
    /// Whether the newest chain is alive.
    pub(super) alive: bool,
}

impl Arena {
    /// The MCP server.
    pub(super) fn resource(&self) -> &str {
        match self {
            Self::Hostile(server) => server.resource(),
            Self::Rig(rig) => rig.resource(),
        }
    }

    /// Where clients note what they send.
    pub(super) fn log(&self) -> Arc<Log> {
        match self {
            Self::Hostile(server) => server.log(),
            Self::Rig(rig) => rig.log(),
        }
    }

    /// Signs somebody in.
    pub(super) async fn grant(&mut self) -> io::Result<Grant> {
        match self {
            Self::Hostile(server) => Ok(server.grant()),
            Self::Rig(rig) => rig.grant().await,
        }
    }

    /// Ends the life of all access tokens, by letting their time pass.
    pub(super) async fn expire(&self) -> io::Result<()> {
        match self {
            Self::Hostile(server) => {
                server.advance(LIFETIME);
                Ok(())
            }
            Self::Rig(rig) => rig.expire_all().await,
        }
    }

    /// Refuses all access tokens from now on.
    pub(super) async fn refuse(&self) -> io::Result<()> {
        match self {
            Self::Hostile(server) => {
                server.kill_access_tokens();
                Ok(())
            }
            Self::Rig(rig) => rig.expire_all().await,
        }
    }

    /// What the next token request meets.
    pub(super) fn brew(&self, weather: Weather) {
        match self {
            Self::Hostile(server) => server.brew(weather),
            // A rig's weather is its own.
            Self::Rig(_) => {}
        }
    }

    /// The storm is over here.
    pub(super) async fn close(&self) -> io::Result<()> {
        match self {
            Self::Hostile(_) => Ok(()),
            Self::Rig(rig) => rig.close().await,
        }
    }

    pub(super) async fn tally(&self) -> io::Result<Tally> {
        match self {
            Self::Hostile(server) => Ok(server.tally()),
            Self::Rig(rig) => rig.tally().await,
        }
    }

    /// Begins to keep what is seen from now on.
    pub(super) fn watch(&mut self) {
        match self {
            Self::Hostile(server) => server.watch(),
            Self::Rig(rig) => rig.log().clear(),
        }
    }

    /// What was seen since then, oldest first, from the first token request on.
    pub(super) fn seen(&self) -> Vec<Sighting> {
        let seen = match self {
            Self::Hostile(server) => server.seen(),
            Self::Rig(rig) => rig.log().all(),
        };
        log::from_first_request(seen)
    }
}
