//! One row of law 10's table: what is done with it.

use serde_json::{Value, json};
use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{InDoubt, Profile};
use tokenkeeper::engine::values::record::Refresh;

use crate::authority::Authority;
use crate::scene::{LONG_ENOUGH, Scene};

/// The policies that the rig, which knows no grace, can be met with.
pub(crate) const POLICIES: [InDoubt; 2] = [InDoubt::RetryOnce, InDoubt::NeverReplay];

/// What law 10 says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    /// The refresh token was not spent, and callers are told this.
    Unspent(Reason),
    /// It was not spent, and the issuer does not know the client.
    ClientRejected,
    /// It is dead.
    Dead,
    /// Nobody knows.
    Doubt,
}

/// What the rig does with the second refresh of a scene, and what the law says of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    law: Law,
    endpoint: &'static str,
    fault: Value,
    processed: bool,
    profile: Profile,
}

impl Row {
    /// The rig kills the connection: `before` the work, `after` it, or with a `partial` answer.
    pub(crate) fn drop(when: &'static str) -> Self {
        Self::new(Law::Doubt, "/drop", json!({ "n": 1, "when": when }), when != "before")
    }

    /// The rig answers so, instead of what it did or did not do.
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

    /// Meets the row under each policy.
    pub(crate) async fn holds(&self, authority: &Authority) {
        for policy in POLICIES {
            self.meet(authority, policy).await;
        }
    }

    async fn meet(&self, authority: &Authority, policy: InDoubt) {
        let story = format!("{self:?} {policy:?}");
        let profile = Profile { in_doubt: policy, ..self.profile.clone() };
        let scene = Scene::new(authority, Authority::public(), profile).await;
        authority.tell(self.endpoint, &self.fault);
        let told = scene.host.renew().await.unwrap_err();
        let rotations = 1 + u64::from(self.processed);
        scene.assert_counts((2, rotations, 0, 0), &story);

        // What callers are told, what the store knows, and what goes on being served.
        let (reason, presentations) = match (self.law, policy) {
            (Law::Unspent(reason), _) => (reason, 0),
            (Law::ClientRejected, _) => (Reason::ClientRejected, 0),
            (Law::Dead, _) => (Reason::GrantEnded, 0),
            (Law::Doubt, InDoubt::NeverReplay) => (Reason::PerhapsSpent, 1),
            (Law::Doubt, _) => (Reason::InDoubt, 1),
        };
        assert_eq!((told.reason(), scene.host.presentations().await), (reason, presentations), "{story}");
        let served = if self.law == Law::ClientRejected { Err(reason) } else { Ok(scene.access.clone()) };
        assert_eq!(scene.host.token().await.map_err(|error| error.reason()), served, "{story}");

        match self.law {
            Law::ClientRejected => return scene.assert_over(reason, &story).await,
            Law::Dead => {
                let record = scene.host.record().await;
                assert!(matches!(record.grant().unwrap().refresh, Refresh::Ended(_)), "{story}");
                return scene.assert_over(reason, &story).await;
            }
            Law::Doubt if policy == InDoubt::NeverReplay => return scene.assert_over(reason, &story).await,
            Law::Doubt => after_a_doubt(scene, rotations, &story).await,
            Law::Unspent(_) => again(scene, rotations, &story).await,
        }
    }
}

/// The second refresh ended in doubt, and the policy allows one more presentation. `rotations` were processed so far.
pub(crate) async fn after_a_doubt(scene: Scene<'_>, rotations: u64, story: &str) {
    // The request may still be under way: nobody presents the token again before its time-out has passed.
    scene.assert_refused(Reason::InDoubt, story).await;
    scene.assert_counts((2, rotations, 0, 0), story);
    again(scene, rotations, story).await;
}

/// The token is presented once more. Where the second refresh was processed, that is a replay, and the last one.
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
