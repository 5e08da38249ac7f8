//! The layout of a sealed file.
//!
//! | bytes | contents |
//! |---|---|
//! | 11 | `tokenkeeper` |
//! | 1 | the version of the layout, 2 for records and entries, 1 for the others |
//! | 1 | the kind of contents, `R` for a record, `L` for a login, `I` for an issuer's entry, `H` for a hint, `S` for the names of sessions |
//! | 4 | the header's length, little-endian |
//! | … | the header, namely a record's identity key or an entry's key, sealed, or a login's end time |
//! | 24 | a nonce, random for each write |
//! | … | the plaintext, sealed with XChaCha20-Poly1305, and its tag |
//!
//! The seal also covers, as associated data, everything before the nonce and the context that the file's name implies. The
//! version of the layout is independent of the record's format, which is read after the file was opened.
//!
//! A sealed key consists of a nonce, the key sealed as above, and its tag. The key can thus be read without opening the whole
//! file. In layout 1 the keys of records and entries were not sealed.

use std::ops::Range;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{Tag, XNonce};
use zeroize::Zeroizing;

use crate::error::Trouble;
use crate::key::{Keys, fill};

/// The maximal size of a file beyond its plaintext.
pub(crate) const OVERHEAD: usize = 16 * 1024;

const MAGIC: &[u8; 11] = b"tokenkeeper";
/// The newest layout of any kind.
const NEWEST: u8 = 2;
/// The layout of records and entries in which their keys were not sealed.
pub(crate) const CLEAR: u8 = 1;
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
    Hint = b'H',
    Names = b'S',
    /// A line of the index, which has no header and no layout version.
    Line = b'N',
}

impl Kind {
    /// The version of the layout for new files.
    pub(crate) fn layout(self) -> u8 {
        match self {
            Self::Record | Self::Entry => 2,
            Self::Login | Self::Hint | Self::Names | Self::Line => 1,
        }
    }
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
    // The buffer has the final size, and the plaintext is sealed in place, so that no copies of it are left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(PREFIX + header.len() + NONCE + plaintext.len() + TAG));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[kind.layout(), kind as u8]);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(header);
    let bound = [&bytes, context].concat();
    append(keys, &bound, plaintext, &mut bytes)?;
    Ok(bytes)
}

/// Appends a nonce, the sealed `plaintext`, and its tag. `bytes` has room for them.
fn append(keys: &Keys, bound: &[u8], plaintext: &[u8], bytes: &mut Vec<u8>) -> Result<(), Trouble> {
    let mut nonce = [0; NONCE];
    if !fill(&mut nonce) {
        return Err(Trouble::NoRandomness);
    }
    bytes.extend_from_slice(&nonce);
    let start = bytes.len();
    bytes.extend_from_slice(plaintext);
    let tag = keys
        .cipher
        .encrypt_inout_detached(&XNonce::from(nonce), bound, (&mut bytes[start..]).into())
        .map_err(|_| Trouble::Damaged)?;
    bytes.extend_from_slice(&tag);
    Ok(())
}

/// Seals a key for the header of a file of this kind, or for the index.
pub(crate) fn seal_key(keys: &Keys, kind: Kind, key: &str) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::with_capacity(NONCE + key.len() + TAG);
    append(keys, &[b"key", &[kind as u8][..]].concat(), key.as_bytes(), &mut bytes)?;
    Ok(bytes)
}

/// Opens a key that [`seal_key`] sealed.
pub(crate) fn open_key(keys: &Keys, kind: Kind, bytes: &[u8]) -> Option<String> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
    let (sealed, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut key = sealed.to_vec();
    let bound = [b"key", &[kind as u8][..]].concat();
    let opened =
        keys.cipher.decrypt_inout_detached(&XNonce::from(*nonce), &bound, key.as_mut_slice().into(), &Tag::from(*tag));
    opened.ok().and_then(|()| String::from_utf8(key).ok())
}

/// The same file with a sealed key in the place of its header, which ends at `end`. It is for files whose contents cannot be
/// opened, neither before nor afterwards.
pub(crate) fn with_sealed_key(
    keys: &Keys,
    kind: Kind,
    key: &str,
    end: usize,
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let header = seal_key(keys, kind, key)?;
    let length = u32::try_from(header.len()).map_err(|_| Trouble::Damaged)?;
    let layout = [kind.layout(), kind as u8];
    let parts = [&MAGIC[..], &layout, &length.to_le_bytes(), &header, bytes.get(end..).unwrap_or_default()];
    Ok(Zeroizing::new(parts.concat()))
}

/// Opens a file that [`seal`] made.
pub(crate) fn open(keys: &Keys, kind: Kind, context: &[u8], bytes: Zeroizing<Vec<u8>>) -> Result<Opened, Trouble> {
    open_layout(keys, kind, kind.layout(), context, bytes)
}

/// Opens a file of this layout.
pub(crate) fn open_layout(
    keys: &Keys,
    kind: Kind,
    layout: u8,
    context: &[u8],
    mut bytes: Zeroizing<Vec<u8>>,
) -> Result<Opened, Trouble> {
    let header = header(kind, layout, &bytes)?;
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

/// The position of the header in a file. The beginning of the file is enough. The header is not authenticated here.
pub(crate) fn header(kind: Kind, layout: u8, bytes: &[u8]) -> Result<Range<usize>, Trouble> {
    let (found, of) = match bytes.strip_prefix(MAGIC) {
        Some([layout, of, ..]) => (*layout, *of),
        _ => return Err(Trouble::Damaged),
    };
    if found > NEWEST {
        return Err(Trouble::Newer);
    }
    let length: [u8; 4] =
        bytes.get(PREFIX - 4..PREFIX).and_then(|bytes| bytes.try_into().ok()).ok_or(Trouble::Damaged)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| Trouble::Damaged)?;
    let end = PREFIX.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(Trouble::Damaged)?;
    if (of, found) == (kind as u8, layout) { Ok(PREFIX..end) } else { Err(Trouble::Damaged) }
}

/// The key in the header of a file of this kind, opened. The beginning of the file is enough.
pub(crate) fn key(keys: &Keys, kind: Kind, bytes: &[u8]) -> Option<String> {
    header(kind, kind.layout(), bytes).ok().and_then(|at| open_key(keys, kind, &bytes[at]))
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
                let newer = layout && bytes[at] ^ (1 << bit) > NEWEST;
                assert_eq!(why == Some(Trouble::Newer), newer, "byte {at}");
            }
            let cut = Zeroizing::new(bytes[..at].to_vec());
            assert_eq!(open(&keys(), Kind::Record, b"place", cut).err(), Some(Trouble::Damaged));
        }
    }
    #[test]
    fn a_sealed_key_opens_under_its_own_kind_and_shows_nothing() {
        let sealed = seal_key(&keys(), Kind::Record, "mcp:https://host/secret").unwrap();
        assert!(!sealed.windows(3).any(|piece| piece == b"mcp"));
        assert_ne!(sealed, seal_key(&keys(), Kind::Record, "mcp:https://host/secret").unwrap());
        assert_eq!(open_key(&keys(), Kind::Record, &sealed).as_deref(), Some("mcp:https://host/secret"));
        assert_eq!(open_key(&keys(), Kind::Line, &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open_key(&keys(), Kind::Record, &changed), None, "byte {at}");
            assert_eq!(open_key(&keys(), Kind::Record, &sealed[..at]), None, "{at} bytes");
        }
    }
}
