//! The removal of what is stored of an identity (law 12).

use super::Conflict;
use crate::values::Version;
use crate::values::record::{Content, Record};

/// Decides whether everything that is stored of an identity may be removed.
///
/// Only the tombstone that the caller has read may be removed, while no person is asked to sign in. Afterwards the identity has
/// no record. A result that was obtained for its earlier record applies to none, with one exception. A source that needs no
/// login makes its record with its first token, so a token that was requested before the removal makes one again.
///
/// # Errors
///
/// Returns [`Conflict::Moved`] if there is no such tombstone, so that nothing is removed.
pub fn remove(current: Option<&Record>, expected: Version) -> Result<(), Conflict> {
    let is_over = |record: &&Record| record.content == Content::Tombstone && record.prompt.is_none();
    match current.filter(is_over) {
        Some(record) if record.version() == expected => Ok(()),
        _ => Err(Conflict::Moved),
    }
}
