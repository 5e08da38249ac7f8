//! A process is stopped (SIGSTOP, a laptop's lid, a debugger) during its request, for longer than a flight lasts.

use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokenkeeper::engine::ports::observer::EffectName;

use crate::crew::Member;
use crate::party::FLIGHT;
use crate::scene::Scene;
use crate::worker::Command;
use tokenkeeper_judge::processes::FlightPoint;

/// Another process installs a new login, and uses it for longer than a flight of the stopped process could last. The
/// stopped process still has its claim, and hinders no other one.
async fn replaced(scene: &Scene, acting: &mut Member) -> (String, u64) {
    let (paper, chain) = scene.server.sign_in().await;
    assert_eq!(acting.call(Command::Install(paper)).await["error"], Value::Null);
    let (began, mut refreshes) = (Instant::now(), 0);
    while began.elapsed() < FLIGHT {
        acting.token(true).await;
        refreshes += 1;
        tokio::time::sleep(FLIGHT / 10).await;
    }
    (chain, refreshes)
}

/// Asserts that the new lineage lives and serves both processes.
async fn assert_alive(scene: &Scene, members: [&mut Member; 2], chain: &str, refreshes: u64, dropped: u64) {
    let [one, other] = members;
    let (token, lease) = one.lease(true).await;
    other.follows(&lease).await;
    assert_eq!(other.token(false).await, token);
    assert_eq!(scene.call(&token).await, 200);
    assert_eq!(scene.party.mark().await, None);
    let lives = scene.server.chain(chain);
    assert_eq!((lives.rotations, lives.reuse, lives.revoked), (refreshes + 1, 0, false));
    assert_eq!(scene.server.chain(&scene.chain).rotations, dropped);
    scene.assert_counts((refreshes + 1 + dropped, refreshes + 1 + dropped, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_with_an_answer_on_its_way_it_overwrites_no_new_login() {
    let Some(scene) = Scene::new().await else { return };
    let (mut stopped, mut acting) = (scene.member().await, scene.member().await);
    scene.server.authority.tell("/delay", &json!({ "ms": 500, "n": 1, "when": "after", "grant": "refresh_token" }));
    let call = stopped.tell(Command::Token { force: true }).await;
    scene.server.counts("/refresh/success", 1).await;
    stopped.signal(Signal::STOP);
    let (chain, refreshes) = replaced(&scene, &mut acting).await;
    stopped.signal(Signal::CONT);
    // The stopped process reads the answer, although its time-out has passed, and may not keep it. The forced call gets a
    // token of the new lineage from another flight.
    let answer = stopped.answer(call).await;
    assert!(answer["lease"].as_str().is_some_and(|lease| lease.starts_with("2.")), "{answer}");
    assert_alive(&scene, [&mut stopped, &mut acting], &chain, refreshes + 1, 1).await;
    stopped.end().await;
    acting.end().await;
}

/// The answer arrives while the process is stopped, and the time-out passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_with_the_answer_in_its_socket_it_reads_that() {
    for when in ["before", "after"] {
        let Some(scene) = Scene::new().await else { return };
        let (mut stopped, mut acting) = (scene.member().await, scene.member().await);
        scene.server.authority.tell("/delay", &json!({ "ms": 500, "n": 1, "when": when, "grant": "refresh_token" }));
        let call = stopped.tell(Command::Token { force: true }).await;
        let counter = if when == "before" { "/token/delayed" } else { "/refresh/success" };
        scene.server.counts(counter, 1).await;
        stopped.signal(Signal::STOP);
        scene.server.counts("/refresh/success", 1).await;
        tokio::time::sleep(FLIGHT).await;
        stopped.signal(Signal::CONT);
        let answer = stopped.answer(call).await;
        let token = answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}"));
        assert_eq!(scene.call(token).await, 200);
        assert_eq!(acting.token(false).await, token);
        scene.assert_counts((1, 1, 0)).await;
        assert_eq!(scene.party.mark().await, None);
        stopped.end().await;
        acting.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_just_before_its_request_it_sends_nothing_any_more() {
    stopped_at(FlightPoint::before(EffectName::Send), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_with_an_answer_in_hand_it_drops_that() {
    stopped_at(FlightPoint::after(EffectName::Send), 1).await;
}

/// Stops a process at this point, after the server has rotated its login's chain `rotated` times.
async fn stopped_at(point: FlightPoint, rotated: u64) {
    let Some(scene) = Scene::new().await else { return };
    let (mut stopped, mut acting) = (scene.member().await, scene.member().await);
    let call = stopped.refresh_until(point).await;
    stopped.signal(Signal::STOP);
    let (chain, refreshes) = replaced(&scene, &mut acting).await;
    stopped.tell(Command::Go).await;
    stopped.signal(Signal::CONT);
    let answer = stopped.answer(call).await;
    assert!(answer["lease"].as_str().is_some_and(|lease| lease.starts_with("2.")), "{answer}");
    assert_alive(&scene, [&mut stopped, &mut acting], &chain, refreshes + 1, rotated).await;
    stopped.end().await;
    acting.end().await;
}
