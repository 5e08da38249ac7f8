//! The capability of a child process, which is the secret that it repeats with each request.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::ClientSecret;

/// 256 random bits that one child shares with its host. `Debug` does not show them. They are wiped on drop and compared in
/// constant time, like the secret of a client.
#[derive(Debug)]
pub(super) struct Capability(ClientSecret);

impl Capability {
    /// Draws a capability from the operating system's randomness.
    #[expect(clippy::disallowed_methods, reason = "the driver's own randomness, for secrets")]
    pub(super) fn draw() -> io::Result<Self> {
        let mut bits = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bits).map_err(io::Error::other)?;
        Ok(Self(ClientSecret::new(URL_SAFE_NO_PAD.encode(*bits))))
    }

    /// The text for the child's environment, 43 characters long.
    pub(super) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether `given` is this capability.
    pub(super) fn is(&self, given: &ClientSecret) -> bool {
        self.0 == *given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_is_another_and_shows_nothing() {
        let (one, other) = (Capability::draw().unwrap(), Capability::draw().unwrap());
        assert_eq!((one.expose().len(), other.expose().len()), (43, 43));
        assert!(one.is(&ClientSecret::new(one.expose())) && !one.is(&ClientSecret::new(other.expose())));
        assert!(!one.is(&ClientSecret::new("")) && !one.is(&ClientSecret::new(&one.expose()[..42])));
        assert!(!format!("{one:?}").contains(one.expose()));
    }
}
