//! Issuers' entries. Each is a sealed file in a folder that the first write makes.
//!
//! A file is named by a digest of its entry's key under a key of the home, so a name in a log confirms no guess of an
//! issuer. The file's header holds the entry's key, sealed, and the seal covers the header. A file under another name is
//! refused.

use tokenkeeper_actors::law::ledger::{EntryChange, EntryChanged, apply_entry};
use tokenkeeper_actors::values::issuer::format::{decode, encode};
use tokenkeeper_actors::values::issuer::{IssuerEntry, IssuerKey};
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::record::format::{FormatError, MAX_BYTES};

use secrecy::ExposeSecret;

use crate::error::{FileError, Trouble};
use crate::folder::{Durability, Folder};
use crate::lock;
use crate::names::Name;
use crate::records::Place;
use crate::seal::{self, Kind};

/// The lock for writing any entry. One lock is enough, because entries are seldom written, and a write takes milliseconds.
pub(crate) const LOCK: &str = "issuers";

/// The maximal length of an entry's key, which is an issuer and a registration's name, percent-encoded.
const MAX_KEY: usize = 40 * 1024;

/// The maximal size of a file.
const MAX_FILE: usize = MAX_BYTES + MAX_KEY + seal::OVERHEAD;

/// Reads the entry under `key`. Returns `None` where there never was one.
pub(crate) fn load(place: &Place, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, FileError> {
    let Some(folder) = place.home.issuers()? else { return Ok(None) };
    let key = key.key();
    let name = name_of(place, &key);
    let Some(bytes) = folder.read(name.as_str(), MAX_FILE)? else { return Ok(None) };
    let wrong = |trouble| folder.error(trouble, name.as_str());
    let opened = seal::open(&place.keys, Kind::Entry, &[], bytes).map_err(wrong)?;
    if seal::open_key(&place.keys, Kind::Entry, opened.header()).is_none_or(|header| header != key) {
        return Err(wrong(Trouble::Foreign));
    }
    let entry = decode(opened.plaintext()).map_err(|error| wrong(error.into()))?;
    Ok(Some(Box::new(entry)))
}

/// Reads, applies and writes the entry as one step for all processes.
pub(crate) fn change(place: &Place, issuer: &Issuer, change: &EntryChange) -> Result<EntryChanged, FileError> {
    let key = IssuerKey { issuer: issuer.clone(), kind: change.kind() };
    let _lock = lock::wait(&place.home.locks, LOCK)?;
    let before = load(place, &key)?;
    let Ok(after) = apply_entry(before.as_deref(), change) else { return Ok(EntryChanged::Conflict(before)) };
    let folder = place.home.make_issuers()?;
    let key = key.key();
    let name = name_of(place, &key);
    let wrong = |trouble| folder.error(trouble, name.as_str());
    if key.len() > MAX_KEY {
        return Err(wrong(FormatError::TooLarge.into()));
    }
    let plaintext = encode(&after).map_err(|error| wrong(error.into()))?;
    let header = seal::seal_key(&place.keys, Kind::Entry, &key).map_err(wrong)?;
    let sealed = seal::seal(&place.keys, Kind::Entry, &header, &[], plaintext.expose_secret()).map_err(wrong)?;
    folder.replace(name.as_str(), &sealed, Durability::Durable)?;
    Ok(EntryChanged::Applied(Box::new(after)))
}

/// The keys of all entries. Opens no entry.
pub(crate) fn list(place: &Place) -> Result<Vec<IssuerKey>, FileError> {
    let Some(folder) = place.home.issuers()? else { return Ok(Vec::new()) };
    let names = folder.names()?;
    let keys = names.iter().filter_map(|file| key_of(place, &folder, &Name::read(file)?).transpose());
    keys.collect()
}

/// The key that the header of the file `name` states, if it can be read.
pub(crate) fn whose(place: &Place, name: &Name) -> Option<IssuerKey> {
    let folder = place.home.issuers().ok()??;
    key_of(place, &folder, name).ok()?
}

fn key_of(place: &Place, folder: &Folder, name: &Name) -> Result<Option<IssuerKey>, FileError> {
    let most = u64::try_from(MAX_KEY + seal::OVERHEAD).unwrap_or(u64::MAX);
    let Some(bytes) = folder.read_part(name.as_str(), 0, most)? else { return Ok(None) };
    let key = seal::key(&place.keys, Kind::Entry, &bytes);
    // A file whose header names the key of another file is not listed.
    let key = key.filter(|key| name_of(place, key) == *name).and_then(|key| IssuerKey::from_key(&key).ok());
    if key.is_none() {
        // The file is damaged, or its kind belongs to a later version.
        tracing::debug!(file = %folder.path_of(name.as_str()).display(), "the file names no entry of a known kind");
    }
    Ok(key)
}

pub(crate) fn name_of(place: &Place, key: &str) -> Name {
    Name::of_entry(&place.keys.entry(key))
}

#[cfg(test)]
mod tests;
