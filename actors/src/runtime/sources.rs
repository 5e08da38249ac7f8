//! The token sources of a runtime, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::law::flight::{Revocation, TokenRequest};
use crate::law::profile::{Evidence, NotSent};
use crate::ports::source::{NotRevoked, SourceConnection, TokenSource};
use crate::values::record::{Grant, Issuer};
use crate::values::{RenewalPlan, ServerIdentity, SourceName, Spending};

/// The token sources of a runtime, each under the name by which records refer to it.
///
/// Clones share the sources. One [`TokenSource`] serves all sessions whose records name it. Each session has one request at
/// a time.
#[derive(Clone, Debug)]
pub struct Sources(BTreeMap<SourceName, Arc<dyn TokenSource>>);

impl Sources {
    /// Starts with one source, `refresh_token`. It is the refresh grant for every login that names no other source.
    pub fn new(refresh_token: Arc<dyn TokenSource>) -> Self {
        Self(BTreeMap::from([(SourceName::REFRESH_TOKEN, refresh_token)]))
    }

    /// Adds `source` under `name`. Replaces a source of the same name.
    #[must_use]
    pub fn with(mut self, name: SourceName, source: Arc<dyn TokenSource>) -> Self {
        self.0.insert(name, source);
        self
    }

    /// The source that `plan` names, if the runtime has it with the same spending.
    pub fn find(&self, plan: &RenewalPlan) -> Option<&Arc<dyn TokenSource>> {
        self.0.get(&plan.source).filter(|source| source.spending() == plan.spending)
    }

    /// Lets the source of a repeatable `plan` prepare its next request.
    pub(crate) async fn prepare(&self, identity: &ServerIdentity, plan: &RenewalPlan, issuer: Option<&Issuer>) {
        if plan.spending == Spending::Repeatable
            && let Some(source) = self.find(plan)
        {
            source.prepare(identity, plan, issuer).await;
        }
    }

    /// Opens a connection for a later request, with the source that the plan of `grant` names.
    pub(crate) async fn connect(
        &self,
        identity: &ServerIdentity,
        grant: &Grant,
    ) -> Result<Option<Box<dyn SourceConnection>>, NotSent> {
        match self.find(&grant.renewal) {
            Some(source) => source.connect(identity, grant).await,
            None => Err(NotSent::Unbuildable),
        }
    }

    /// Makes `request` with the source that its plan names. The flight machine never asks for a missing source.
    pub(crate) async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        match self.find(&request.renewal) {
            Some(source) => source.request(identity, request).await,
            None => Evidence::NotSent(NotSent::Unbuildable),
        }
    }

    /// Revokes tokens with the source that their plan names. Fails if that source is missing.
    pub(crate) async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked> {
        match self.find(&revocation.renewal) {
            Some(source) => source.revoke(identity, revocation).await,
            None => Err(NotRevoked::Failed),
        }
    }

    /// The spending of each source, by name.
    pub(crate) fn spending(&self) -> BTreeMap<SourceName, Spending> {
        self.0.iter().map(|(name, source)| (name.clone(), source.spending())).collect()
    }
}
