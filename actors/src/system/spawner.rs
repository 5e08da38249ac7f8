//! The two implementations of the spawner port. Flights run on the host's tokio runtime, or on a thread of their own.

use std::convert::Infallible;
use std::io;

use tokio::runtime::{Builder, Handle, TryCurrentError};
use tokio::sync::mpsc;

use crate::ports::spawner::{FlightFuture, Spawner};

/// The name of [`FlightThread`]'s thread.
const THREAD: &str = "tokenkeeper-flights";

/// Runs flights on the host's tokio runtime.
///
/// Flights end with that runtime. Dropping the runtime, or shutting it down with a timeout, drops every flight at its
/// current await. A flight spawned afterwards is dropped without being polled, and without a panic. Both count as the
/// death of the process, after which a refresh token that was sent is in doubt. A current-thread tokio runtime outside
/// `block_on` runs no flight. Await the engine's shutdown before the tokio runtime ends, or use a [`FlightThread`].
#[derive(Clone, Debug)]
pub struct HostSpawner(Handle);

impl HostSpawner {
    /// Uses the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// If it is called outside a tokio runtime.
    pub fn current() -> Result<Self, TryCurrentError> {
        Handle::try_current().map(Self)
    }

    /// Uses the tokio runtime behind `handle`.
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

/// Runs flights on their own thread with a current-thread tokio runtime, for hosts that drop their tokio runtime.
///
/// Clones share the thread. It ends when the last clone is dropped and the last flight is done. Dropping a clone waits
/// for nothing, so it is safe anywhere, even in a flight. Tasks that a flight's libraries spawn (for pooled
/// connections, for example) end with the thread. The end of the process ends the thread. Await the engine's shutdown
/// before returning from `main`.
///
/// A connection belongs to the tokio runtime that opened it, so give a source that runs here its own HTTP client.
#[derive(Clone, Debug)]
pub struct FlightThread {
    runtime: Handle,
    /// One sender for each clone and each flight. The thread waits until there is none. No value is ever sent.
    running: mpsc::Sender<Infallible>,
}

impl FlightThread {
    /// Starts the thread, and waits until its tokio runtime is running.
    ///
    /// # Errors
    ///
    /// If the system cannot start the thread or the tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "the spawner port: flights that own their thread")]
    pub fn start() -> io::Result<Self> {
        let (running, mut ended) = mpsc::channel(1);
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        // The tokio runtime is made and dropped on its own thread, because dropping it inside another one panics.
        std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(sender.send(Err(error))),
            };
            if sender.send(Ok(runtime.handle().clone())).is_ok() {
                runtime.block_on(ended.recv());
            }
        })?;
        let runtime = receiver.recv().map_err(io::Error::other)??;
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
