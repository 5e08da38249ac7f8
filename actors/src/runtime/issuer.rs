//! Permits: one actor per issuer drives that issuer's limiter, and [`Permits`] knows where each one is.
//!
//! What must survive an actor (the throttle, and which permits are out) stands in a state beside it, behind a lock that is
//! never held over an await. So a limiter that is killed goes on with its successor, which the next ask starts.

mod actor;
mod limiter;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ractor::ActorCell;
use tokio::runtime::Handle;

use self::limiter::LimiterHandle;
use super::timer;
use crate::law::flight::Urgency;
use crate::law::issuer::IssuerPolicy;
use crate::ports::clock::Clock;
use crate::ports::permit::{IssuerPermits, Permission};
use crate::values::record::Issuer;
use crate::values::{Jitter, Now};

/// How often one ask may find its limiter's actor dead before the ask is [`Unavailable`](Permission::Unavailable).
const ATTEMPTS: u32 = 10;

/// How many of these attempts follow each other at once. The others follow a pause, because a supervisor that is being
/// killed still looks alive for a moment in which it starts nothing.
const PROMPT_ATTEMPTS: u32 = 3;

/// The first pause between two attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Finds the actor under which limiters are started. `None` means that the runtime is gone.
pub type FindSupervisor = Pin<Box<dyn Future<Output = Option<ActorCell>> + Send>>;

/// The permits of a runtime: an [`IssuerPermits`] with one limiter for each issuer, and one for flights that do not know theirs.
///
/// A limiter is an actor, started by the first ask for its issuer under the supervisor given, and again by the next ask after
/// it has ended. While the supervision tree is down an ask waits for the next tree: its flight outlives the tree, and the
/// callers have their own deadlines. An ask is answered [`Unavailable`](Permission::Unavailable) outside tokio, and where
/// the limiter's actor ends again and again before it answers.
pub struct Permits {
    shared: Arc<Shared>,
    limiters: Mutex<BTreeMap<Option<Issuer>, Arc<LimiterHandle>>>,
}

/// What all limiters share.
struct Shared {
    policy: IssuerPolicy,
    clock: Arc<dyn Clock>,
    jitter: Box<dyn Fn() -> Jitter + Send + Sync>,
    supervisor: Box<dyn Fn() -> FindSupervisor + Send + Sync>,
    asks: AtomicU64,
}

impl Permits {
    /// Permits under `policy`. Time comes from `clock`; `jitter` is called once for each event of a limiter.
    ///
    /// Limiters are spawned without names, linked under the actor that `supervisor` resolves to. That future waits while
    /// there is no such actor. The supervisor need not restart limiters, and must not stop because one of them ended.
    pub fn new(
        policy: IssuerPolicy,
        clock: Arc<dyn Clock>,
        jitter: impl Fn() -> Jitter + Send + Sync + 'static,
        supervisor: impl Fn() -> FindSupervisor + Send + Sync + 'static,
    ) -> Self {
        let (jitter, supervisor) = (Box::new(jitter), Box::new(supervisor));
        let shared = Shared { policy, clock, jitter, supervisor, asks: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), limiters: Mutex::default() }
    }

    /// For how long `issuer` is to be left alone yet; `None` where it need not be.
    pub fn throttled(&self, issuer: Option<&Issuer>) -> Option<Duration> {
        self.limiter(issuer).throttled()
    }

    fn limiter(&self, issuer: Option<&Issuer>) -> Arc<LimiterHandle> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let limiter =
            limiters.entry(issuer.cloned()).or_insert_with(|| Arc::new(LimiterHandle::new(Arc::clone(&self.shared))));
        Arc::clone(limiter)
    }
}

impl Shared {
    fn now(&self) -> Now {
        Now { moment: self.clock.now(), jitter: (self.jitter)() }
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
            if let Some(later) = attempt.checked_sub(PROMPT_ATTEMPTS) {
                timer::pause(FIRST_PAUSE.saturating_mul(1 << later)).await;
            }
            let Some(supervisor) = (self.shared.supervisor)().await else { break };
            if let Some(permission) = limiter.ask(urgency, supervisor).await {
                return permission;
            }
        }
        limiter.throttled().map_or(Permission::Unavailable, Permission::Held)
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}
