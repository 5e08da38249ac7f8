//! A host that supervises, and does nothing when one of its children ends.

use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};

#[derive(Debug)]
pub(crate) struct Calm;

/// The host gets no message. (Under ractor's feature `cluster` not every type is a message, but this one is.)
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
