//! Many calls at once, and many processes.

use std::time::Duration;

use serde_json::json;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::mcp::HoldAt;

use crate::client::within;
use crate::scene::{CallScene, WIRES, printed};

/// All calls are on their way at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_at_expiry_costs_one_token_request() {
    for (wires, answers) in WIRES {
        let scene = CallScene::on(wires, answers).await;
        let gate = scene.resource.hold("echo", HoldAt::InTool);
        let child = scene.start("call", &["echo", "--parallel", "200", "--json"]);
        gate.reached(200).await;
        gate.open();
        let printed = printed(child).await;
        let totals = printed.totals();
        assert_eq!((&totals["ok"], &totals["failed"], printed.code), (&json!(200), &json!(0), 0), "{wires:?}");
        assert_eq!((&totals["token_requests"], scene.spent()), (&json!(1), (1, 1, 0)));
        let counts = scene.resource.counts();
        assert_eq!((counts.executed("echo"), counts.most_running, counts.status(401)), (200, 200, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_at_a_refusal_costs_one_token_request_and_each_call_is_executed_once() {
    for (wires, answers) in WIRES {
        let scene = CallScene::on(wires, answers).await;
        // One token is good when the command begins, and is ended while all calls are on their way.
        assert_eq!(scene.run("token", &[]).await.code, 0);
        let gate = scene.resource.hold("tools/call", HoldAt::BeforeCheck);
        let child = scene.start("call", &["echo", "--parallel", "200", "--json"]);
        gate.reached(200).await;
        scene.server.kill_access_tokens();
        gate.open();
        let printed = printed(child).await;
        let totals = printed.totals();
        assert_eq!((&totals["ok"], &totals["failed"], printed.code), (&json!(200), &json!(0), 0), "{wires:?}");
        assert_eq!((&totals["token_requests"], scene.spent()), (&json!(1), (2, 2, 0)));
        assert!(printed.lines()[..200].iter().all(|call| call["attempts"] == 2 && call["generation"] == "1.3"));
        let counts = scene.resource.counts();
        assert_eq!((counts.executed("echo"), counts.answered("tools/call", 401)), (200, 200));
    }
}

/// Tokens that live for 2 s, and an authorization server with faults that pass.
#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_outlast_short_tokens_and_passing_faults() {
    let scene = CallScene::new().await;
    scene.server.rules(|rules| rules.access_lifetime = Duration::from_secs(2));
    // The pauses let each process live longer than four tokens.
    let arguments =
        ["echo", "--parallel", "32", "--repeat", "20", "--transports", "2", "--interval", "400ms", "--json"];
    let processes: Vec<_> = (0..8).map(|_| tokio::spawn(printed(scene.start("call", &arguments)))).collect();
    let mut faults = 0;
    for fault in [Fault::status(503), Fault::reset(), Fault::status(502).html()] {
        faults += 1;
        within("a refresh", scene.server.until(|counts| counts.rotations >= faults)).await;
        scene.server.next(When::Before, fault);
    }
    let mut token_requests = 0;
    for process in processes {
        let printed = process.await.unwrap();
        let totals = printed.totals();
        assert_eq!((&totals["ok"], &totals["failed"], printed.code), (&json!(640), &json!(0), 0), "{}", printed.notes);
        token_requests += totals["token_requests"].as_u64().unwrap();
    }
    let counts = scene.server.counts();
    assert_eq!((counts.replays, counts.most_concurrent, scene.resource.counts().executed("echo")), (0, 1, 5120));
    // Each fault costs one request more, and each process knows of its own requests.
    assert_eq!((counts.token_requests, token_requests), (counts.rotations + faults, counts.token_requests));
}
