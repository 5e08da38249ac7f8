//! A login, a logout or a refresh in one process reaches the sessions of another process, busy or idle. A late flight
//! neither brings back a session that was logged out nor overwrites a login that was installed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokenkeeper::engine::ports::observer::EffectName;
use tokenkeeper::engine::values::record::Content;

use crate::crew::Member;
use crate::party::Setup;
use crate::scene::Scene;
use crate::worker::Command;
use tokenkeeper_judge::processes::FlightPoint;

/// Waits for the news of a change that was requested at `asked`, and prints the time from the request to the news.
async fn news(member: &mut Member, asked: Instant, what: &str, is_it: impl Fn(&Value) -> bool) {
    member.hear(|said| said["event"] == "state" && is_it(said)).await;
    let took = asked.elapsed();
    println!("{what}: {took:.1?}");
    assert!(took < Duration::from_secs(5), "{what}: {took:?}");
}

/// Waits until the process has no running actor.
async fn sleeps(member: &mut Member) {
    for _ in 0..1_000 {
        if member.call(Command::Actors).await["actors"] == 0 {
            return member.forget().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never sleeps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_one_process_reach_the_sessions_of_another() {
    let Some(scene) = Scene::new().await else { return };
    let (mut acting, mut busy) = (scene.member().await, scene.member().await);
    let mut idle = Member::start(&Setup { idle_after: Duration::from_millis(100), ..scene.setup.clone() }).await;
    let first = acting.token(false).await;
    for member in [&mut busy, &mut idle] {
        assert_eq!(member.token(false).await, first);
        member.call(Command::Follow).await;
    }
    sleeps(&mut idle).await;
    scene.assert_counts((1, 1, 0)).await;

    // The first change is a refresh.
    busy.forget().await;
    let asked = Instant::now();
    let (second, lease) = acting.lease(true).await;
    news(&mut busy, asked, "a refresh, to a busy session", |state| state["lease"] == lease.as_str()).await;
    news(&mut idle, asked, "a refresh, to a sleeping session", |state| state["lease"].is_null()).await;
    for member in [&mut busy, &mut idle] {
        assert_eq!(member.token(false).await, second);
    }
    scene.assert_counts((2, 2, 0)).await;

    // The second change is a logout.
    sleeps(&mut idle).await;
    busy.forget().await;
    let asked = Instant::now();
    let out = acting.call(Command::LogOut).await;
    assert!(out["error"].is_null(), "{out}");
    let is_out = |state: &Value| state["login_required"] == "logged_out" && state["lease"].is_null();
    news(&mut busy, asked, "a logout, to a busy session", is_out).await;
    news(&mut idle, asked, "a logout, to a sleeping session", |state| state["lease"].is_null()).await;
    for member in [&mut busy, &mut idle, &mut acting] {
        assert_eq!(member.fails(false).await, "logged_out");
    }

    // The third change is a login.
    sleeps(&mut idle).await;
    busy.forget().await;
    let (paper, chain) = scene.server.sign_in().await;
    let asked = Instant::now();
    assert_eq!(acting.call(Command::Install(paper)).await["error"], Value::Null);
    news(&mut busy, asked, "a login, to a busy session", |state| state["login_required"].is_null()).await;
    let third = acting.token(false).await;
    for member in [&mut busy, &mut idle] {
        assert_eq!(member.token(false).await, third);
    }
    scene.assert_counts((3, 3, 0)).await;

    // The fourth change is a login over a login. No process serves the former login's token any more.
    sleeps(&mut idle).await;
    busy.forget().await;
    let (paper, newest) = scene.server.sign_in().await;
    let asked = Instant::now();
    assert_eq!(acting.call(Command::Install(paper)).await["error"], Value::Null);
    news(&mut busy, asked, "a second login, to a busy session", |state| state["lease"].is_null()).await;
    news(&mut idle, asked, "a second login, to a sleeping session", |state| state["lease"].is_null()).await;
    let fourth = idle.token(false).await;
    for member in [&mut busy, &mut acting] {
        assert_eq!(member.token(false).await, fourth);
    }
    scene.assert_counts((4, 4, 0)).await;
    assert_eq!(scene.server.chain(&chain).rotations, 1);
    assert_eq!(scene.server.chain(&newest).rotations, 1);
    for member in [acting, busy, idle] {
        member.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_a_logout_or_login_outlive_a_late_flight() {
    for installs in [false, true] {
        let Some(scene) = Scene::new().await else { return };
        let (mut acting, mut late) = (scene.member().await, scene.member().await);
        // The server has rotated, and the pair is about to be stored.
        let call = late.refresh_until(FlightPoint::before(EffectName::Commit)).await;
        scene.assert_counts((1, 1, 0)).await;
        let out = acting.call(Command::LogOut).await;
        // The successor is in flight, so it cannot be revoked from here.
        assert_eq!((&out["error"], &out["may_still_live"]), (&Value::Null, &json!(true)), "{out}");
        let mut chain = None;
        if installs {
            let (paper, next) = scene.server.sign_in().await;
            assert_eq!(acting.call(Command::Install(paper)).await["error"], Value::Null);
            chain = Some(next);
        }
        // The waiting caller is answered at once.
        assert_eq!(late.answer(call).await["error"], "logged_out");
        let before = scene.party.record().await;
        late.call(Command::Go).await;
        match chain {
            None => {
                // The process ends after its flight.
                late.end().await;
                assert_eq!(scene.party.record().await, before, "nothing was written");
                assert_eq!(before.content, Content::Tombstone);
                assert_eq!(acting.fails(false).await, "logged_out");
                scene.assert_counts((1, 1, 0)).await;
            }
            Some(chain) => {
                // The news of the login may take a moment.
                late.call(Command::Follow).await;
                late.hear(|said| said["event"] == "state" && said["login_required"].is_null()).await;
                let token = late.token(true).await;
                late.end().await;
                let after = scene.party.record().await;
                assert_eq!((after.epoch, scene.party.mark().await), (before.epoch, None));
                assert_eq!(acting.token(false).await, token);
                assert_eq!(scene.call(&token).await, 200);
                acting.token(true).await;
                scene.assert_counts((3, 3, 0)).await;
                assert_eq!(scene.server.chain(&chain).rotations, 2);
            }
        }
        assert_eq!(scene.server.chain(&scene.chain).rotations, 1);
        acting.end().await;
    }
}
