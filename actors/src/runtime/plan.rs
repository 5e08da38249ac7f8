//! The settings of sessions.

use std::sync::Arc;

use crate::law::flight::{Equipment, StoreTimeouts};
use crate::law::profile::Profile;
use crate::law::session::{Policy, RefreshPolicy};
use crate::ports::source::TokenSource;
use crate::values::{DigestKey, ServerIdentity};

/// The source of an identity's tokens, and the policy of its session. Most hosts use the same settings for all
/// identities.
///
/// Clones share the source and nothing else. One [`TokenSource`] serves all its sessions at once, with one request at a
/// time for each session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Makes the token requests.
    pub source: Arc<dyn TokenSource>,
    /// When to refresh, how long to back off, and how many callers may wait. `spending` is overwritten by the source's
    /// value.
    pub policy: Policy,
    /// The facts about the issuer. The default is strict.
    pub profile: Profile,
    /// The timeouts of store operations.
    pub timeouts: StoreTimeouts,
}

impl Settings {
    /// The default settings over `source`.
    pub fn new(source: Arc<dyn TokenSource>) -> Self {
        Self { source, policy: Policy::default(), profile: Profile::default(), timeouts: StoreTimeouts::default() }
    }
}

/// Names a session to open. The settings of the first call for an identity apply.
#[derive(Clone, Debug)]
pub struct SessionSpec {
    pub(crate) identity: ServerIdentity,
    pub(crate) settings: Option<Settings>,
}

impl SessionSpec {
    /// The session of `identity`, with the runtime's own settings.
    pub fn new(identity: ServerIdentity) -> Self {
        Self { identity, settings: None }
    }

    /// The same session with settings of its own.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings: Some(settings), ..self }
    }
}

impl From<ServerIdentity> for SessionSpec {
    fn from(identity: ServerIdentity) -> Self {
        Self::new(identity)
    }
}

/// Settings prepared for one store.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Arc<dyn TokenSource>,
    pub(crate) policy: Policy,
    pub(crate) equipment: Arc<Equipment>,
}

impl Plan {
    pub(crate) fn new(settings: Settings, digests: DigestKey) -> Self {
        let Settings { source, policy, profile, timeouts } = settings;
        let spending = source.spending();
        let equipment = Arc::new(Equipment { profile, timeouts, digests, spending });
        Self { source, policy: Policy { spending, ..policy }, equipment }
    }

    pub(crate) fn is_kept_warm(&self) -> bool {
        matches!(self.policy.refresh, RefreshPolicy::KeepWarm { .. })
    }

    pub(crate) fn follows_use(&self) -> bool {
        self.policy.refresh == RefreshPolicy::WhileInUse
    }
}
