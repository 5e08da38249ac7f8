//! Which file belongs to which identity.
//!
//! A file is named by the SHA-256 of its identity's key: a name of fixed length for keys of up to nine kilobytes, equal
//! on file systems that do not tell capitals apart, and safe to log. The first eight digits are those that logs show
//! beside a shortened identity.
//!
//! The way back is the index, one key a line, so that listing reads no record. It only ever grows, and is no authority:
//! what it does not know is read from the record's header, and what has no record is not listed.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base16ct::lower as hex;
use sha2::{Digest, Sha256};
use tokenkeeper_actors::values::ServerIdentity;

use crate::error::FileError;
use crate::home::Home;
use crate::{lock, seal};

/// The index's own file, and its lock.
const INDEX: &str = "identities";

/// The longest key of an identity there is, with some room.
const KEY_MOST: u64 = 16 * 1024;

/// The name of an identity's files, or of an issuer's entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn of(identity: &ServerIdentity) -> Self {
        Self::of_key(&identity.key())
    }

    fn of_key(key: &str) -> Self {
        Self(hex::encode_string(&Sha256::digest(key)))
    }

    /// The name of an issuer's entry, of the digest of its key.
    pub(crate) fn of_entry(digest: &[u8; 32]) -> Self {
        Self(hex::encode_string(digest))
    }

    /// The name that a file has, if it is one.
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

/// What is known of the index.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    identities: BTreeMap<Name, ServerIdentity>,
    /// How far the index was read.
    read: u64,
}

impl Names {
    /// The identities that have a record.
    pub(crate) fn list(&self, home: &Home) -> Result<Vec<ServerIdentity>, FileError> {
        let names: Vec<Name> = home.records.names()?.iter().filter_map(|file| Name::read(file)).collect();
        let mut known = self.known();
        known.read_on(home)?;
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            match known.identities.get(&name) {
                Some(identity) => listed.push(identity.clone()),
                None => listed.extend(known.learn(home, &name)?),
            }
        }
        Ok(listed)
    }

    /// The identity whose record this is, as far as that can be known.
    pub(crate) fn whose(&self, home: &Home, name: &Name) -> Option<ServerIdentity> {
        let mut known = self.known();
        match known.identities.get(name) {
            Some(identity) => Some(identity.clone()),
            // Whoever wrote the record has written this down before, as a rule.
            None => {
                known.read_on(home).ok()?;
                match known.identities.get(name) {
                    Some(identity) => Some(identity.clone()),
                    None => known.learn(home, name).ok().flatten(),
                }
            }
        }
    }

    /// Takes an identity up that is about to get its first record.
    pub(crate) fn add(&self, home: &Home, name: &Name, identity: &ServerIdentity) -> Result<(), FileError> {
        let mut known = self.known();
        write(home, &identity.key())?;
        known.identities.insert(name.clone(), identity.clone());
        Ok(())
    }

    /// Forgets how far the index was read: it is another one.
    pub(crate) fn forget(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Reads what was added to the index since.
    fn read_on(&mut self, home: &Home) -> Result<(), FileError> {
        let length = home.root.stat(INDEX)?.and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0);
        if length < self.read {
            *self = Self::default();
        }
        let Some(added) = home.root.read_part(INDEX, self.read, u64::MAX)? else { return Ok(()) };
        // A line that somebody is still writing is read the next time.
        let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += u64::try_from(whole).unwrap_or(0);
        for line in added[..whole].split(|byte| *byte == b'\n') {
            let key = std::str::from_utf8(line).unwrap_or_default();
            if let Ok(identity) = ServerIdentity::from_key(key) {
                self.identities.insert(Name::of_key(key), identity);
            }
        }
        Ok(())
    }

    /// Reads whose a record is from the record itself, and writes it down for the next time.
    fn learn(&mut self, home: &Home, name: &Name) -> Result<Option<ServerIdentity>, FileError> {
        let Some(bytes) = home.records.read_part(name.as_str(), 0, KEY_MOST)? else { return Ok(None) };
        let key = seal::header(seal::Kind::Record, &bytes).ok().and_then(|at| std::str::from_utf8(&bytes[at]).ok());
        let Some(identity) = key.and_then(|key| ServerIdentity::from_key(key).ok()) else {
            tracing::warn!(file = %home.records.path_of(name.as_str()).display(), "no telling whose record this is");
            return Ok(None);
        };
        // A record that lies under another's name is not listed as that other's.
        if Name::of(&identity) != *name {
            return Ok(None);
        }
        if let Err(error) = write(home, &identity.key()) {
            tracing::debug!(%error, "the index could not be mended");
        }
        self.identities.insert(name.clone(), identity.clone());
        Ok(Some(identity))
    }
}

fn write(home: &Home, key: &str) -> Result<(), FileError> {
    let _lock = lock::wait(&home.locks, INDEX)?;
    append_line(home.root.open_to_append(INDEX)?, key).map_err(|error| home.root.io(&error, INDEX))
}

/// Adds a line, on a line of its own even where the last one was never finished. Whoever calls holds the file's lock.
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
