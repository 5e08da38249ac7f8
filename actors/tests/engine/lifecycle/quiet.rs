//! The end of a host that waits for what is in the air before it shuts down, and finds out which child has ended.

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokenkeeper_actors::values::Reason;
use tokio::sync::mpsc;

use super::rig::{Rig, all_served, answers};
use crate::support::calm::{Calm, Nothing};
use crate::support::{World, ms, s, within};

#[tokio::test(start_paused = true)]
async fn quiesce_waits_for_a_flight_and_its_callers() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    let cohort = rig.cohort();
    rig.takes_off().await;
    assert!(!rig.runtime.quiesce(ms(100)).await, "the request takes a second");
    assert!(rig.runtime.quiesce(s(30)).await);
    // All of them were answered before the shutdown.
    let waiting = tokio::spawn(all_served(cohort));
    assert!(rig.runtime.shutdown(s(5)).await.is_clean());
    within("the cohort", waiting).await.expect("answers");
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_without_it_refuses_those_who_wait() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    let cohort = rig.cohort();
    rig.takes_off().await;
    assert!(rig.runtime.shutdown(s(5)).await.is_clean());
    for answer in answers(cohort).await {
        assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::ShuttingDown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_runtime_is_quiet_at_once_and_goes_on_serving() {
    let rig = Rig::new().await;
    let before = tokio::time::Instant::now();
    assert!(rig.runtime.quiesce(s(30)).await);
    assert_eq!(before.elapsed(), s(0));
    rig.works().await;
    rig.world.expire().await;
    // A flight may still begin.
    rig.works().await;
    rig.world.server.is_content_with(1);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_outlives_its_callers_is_waited_for() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    let caller = rig.calls();
    rig.takes_off().await;
    caller.abort();
    assert!(!rig.runtime.quiesce(ms(100)).await);
    assert!(rig.runtime.quiesce(s(30)).await);
    rig.is_settled().await;
}

/// A host that tells which of its children have ended.
struct Telling;

type Ends = mpsc::UnboundedSender<ActorId>;

#[ractor::actor(message = Nothing, state = Ends, arguments = Ends)]
impl Telling {
    async fn pre_start(&self, _myself: ActorRef<Nothing>, ends: Ends) -> Result<Ends, ActorProcessingErr> {
        Ok(ends)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Nothing>,
        event: SupervisionEvent,
        ends: &mut Ends,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(child, _) | SupervisionEvent::ActorTerminated(child, ..) = event {
            ends.send(child.get_id())?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_tells_its_supervisor_from_its_other_children() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let (host, _) = within("a host", Actor::spawn(None, Telling, ended)).await.expect("a host");
    let rig = Rig::under(host.get_cell(), World::new(), |builder| builder).await;
    let other = Rig::new().await;

    for _ in 0..3 {
        rig.fells().await;
        let child = within("the end of a supervisor", ends.recv()).await.expect("an end");
        assert!(rig.runtime.is_supervisor(child), "also once it has ended");
        assert!(!other.runtime.is_supervisor(child), "of another runtime");
        rig.grows_again().await;
        assert!(rig.runtime.is_supervisor(child), "also once there is another");
    }
    assert!(rig.runtime.is_supervisor(rig.supervisor().get_id()));

    let (sibling, _) = Actor::spawn_linked(None, Calm, (), host.get_cell()).await.expect("a sibling");
    sibling.kill();
    let child = within("the end of a sibling", ends.recv()).await.expect("an end");
    assert!(!rig.runtime.is_supervisor(child));
}
