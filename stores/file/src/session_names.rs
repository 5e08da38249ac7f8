//! Short names of sessions, chosen by people. All of them are in one sealed file.

use std::collections::BTreeMap;

use tokenkeeper_actors::values::ServerIdentity;
use zeroize::Zeroizing;

use crate::error::{FileError, Trouble};
use crate::folder::Durability;
use crate::lock;
use crate::records::Place;
use crate::seal::{self, Kind};

/// The file, and its lock.
pub(crate) const FILE: &str = "names";

/// The maximal size of the file.
const MOST: usize = 4 * 1024 * 1024;

type Names = BTreeMap<String, ServerIdentity>;

/// Reads all names.
pub(crate) fn read(place: &Place) -> Result<Names, FileError> {
    let root = &place.home.root;
    let Some(bytes) = root.read(FILE, MOST)? else { return Ok(Names::new()) };
    let opened = seal::open(&place.keys, Kind::Names, &[], bytes).map_err(|trouble| root.error(trouble, FILE))?;
    let damaged = || root.error(Trouble::Damaged, FILE);
    let keys: BTreeMap<String, String> = serde_json::from_slice(opened.plaintext()).map_err(|_| damaged())?;
    let names = keys.into_iter().map(|(name, key)| Some((name, ServerIdentity::from_key(&key).ok()?)));
    names.collect::<Option<_>>().ok_or_else(damaged)
}

/// Gives `identity` this name, in place of its earlier one. Returns `false` if another identity has the name.
pub(crate) fn set(place: &Place, name: &str, identity: &ServerIdentity) -> Result<bool, FileError> {
    let _lock = lock::wait(&place.home.locks, FILE)?;
    let mut names = read(place)?;
    if let Some(owner) = names.get(name) {
        return Ok(owner == identity);
    }
    names.retain(|_, owner| owner != identity);
    names.insert(name.to_owned(), identity.clone());
    write(place, &names).map(|()| true)
}

/// Removes the name of `identity`. Returns whether it had one.
pub(crate) fn remove(place: &Place, identity: &ServerIdentity) -> Result<bool, FileError> {
    if place.home.root.stat(FILE)?.is_none() {
        return Ok(false);
    }
    let _lock = lock::wait(&place.home.locks, FILE)?;
    let mut names = read(place)?;
    let before = names.len();
    names.retain(|_, owner| owner != identity);
    let is_removed = names.len() < before;
    if is_removed {
        write(place, &names)?;
    }
    Ok(is_removed)
}

fn write(place: &Place, names: &Names) -> Result<(), FileError> {
    let root = &place.home.root;
    let keys: BTreeMap<&str, String> = names.iter().map(|(name, owner)| (name.as_str(), owner.key())).collect();
    let plaintext = serde_json::to_vec(&keys).map(Zeroizing::new).map_err(|_| root.error(Trouble::Aborted, FILE))?;
    let sealed = seal::seal(&place.keys, Kind::Names, &[], &[], &plaintext);
    root.replace(FILE, &sealed.map_err(|trouble| root.error(trouble, FILE))?, Durability::Durable)
}
