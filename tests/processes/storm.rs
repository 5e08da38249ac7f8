//! A soak with many callers in several processes, whose token expires every few seconds. No caller fails, and together
//! the processes refresh as often as one alone. The judge computes its verdict from the counts of the callers and the
//! server.

use std::time::Duration;

use serde_json::json;
use tokenkeeper_judge::soak::{self, Invocation, SoakPlan, SoakPrograms};
use tokenkeeper_judge::target::TargetSite;

use crate::on_demand;
use crate::rigs::Rig;

const PROCESSES: u32 = 8;
const CALLERS: u32 = 32;

/// The variable that makes a process of this test a worker of the soak.
const WORKER: &str = "PROCESSES_TEST_SOAK_WORKER";

/// A worker of the soak. It does nothing when run as a test.
#[test]
fn soak_worker() {
    if std::env::var_os(WORKER).is_some() {
        soak::worker::run().unwrap();
    }
}

/// `STORM_SECONDS` sets a longer duration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm_of_eight_processes_is_served_by_one_refresh_at_a_time() {
    // On a busy machine a call may be in flight for longer than its token lives. So the resource forgives a late call.
    // It knows a revoked token all the same, and the callers check by their own clock that no expired token is handed
    // out.
    let variables = [("AT_FORMAT", "jwt"), ("CLOCK_TOLERANCE", "30")];
    let Some(rig) = Rig::start(&variables) else { return };
    let folder = tempfile::tempdir().unwrap();
    let plan = SoakPlan {
        home: folder.path().join("home"),
        processes: PROCESSES,
        callers: CALLERS,
        duration: Duration::from_secs(on_demand("STORM_SECONDS", 10)),
        kills: false,
        faults: false,
        never_replay: false,
        seed: 1,
        ends_on_interrupt: false,
    };
    let worker = Invocation {
        path: std::env::current_exe().unwrap(),
        arguments: ["--exact", "storm::soak_worker", "--nocapture"].map(Into::into).to_vec(),
        environment: vec![(WORKER.into(), "1".into())],
    };
    let site = TargetSite::rig(&rig.line).unwrap();
    let verdict = soak::run(&plan, &site, SoakPrograms { worker, tokenkeeper: None }).await.unwrap();
    assert_eq!(verdict.broken, Vec::<String>::new(), "{verdict:#?}");
    let (verdict, stats, chains) = (json!(verdict), rig.get("/stats"), rig.get("/chains"));
    println!("{verdict}");
    let counted = |what: &str| verdict[what].as_u64().unwrap();
    assert!(counted("calls") > u64::from(PROCESSES * CALLERS) && counted("home_reads") > 0, "{verdict}");
    // Tokens expired, and each process took over most of the new ones.
    assert!(counted("token_requests") >= 2 && counted("adoptions") > counted("token_requests"), "{verdict}");

    let refreshes = counted("token_requests");
    assert_eq!(stats["refresh"], json!({ "success": refreshes, "reuse_detected": 0, "consumed_rt_presented": 0 }));
    assert_eq!(stats["token"]["max_concurrent_refresh"], 1);
    assert_eq!(stats["mcp"]["by_status"], json!({ "200": counted("calls") }), "{stats:#}");
    let chains: Vec<_> = chains.as_object().unwrap().values().collect();
    assert_eq!(chains.len(), 1);
    assert_eq!((&chains[0]["rotations"], &chains[0]["revoked"]), (&json!(refreshes), &json!(false)), "{chains:?}");
}
