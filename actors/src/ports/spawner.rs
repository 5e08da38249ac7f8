//! The spawner, the port that runs flights (attempts to obtain a new token) in tasks of their own, independently of the
//! actors that began them (law 5).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A flight, ready to run.
pub type FlightFuture = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Runs flights to their end.
///
/// A spawned future is polled until it is done, even after the end of the actor that spawned it. Only the end of the
/// tokio runtime behind the spawner may drop it, which counts as the death of the process.
pub trait Spawner: fmt::Debug + Send + Sync + 'static {
    /// Starts `flight`.
    fn spawn(&self, flight: FlightFuture);
}
