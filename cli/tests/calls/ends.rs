//! Interruptions.

use rustix::process::Signal;
use serde_json::json;
use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::mcp::{AnswerForm, HoldAt, Wires};

use crate::scene::{CallScene, printed, signal};

/// The calls on their way are cancelled, each in the way of its wire, and the MCP session is ended.
#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_cancels_the_calls() {
    for (wires, notices) in [(Wires::Only2025, 4), (Wires::Only2026, 0)] {
        let scene = CallScene::on(wires, AnswerForm::Sse).await;
        let gate = scene.resource.hold("slow", HoldAt::InTool);
        let child = scene.start("call", &["slow", "--parallel", "4", "--repeat", "3", "--json"]);
        gate.reached(4).await;
        signal(&child, Signal::INT);
        let printed = printed(child).await;
        assert_eq!((printed.code, &*printed.notes), (130, "error: interrupted\n"), "{wires:?}");
        assert_eq!((&printed.totals()["calls"], printed.lines().len()), (&json!(0), 1));
        let counts = scene.resource.until(|counts| counts.aborted == 4).await;
        assert_eq!((counts.of("notifications/cancelled"), counts.sessions, counts.executed("slow")), (notices, 0, 4));
        assert_eq!(counts.requests("DELETE"), u64::from(wires == Wires::Only2025));
        gate.open();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_signals_end_it_likewise() {
    for other in [Signal::TERM, Signal::HUP] {
        let scene = CallScene::new().await;
        let gate = scene.resource.hold("tools/list", HoldAt::AfterCheck);
        let child = scene.start("tools", &[]);
        gate.reached(1).await;
        signal(&child, other);
        assert_eq!(printed(child).await.code, 130);
        gate.open();
    }
}

/// The answer to a refresh may be the only copy of a token, so it is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_has_begun_is_stored() {
    let scene = CallScene::new().await;
    let at_resource = scene.resource.hold("*", HoldAt::BeforeCheck);
    let gate = scene.server.hold_next(When::After);
    let child = scene.start("call", &["echo"]);
    gate.reached(1).await;
    signal(&child, Signal::INT);
    gate.open();
    let printed = printed(child).await;
    assert_eq!((&*printed.out, printed.code), ("", 130), "{}", printed.notes);
    at_resource.open();
    assert_eq!(scene.run("token", &[]).await.code, 0);
    assert_eq!(scene.spent(), (1, 1, 0));
}
