//! The stored form of an issuer's entry. It is versioned JSON with a format number of its own, read and written by the
//! rules of a record's.
//!
//! It does not contain the entry's key. A store binds the [`IssuerKey`](crate::values::issuer::IssuerKey) to it when
//! sealing, so that one entry never passes for another.
//!
//! A version that adds a member to a known kind raises the number. A version that adds a kind need not, because older
//! versions never ask for entries of an unknown kind.

mod read;
#[cfg(test)]
mod tests;
mod wire;

use secrecy::SecretSlice;

use super::{FormatError, format_of, parse, plaintext};
use crate::values::issuer::IssuerEntry;

/// The format that [`encode`] writes.
pub const CURRENT: u32 = 1;

/// The plaintext of `entry`'s sealed form, in the [`CURRENT`] format. It may hold secrets, and is wiped when dropped.
///
/// `fresh_for` is rounded down to the millisecond. The same entry always gives the same bytes.
///
/// # Errors
///
/// [`FormatError::TooLarge`] for more than [`MAX_BYTES`](super::MAX_BYTES), and [`FormatError::Inconsistent`] for an
/// entry that [`decode`] would refuse.
pub fn encode(entry: &IssuerEntry) -> Result<SecretSlice<u8>, FormatError> {
    read::check(entry).map_err(|what| FormatError::Inconsistent { what })?;
    plaintext(&wire::Entry::of(entry))
}

/// The entry whose sealed form held these bytes. The caller wipes the bytes.
///
/// # Errors
///
/// Any [`FormatError`] but [`Inconsistent`](FormatError::Inconsistent). Bytes that cannot be read stay where they are.
/// They are neither migrated nor overwritten.
pub fn decode(bytes: &[u8]) -> Result<IssuerEntry, FormatError> {
    let wire = match format_of(bytes)? {
        0 => return Err(FormatError::Damaged { what: "format" }),
        CURRENT => parse(bytes)?,
        newer => return Err(FormatError::Newer { found: newer, known: CURRENT }),
    };
    let entry = read::entry(wire).map_err(|what| FormatError::Damaged { what })?;
    read::check(&entry).map_err(|what| FormatError::Damaged { what })?;
    Ok(entry)
}
