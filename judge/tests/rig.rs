//! `tokenkeeper-judge` against a real authorization server, oidc-provider, by its own counters.

#[path = "../../tests/rigs/mod.rs"]
mod rigs;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use rigs::Rig;

#[test]
fn the_rigs_own_counters_show_one_refresh_for_each_expiry() {
    let Some(rig) = Rig::start(&[]) else { return };
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rig-ready.json");
    fs::write(&path, &rig.line).unwrap();
    for by in ["expiry", "refusal"] {
        let mut storm = Command::new(snapbox::cmd::cargo_bin!("tokenkeeper-judge"));
        storm.args(["storm", "--callers", "16", "--rounds", "3", "--json", "--by", by, "--against"]).arg(&path);
        let output = storm.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{err}{out}");
        let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        let score = &summary["tokenkeeper"];
        assert_eq!(
            (&score["token_requests"], &score["failed_callers"], &score["replays"]),
            (&3.into(), &0.into(), &0.into())
        );
        assert_eq!((&score["chain"], &summary["naive"]["chain"]), (&"alive".into(), &"revoked".into()));
        assert_eq!(
            (&summary["naive"]["token_requests"], &summary["naive"]["failed_callers"]),
            (&48.into(), &48.into())
        );

        let stats = rig.get("/stats");
        assert_eq!(
            stats["refresh"],
            serde_json::json!({ "success": 3, "reuse_detected": 0, "consumed_rt_presented": 0 })
        );
        assert_eq!(stats["token"]["max_concurrent_refresh"], 1, "with a delay before the work");
        assert_eq!((&stats["chains"]["total"], &stats["chains"]["revoked"]), (&1.into(), &0.into()));
    }
}

#[test]
fn several_processes_refresh_as_often_as_one_by_the_rigs_own_counters() {
    let Some(rig) = Rig::start(&[]) else { return };
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (path, home) = (scratch.join("rig-processes-ready.json"), scratch.join("rig-processes"));
    fs::write(&path, &rig.line).unwrap();
    let mut soak = Command::new(snapbox::cmd::cargo_bin!("tokenkeeper-judge"));
    soak.args(["soak", "--processes", "3", "--callers", "4", "--minutes", "0.15", "--json", "--against"]).arg(&path);
    let output = soak.arg("--home").arg(&home).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}{out}");
    let verdict: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&verdict["failed_callers"], &verdict["held_up"], &verdict["logins_required"]),
        (&0.into(), &0.into(), &0.into())
    );

    let (stats, refreshes) = (rig.get("/stats"), verdict["token_requests"].as_u64().unwrap());
    assert!((1..=verdict["token_requests_allowed"].as_u64().unwrap()).contains(&refreshes), "{verdict}");
    assert_eq!(
        stats["refresh"],
        serde_json::json!({ "success": refreshes, "reuse_detected": 0, "consumed_rt_presented": 0 })
    );
    assert_eq!(stats["token"]["max_concurrent_refresh"], 1);
    assert_eq!((&stats["chains"]["total"], &stats["chains"]["revoked"]), (&1.into(), &0.into()));
}
