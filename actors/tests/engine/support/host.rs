//! A host, which is an actor that the runtime is linked to and that lets its children end.

use async_trait::async_trait;
use ractor::{Actor, ActorCell};
use tokenkeeper_actors::law::flight::Urgency;
use tokenkeeper_actors::ports::permit::{IssuerPermits, Permission, Permit};
use tokenkeeper_actors::values::record::Issuer;

use super::calm::Calm;
use super::within::within;

/// A host, through whose children a test finds the actors to end.
#[derive(Clone, Debug)]
pub(crate) struct Host(ActorCell);

impl Host {
    pub(crate) async fn start() -> Self {
        let (host, _) = within("a host", Actor::spawn(None, Calm, ())).await.expect("a host");
        Self(host.get_cell())
    }

    pub(crate) fn cell(&self) -> ActorCell {
        self.0.clone()
    }

    /// The runtime's supervisor.
    pub(crate) fn supervisor(&self) -> Option<ActorCell> {
        self.0.get_children().into_iter().next()
    }

    /// The supervisor's actors, which are those of identities, and those of issuers unless permits are [`Leave`].
    pub(crate) fn actors(&self) -> Vec<ActorCell> {
        self.supervisor().map_or_else(Vec::new, |supervisor| supervisor.get_children())
    }
}

/// Grants each permit without an actor, so that every actor is an identity's.
#[derive(Debug)]
pub(crate) struct Leave;

#[async_trait]
impl IssuerPermits for Leave {
    async fn ask(&self, _issuer: Option<&Issuer>, _urgency: Urgency) -> Permission {
        Permission::Granted(Permit::new(|_| {}))
    }
}
