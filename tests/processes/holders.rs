//! The holder of a claim is stopped. Siblings report that, spend nothing, and go on when the holder does or is dead.

use std::time::Duration;

use rustix::process::Signal;
use tokenkeeper::engine::ports::observer::EffectName;

use crate::crew::Member;
use crate::party::Setup;
use crate::scene::Scene;
use crate::worker::Command;
use tokenkeeper_judge::processes::FlightPoint;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_that_are_stopped_are_waited_for_and_not_for_ever() {
    let Some(scene) = Scene::new().await else { return };
    let mut holder = scene.member().await;
    let mut sibling = Member::start(&Setup { claim_wait: Duration::from_secs(1), ..scene.setup.clone() }).await;
    let first = holder.token(false).await;
    assert_eq!(sibling.token(false).await, first);

    // The holder has an answer, and stores it when it goes on.
    let call = holder.refresh_until(FlightPoint::after(EffectName::Send)).await;
    holder.signal(Signal::STOP);
    assert_eq!(sibling.fails(true).await, "contended");
    // A token that is still valid is served.
    assert_eq!(sibling.token(false).await, first);
    scene.assert_counts((2, 2, 0)).await;
    holder.tell(Command::Go).await;
    holder.signal(Signal::CONT);
    let answer = holder.answer(call).await;
    let second = answer["token"].as_str().unwrap();
    sibling.follows(answer["lease"].as_str().unwrap()).await;
    assert_eq!(sibling.token(false).await, second);
    sibling.token(true).await;
    scene.assert_counts((3, 3, 0)).await;

    // The holder has sent nothing, and is killed while it is stopped. The kernel frees its claim.
    holder.refresh_until(FlightPoint::after(EffectName::Claim)).await;
    holder.signal(Signal::STOP);
    assert_eq!(sibling.fails(true).await, "contended");
    scene.assert_counts((3, 3, 0)).await;
    holder.kill().await;
    sibling.token(true).await;
    scene.assert_counts((4, 4, 0)).await;
    sibling.end().await;
}
