//! The keys of logins whose tokens are to be bound to one (DPoP, RFC 9449).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokenkeeper_actors::ports::login::Preparation;
use tokenkeeper_actors::values::{DpopKey, LoginReason, ServerIdentity};

use super::LoginSettings;
use crate::Dpop;
use crate::discovery::Discovered;
use crate::proof::{Announced, ProofKey};

/// The DPoP settings of the sessions that were opened with a setting of their own. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySettings(Arc<Mutex<BTreeMap<ServerIdentity, Dpop>>>);

impl KeySettings {
    /// Remembers the setting of a session.
    pub(crate) fn set(&self, identity: &ServerIdentity, dpop: Dpop) {
        // A map is consistent between two statements, so a panic of another thread does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(identity.clone(), dpop);
    }

    fn of(&self, identity: &ServerIdentity) -> Option<Dpop> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(identity).copied()
    }

    /// Draws the key that the tokens of a login are to be bound to. Returns `None` if the login asks for bearer tokens.
    ///
    /// A login that replaces a bound grant asks for bound tokens again, unless the session was opened with another setting.
    /// So a session never falls back to bearer tokens unnoticed.
    pub(super) fn draw(
        &self,
        identity: &ServerIdentity,
        preparation: &Preparation,
        settings: &LoginSettings,
        discovered: &Discovered,
    ) -> Result<Option<(DpopKey, ProofKey)>, LoginReason> {
        let was_bound = preparation.grant.as_deref().is_some_and(|grant| grant.dpop_key.is_some());
        let dpop = match self.of(identity) {
            Some(Dpop::WhereAnnounced) | None if was_bound => Dpop::Required,
            Some(dpop) => dpop,
            None => settings.default_dpop(),
        };
        let announced = Announced {
            server: discovered.server.dpop_algorithms.as_deref(),
            resource: discovered.resource.dpop_algorithms.as_deref(),
            is_required: discovered.resource.requires_dpop,
        };
        match dpop.asks(announced, ProofKey::IS_SUPPORTED) {
            None => {
                tracing::info!(%identity, "tokens that are bound to a key are required, and cannot be had");
                Err(LoginReason::NotBound)
            }
            Some(false) => Ok(None),
            Some(true) => {
                let stored = ProofKey::draw().ok_or(LoginReason::Aborted)?;
                let key = ProofKey::open(&stored).ok_or(LoginReason::Aborted)?;
                Ok(Some((stored, key)))
            }
        }
    }
}
