//! A host that lets its children end, however they do. It understands nothing; it only supervises.

use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};

#[derive(Debug)]
pub(crate) struct Calm;

/// Nobody tells it anything. (Under ractor's feature `cluster` not every type is a message; this one is.)
pub(crate) type Nothing = ();

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
