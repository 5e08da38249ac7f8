//! The rig, with a name for each chain of refresh tokens, and a home with processes on it.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::authority::{Authority, Chain, Tally};
use crate::crew::Member;
use crate::party::{Paper, Party, Setup};

/// A rig that several homes may use at once.
pub(crate) struct Server {
    pub(crate) authority: Authority,
    signing_in: Mutex<()>,
}

impl Server {
    /// Returns `None`, and prints a loud notice, on a machine without Node.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Option<Self> {
        let authority = Authority::with(variables).await?;
        Some(Self { authority, signing_in: Mutex::default() })
    }

    /// Signs a user in, and returns the login with the rig's name for the new chain.
    pub(crate) async fn sign_in(&self) -> (Paper, String) {
        let _alone = self.signing_in.lock().await;
        let before = self.authority.chains_by_id();
        let grant = self.authority.sign_in(&Authority::public()).await;
        let mut after = self.authority.chains_by_id();
        after.retain(|id, _| !before.contains_key(id));
        let (id, _) = after.pop_first().unwrap();
        assert!(after.is_empty());
        ((&grant).into(), id)
    }

    pub(crate) fn chain(&self, id: &str) -> Chain {
        self.authority.chains_by_id().remove(id).unwrap()
    }

    /// Waits until one of the rig's counters stands at `count`.
    pub(crate) async fn counts(&self, pointer: &str, count: u64) {
        let read = || self.authority.stats().pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        until(&format!("{pointer} is {count}"), || read() == count).await;
    }

    /// The rig's counts, once at least `posts` refreshes have been counted. The rig may still work on a request whose
    /// client was killed.
    pub(crate) async fn tally(&self, posts: u64) -> Tally {
        until(&format!("{posts} posts"), || self.authority.tally().posts >= posts).await;
        self.authority.tally()
    }
}

/// Polls until `is_so`, for conditions that send no notification.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// A home with a stored login, and the test's own process on it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) setup: Setup,
    pub(crate) party: Party,
    /// The chain of the first login.
    pub(crate) chain: String,
    _folder: TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Option<Self> {
        let server = Server::start(&[]).await?;
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        Some(Self::at(server, home, folder).await)
    }

    /// Like [`new`](Self::new), with the home in this place.
    pub(crate) async fn at(server: Server, home: std::path::PathBuf, folder: TempDir) -> Self {
        let setup = Setup::new(home, server.authority.resource());
        let party = Party::open(&setup, None).await;
        let (paper, chain) = server.sign_in().await;
        party.install(&paper).await.unwrap();
        Self { server, setup, party, chain, _folder: folder }
    }

    pub(crate) async fn member(&self) -> Member {
        Member::start(&self.setup).await
    }

    /// The status with which the resource answers this token.
    pub(crate) async fn call(&self, token: &str) -> u16 {
        self.server.authority.call(&tokenkeeper::AccessToken::new(token)).await
    }

    /// Asserts how many refreshes arrived, how many rotated, and how many presented a spent token.
    pub(crate) async fn assert_counts(&self, (posts, rotations, replays): (u64, u64, u64)) {
        let counted = self.server.tally(posts).await;
        let expected = Tally { posts, rotations, consumed: replays, reuse: replays, revoked: replays };
        assert_eq!(counted, expected, "{:#}", self.server.authority.stats());
    }
}
