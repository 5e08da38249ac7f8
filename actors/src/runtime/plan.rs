//! What a session is to be like: whose it is, and the settings that many sessions share.

use std::sync::Arc;

use crate::law::flight::{Equipment, StoreTimeouts};
use crate::law::profile::Profile;
use crate::law::session::{Policy, RefreshPolicy};
use crate::ports::source::TokenSource;
use crate::values::{DigestKey, ServerIdentity};

/// Where an identity's tokens come from, and how its session behaves. Most hosts have one for all.
///
/// Plain data around a shared source: clones share the source and nothing else. One [`TokenSource`] serves all its
/// sessions at once, each with one request at a time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Makes the token requests.
    pub source: Arc<dyn TokenSource>,
    /// When to refresh, how long to back off, how many may wait. `spending` is overwritten by the source's word.
    pub policy: Policy,
    /// What is known of the issuer. The default is strict.
    pub profile: Profile,
    /// How patient flights are with the store.
    pub timeouts: StoreTimeouts,
}

impl Settings {
    /// The default settings over `source`.
    pub fn new(source: Arc<dyn TokenSource>) -> Self {
        Self { source, policy: Policy::default(), profile: Profile::default(), timeouts: StoreTimeouts::default() }
    }
}

/// Names a session to open. Plain data; the first to open an identity's session says how it is to be.
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

/// Settings made ready for one store.
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
