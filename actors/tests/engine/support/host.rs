//! A host: an actor that the runtime is linked to, and that lets its children end.

use async_trait::async_trait;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokenkeeper_actors::law::flight::Urgency;
use tokenkeeper_actors::ports::permit::{IssuerPermits, Permission, Permit};
use tokenkeeper_actors::values::record::Issuer;

/// A host, through whose children a test finds the actors it wants to end.
#[derive(Clone, Debug)]
pub(crate) struct Host(ActorCell);

struct Calm;

enum Nothing {}

#[cfg(feature = "cluster")]
impl ractor::Message for Nothing {}

#[ractor::actor(message = Nothing, state = (), arguments = ())]
impl Calm {
    async fn pre_start(&self, _myself: ActorRef<Nothing>, _: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Nothing>,
        _event: SupervisionEvent,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl Host {
    pub(crate) async fn start() -> Self {
        let (host, _) = Actor::spawn(None, Calm, ()).await.expect("a host");
        Self(host.get_cell())
    }

    pub(crate) fn cell(&self) -> ActorCell {
        self.0.clone()
    }

    /// The runtime's supervisor.
    pub(crate) fn supervisor(&self) -> Option<ActorCell> {
        self.0.get_children().into_iter().next()
    }

    /// The supervisor's actors: of identities, and of issuers unless permits are [`Leave`].
    pub(crate) fn actors(&self) -> Vec<ActorCell> {
        self.supervisor().map_or_else(Vec::new, |supervisor| supervisor.get_children())
    }
}

/// Leave for everyone, without an actor for it: so that every actor is an identity's.
#[derive(Debug)]
pub(crate) struct Leave;

#[async_trait]
impl IssuerPermits for Leave {
    async fn ask(&self, _issuer: Option<&Issuer>, _urgency: Urgency) -> Permission {
        Permission::Granted(Permit::new(|_| {}))
    }
}
