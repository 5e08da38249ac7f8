//! The clock port, through which the engine reads time.

use std::fmt;

use crate::values::Moment;

/// Reads the wall clock and the elapsed time since boot.
///
/// Shared by all parts of a runtime. Wall time may step. Elapsed time must count suspend (Linux: `CLOCK_BOOTTIME`), and
/// never step back within one boot.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the present, as precisely as the system gives it. Used for flights, deadlines and records.
    fn now(&self) -> Moment;

    /// Returns the present from cheap clocks, for hits, which are requests that a published lease answers without the actor.
    /// It is at most a few milliseconds behind. `None` if the cheap clocks may have missed a suspend. The caller then uses
    /// [`now`](Clock::now).
    fn coarse(&self) -> Option<Moment> {
        Some(self.now())
    }
}
