//! One row of law 10's table, and its checks.

use serde_json::{Value, json};
use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};

use crate::authority::Authority;
use crate::scene::{LONG_ENOUGH, Scene};
pub(crate) use crate::support::law::Law;

/// The policies that suit the rig, which has no grace period.
pub(crate) const POLICIES: [Reuse; 2] = [Reuse::EndsLineage, Reuse::EndsMore];

/// A fault for the second refresh of a scene, and the law's verdict on it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    law: Law,
    endpoint: &'static str,
    fault: Value,
    processed: bool,
    profile: Profile,
}

impl Row {
    /// The rig kills the connection `before` the work, `after` it, or with a `partial` answer.
    pub(crate) fn drop(when: &'static str) -> Self {
        Self::new(Law::Doubt, "/drop", json!({ "n": 1, "when": when }), when != "before")
    }

    /// The rig gives this answer instead of its own, whether or not it has processed the request.
    pub(crate) fn fail(law: Law, status: u16, processed: bool, more: &Value) -> Self {
        let mut fault = more.clone();
        fault["n"] = 1.into();
        fault["status"] = status.into();
        fault["processed"] = processed.into();
        Self::new(law, "/fail", fault, processed)
    }

    fn new(law: Law, endpoint: &'static str, mut fault: Value, processed: bool) -> Self {
        fault["grant"] = "refresh_token".into();
        Self { law, endpoint, fault, processed, profile: Profile::default() }
    }

    pub(crate) fn profile(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(&mut self.profile);
        self
    }

    /// Checks the row under each policy.
    pub(crate) async fn holds(&self, authority: &Authority) {
        for policy in POLICIES {
            self.meet(authority, policy).await;
        }
    }

    async fn meet(&self, authority: &Authority, policy: Reuse) {
        let story = format!("{self:?} {policy:?}");
        let profile = Profile { reuse: policy, ..self.profile.clone() };
        let scene = Scene::new(authority, Authority::public(), profile).await;
        authority.tell(self.endpoint, &self.fault);
        let told = scene.host.renew().await.unwrap_err();
        let rotations = 1 + u64::from(self.processed);
        scene.assert_counts((2, rotations, 0, 0), &story);

        let over = self.law.assert_kept(policy, told, &scene.host, &scene.access, &story).await;
        match (over, self.law) {
            (Some(reason), _) => scene.assert_over(reason, &story).await,
            (None, Law::Doubt) => after_a_doubt(scene, rotations, &story).await,
            (None, _) => again(scene, rotations, &story).await,
        }
    }
}

/// Follows up a second refresh in doubt, under a policy that allows one more presentation. `rotations` were processed
/// so far.
pub(crate) async fn after_a_doubt(scene: Scene<'_>, rotations: u64, story: &str) {
    // The request may still be in flight, so the token is not presented again before its time-out has passed.
    scene.assert_refused(Reason::InDoubt, story).await;
    scene.assert_counts((2, rotations, 0, 0), story);
    again(scene, rotations, story).await;
}

/// Presents the token once more. If the second refresh was processed, that is a replay, and the last one.
pub(crate) async fn again(scene: Scene<'_>, rotations: u64, story: &str) {
    scene.host.clock.pass(LONG_ENOUGH);
    if rotations == 1 {
        return scene.assert_whole((2, 1), story).await;
    }
    assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::GrantEnded, "{story}");
    scene.assert_counts((3, 2, 1, 1), story);
    let [chain] = &scene.authority.chains()[..] else { panic!("one chain: {story}") };
    assert_eq!((chain.rotations, chain.reuse, chain.revoked), (2, 1, true), "{story}");
    scene.assert_over(Reason::GrantEnded, story).await;
}
