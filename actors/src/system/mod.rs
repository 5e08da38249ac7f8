//! The default implementations of the ports on a real machine (feature `system`), with its clocks, tokio tasks for the
//! flights, and randomness of the operating system.
//!
//! These modules own the calls that `clippy.toml` bans elsewhere. A host with its own clocks, tasks and entropy can
//! leave the feature out.

mod clock;
mod entropy;
mod spawner;

pub use clock::SystemClock;
pub use entropy::Entropy;
pub use spawner::{FlightThread, HostSpawner};

use crate::values::DigestKey;

/// The operating system gives no random numbers.
///
/// This happens very early in a boot, or in a sandbox without `getrandom` and `/dev/urandom`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gives no random numbers: allow this process getrandom(2) or /dev/urandom")]
pub struct NoRandomness(#[source] getrandom::Error);

/// `N` bytes from the operating system.
#[expect(clippy::disallowed_methods, reason = "the one place where the operating system is asked for randomness")]
fn draw<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

impl DigestKey {
    /// A key drawn from the operating system's randomness, for a new store.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`], if the system gives no random numbers.
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self::new(draw()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_randomness_is_named_with_its_cause() {
        let missing = NoRandomness(getrandom::Error::UNSUPPORTED);
        assert!(missing.to_string().contains("no random numbers"));
        assert!(std::error::Error::source(&missing).is_some());
    }
}
