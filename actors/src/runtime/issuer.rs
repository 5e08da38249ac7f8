//! Permits. One actor for each issuer drives that issuer's limiter, and [`Permits`] keeps their addresses.
//!
//! The throttle and the list of granted permits must survive the actor. They are kept outside the actor, behind a lock that
//! is never held over an await. After an actor was killed, the next request for a permit starts a successor. The throttle
//! is also kept in the store, for the other processes that share it.
//!
//! An actor without requests ends itself after a minute. A limiter without an actor and without a throttle is removed, so
//! that the memory does not grow with the number of issuers ever seen.

mod actor;
mod ask;
mod cooldowns;
mod limiter;
mod messages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;

use self::limiter::{LimiterHandle, Shared};
use super::timer;
use crate::law::flight::Urgency;
use crate::law::issuer::IssuerPolicy;
use crate::ports::clock::Clock;
use crate::ports::permit::{IssuerPermits, Permission};
use crate::sync::lock;
use crate::values::record::Issuer;
use crate::values::{ElapsedTime, ExponentialBackoff, Jitter};

pub use self::cooldowns::Cooldowns;
pub use self::limiter::FindSupervisor;

/// The number of attempts to ask a limiter whose actor ends before it answers. If all fail, the answer is
/// [`Unavailable`](Permission::Unavailable).
const ATTEMPTS: u32 = 10;

/// The number of [`ATTEMPTS`] without a pause. The others follow a pause, because a supervisor that is being killed has
/// the status of a running one for another moment, in which it starts no actor.
const PROMPT_ATTEMPTS: u32 = 3;

/// The interval at which limiters that are not in use are removed, if permits are asked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);

/// The pauses before the attempts after the first [`PROMPT_ATTEMPTS`].
const BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// The [`IssuerPermits`] of a runtime, with one limiter for each issuer, and one for flights that do not know their
/// issuer.
///
/// A limiter is an actor under the given supervisor. The first request for its issuer starts it, and so does the next
/// request after it has ended. Without a supervision tree a request waits for the next tree, because its flight
/// outlives the tree, and callers have their own deadlines. A throttled issuer is answered with
/// [`Held`](Permission::Held) at once. The answer is [`Unavailable`](Permission::Unavailable) outside tokio, after the
/// runtime is gone, and if the limiter's actor ends repeatedly before it answers.
pub struct Permits {
    shared: Arc<Shared>,
    limiters: Mutex<Limiters>,
}

/// The limiters in use, and those whose throttle still lasts.
#[derive(Default)]
struct Limiters {
    by_issuer: BTreeMap<Option<Issuer>, Arc<LimiterHandle>>,
    /// The time at which unused limiters were last removed.
    tidied: ElapsedTime,
}

impl Permits {
    /// Makes the permits for `policy`. Time comes from `clock`, and `jitter` is called once for each event of a
    /// limiter. Throttles are shared with other processes through `cooldowns`, if given.
    ///
    /// Limiters are spawned without names, linked under the actor that `supervisor` resolves to. That future is pending
    /// while there is no such actor. The supervisor need not restart limiters, and must not stop because one of them
    /// ended.
    pub fn new(
        policy: IssuerPolicy,
        clock: Arc<dyn Clock>,
        jitter: impl Fn() -> Jitter + Send + Sync + 'static,
        supervisor: impl Fn() -> FindSupervisor + Send + Sync + 'static,
        cooldowns: Option<Cooldowns>,
    ) -> Self {
        let (jitter, supervisor) = (Box::new(jitter), Box::new(supervisor));
        let shared = Shared { policy, clock, jitter, supervisor, cooldowns, asks: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), limiters: Mutex::default() }
    }

    /// Returns the limiter of `issuer`, and makes it if there is none.
    fn limiter(&self, issuer: Option<&Issuer>) -> Arc<LimiterHandle> {
        let now = self.shared.clock.now().elapsed;
        let mut limiters = lock(&self.limiters);
        limiters.tidy(now);
        let new = || Arc::new(LimiterHandle::new(Arc::clone(&self.shared), issuer.cloned()));
        let limiter = limiters.by_issuer.entry(issuer.cloned()).or_insert_with(new);
        Arc::clone(limiter)
    }

    /// The limiter of `issuer`, if there is one. Without one, the issuer is not throttled as far as this process knows.
    fn find(&self, issuer: Option<&Issuer>) -> Option<Arc<LimiterHandle>> {
        lock(&self.limiters).by_issuer.get(&issuer.cloned()).map(Arc::clone)
    }
}

impl Limiters {
    /// Removes the limiters that have no throttle and to which nothing refers, at most once in [`TIDY_INTERVAL`].
    fn tidy(&mut self, now: ElapsedTime) {
        if now.since(self.tidied) >= TIDY_INTERVAL {
            self.tidied = now;
            // No other reference can be made meanwhile. A request, a permit, an actor and a write each hold a reference.
            self.by_issuer.retain(|_, limiter| Arc::strong_count(limiter) > 1 || limiter.throttled().is_some());
        }
    }
}

#[async_trait]
impl IssuerPermits for Permits {
    async fn ask(&self, issuer: Option<&Issuer>, urgency: Urgency) -> Permission {
        let limiter = self.limiter(issuer);
        for attempt in 0..ATTEMPTS {
            if let Some(left) = limiter.throttled() {
                return Permission::Held(left);
            }
            if Handle::try_current().is_err() {
                break;
            }
            if attempt >= PROMPT_ATTEMPTS {
                timer::pause(BACKOFF.pause(attempt - PROMPT_ATTEMPTS + 1)).await;
            }
            let Some(supervisor) = (self.shared.supervisor)().await else { break };
            if let Some(permission) = limiter.ask(urgency, supervisor).await {
                return permission;
            }
        }
        limiter.throttled().map_or(Permission::Unavailable, Permission::Held)
    }

    async fn look_for_throttle(&self, issuer: Option<&Issuer>) {
        self.limiter(issuer).read_cooldown().await;
    }

    fn throttled(&self, issuer: Option<&Issuer>) -> Option<Duration> {
        self.find(issuer)?.throttled()
    }

    fn throttle(&self, issuer: Option<&Issuer>, throttle: Duration) {
        self.limiter(issuer).throttle(throttle);
    }

    async fn until_shared(&self, issuer: Option<&Issuer>) {
        if let Some(limiter) = self.find(issuer) {
            limiter.until_stored().await;
        }
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}
