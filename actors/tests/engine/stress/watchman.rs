//! Checks that refused leases are not served again.

use std::sync::Mutex;

use tokenkeeper_actors::values::{Generation, Lease};

/// The newest refusal of an identity that was answered, shared by all tasks.
#[derive(Debug, Default)]
pub(super) struct Watchman(Mutex<Option<Generation>>);

/// The newest refused generation at the time of a call.
pub(super) struct Floor(Option<Generation>);

impl Watchman {
    /// Notes that a refusal of `lease` was answered.
    pub(super) fn refused(&self, lease: &Lease) {
        let mut newest = self.0.lock().expect("nothing panics in here");
        if newest.is_none_or(|newest| lease.generation().supersedes(&newest)) {
            *newest = Some(lease.generation());
        }
    }

    /// The newest refused generation now.
    pub(super) fn floor(&self) -> Floor {
        Floor(*self.0.lock().expect("nothing panics in here"))
    }
}

impl Floor {
    pub(super) fn allows(&self, lease: &Lease) -> Result<(), String> {
        let generation = lease.generation();
        match self.0 {
            Some(floor) if !generation.supersedes(&floor) => {
                Err(format!("{generation} was handed out after a refusal of {floor} was answered"))
            }
            _ => Ok(()),
        }
    }
}
