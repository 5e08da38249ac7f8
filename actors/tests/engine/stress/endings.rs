//! The ways an actor ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::{ActorCell, ActorId};
use tokenkeeper_actors::runtime::{AuthRuntime, AuthSpec, RuntimeBuilder};

use crate::support::{Host, Leave, s, within};

/// A seeded stream of numbers: SplitMix64.
pub(super) struct Roll(pub(super) u64);

impl Roll {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// Ends actors, and counts them.
pub(super) struct Endings {
    spec: AuthSpec,
    host: Host,
    begun: u64,
    /// Started actors that belong to no identity.
    others: AtomicU64,
    drained: AtomicU64,
    stopped: AtomicU64,
    killed: AtomicU64,
    trees: tokio::sync::Mutex<u64>,
}

impl Endings {
    pub(super) async fn begin(builder: RuntimeBuilder) -> Self {
        let spec = within("a runtime", builder.permits(Arc::new(Leave)).prepare()).await.expect("a runtime");
        let host = Host::start().await;
        let begun = pid(&host.cell());
        within("a tree", spec.spawn_linked(host.cell())).await.expect("a tree");
        let zero = AtomicU64::default;
        Self {
            spec,
            host,
            begun,
            others: AtomicU64::new(1),
            drained: zero(),
            stopped: zero(),
            killed: zero(),
            trees: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn runtime(&self) -> AuthRuntime {
        self.spec.runtime()
    }

    /// Ends some actor in some way, and seldom the whole tree.
    pub(super) async fn end(&self, roll: &mut Roll) -> Result<(), String> {
        if roll.below(2_000) == 0 {
            return self.fell().await;
        }
        let actors = self.host.actors();
        if actors.is_empty() {
            return Ok(());
        }
        let actor = &actors[roll.below(actors.len() as u64) as usize];
        match roll.below(10) {
            // The supervisor counts unrequested ends, and pauses a session after some, so most ends are of the other
            // kinds.
            0 => {
                actor.kill();
                self.killed.fetch_add(1, Ordering::Relaxed);
            }
            1 => {
                actor.stop(None);
                self.stopped.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                drop(actor.drain());
                self.drained.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Kills the supervisor, and makes the host start another.
    async fn fell(&self) -> Result<(), String> {
        let mut trees = self.trees.lock().await;
        let Some(supervisor) = self.host.supervisor() else { return Ok(()) };
        supervisor.kill();
        *trees += 1;
        self.others.fetch_add(1, Ordering::Relaxed);
        let again = async {
            while self.spec.spawn_linked(self.host.cell()).await.is_err() {
                self.others.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(s(10), again).await.map_err(|_| "a tree that does not grow again".to_owned())
    }

    /// How many actors of identities have started so far.
    pub(super) async fn incarnations(&self) -> u64 {
        let probe = Host::start().await.cell();
        probe.stop(None);
        let others = self.others.fetch_add(1, Ordering::Relaxed);
        pid(&probe) - self.begun - 1 - others
    }
}

impl fmt::Display for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [drained, stopped, killed] =
            [&self.drained, &self.stopped, &self.killed].map(|n| n.load(Ordering::Relaxed));
        let trees = self.trees.try_lock().map_or(0, |trees| *trees);
        write!(
            f,
            "{drained} drained, {stopped} stopped, {killed} killed, {trees} trees felled, the rest idle or by panic"
        )
    }
}

fn pid(actor: &ActorCell) -> u64 {
    match actor.get_id() {
        ActorId::Local(pid) => pid,
        ActorId::Remote { .. } => unreachable!("a local actor"),
    }
}
