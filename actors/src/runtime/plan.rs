//! The settings of sessions.

use std::sync::Arc;

use super::sources::Sources;
use crate::law::flight::{Equipment, StoreTimeouts};
use crate::law::login::{LoginEquipment, LoginLimits};
use crate::law::profile::Profiles;
use crate::law::session::{Policy, RefreshPolicy};
use crate::ports::login::LoginSource;
use crate::ports::source::TokenSource;
use crate::values::{DigestKey, RenewalPlan, ServerIdentity};

/// The sources of tokens and the behaviour of sessions, for all sessions of a runtime.
///
/// The record of an identity names its source and its profile. A login stores them, and
/// [`AuthSession::configure`](super::AuthSession::configure) changes them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sources that records name.
    pub sources: Sources,
    /// The profiles of the providers that records name. The default names no provider, and an unknown provider gets the
    /// strictest profile.
    pub profiles: Profiles,
    /// The policy, which states when to refresh, how long to back off, how many callers may wait, and how an identity
    /// without a record is renewed.
    pub policy: Policy,
    /// The timeouts of store operations.
    pub timeouts: StoreTimeouts,
    /// The source of logins that a person is asked for (none).
    pub login: Option<Arc<dyn LoginSource>>,
    /// The time limits of such logins.
    pub login_limits: LoginLimits,
}

impl Settings {
    /// The default settings, with `source` for the refresh grant.
    pub fn new(source: Arc<dyn TokenSource>) -> Self {
        Self {
            sources: Sources::new(source),
            profiles: Profiles::default(),
            policy: Policy::default(),
            timeouts: StoreTimeouts::default(),
            login: None,
            login_limits: LoginLimits::default(),
        }
    }
}

/// A session to open, with its settings. The settings of the first call for an identity apply.
#[derive(Clone, Debug)]
pub struct SessionSpec {
    pub(crate) identity: ServerIdentity,
    policy: Option<Policy>,
    renewal: Option<RenewalPlan>,
}

impl SessionSpec {
    /// The session of `identity`, with the runtime's own policy.
    pub fn new(identity: ServerIdentity) -> Self {
        Self { identity, policy: None, renewal: None }
    }

    /// The same session with its own policy.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// The same session, renewed by `renewal` while it has no record. This is for a source that needs no login. The
    /// plan of a record overrides it.
    #[must_use]
    pub fn renewal(self, renewal: RenewalPlan) -> Self {
        Self { renewal: Some(renewal), ..self }
    }
}

impl From<ServerIdentity> for SessionSpec {
    fn from(identity: ServerIdentity) -> Self {
        Self::new(identity)
    }
}

/// The settings of one session, prepared for one store.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) sources: Arc<Sources>,
    pub(crate) policy: Policy,
    pub(crate) equipment: Arc<Equipment>,
    pub(crate) login: Option<Arc<dyn LoginSource>>,
    pub(crate) login_equipment: Arc<LoginEquipment>,
}

impl Plan {
    pub(crate) fn new(settings: Settings, digests: DigestKey) -> Self {
        let Settings { sources, profiles, policy, timeouts, login, login_limits } = settings;
        let login_equipment = Arc::new(LoginEquipment { timeouts, digests: digests.clone(), limits: login_limits });
        let equipment = Arc::new(Equipment { profiles, sources: sources.spending(), timeouts, digests });
        Self { sources: Arc::new(sources), policy, equipment, login, login_equipment }
    }

    /// The plan of the session that `spec` describes.
    pub(crate) fn for_session(self: &Arc<Self>, spec: &SessionSpec) -> Arc<Self> {
        if spec.policy.is_none() && spec.renewal.is_none() {
            return Arc::clone(self);
        }
        let mut policy = spec.policy.as_ref().unwrap_or(&self.policy).clone();
        if let Some(renewal) = &spec.renewal {
            policy.renewal = renewal.clone();
        }
        Arc::new(Self {
            sources: Arc::clone(&self.sources),
            policy,
            equipment: Arc::clone(&self.equipment),
            login: self.login.clone(),
            login_equipment: Arc::clone(&self.login_equipment),
        })
    }

    pub(crate) fn is_kept_warm(&self) -> bool {
        matches!(self.policy.refresh, RefreshPolicy::KeepWarm { .. })
    }

    pub(crate) fn follows_use(&self) -> bool {
        self.policy.refresh == RefreshPolicy::WhileInUse
    }
}
