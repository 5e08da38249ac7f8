//! Where flights run: on the host's tokio runtime, or on a thread of their own.

use std::convert::Infallible;
use std::io;

use tokio::runtime::{Builder, Handle, TryCurrentError};
use tokio::sync::mpsc;

use crate::ports::spawner::{FlightFuture, Spawner};

/// The name of [`FlightThread`]'s thread.
const THREAD: &str = "tokenkeeper-flights";

/// Runs flights on the host's tokio runtime.
///
/// They end with it: dropping the runtime, or shutting it down with a time-out, drops every flight where it awaits, and a
/// flight spawned afterwards is dropped unpolled, without a panic. Both count as the death of the process: a refresh
/// token that was sent is in doubt then. A runtime that nobody drives (a current-thread runtime outside `block_on`) runs
/// no flight. Await the engine's shutdown before the runtime goes, or use a [`FlightThread`].
#[derive(Clone, Debug)]
pub struct HostSpawner(Handle);

impl HostSpawner {
    /// On the runtime of the caller.
    ///
    /// # Errors
    ///
    /// Outside a tokio runtime.
    pub fn current() -> Result<Self, TryCurrentError> {
        Handle::try_current().map(Self)
    }

    /// On the runtime behind `handle`.
    pub fn on(handle: Handle) -> Self {
        Self(handle)
    }
}

impl Spawner for HostSpawner {
    #[expect(clippy::disallowed_methods, reason = "the spawner port: a flight belongs to the host's runtime")]
    fn spawn(&self, flight: FlightFuture) {
        self.0.spawn(flight);
    }
}

/// Runs flights on a thread and a current-thread runtime of their own, for hosts that drop their runtime.
///
/// Clones share the thread. It ends when the last clone is dropped and the last flight is done; dropping waits for
/// neither, so it is safe anywhere, in a flight too. What a flight's libraries spawn beside it (pooled connections, say)
/// ends with the thread. The end of the process still ends it: await the engine's shutdown before returning from `main`.
///
/// A connection belongs to the runtime that opened it, so give a source that runs here an HTTP client of its own.
#[derive(Clone, Debug)]
pub struct FlightThread {
    runtime: Handle,
    /// One for each clone and each flight; the thread waits until there is none. Nothing is ever sent.
    running: mpsc::Sender<Infallible>,
}

impl FlightThread {
    /// Starts the thread, and waits until its runtime is there.
    ///
    /// # Errors
    ///
    /// Where the system has no thread or no runtime to give.
    #[expect(clippy::disallowed_methods, reason = "the spawner port: flights that own their thread")]
    pub fn start() -> io::Result<Self> {
        let (running, mut ended) = mpsc::channel(1);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        // The runtime is made, and dropped, on its own thread: dropping one inside another panics.
        std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            if tell.send(Ok(runtime.handle().clone())).is_ok() {
                runtime.block_on(ended.recv());
            }
        })?;
        let runtime = told.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, running })
    }
}

impl Spawner for FlightThread {
    #[expect(clippy::disallowed_methods, reason = "the spawner port: a flight belongs to its thread")]
    fn spawn(&self, flight: FlightFuture) {
        let running = self.running.clone();
        self.runtime.spawn(async move {
            flight.await;
            drop(running);
        });
    }
}

#[cfg(test)]
mod tests;
