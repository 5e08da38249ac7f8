//! A clock that a test moves ahead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::Moment;

/// The system's clocks, ahead by some seconds.
#[derive(Debug)]
pub struct AheadClock {
    system: SystemClock,
    ahead: AtomicU64,
}

impl AheadClock {
    pub fn new() -> Self {
        Self { system: SystemClock::new().unwrap(), ahead: AtomicU64::new(0) }
    }

    /// Lets whole seconds pass.
    pub fn pass(&self, span: Duration) {
        self.ahead.fetch_add(span.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for AheadClock {
    fn now(&self) -> Moment {
        let now = self.system.now();
        let ahead = Duration::from_secs(self.ahead.load(Ordering::SeqCst));
        Moment { wall: now.wall.after(ahead), elapsed: now.elapsed.after(ahead), ..now }
    }
}
