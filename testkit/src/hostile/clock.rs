//! The server's clock and tasks. A test server runs on the machine's real clock and on its test's runtime.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

/// The time since creation.
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

/// The wall-clock time `ahead` from now, as an HTTP date (RFC 9110 section 5.6.7).
#[expect(clippy::disallowed_methods, reason = "an HTTP date is of the wall clock")]
pub(super) fn http_date(ahead: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::now() + ahead)
}

/// This time in seconds since 1970, as an HTTP date.
pub(super) fn http_date_of(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The wall-clock time in seconds since 1970, for registrations and ID tokens.
#[expect(clippy::disallowed_methods, reason = "a date on the wire is of the wall clock")]
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Sleeps for `time`. A zero time returns at once, because a timer would still cost a millisecond.
#[expect(clippy::disallowed_methods, reason = "a server that is slow on purpose")]
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Spawns a task of the server. It ends with its set.
#[expect(clippy::disallowed_methods, reason = "the server's own tasks, owned by the set")]
pub(crate) fn start(tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(task);
}
