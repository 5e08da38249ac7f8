//! The ends of the proxy.

use std::io;
use std::time::Duration;

use super::stdio::StdoutWriter;
use crate::home::Interruptions;

/// The interval at which the proxy checks whether its parent lives.
#[cfg(unix)]
const WATCH: Duration = Duration::from_secs(5);

/// The time after the end has begun in which requests are still answered. Hosts kill a server after 2 s.
pub(super) const ANSWERS: Duration = Duration::from_millis(1000);

/// The time-out for writing the last lines.
pub(super) const LAST_LINES: Duration = Duration::from_millis(100);

/// The time-out for ending the MCP session at the server.
pub(super) const DELETE: Duration = Duration::from_millis(400);

/// The reason why the proxy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    /// The client has closed standard input, or a signal came.
    Asked,
    /// No client reads the answers any more.
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

/// Watches the parent process. When a host is killed, the pipe stays open if another process has a copy of the host's end.
#[cfg(unix)]
struct ParentWatch {
    id: Option<rustix::process::Pid>,
    ticks: tokio::time::Interval,
}

#[cfg(unix)]
impl ParentWatch {
    #[expect(clippy::disallowed_methods, reason = "no event reports a parent's death on all systems")]
    fn now() -> Self {
        Self { id: rustix::process::getppid(), ticks: tokio::time::interval(WATCH) }
    }

    /// Waits until the parent has ended.
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
