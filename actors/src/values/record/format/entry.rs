//! The stored form of an issuer's entry. It is versioned JSON with its own format number, and is read and written by
//! the same rules as a record.
//!
//! It does not contain the entry's key. A store binds the [`IssuerKey`](crate::values::issuer::IssuerKey) to it when
//! sealing, so that one entry is never taken for another.
//!
//! A version that adds a member to a known kind raises the number. A version that adds a kind need not do so, because
//! older versions never ask for entries of an unknown kind.

mod members;
mod read;
#[cfg(test)]
mod tests;

use secrecy::SecretSlice;

use super::{FormatError, format_of, parse, plaintext};
use crate::values::issuer::IssuerEntry;

/// The format that [`encode`] writes.
pub const CURRENT: u32 = 1;

/// Serializes `entry` as JSON in the [`CURRENT`] format, for a store to seal. The bytes may hold secrets, and are wiped
/// when dropped.
///
/// `fresh_for` is rounded down to the millisecond. The same entry always gives the same bytes.
///
/// # Errors
///
/// [`FormatError::TooLarge`] for more than [`MAX_BYTES`](super::MAX_BYTES), and [`FormatError::Inconsistent`] for an
/// entry that [`decode`] would refuse.
pub fn encode(entry: &IssuerEntry) -> Result<SecretSlice<u8>, FormatError> {
    read::check(entry).map_err(|what| FormatError::Inconsistent { what })?;
    plaintext(&members::Entry::of(entry))
}

/// Parses the unsealed bytes of an entry. The caller wipes the bytes.
///
/// # Errors
///
/// Any [`FormatError`] but [`Inconsistent`](FormatError::Inconsistent). A store must leave bytes that cannot be read in
/// place. They are neither migrated nor overwritten.
pub fn decode(bytes: &[u8]) -> Result<IssuerEntry, FormatError> {
    let members = match format_of(bytes)? {
        0 => return Err(FormatError::Damaged { what: "format" }),
        CURRENT => parse(bytes)?,
        newer => return Err(FormatError::Newer { found: newer, known: CURRENT }),
    };
    let entry = read::entry(members).map_err(|what| FormatError::Damaged { what })?;
    read::check(&entry).map_err(|what| FormatError::Damaged { what })?;
    Ok(entry)
}
