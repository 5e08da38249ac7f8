//! The ends of the proxy.

use std::io;
use std::time::Duration;

use super::stdio::StdoutWriter;
use crate::home::Interruptions;

/// How often it is looked at whether the parent lives.
#[cfg(unix)]
const WATCH: Duration = Duration::from_secs(5);

/// How long requests are still answered after the end has begun. Hosts kill a server after 2 s.
pub(super) const ANSWERS: Duration = Duration::from_millis(1000);

/// How long the last lines may take.
pub(super) const LAST_LINES: Duration = Duration::from_millis(100);

/// How long the end of the session at the server may take.
pub(super) const DELETE: Duration = Duration::from_millis(400);

/// Why the proxy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    /// The client has closed standard input, or a signal came.
    Asked,
    /// Nothing reads the answers any more.
    Unheard,
}

/// The events that end the proxy, apart from the end of its input.
pub(super) struct EndSignals {
    output: StdoutWriter,
    interruptions: Interruptions,
    parent: ParentWatch,
}

impl EndSignals {
    pub(super) fn new(output: StdoutWriter) -> io::Result<Self> {
        Ok(Self { output, interruptions: Interruptions::new()?, parent: ParentWatch::now() })
    }

    /// Waits until the output has broken, the parent is gone, or a signal asks for the end.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. No event is lost.
    pub(super) async fn next(&mut self) -> EndKind {
        tokio::select! {
            () = self.output.broken() => EndKind::Unheard,
            () = self.parent.gone() => EndKind::Unheard,
            () = self.interruptions.next() => EndKind::Asked,
        }
    }
}

/// The parent. A host that was killed closes nothing if another process has its end of the pipe.
#[cfg(unix)]
struct ParentWatch {
    id: Option<rustix::process::Pid>,
    ticks: tokio::time::Interval,
}

#[cfg(unix)]
impl ParentWatch {
    #[expect(clippy::disallowed_methods, reason = "no event tells of a parent's death on all systems")]
    fn now() -> Self {
        Self { id: rustix::process::getppid(), ticks: tokio::time::interval(WATCH) }
    }

    /// Waits until it is gone.
    async fn gone(&mut self) {
        while rustix::process::getppid() == self.id {
            self.ticks.tick().await;
        }
    }
}

#[cfg(not(unix))]
struct ParentWatch;

#[cfg(not(unix))]
impl ParentWatch {
    fn now() -> Self {
        Self
    }

    async fn gone(&mut self) {
        std::future::pending().await
    }
}
