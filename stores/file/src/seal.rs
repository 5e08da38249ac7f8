//! The layout of a sealed file.
//!
//! | bytes | contents |
//! |---|---|
//! | 11 | `tokenkeeper` |
//! | 1 | the version of this layout, 1 |
//! | 1 | the kind of contents, `R` for a record, `L` for a login, `I` for an issuer's entry |
//! | 4 | the header's length, little-endian |
//! | … | the header, namely a record's identity key, a login's end time, or an entry's key |
//! | 24 | a nonce, random for each write |
//! | … | the plaintext, sealed with XChaCha20-Poly1305, and its tag |
//!
//! The seal covers everything before the nonce as associated data, and with it the context that the file's place
//! implies. The layout has a version of its own. The record's own format is read after the file was opened.

use std::ops::Range;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{Tag, XNonce};
use zeroize::Zeroizing;

use crate::error::Trouble;
use crate::key::{Keys, fill};

/// The maximal size of a file beyond its plaintext.
pub(crate) const OVERHEAD: usize = 16 * 1024;

const MAGIC: &[u8; 11] = b"tokenkeeper";
const LAYOUT: u8 = 1;
const PREFIX: usize = MAGIC.len() + 2 + 4;
const NONCE: usize = 24;
const TAG: usize = 16;

/// The kinds of contents of a sealed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Record = b'R',
    Login = b'L',
    Entry = b'I',
}

/// An opened file. Its bytes are wiped when dropped.
pub(crate) struct Opened {
    bytes: Zeroizing<Vec<u8>>,
    plaintext: Range<usize>,
}

impl Opened {
    pub(crate) fn header(&self) -> &[u8] {
        &self.bytes[PREFIX..self.plaintext.start - NONCE]
    }

    pub(crate) fn plaintext(&self) -> &[u8] {
        &self.bytes[self.plaintext.clone()]
    }
}

/// Seals `plaintext`. Opening it requires the same `context`.
pub(crate) fn seal(
    keys: &Keys,
    kind: Kind,
    header: &[u8],
    context: &[u8],
    plaintext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let length = u32::try_from(header.len()).map_err(|_| Trouble::Damaged)?;
    // One buffer of the final size, in which the plaintext is sealed in place.
    let mut bytes = Zeroizing::new(Vec::with_capacity(PREFIX + header.len() + NONCE + plaintext.len() + TAG));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[LAYOUT, kind as u8]);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(header);
    let bound = [&bytes, context].concat();
    let mut nonce = [0; NONCE];
    if !fill(&mut nonce) {
        return Err(Trouble::NoRandomness);
    }
    bytes.extend_from_slice(&nonce);
    let start = bytes.len();
    bytes.extend_from_slice(plaintext);
    let tag = keys
        .cipher
        .encrypt_inout_detached(&XNonce::from(nonce), &bound, (&mut bytes[start..]).into())
        .map_err(|_| Trouble::Damaged)?;
    bytes.extend_from_slice(&tag);
    Ok(bytes)
}

/// Opens a file that [`seal`] made.
pub(crate) fn open(keys: &Keys, kind: Kind, context: &[u8], bytes: Zeroizing<Vec<u8>>) -> Result<Opened, Trouble> {
    let mut bytes = bytes;
    let header = header(kind, &bytes)?;
    let bound = [&bytes[..header.end], context].concat();
    let start = header.end + NONCE;
    let end = bytes.len().checked_sub(TAG).filter(|end| *end >= start).ok_or(Trouble::Damaged)?;
    let nonce: [u8; NONCE] = bytes[header.end..start].try_into().map_err(|_| Trouble::Damaged)?;
    let tag: [u8; TAG] = bytes[end..].try_into().map_err(|_| Trouble::Damaged)?;
    keys.cipher
        .decrypt_inout_detached(&XNonce::from(nonce), &bound, (&mut bytes[start..end]).into(), &Tag::from(tag))
        .map_err(|_| Trouble::Damaged)?;
    Ok(Opened { bytes, plaintext: start..end })
}

/// The position of the header in a file, of which the beginning is enough. The header is not authenticated here.
pub(crate) fn header(kind: Kind, bytes: &[u8]) -> Result<Range<usize>, Trouble> {
    let (layout, of) = match bytes.strip_prefix(MAGIC) {
        Some([layout, of, ..]) => (*layout, *of),
        _ => return Err(Trouble::Damaged),
    };
    match layout {
        0 => return Err(Trouble::Damaged),
        LAYOUT => {}
        _ => return Err(Trouble::Newer),
    }
    let length: [u8; 4] =
        bytes.get(PREFIX - 4..PREFIX).and_then(|bytes| bytes.try_into().ok()).ok_or(Trouble::Damaged)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| Trouble::Damaged)?;
    let end = PREFIX.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(Trouble::Damaged)?;
    if of == kind as u8 { Ok(PREFIX..end) } else { Err(Trouble::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::StoreKey;

    fn keys() -> Keys {
        Keys::new(&StoreKey::new([1; 32]), b"home")
    }

    fn sealed() -> Zeroizing<Vec<u8>> {
        seal(&keys(), Kind::Record, b"who", b"place", b"a secret").unwrap()
    }

    #[test]
    fn what_was_sealed_opens_and_no_two_seals_are_alike() {
        let opened = open(&keys(), Kind::Record, b"place", sealed()).ok().unwrap();
        assert_eq!((opened.header(), opened.plaintext()), (&b"who"[..], &b"a secret"[..]));
        assert_ne!(sealed(), sealed());
        let bytes = sealed();
        assert!(!bytes.windows(4).any(|piece| piece == b"secr"));
    }

    #[test]
    fn kind_context_key_and_every_byte_are_bound_in() {
        let other = Keys::new(&StoreKey::new([1; 32]), b"another");
        for (keys, kind, context) in [
            (&keys(), Kind::Login, &b"place"[..]),
            (&keys(), Kind::Entry, &b"place"[..]),
            (&keys(), Kind::Record, &b"plac"[..]),
            (&other, Kind::Record, &b"place"[..]),
        ] {
            assert_eq!(open(keys, kind, context, sealed()).err(), Some(Trouble::Damaged));
        }
        let bytes = sealed();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let why = open(&keys(), Kind::Record, b"place", changed).err();
                let layout = at == MAGIC.len();
                assert!(why == Some(Trouble::Damaged) || layout && why == Some(Trouble::Newer), "byte {at}: {why:?}");
            }
            let cut = Zeroizing::new(bytes[..at].to_vec());
            assert_eq!(open(&keys(), Kind::Record, b"place", cut).err(), Some(Trouble::Damaged));
        }
    }
}
