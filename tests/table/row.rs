//! One row of the table, and its checks.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper_testkit::hostile::{Fault, Rotation, When};
use tokio::task::JoinSet;

use crate::scene::{LONG_ENOUGH, Scene};
pub(crate) use crate::support::law::Law;
use crate::support::wire::Wire;

/// The grace period of a server that has one.
const GRACE: Duration = Duration::from_secs(30 * 60);

/// An event of a request, and the law's verdict on it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    law: Law,
    fault: Fault,
    profile: Profile,
    /// Whether the client times out.
    in_vain: bool,
}

/// One combination in which a row is tested.
#[derive(Clone, Copy, Debug)]
struct Case {
    wire: Wire,
    when: When,
    policy: Reuse,
}

impl Row {
    pub(crate) fn new(law: Law, fault: Fault) -> Self {
        Self { law, fault, profile: Profile::default(), in_vain: false }
    }

    pub(crate) fn profile(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(&mut self.profile);
        self
    }

    /// The client times out before the answer comes.
    pub(crate) fn in_vain(self) -> Self {
        Self { in_vain: true, ..self }
    }

    /// Checks the row in every combination, concurrently unless the client times out.
    pub(crate) async fn holds(self) {
        let mut cases = JoinSet::new();
        for wire in Wire::ALL {
            for when in [When::Before, When::After] {
                for policy in [Reuse::EndsLineage, InDoubt::RetryWithin(GRACE), Reuse::EndsMore] {
                    let (row, case) = (self.clone(), Case { wire, when, policy });
                    #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
                    cases.spawn(async move { row.meet(case).await });
                    if self.in_vain {
                        cases.join_next().await.unwrap().unwrap();
                    }
                }
            }
        }
        cases.join_all().await;
    }

    async fn meet(self, case: Case) {
        let Case { wire, when, policy } = case;
        let story = format!("{:?} after {:?} {case:?}", self.law, self.fault);
        let scene = Scene::new(wire, Profile { reuse: policy, ..self.profile }).await;
        let graceful = matches!(policy, InDoubt::RetryWithin(_));
        if graceful {
            scene.server.rules(|rules| rules.rotation = Rotation::Grace(GRACE));
        }
        let processed = u64::from(when == When::After);

        // The flight sends one request, on a kept connection if the client keeps any.
        scene.server.next(when, self.fault);
        let told = if self.in_vain { scene.renew_in_vain().await } else { scene.host.renew().await.unwrap_err() };
        scene.assert_counts((2, 1 + processed, 0), &story).await;
        let counts = scene.counts().await;
        assert_eq!((counts.connections, counts.faults), (wire.connections(2), 1), "{story}");

        let over = self.law.assert_kept(policy, told, &scene.host, &scene.access, &story).await;
        if let Some(reason) = over {
            return scene.assert_over(reason, &story).await;
        }

        // The follow-up.
        if self.law == Law::Doubt {
            // The request may still be in flight, so the token is not presented again before its time-out has passed.
            assert!(told.retry_after().is_some(), "{story}");
            scene.assert_refused(Reason::InDoubt, &story).await;
            let other = scene.host.another_process().await;
            assert_eq!(other.renew().await.unwrap_err().reason(), Reason::InDoubt, "{story}");
            other.shut_down().await;
            scene.assert_counts((2, 1 + processed, 0), &story).await;
        }
        scene.pass(LONG_ENOUGH);
        if processed == 0 || graceful {
            return scene.assert_whole(2, &story).await;
        }
        // The server had spent the token, and reports it now. The second presentation was the last.
        assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::GrantEnded, "{story}");
        scene.assert_counts((3, 2, 1), &story).await;
        assert!(!scene.server.is_alive(scene.grant.chain), "{story}");
        scene.assert_over(Reason::GrantEnded, &story).await;
    }
}
