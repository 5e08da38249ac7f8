//! How a runtime ended.

use crate::values::ServerIdentity;

/// What a shutdown left behind. Empty when everything was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a shutdown that could not save says so here and nowhere else"]
pub struct ShutdownReport {
    /// Identities whose newest tokens could not be saved: each will need a login.
    pub unsaved: Vec<Unsaved>,
    /// Identities whose flights had not ended by the deadline. They go on as long as their runtime does, and save what
    /// they obtain; if the process ends first, the next one recovers from the mark.
    pub unfinished: Vec<ServerIdentity>,
}

impl ShutdownReport {
    /// Whether everything was saved in time.
    pub fn is_clean(&self) -> bool {
        self.unsaved.is_empty() && self.unfinished.is_empty()
    }
}

/// A session whose newest tokens could not be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaved {
    /// Whose.
    pub identity: ServerIdentity,
    /// Whether the store at least says that the refresh token is spent: then nobody will ever present it again.
    pub noted: bool,
}
