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
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ractor::ActorCell;

use self::desk::Desk;
use crate::law::flight::Urgency;
use crate::law::issuer::IssuerPolicy;
use crate::ports::clock::Clock;
use crate::ports::permit::{IssuerPermits, Permission};
use crate::values::record::Issuer;
use crate::values::{Jitter, Now};

/// How often one ask may find its desk dead before it is told to come again.
const ATTEMPTS: usize = 3;

/// When to come again where no desk can be had.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// The permits of a runtime: an [`IssuerPermits`] with one desk for each issuer, and one for those who do not know theirs.
///
/// A desk is an actor, started by the first ask for its issuer under the supervisor given, and again by the next ask after
/// it has ended. An ask never hangs on a desk that is gone, and is told to come again in a second where none can be
/// started: while the supervisor stops, or outside tokio.
pub struct Permits {
    house: Arc<House>,
    desks: Mutex<BTreeMap<Option<Issuer>, Arc<Desk>>>,
}

/// What all desks share.
struct House {
    policy: IssuerPolicy,
    clock: Arc<dyn Clock>,
    jitter: Box<dyn Fn() -> Jitter + Send + Sync>,
    supervisor: ActorCell,
    asks: AtomicU64,
}

impl Permits {
    /// Permits under `policy`. Time comes from `clock`; `jitter` is called once for each event of a desk.
    ///
    /// Desks are spawned linked under `supervisor`, without names. It need not restart them, and must not stop because one
    /// of them ended.
    pub fn new(
        policy: IssuerPolicy,
        clock: Arc<dyn Clock>,
        jitter: impl Fn() -> Jitter + Send + Sync + 'static,
        supervisor: ActorCell,
    ) -> Self {
        let house = House { policy, clock, jitter: Box::new(jitter), supervisor, asks: AtomicU64::new(0) };
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
        for _ in 0..ATTEMPTS {
            if let Some(left) = desk.throttled() {
                return Permission::Held(left);
            }
            if let Some(permission) = desk.ask(urgency).await {
                return permission;
            }
        }
        Permission::Held(desk.throttled().unwrap_or(COME_AGAIN))
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("policy", &self.house.policy).finish_non_exhaustive()
    }
}
