//! The names of identities' files.
//!
//! A file is named by a digest of its identity's key under a key of the home. The name has a fixed length for keys of up to
//! nine kilobytes. It is unambiguous on file systems that ignore case. It is safe to log, because without the home's key no
//! guess of an identity can be checked against it.
//!
//! The index maps names back to identities, with one sealed key on each line, so that listing reads no record. It only grows,
//! until most of its lines are of removed identities, and may be incomplete or outdated. An identity that is missing from it is
//! read from the record's header, and an identity without a record is not listed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base16ct::lower as hex;
use sha2::{Digest, Sha256};
use tokenkeeper_actors::values::ServerIdentity;

use crate::error::FileError;
use crate::folder::Durability;
use crate::home::Home;
use crate::key::Keys;
use crate::lock;
use crate::seal::{self, Kind};

/// The file of the index, and its lock.
pub(crate) const INDEX: &str = "index";

/// The maximal length of an identity's key, with some margin.
const KEY_MOST: u64 = 16 * 1024;

/// The size of an index in which no lines are counted, and the size of a line that is long enough for most identities.
const SLACK: u64 = 64 * 1024;
const LINE: u64 = 1024;

/// The name of an identity's files, or of an issuer's entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn of(keys: &Keys, identity: &ServerIdentity) -> Self {
        Self::of_key(keys, &identity.key())
    }

    pub(crate) fn of_key(keys: &Keys, key: &str) -> Self {
        Self(hex::encode_string(&keys.identity(key)))
    }

    /// The name that files of the identity with this key had in format 1, where digests used no key.
    pub(crate) fn unkeyed(key: &str) -> Self {
        Self(hex::encode_string(&Sha256::digest(key)))
    }

    /// The name of an issuer's entry, made of its key's digest.
    pub(crate) fn of_entry(digest: &[u8; 32]) -> Self {
        Self(hex::encode_string(digest))
    }

    /// The name of an identity or an entry, read from a file's name. `None` if the file has another name.
    pub(crate) fn read(file: &str) -> Option<Self> {
        hex::decode(file, &mut [0; 32]).is_ok_and(|hash| hash.len() == 32).then(|| Self(file.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The lock for writing the record.
    pub(crate) fn commit_lock(&self) -> String {
        [&self.0, ".commit"].concat()
    }

    /// The lock for writing the journal.
    pub(crate) fn journal_lock(&self) -> String {
        [&self.0, ".journal"].concat()
    }
}

/// The part of the index that this handle has read.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    identities: BTreeMap<Name, ServerIdentity>,
    /// The number of bytes read of the index.
    read: u64,
}

impl Names {
    /// The identities that have a record.
    pub(crate) fn list(&self, home: &Home, keys: &Keys) -> Result<Vec<ServerIdentity>, FileError> {
        let names: Vec<Name> = home.records.names()?.iter().filter_map(|file| Name::read(file)).collect();
        let mut known = self.known();
        known.read_on(home, keys)?;
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            match known.identities.get(&name) {
                Some(identity) => listed.push(identity.clone()),
                None => listed.extend(known.learn(home, keys, &name)?),
            }
        }
        Ok(listed)
    }

    /// The identity of this record, if it can be determined.
    pub(crate) fn whose(&self, home: &Home, keys: &Keys, name: &Name) -> Option<ServerIdentity> {
        let mut known = self.known();
        match known.identities.get(name) {
            Some(identity) => Some(identity.clone()),
            // The process that wrote the record has usually added it to the index before.
            None => {
                known.read_on(home, keys).ok()?;
                match known.identities.get(name) {
                    Some(identity) => Some(identity.clone()),
                    None => known.learn(home, keys, name).ok().flatten(),
                }
            }
        }
    }

    /// Adds an identity to the index before its first record is written.
    pub(crate) fn add(
        &self,
        home: &Home,
        keys: &Keys,
        name: &Name,
        identity: &ServerIdentity,
    ) -> Result<(), FileError> {
        let mut known = self.known();
        write(home, keys, &identity.key())?;
        known.identities.insert(name.clone(), identity.clone());
        Ok(())
    }

    /// Shortens the index after a record was removed, if most of its lines are of removed identities.
    pub(crate) fn shorten(&self, home: &Home, keys: &Keys) -> Result<(), FileError> {
        let mut known = self.known();
        let size = home.root.stat(INDEX)?.and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0);
        if size <= SLACK {
            return Ok(());
        }
        let present: BTreeSet<Name> = home.records.names()?.iter().filter_map(|file| Name::read(file)).collect();
        let records = u64::try_from(present.len()).unwrap_or(u64::MAX);
        if size <= SLACK.saturating_add(records.saturating_mul(LINE)) {
            return Ok(());
        }
        // Other handles notice that the index is shorter, or read the keys that they miss from the records.
        known.identities.retain(|name, _| present.contains(name));
        keep_present(home, keys, &present)
    }

    /// Discards the position in the index, because the file was replaced.
    pub(crate) fn forget(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Reads the lines that were added to the index since the last read.
    fn read_on(&mut self, home: &Home, keys: &Keys) -> Result<(), FileError> {
        let length = home.root.stat(INDEX)?.and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0);
        if length < self.read {
            *self = Self::default();
        }
        let Some(added) = home.root.read_part(INDEX, self.read, u64::MAX)? else { return Ok(()) };
        // An unfinished line is read the next time.
        let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += u64::try_from(whole).unwrap_or(0);
        for line in added[..whole].split(|byte| *byte == b'\n') {
            let sealed = hex::decode_vec(line).ok();
            let Some(key) = sealed.and_then(|sealed| seal::open_key(keys, Kind::Line, &sealed)) else { continue };
            if let Ok(identity) = ServerIdentity::from_key(&key) {
                self.identities.insert(Name::of_key(keys, &key), identity);
            }
        }
        Ok(())
    }

    /// Reads the identity from the record itself, and adds it to the index.
    fn learn(&mut self, home: &Home, keys: &Keys, name: &Name) -> Result<Option<ServerIdentity>, FileError> {
        let Some(bytes) = home.records.read_part(name.as_str(), 0, KEY_MOST)? else { return Ok(None) };
        let key = seal::key(keys, Kind::Record, &bytes);
        let Some(identity) = key.and_then(|key| ServerIdentity::from_key(&key).ok()) else {
            tracing::warn!(file = %home.records.path_of(name.as_str()).display(), "no telling whose record this is");
            return Ok(None);
        };
        // A record under another identity's name is not listed as that identity's.
        if Name::of(keys, &identity) != *name {
            return Ok(None);
        }
        if let Err(error) = write(home, keys, &identity.key()) {
            tracing::debug!(%error, "the index could not be mended");
        }
        self.identities.insert(name.clone(), identity.clone());
        Ok(Some(identity))
    }
}

/// Keeps one line of each identity that has a record.
fn keep_present(home: &Home, keys: &Keys, present: &BTreeSet<Name>) -> Result<(), FileError> {
    let _lock = lock::wait(&home.locks, INDEX)?;
    let Some(lines) = home.root.read_part(INDEX, 0, u64::MAX)? else { return Ok(()) };
    let (mut seen, mut kept) = (BTreeSet::new(), Vec::new());
    for line in lines.split(|byte| *byte == b'\n') {
        let key = hex::decode_vec(line).ok().and_then(|sealed| seal::open_key(keys, Kind::Line, &sealed));
        let Some(name) = key.map(|key| Name::of_key(keys, &key)) else { continue };
        if present.contains(&name) && seen.insert(name) {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    home.root.replace(INDEX, &kept, Durability::ThisBoot)
}

fn write(home: &Home, keys: &Keys, key: &str) -> Result<(), FileError> {
    let line = seal::seal_key(keys, Kind::Line, key).map_err(|trouble| home.root.error(trouble, INDEX))?;
    let _lock = lock::wait(&home.locks, INDEX)?;
    append_line(home.root.open_to_append(INDEX)?, &hex::encode_string(&line))
        .map_err(|error| home.root.io(&error, INDEX))
}

/// Appends a line. Starts a new line first if the last one was never finished. The caller holds the file's lock.
pub(crate) fn append_line(mut file: std::fs::File, line: &str) -> std::io::Result<()> {
    let mut text = String::with_capacity(line.len() + 2);
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    file.write_all(text.as_bytes())
}
