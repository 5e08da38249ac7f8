//! The server's time and its tasks: a test server runs on a real machine's clock, and on its test's runtime.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

/// The time since it was made.
pub(super) struct Clock(Instant);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test server has no clock port: real clients talk to it in real time"
    )]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test server has no clock port: real clients talk to it in real time"
    )]
    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The wall clock's time in `ahead` from now, as HTTP writes it (RFC 9110 section 5.6.7).
#[expect(clippy::disallowed_methods, reason = "an HTTP date is of the wall clock")]
pub(super) fn http_date(ahead: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::now() + ahead)
}

/// Waits. Nothing is waited for where there is nothing to wait for: a timer would still cost a millisecond.
#[expect(clippy::disallowed_methods, reason = "a server that is slow on purpose")]
pub(super) async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Starts a task of the server's. It ends with the set it belongs to.
#[expect(clippy::disallowed_methods, reason = "the server's own tasks, owned by the set")]
pub(super) fn start(tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(task);
}
