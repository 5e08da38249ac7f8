//! The report of a shutdown.

use crate::values::ServerIdentity;

/// The identities that a shutdown could not finish. Empty when everything was saved and revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "tokens that could not be saved are reported only here"]
pub struct ShutdownReport {
    /// Identities whose newest tokens could not be saved. Each needs a login.
    pub unsaved: Vec<Unsaved>,
    /// Identities whose flights had not ended by the deadline. These flights continue while their tokio runtime runs,
    /// and save the tokens they obtain. If the process ends first, the next one recovers from the mark.
    pub unfinished: Vec<ServerIdentity>,
    /// Identities that were logged out and whose tokens the server had not revoked by the deadline, because it had not
    /// answered. These tokens may still be valid.
    pub unrevoked: Vec<ServerIdentity>,
}

impl ShutdownReport {
    /// Whether everything was saved and revoked in time.
    pub fn is_clean(&self) -> bool {
        self.unsaved.is_empty() && self.unfinished.is_empty() && self.unrevoked.is_empty()
    }
}

/// A session whose newest tokens could not be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaved {
    /// The session's identity.
    pub identity: ServerIdentity,
    /// Whether the store holds the note that the refresh token is spent, so that it is never presented again.
    pub noted: bool,
}
