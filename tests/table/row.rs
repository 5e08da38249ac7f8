//! One row of the table, and its checks.

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper_testkit::hostile::{Fault, Rotation, When};
use tokio::task::JoinSet;

use crate::scene::{LONG_ENOUGH, Scene};
use crate::support::law::GRACE;
pub(crate) use crate::support::law::{Law, Policy};
use crate::support::wire::Wire;

const POLICIES: [Policy; 4] = [Policy::EndsLineage, Policy::EndsMore, Policy::Grace, Policy::NeverRotates];

/// An event of a request, and the law's verdict on it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    law: Law,
    fault: Fault,
    profile: Profile,
    /// Whether the client times out.
    in_vain: bool,
    /// Whether the server asks for a pause that no test waits for.
    asks_for_pause: bool,
}

/// One combination in which a row is tested.
#[derive(Clone, Copy, Debug)]
struct Case {
    wire: Wire,
    /// Whether the first of the requests that meet the fault is processed.
    when: When,
    policy: Policy,
}

impl Case {
    fn processed(self) -> u64 {
        u64::from(self.when == When::After)
    }

    async fn open(self, row: &Row) -> Scene {
        let scene = Scene::new(self.wire, self.policy.applied(row.profile.clone())).await;
        scene.server.rules(|rules| match self.policy {
            Policy::Grace => rules.rotation = Rotation::Grace(GRACE),
            Policy::NeverRotates => rules.rotation = Rotation::None,
            Policy::EndsLineage | Policy::EndsMore => {}
        });
        scene
    }
}

impl Row {
    pub(crate) fn new(law: Law, fault: Fault) -> Self {
        Self { law, fault, profile: Profile::default(), in_vain: false, asks_for_pause: false }
    }

    pub(crate) fn profile(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(&mut self.profile);
        self
    }

    /// The client times out before the answer comes.
    pub(crate) fn in_vain(self) -> Self {
        Self { in_vain: true, ..self }
    }

    /// The answer has a `Retry-After` of more than a few seconds.
    pub(crate) fn asks_for_pause(self) -> Self {
        Self { asks_for_pause: true, ..self }
    }

    /// Checks the row in every combination, concurrently unless the client times out.
    pub(crate) async fn holds(self) {
        let mut cases = JoinSet::new();
        for wire in Wire::ALL {
            for when in [When::Before, When::After] {
                for policy in POLICIES {
                    let (row, case) = (self.clone(), Case { wire, when, policy });
                    #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
                    cases.spawn(async move {
                        if !row.asks_for_pause {
                            row.passes(case).await;
                        }
                        row.lasts(case).await;
                    });
                    if self.in_vain {
                        cases.join_next().await.unwrap().unwrap();
                    }
                }
            }
        }
        cases.join_all().await;
    }

    /// The fault strikes one request. A caller that has the patience gets a token where the law allows another request,
    /// unless the server had spent the refresh token.
    async fn passes(&self, case: Case) {
        let Case { wire, policy, .. } = case;
        let story = format!("once {:?} after {:?} {case:?}", self.law, self.fault);
        let scene = case.open(self).await;
        scene.server.next(case.when, self.fault.clone());
        let (outcome, ()) = tokio::join!(scene.host.renew(), self.wait_in_vain(&scene, 1));
        let counts = scene.counts().await;
        assert_eq!(counts.faults, 1, "{story}");
        if !self.law.is_waited_out(policy) {
            assert_eq!(outcome.map_err(|error| error.reason()), Err(self.law.reason(policy)), "{story}");
            // The flight sends one request, on a kept connection if the client keeps any.
            assert_eq!(counts.connections, wire.connections(2), "{story}");
            return scene.assert_counts((2, 1 + case.processed(), 0), &story).await;
        }
        if case.processed() == 0 || policy.forgives() {
            assert!(outcome.is_ok_and(|token| token != scene.access), "{story}");
            scene.assert_counts((3, 2 + case.processed(), 0), &story).await;
            return scene.assert_whole(3, &story).await;
        }
        assert_eq!(outcome.map_err(|error| error.reason()), Err(Reason::GrantEnded), "{story}");
        scene.assert_counts((3, 2, 1), &story).await;
        scene.assert_over(Reason::GrantEnded, &story).await;
    }

    /// The fault lasts, and the caller takes the first failure.
    async fn lasts(&self, case: Case) {
        let story = format!("{:?} after {:?} {case:?}", self.law, self.fault);
        let scene = case.open(self).await;
        // A flight repeats its first presentation only if the pause that the server asks for is short.
        let repeats = self.law.repeats(case.policy);
        let (requests, processed) = (1 + u64::from(repeats), case.processed());
        scene.server.next(case.when, self.fault.clone());
        if repeats {
            // Only its answer counts, so the second one leaves the request unprocessed.
            scene.server.next(When::Before, self.fault.clone());
        }
        let (outcome, ()) = tokio::join!(scene.host.try_to_renew(), self.wait_in_vain(&scene, requests));
        scene.assert_counts((1 + requests, 1 + processed, 0), &story).await;
        assert_eq!(scene.counts().await.faults, requests, "{story}");

        let error = outcome.unwrap_err();
        let over = self.law.assert_kept(case.policy, error, &scene.host, &scene.access, &story).await;
        if let Some(reason) = over {
            return scene.assert_over(reason, &story).await;
        }
        // The follow-up.
        scene.pass(LONG_ENOUGH);
        if processed == 0 || case.policy.forgives() {
            return scene.assert_whole(1 + requests, &story).await;
        }
        // The server had spent the token, and reports it now.
        assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::GrantEnded, "{story}");
        scene.assert_counts((2 + requests, 2, 1), &story).await;
        assert!(!scene.server.is_alive(scene.grant.chain), "{story}");
        scene.assert_over(Reason::GrantEnded, &story).await;
    }

    async fn wait_in_vain(&self, scene: &Scene, requests: u64) {
        if self.in_vain {
            scene.time_out(requests).await;
        }
    }
}
