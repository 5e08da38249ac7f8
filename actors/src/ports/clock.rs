//! The clock: the only place time is read.

use std::fmt;

use crate::values::Moment;

/// Reads both clocks of this machine.
///
/// Shared by everything in a runtime. Wall time may step; elapsed time must count suspend (Linux: `CLOCK_BOOTTIME`),
/// and never step back within one boot.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present, as exactly as the system tells: for flights, deadlines and records.
    fn now(&self) -> Moment;

    /// The present from cheap clocks, for hits: at most some milliseconds behind. `None` where the cheap clocks cannot
    /// vouch for themselves (they may have missed a suspend): ask [`now`](Clock::now) then.
    fn coarse(&self) -> Option<Moment> {
        Some(self.now())
    }
}
