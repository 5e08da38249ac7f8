//! One row of law 10's table, and its checks.

use serde_json::{Value, json};
use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;

use crate::authority::Authority;
use crate::scene::{LONG_ENOUGH, Scene};
pub(crate) use crate::support::law::{Law, Policy};

/// The policies that suit the rig, which rotates and has no grace period.
pub(crate) const POLICIES: [Policy; 2] = [Policy::EndsLineage, Policy::EndsMore];

/// A fault for the second refresh of a scene, and the law's verdict on it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    law: Law,
    endpoint: &'static str,
    fault: Value,
    processed: bool,
    profile: Profile,
    /// Whether the rig asks for a pause that no test waits for.
    asks_for_pause: bool,
}

impl Row {
    /// The rig kills the connection `before` the work, `after` it, or with a `partial` answer.
    pub(crate) fn drop(when: &'static str) -> Self {
        Self::new(Law::DOUBT, "/drop", json!({ "when": when }), when != "before")
    }

    /// The rig gives this answer instead of its own, whether or not it has processed the request.
    pub(crate) fn fail(law: Law, status: u16, processed: bool, more: &Value) -> Self {
        let mut fault = more.clone();
        fault["status"] = status.into();
        fault["processed"] = processed.into();
        Self::new(law, "/fail", fault, processed)
    }

    fn new(law: Law, endpoint: &'static str, mut fault: Value, processed: bool) -> Self {
        fault["grant"] = "refresh_token".into();
        let asks_for_pause = fault.get("retry_after").is_some();
        Self { law, endpoint, fault, processed, profile: Profile::default(), asks_for_pause }
    }

    pub(crate) fn profile(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(&mut self.profile);
        self
    }

    /// Checks the row under each policy.
    pub(crate) async fn holds(&self, authority: &Authority) {
        for policy in POLICIES {
            if !self.asks_for_pause {
                self.passes(authority, policy).await;
            }
            self.lasts(authority, policy).await;
        }
    }

    /// A scene whose next `requests` meet the fault.
    async fn open<'a>(&self, authority: &'a Authority, policy: Policy, requests: u64) -> Scene<'a> {
        let scene = Scene::new(authority, Authority::public(), policy.applied(self.profile.clone())).await;
        let mut fault = self.fault.clone();
        fault["n"] = requests.into();
        authority.tell(self.endpoint, &fault);
        scene
    }

    /// The fault strikes one request. A caller that has the patience gets a token where the law allows another request,
    /// unless the rig had spent the refresh token.
    async fn passes(&self, authority: &Authority, policy: Policy) {
        let story = format!("once {self:?} {policy:?}");
        let scene = self.open(authority, policy, 1).await;
        let outcome = scene.host.renew().await;
        let rotations = 1 + u64::from(self.processed);
        if !self.law.is_waited_out(policy) {
            assert_eq!(outcome.map_err(|error| error.reason()), Err(self.law.reason(policy)), "{story}");
            scene.assert_counts((2, rotations, 0, 0), &story);
            return scene.host.shut_down().await;
        }
        if self.processed {
            assert_eq!(outcome.map_err(|error| error.reason()), Err(Reason::GrantEnded), "{story}");
            return scene.assert_replayed(3, &story).await;
        }
        assert!(outcome.is_ok_and(|token| token != scene.access), "{story}");
        scene.assert_whole((3, 2), &story).await;
    }

    /// The fault lasts, and the caller takes the first failure.
    async fn lasts(&self, authority: &Authority, policy: Policy) {
        let story = format!("{self:?} {policy:?}");
        let repeats = self.law.repeats(policy);
        if repeats && self.processed {
            // The rig would process the second presentation too, which is a replay.
            return;
        }
        let requests = 1 + u64::from(repeats);
        let scene = self.open(authority, policy, requests).await;
        let error = scene.host.try_to_renew().await.unwrap_err();
        let (posts, rotations) = (1 + requests, 1 + u64::from(self.processed));
        scene.assert_counts((posts, rotations, 0, 0), &story);
        let over = self.law.assert_kept(policy, error, &scene.host, &scene.access, &story).await;
        match over {
            Some(reason) => scene.assert_over(reason, &story).await,
            None => scene.follow_up((posts, rotations), &story).await,
        }
    }
}

impl Scene<'_> {
    /// Presents the token once more, after a second refresh that brought none. `posts` refreshes arrived before. If the
    /// second refresh was processed, that is a replay, and the last one.
    pub(crate) async fn follow_up(self, (posts, rotations): (u64, u64), story: &str) {
        self.host.clock.pass(LONG_ENOUGH);
        if rotations == 1 {
            return self.assert_whole((posts, 1), story).await;
        }
        assert_eq!(self.host.renew().await.unwrap_err().reason(), Reason::GrantEnded, "{story}");
        self.assert_replayed(posts + 1, story).await;
    }

    /// Asserts that the second refresh was processed, and that the last of `posts` refreshes was a replay.
    async fn assert_replayed(self, posts: u64, story: &str) {
        self.assert_counts((posts, 2, 1, 1), story);
        let [chain] = &self.authority.chains()[..] else { panic!("one chain: {story}") };
        assert_eq!((chain.rotations, chain.reuse, chain.revoked), (2, 1, true), "{story}");
        self.assert_over(Reason::GrantEnded, story).await;
    }
}
