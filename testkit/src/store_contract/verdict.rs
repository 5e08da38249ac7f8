//! Verdicts that only checks of stores need.

use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_actors::values::record::Record;

pub(super) use crate::contract::{Breach, ensure, same};

/// A store under test has no reason to fail, so every fault is a breach.
impl From<StoreFault> for Breach {
    fn from(fault: StoreFault) -> Self {
        Self::new(format!("an operation failed: {fault}"))
    }
}

/// Returns a breach unless both records are the same, secrets included. It also compares the refresh token itself,
/// which `Record`'s own equality leaves to its digest.
pub(super) fn same_record(what: &str, got: Option<&Record>, due: Option<&Record>) -> Result<(), Breach> {
    same(what, got, due)?;
    let token = |record: Option<&Record>| record?.held().map(|held| held.credential.token().clone());
    ensure(token(got) == token(due), || format!("{what} holds another refresh token under the same digest"))
}
