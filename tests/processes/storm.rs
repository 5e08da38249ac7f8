//! Many callers in many processes, whose token is over every two seconds: nobody fails, and together they refresh as often
//! as one would.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::crew::Member;
use crate::on_demand;
use crate::party::{Party, Setup};
use crate::scene::Server;
use crate::worker::Command;

const PROCESSES: usize = 8;
const CALLERS: usize = 32;

/// How long an access token lives, in seconds.
const LIFETIME: u64 = 2;

/// On demand for longer: `STORM_SECONDS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm_of_eight_processes_is_served_by_one_refresh_at_a_time() {
    // The rig counts in whole seconds: a token is over between one and two seconds after it was made. And on a busy machine
    // a call may be on its way for longer than its token lives. So the resource forgives what is late, and knows what was
    // revoked; that no token is handed out that is over, the callers see by the clock.
    let lifetime = LIFETIME.to_string();
    let variables = [("AT_TTL", lifetime.as_str()), ("AT_FORMAT", "jwt"), ("CLOCK_TOLERANCE", "30")];
    let Some(server) = Server::start(&variables).await else { return };
    // Without a delay before the work, the rig finishes each request before it reads the next.
    server.authority.tell("/delay", &json!({ "ms": 50, "when": "before", "grant": "refresh_token" }));
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path().join("home"), server.authority.resource());
    let party = Party::open(&setup, None).await;
    let (paper, chain) = server.sign_in().await;
    party.install(&paper).await.unwrap();
    // The crew alone works from here on.
    party.end().await;
    let mut crew = Vec::new();
    for _ in 0..PROCESSES {
        crew.push(Member::start(&setup).await);
    }
    let mut tidy = Member::start(&setup).await;

    let span = Duration::from_secs(on_demand("STORM_SECONDS", 10));
    let began = Instant::now();
    let tidying = tidy.tell(Command::Tidy { span }).await;
    let mut told = Vec::new();
    for member in &mut crew {
        told.push(member.tell(Command::Hammer { callers: CALLERS, span }).await);
    }
    tokio::time::sleep(span).await;
    let (mut calls, mut shown, mut slowest) = (0, 0, 0);
    for (member, id) in crew.iter_mut().zip(told) {
        let report = member.answer(id).await;
        assert_eq!(report["failures"], json!({}), "{report}");
        assert!(report["calls"].as_u64().unwrap() > CALLERS as u64, "{report}");
        calls += report["calls"].as_u64().unwrap();
        shown += report["shown"].as_u64().unwrap();
        slowest = slowest.max(report["slowest"].as_u64().unwrap());
    }
    let took = began.elapsed();
    let report = tidy.answer(tidying).await;
    assert_eq!(report["failures"], json!({}), "{report}");
    assert!(report["records"].as_u64().unwrap() > 0, "{report}");
    for member in crew.into_iter().chain([tidy]) {
        member.end().await;
    }

    let (tally, stats) = (server.authority.tally(), server.authority.stats());
    println!(
        "{PROCESSES} processes × {CALLERS} callers, {took:.1?}: {calls} calls, the slowest {slowest} ms, {shown} shown to \
         the resource, 0 failed; {} refreshes, {} used refresh tokens presented; {report}",
        tally.posts, tally.consumed
    );
    assert_eq!((tally.posts, tally.consumed, tally.reuse, tally.revoked), (tally.rotations, 0, 0, 0), "{stats:#}");
    assert_eq!(stats["token"]["max_concurrent_refresh"], 1);
    assert_eq!(stats["mcp"]["by_status"]["200"], shown, "{stats:#}");
    // A token is replaced after three quarters of its life at the earliest.
    let most = took.as_millis() / u128::from(LIFETIME * 750) + 1;
    assert!(u128::from(tally.rotations) <= most, "{} refreshes in {took:?}, {most} at most", tally.rotations);
    // And it was replaced: else this shows nothing.
    assert!(tally.rotations > 2, "{} refreshes in {took:?}", tally.rotations);
    let alone = server.chain(&chain);
    assert_eq!((alone.rotations, alone.reuse, alone.revoked), (tally.rotations, 0, false));
}
