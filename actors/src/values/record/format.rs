//! The stored form of a record. It is versioned JSON. A store *seals* it, which means that it encrypts and authenticates it,
//! before it writes it outside of the process.
//!
//! Only this module serializes secrets. The value types themselves have no serde. [`encode`] returns the JSON, for the
//! store to seal, in a buffer that wipes itself. [`decode`] reads unsealed JSON of any known format. An issuer's
//! entries have their own format, in [`entry`], with the same rules.
//!
//! The outermost member `format` is read first. It alone determines how the rest is read:
//!
//! - **[`CURRENT`]** is read strictly. Each member is present once, except `logins`, `server_named` and `settings`,
//!   which are left out while they are empty or `false`. No member may be unknown, and none may contradict another. An
//!   unknown member has an unknown meaning, and the next write would drop it, so the record is refused. A release that
//!   adds a member must raise [`CURRENT`].
//! - **An older format**, 2 to 4, is read by its own types, as strictly, and then converted to the current one. Reading
//!   writes nothing. The next change stores the record in the current format.
//! - **A newer format** is [`FormatError::Newer`], regardless of the other members.
//!
//! # Wiping
//!
//! If the input is undamaged, every copy of a secret that is made here is wiped before its memory is freed. When
//! writing, each secret is copied from its secret type to one buffer. The buffer has its final size before the first
//! secret is written to it, so no reallocation leaves a copy behind. When reading, each secret is copied from the
//! caller's bytes to its secret type. The caller wipes those bytes. A secret that would need escapes in JSON is stored
//! in hexadecimal digits instead (see `secret`), so the JSON parser never copies a secret to its own buffer.
//!
//! The stack, the registers, memory that the operating system pages out, and damaged input are not covered. If a secret
//! is in the place of another member, the reader may copy it into an error text. That text is never shown, but it is
//! freed unwiped.

pub mod entry;
mod members;
mod migrate;
mod read;
mod secret;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, Write};

use secrecy::{ExposeSecretMut, SecretBox, SecretSlice};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::Record;
use migrate::{Grant2, Grant3, Older, Record4};

/// The format that [`encode`] writes.
pub const CURRENT: u32 = 5;

/// The largest plaintext written or read, in bytes, of a record or of an issuer's entry. A record usually has a few
/// kilobytes. The limit leaves room for huge tokens.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The reason why a record or an issuer's entry was not written or read. It contains no part of the content.
///
/// A store reports [`Newer`](Self::Newer) as [`StoreFault::Newer`](crate::values::StoreFault::Newer),
/// [`NotJson`](Self::NotJson) and [`Damaged`](Self::Damaged) as
/// [`StoreFault::Unreadable`](crate::values::StoreFault::Unreadable), and the others as
/// [`StoreFault::Failed`](crate::values::StoreFault::Failed). It must not remove bytes that it could not read, because they
/// may be all that is left of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The record or entry is larger than [`MAX_BYTES`].
    #[error(
        "the record is larger than {MAX_BYTES} bytes: check the size of the tokens, scopes and metadata the \
         authorization server issues"
    )]
    TooLarge,
    /// The unsealed text is not JSON, or is not complete.
    #[error("the stored record is no JSON, or cut off: restore it, or remove it and sign in again")]
    NotJson,
    /// The stored record does not follow the format that it names.
    #[error("the stored record is damaged ({what}): restore it, or remove it and sign in again")]
    Damaged {
        /// The path of the wrong member, or `layout` when a member is missing, unknown or of the wrong type.
        what: &'static str,
    },
    /// A later version of this program wrote the record. It must stay as it is. Not even a login or a logout may
    /// migrate or overwrite it, because this version knows neither the meaning of its members nor where its epoch and
    /// revision are.
    #[error(
        "the stored record has format {found} and this version knows none above {known}: update this program; the \
         record was left as it is"
    )]
    Newer {
        /// The record's format.
        found: u32,
        /// The newest known format, [`CURRENT`] or [`entry::CURRENT`].
        known: u32,
    },
    /// The record to be written contradicts itself and could not be read back. Nothing was encoded, and the stored
    /// record should stay. This is a defect of the program.
    #[error("the record to be stored contradicts itself ({what}) and was not written: please report this")]
    Inconsistent {
        /// The path of the member that contradicts another.
        what: &'static str,
    },
}

/// Serializes `record` as JSON in the [`CURRENT`] format, for a store to seal. The bytes hold secrets, and are wiped when
/// dropped.
///
/// Durations are kept to the millisecond. A lifetime is rounded down, though never to zero, which would mean
/// *unknown*. A request's time-out is rounded up. The same record always gives the same bytes.
///
/// # Errors
///
/// [`FormatError::TooLarge`], and [`FormatError::Inconsistent`] for a record that [`decode`] would refuse.
pub fn encode(record: &Record) -> Result<SecretSlice<u8>, FormatError> {
    read::check(record).map_err(|what| FormatError::Inconsistent { what })?;
    plaintext(&members::Record::of(record))
}

/// Parses the unsealed bytes of a record, in the [`CURRENT`] or an older format. The caller wipes the bytes.
///
/// The record has a keyed digest beside each refresh token. The digest cannot be computed here without the store's key,
/// so this does not check whether the two belong together. The seal, which authenticates the record, ensures that they
/// do.
///
/// # Errors
///
/// Any [`FormatError`] except [`Inconsistent`](FormatError::Inconsistent). [`FormatError`] describes how a store treats
/// the bytes then.
pub fn decode(bytes: &[u8]) -> Result<Record, FormatError> {
    let members = match format_of(bytes)? {
        // Format 1 was never released.
        0 | 1 => return Err(FormatError::Damaged { what: "format" }),
        2 => parse::<Older<'_, Grant2<'_>>>(bytes)?.migrate(),
        3 => parse::<Older<'_, Grant3<'_>>>(bytes)?.migrate(),
        4 => parse::<Record4<'_>>(bytes)?.migrate(),
        CURRENT => parse(bytes)?,
        newer => return Err(FormatError::Newer { found: newer, known: CURRENT }),
    };
    let record = read::record(members).map_err(|what| FormatError::Damaged { what })?;
    read::check(&record).map_err(|what| FormatError::Damaged { what })?;
    Ok(record)
}

/// The only member that is read before the format is known. All other members are skipped.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

/// Returns the format that `bytes` are in.
fn format_of(bytes: &[u8]) -> Result<u32, FormatError> {
    if bytes.len() > MAX_BYTES {
        return Err(FormatError::TooLarge);
    }
    // Errors of the JSON reader are classified and then dropped, here and below, because they may quote their input.
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => FormatError::Damaged { what: "format" },
        Category::Syntax | Category::Eof | Category::Io => FormatError::NotJson,
    })?;
    Ok(envelope.format)
}

/// Parses a whole record in a format whose types are `T`. The envelope was readable, so any error is in the layout.
fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    serde_json::from_slice(bytes).map_err(|_| FormatError::Damaged { what: "layout" })
}

/// The JSON of `members`, in a buffer that wipes itself.
fn plaintext(members: &impl Serialize) -> Result<SecretSlice<u8>, FormatError> {
    let mut size = Size(0);
    write(members, &mut size)?;
    if size.0 > MAX_BYTES {
        return Err(FormatError::TooLarge);
    }
    // The buffer is boxed while it is all zeros. From here on it is the only buffer, it neither grows nor moves, and
    // it is wiped even when writing fails.
    let mut plaintext = SecretBox::new(vec![0; size.0].into_boxed_slice());
    write(members, &mut plaintext.expose_secret_mut())?;
    Ok(plaintext)
}

/// Serializes `members` to `to`. [`plaintext`] calls it twice, first with a [`Size`] that counts, and then with a buffer
/// of the counted size, so neither write fails.
fn write(members: &impl Serialize, to: &mut impl Write) -> Result<(), FormatError> {
    serde_json::to_writer(to, members).map_err(|_| FormatError::Inconsistent { what: "layout" })
}

/// Counts the written bytes and keeps none of them.
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
