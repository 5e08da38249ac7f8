//! What is particular to stores in what a check finds.

use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_actors::values::record::Record;

pub(super) use crate::contract::{Breach, ensure, same};

/// A store under test has no reason to fail.
impl From<StoreFault> for Breach {
    fn from(fault: StoreFault) -> Self {
        Self::new(format!("an operation failed: {fault}"))
    }
}

/// A breach, unless both records are the same to the last secret: the refresh token itself is compared too, which
/// `Record`'s own equality leaves to its digest.
pub(super) fn same_record(what: &str, got: Option<&Record>, due: Option<&Record>) -> Result<(), Breach> {
    same(what, got, due)?;
    let token = |record: Option<&Record>| record?.held().map(|held| held.credential.token().clone());
    ensure(token(got) == token(due), || format!("{what} holds another refresh token under the same digest"))
}
