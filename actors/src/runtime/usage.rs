//! The use of a session's lease, for the policy that refreshes only leases that are in use.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::lock;
use crate::values::Generation;

/// Records whether the published lease was handed out since it was minted.
///
/// It is kept in the slot, because handles note a use without an actor. The actor may end, and the cell may be cleared
/// for a while, although the lease stays the same.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    noted: AtomicBool,
    /// The generation of that lease. It is boxed, because only one of the policies needs it.
    lease: Mutex<Option<Box<Generation>>>,
}

impl Usage {
    /// Notes that the published lease was handed out. Costs one read if that is already noted.
    #[inline]
    pub(crate) fn note(&self) {
        if !self.noted.load(Ordering::Relaxed) {
            self.noted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the lease was handed out.
    pub(crate) fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// Forgets the use, if `generation`, which is about to be published, is not the current lease.
    ///
    /// A caller that read the old lease just before may note its use just after. The new lease is then refreshed early
    /// once, although it was not used.
    pub(crate) fn begin(&self, generation: Generation) {
        let mut lease = lock(&self.lease);
        if lease.as_deref() != Some(&generation) {
            *lease = Some(Box::new(generation));
            self.noted.store(false, Ordering::Relaxed);
        }
    }
}
