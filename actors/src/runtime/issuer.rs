//! Permits: one actor per issuer drives that issuer's desk, and [`Permits`] knows where each one is.
//!
//! What must survive an actor (the throttle, and which permits are out) stands in a book beside it, behind a lock that is
//! never held over an await. So a desk that is killed goes on with its successor, which the next ask starts.

mod actor;
mod desk;
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

use self::desk::Desk;
use super::timer;
use crate::law::flight::Urgency;
use crate::law::issuer::IssuerPolicy;
use crate::ports::clock::Clock;
use crate::ports::permit::{IssuerPermits, Permission};
use crate::values::record::Issuer;
use crate::values::{Jitter, Now};

/// How often one ask may find its desk's actor dead before the ask is [`Unavailable`](Permission::Unavailable).
const ATTEMPTS: u32 = 10;

/// How many of these attempts follow each other at once. The others follow a pause, because a supervisor that is being
/// killed still looks alive for a moment in which it starts nothing.
const PROMPT_ATTEMPTS: u32 = 3;

/// The first pause between two attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Finds the actor under which desks are started. `None` means that the runtime is gone.
pub type FindSupervisor = Pin<Box<dyn Future<Output = Option<ActorCell>> + Send>>;

/// The permits of a runtime: an [`IssuerPermits`] with one desk for each issuer, and one for flights that do not know theirs.
///
/// A desk is an actor, started by the first ask for its issuer under the supervisor given, and again by the next ask after
/// it has ended. While the supervision tree is down an ask waits for the next tree: its flight outlives the tree, and the
/// callers have their own deadlines. An ask is answered [`Unavailable`](Permission::Unavailable) outside tokio, and where
/// the desk's actor ends again and again before it answers.
pub struct Permits {
    house: Arc<House>,
    desks: Mutex<BTreeMap<Option<Issuer>, Arc<Desk>>>,
}

/// What all desks share.
struct House {
    policy: IssuerPolicy,
    clock: Arc<dyn Clock>,
    jitter: Box<dyn Fn() -> Jitter + Send + Sync>,
    supervisor: Box<dyn Fn() -> FindSupervisor + Send + Sync>,
    asks: AtomicU64,
}

impl Permits {
    /// Permits under `policy`. Time comes from `clock`; `jitter` is called once for each event of a desk.
    ///
    /// Desks are spawned without names, linked under the actor that `supervisor` resolves to. That future waits while
    /// there is no such actor. The supervisor need not restart desks, and must not stop because one of them ended.
    pub fn new(
        policy: IssuerPolicy,
        clock: Arc<dyn Clock>,
        jitter: impl Fn() -> Jitter + Send + Sync + 'static,
        supervisor: impl Fn() -> FindSupervisor + Send + Sync + 'static,
    ) -> Self {
        let (jitter, supervisor) = (Box::new(jitter), Box::new(supervisor));
        let house = House { policy, clock, jitter, supervisor, asks: AtomicU64::new(0) };
        Self { house: Arc::new(house), desks: Mutex::default() }
    }

    /// For how long `issuer` is to be left alone yet; `None` where it need not be.
    pub fn throttled(&self, issuer: Option<&Issuer>) -> Option<Duration> {
        self.desk(issuer).throttled()
    }

    fn desk(&self, issuer: Option<&Issuer>) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let desk = desks.entry(issuer.cloned()).or_insert_with(|| Arc::new(Desk::new(Arc::clone(&self.house))));
        Arc::clone(desk)
    }
}

impl House {
    fn now(&self) -> Now {
        Now { moment: self.clock.now(), jitter: (self.jitter)() }
    }
}

#[async_trait]
impl IssuerPermits for Permits {
    async fn ask(&self, issuer: Option<&Issuer>, urgency: Urgency) -> Permission {
        let desk = self.desk(issuer);
        for attempt in 0..ATTEMPTS {
            if let Some(left) = desk.throttled() {
                return Permission::Held(left);
            }
            if Handle::try_current().is_err() {
                break;
            }
            if let Some(later) = attempt.checked_sub(PROMPT_ATTEMPTS) {
                timer::pause(FIRST_PAUSE.saturating_mul(1 << later)).await;
            }
            let Some(supervisor) = (self.house.supervisor)().await else { break };
            if let Some(permission) = desk.ask(urgency, supervisor).await {
                return permission;
            }
        }
        desk.throttled().map_or(Permission::Unavailable, Permission::Held)
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("policy", &self.house.policy).finish_non_exhaustive()
    }
}
