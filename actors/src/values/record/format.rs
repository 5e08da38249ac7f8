//! The stored form of a record: versioned JSON, which a store seals before it leaves the process.
//!
//! This is the one room where secrets are serialized; the value types themselves have no serde. [`encode`] gives the
//! plaintext of the sealed form in a buffer that wipes itself, [`decode`] reads it back, whatever known format it is in.
//! An issuer's entries have a format of their own, in [`entry`], with the same rules.
//!
//! The outermost member `format` is read first, and it alone decides who may read the rest:
//!
//! - **[`CURRENT`]** is read strictly: each member present once, none unknown, no contradiction between them. A member
//!   we do not know was written by somebody we do not understand; our next write would drop it, so the record is
//!   refused instead. Whoever adds a member raises the number.
//! - **The previous format** is read as strictly by its own types, then made the current one. Nothing is
//!   written by that: the record is stored in the current format with its next change.
//! - **A newer format** is [`FormatError::Newer`], whatever else is in there.
//!
//! # What is wiped
//!
//! Nothing here copies a secret to a place that is freed unwiped, as long as what is read is undamaged. Written, a
//! secret goes from its own type straight to a buffer which was given its final size while it held only zeros, so it
//! never grows and moves. Read, it goes from the caller's bytes (the caller's to wipe) straight into its own type: a
//! secret is never escaped, so the JSON reader needs no scratch space for it.
//!
//! Not covered: the stack and registers, what the operating system pages out, and damaged input. Where a secret stands
//! in a place that is for something else, the reader may copy it into an error text; that text is never shown, but it
//! is freed unwiped.

pub mod entry;
mod migrate;
mod read;
mod secret;
#[cfg(test)]
mod tests;
mod wire;
mod words;

use std::io::{self, Write};

use secrecy::{ExposeSecretMut, SecretBox, SecretSlice};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::Record;

/// The format that [`encode`] writes.
pub const CURRENT: u32 = 3;

/// The largest plaintext written or read, in bytes, of a record or of an issuer's entry. A record is a few kilobytes; the
/// rest is room for huge tokens.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Why a record or an issuer's entry was not written or read. Nothing of its content is in here.
///
/// Whatever the error, bytes that could not be read may be all that is left of a login: report them as
/// [`StoreFault::Unreadable`](crate::values::StoreFault::Unreadable) and leave them where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// It is larger than [`MAX_BYTES`].
    #[error(
        "the record is larger than {MAX_BYTES} bytes: check the size of the tokens, scopes and metadata the \
         authorization server issues"
    )]
    TooLarge,
    /// What was unsealed is no JSON, or not the whole of it.
    #[error("the stored record is no JSON, or cut off: restore it, or remove it and sign in again")]
    NotJson,
    /// The stored record is no record of the format it claims to be.
    #[error("the stored record is damaged ({what}): restore it, or remove it and sign in again")]
    Damaged {
        /// The path of the member that is wrong; `layout` when a member is missing, unknown or of the wrong type.
        what: &'static str,
    },
    /// A later version of this program wrote the record. It must stay as it is: not migrated, not overwritten, not by
    /// a login or a logout either, because what its members mean, and where its counters stand, is not known here.
    #[error(
        "the stored record has format {found} and this version knows none above {known}: update this program; the \
         record was left as it is"
    )]
    Newer {
        /// The record's format.
        found: u32,
        /// The newest format known: [`CURRENT`], or [`entry::CURRENT`].
        known: u32,
    },
    /// The record to be written contradicts itself and could not be read back. Nothing was encoded; what is stored
    /// should stay. This is a defect of the program.
    #[error("the record to be stored contradicts itself ({what}) and was not written: please report this")]
    Inconsistent {
        /// The path of the member that contradicts another.
        what: &'static str,
    },
}

/// The plaintext of `record`'s sealed form, in the [`CURRENT`] format. It is full of secrets, and wiped when dropped.
///
/// Spans are kept to the millisecond: a lifetime is rounded down (though never to nothing, which would mean
/// *unknown*), a request's time-out up. The same record always gives the same bytes.
///
/// # Errors
///
/// [`FormatError::TooLarge`], and [`FormatError::Inconsistent`] for a record that [`decode`] would refuse.
pub fn encode(record: &Record) -> Result<SecretSlice<u8>, FormatError> {
    read::check(record).map_err(|what| FormatError::Inconsistent { what })?;
    plaintext(&wire::Record::of(record))
}

/// The record whose sealed form held these bytes, in the [`CURRENT`] or the previous format. The bytes stay the caller's
/// to wipe.
///
/// That a refresh token belongs to the digest beside it cannot be checked without the store's key: the seal vouches
/// for that.
///
/// # Errors
///
/// Any [`FormatError`] but [`Inconsistent`](FormatError::Inconsistent). See there for what a caller must not do then.
pub fn decode(bytes: &[u8]) -> Result<Record, FormatError> {
    let wire = match number(bytes)? {
        // Format 1 was never released.
        0 | 1 => return Err(FormatError::Damaged { what: "format" }),
        2 => migrate::two_to_three(layout(bytes)?),
        CURRENT => layout(bytes)?,
        newer => return Err(FormatError::Newer { found: newer, known: CURRENT }),
    };
    let record = read::record(wire).map_err(|what| FormatError::Damaged { what })?;
    read::check(&record).map_err(|what| FormatError::Damaged { what })?;
    Ok(record)
}

/// All that is read of a record before it is known who can read it. Every other member, of whatever shape, is skipped.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

/// The number of the format that `bytes` are in.
fn number(bytes: &[u8]) -> Result<u32, FormatError> {
    if bytes.len() > MAX_BYTES {
        return Err(FormatError::TooLarge);
    }
    // Errors of the JSON reader are told apart and then dropped, here and below: they may quote their input.
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => FormatError::Damaged { what: "format" },
        Category::Syntax | Category::Eof | Category::Io => FormatError::NotJson,
    })?;
    Ok(envelope.format)
}

/// All of a record, in a format whose types are `T`. The envelope was read, so whatever does not fit is in the layout.
fn layout<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    serde_json::from_slice(bytes).map_err(|_| FormatError::Damaged { what: "layout" })
}

/// The JSON of `wire`, in a buffer that wipes itself.
fn plaintext(wire: &impl Serialize) -> Result<SecretSlice<u8>, FormatError> {
    let mut size = Size(0);
    write(wire, &mut size)?;
    if size.0 > MAX_BYTES {
        return Err(FormatError::TooLarge);
    }
    // Boxed while it is all zeros: from here on there is one buffer, which neither grows nor moves, and is wiped even
    // when writing fails.
    let mut plaintext = SecretBox::new(vec![0; size.0].into_boxed_slice());
    write(wire, &mut plaintext.expose_secret_mut())?;
    Ok(plaintext)
}

/// Neither target of this can fail, the second one having the size that the first one found.
fn write(wire: &impl Serialize, to: &mut impl Write) -> Result<(), FormatError> {
    serde_json::to_writer(to, wire).map_err(|_| FormatError::Inconsistent { what: "layout" })
}

/// Counts what is written, and keeps nothing of it.
struct Size(usize);

impl Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
