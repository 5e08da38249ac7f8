//! The content of the file, which is a redb database. Each kind of entry (families, persons, consents) has a table by key and one
//! by expiry. A further table has the format and the last revision.

use std::fs::File;
use std::io;

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, Table,
    TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use tokenkeeper::engine::values::WallTime;

use super::Trouble;
use super::owner::Write;
use crate::store::{Bounds, Counts, Entry, Expiring, Key, Revision, Stored, Swapped};

/// The format that this version writes. It grows with each change that an earlier version cannot read.
const FORMAT: u64 = 1;

/// The maximum number of expired entries of each kind that one change removes. It is more than one, so
/// that the expired entries become fewer even if each change adds an entry.
pub(super) const MAX_REMOVED: usize = 16;

/// The size of the cache for pages of the file, in bytes.
const CACHE: usize = 16 * 1024 * 1024;

/// The table with the format and the last revision.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT_ENTRY: &str = "format";
const LAST_REVISION: &str = "last revision";

/// A table of entries by their keys.
type ByKey = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// A table of keys by the expiry of their entries, in milliseconds of wall time.
type ByEnd = TableDefinition<'static, (u64, &'static [u8]), ()>;

/// The tables of families, persons and consents.
const TABLES: [(ByKey, ByEnd); 3] = [
    (TableDefinition::new("families"), TableDefinition::new("ends of families")),
    (TableDefinition::new("persons"), TableDefinition::new("ends of persons")),
    (TableDefinition::new("consents"), TableDefinition::new("ends of consents")),
];

/// An entry as it is stored.
#[derive(Serialize, Deserialize)]
struct Held {
    #[serde(rename = "r")]
    revision: u64,
    /// In milliseconds of wall time.
    #[serde(rename = "e")]
    expires: u64,
    #[serde(rename = "v")]
    entry: Entry,
}

/// The entries of an open file.
#[derive(Debug)]
pub(super) struct Entries {
    database: Database,
    /// The maximum numbers of entries, in the order of [`TABLES`].
    bounds: [usize; 3],
}

impl Entries {
    pub(super) fn open(file: File, bounds: Bounds) -> Result<Self, Trouble> {
        let backend = redb::backends::FileBackend::new(file).map_err(Trouble::from)?;
        Self::over(backend, bounds)
    }

    /// Opens the database over any storage, such as that of a test.
    pub(super) fn over(backend: impl StorageBackend, bounds: Bounds) -> Result<Self, Trouble> {
        let database = Builder::new().set_cache_size(CACHE).create_with_backend(backend)?;
        let Bounds { max_families, max_persons, max_consents } = bounds;
        let entries = Self { database, bounds: [max_families, max_persons, max_consents] };
        entries.check_format()?;
        Ok(entries)
    }

    /// Checks the format, and writes it into a new file.
    fn check_format(&self) -> Result<(), Trouble> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        let found = {
            let mut about = transaction.open_table(ABOUT).map_err(redb::Error::from)?;
            let found = about.get(FORMAT_ENTRY).map_err(redb::Error::from)?.map(|format| format.value());
            match found {
                Some(format) if format > FORMAT => return Err(Trouble::Newer(format)),
                Some(FORMAT) => {}
                Some(_) => return Err(Trouble::Damaged),
                None => drop(about.insert(FORMAT_ENTRY, FORMAT).map_err(redb::Error::from)?),
            }
            found
        };
        if found.is_some() {
            return Ok(());
        }
        Tables::open(&transaction, self.bounds)?;
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    pub(super) fn load(&self, key: &Key, now: WallTime) -> Result<Option<Stored>, Trouble> {
        let (kind, key) = place(key);
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(TABLES[kind].0).map_err(redb::Error::from)?;
        let held = table.get(key.as_slice()).map_err(redb::Error::from)?;
        let held = held.map(|held| read(held.value())).transpose()?;
        Ok(held
            .filter(|held| now < WallTime::from_millis(held.expires))
            .map(|held| Stored { entry: held.entry, revision: Revision(held.revision) }))
    }

    /// Makes the changes, one after another, in one step on the disk.
    pub(super) fn change(&self, writes: &[Write]) -> Result<Vec<Swapped>, Trouble> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        let mut tables = Tables::open(&transaction, self.bounds)?;
        let results = writes.iter().map(|write| tables.change(write)).collect::<Result<Vec<_>, _>>()?;
        let has_changed = tables.has_changed;
        drop(tables);
        match has_changed {
            true => transaction.commit().map_err(redb::Error::from)?,
            // Nothing is written for changes that were refused.
            false => transaction.abort().map_err(redb::Error::from)?,
        }
        Ok(results)
    }

    pub(super) fn counts(&self) -> Result<Counts, Trouble> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let mut counts = [0; 3];
        for ((by_key, _), count) in TABLES.into_iter().zip(&mut counts) {
            let table = transaction.open_table(by_key).map_err(redb::Error::from)?;
            *count = size(table.len().map_err(redb::Error::from)?);
        }
        let [families, persons, consents] = counts;
        Ok(Counts { families, persons, consents })
    }
}

/// The tables in a transaction.
struct Tables<'a> {
    about: Table<'a, &'static str, u64>,
    kinds: Vec<Kind<'a>>,
    has_changed: bool,
}

/// The two tables of one kind of entry in a transaction.
struct Kind<'a> {
    by_key: Table<'a, &'static [u8], &'static [u8]>,
    by_end: Table<'a, (u64, &'static [u8]), ()>,
    max: usize,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction, bounds: [usize; 3]) -> Result<Self, Trouble> {
        let about = transaction.open_table(ABOUT).map_err(redb::Error::from)?;
        let mut kinds = Vec::with_capacity(TABLES.len());
        for ((by_key, by_end), max) in TABLES.into_iter().zip(bounds) {
            let by_key = transaction.open_table(by_key).map_err(redb::Error::from)?;
            let by_end = transaction.open_table(by_end).map_err(redb::Error::from)?;
            kinds.push(Kind { by_key, by_end, max });
        }
        Ok(Self { about, kinds, has_changed: false })
    }

    fn change(&mut self, write: &Write) -> Result<Swapped, Trouble> {
        let Write { key, expected, next, now } = write;
        for kind in &mut self.kinds {
            self.has_changed |= kind.remove_expired(*now)?;
        }
        let (kind, key) = place(key);
        let kind = &mut self.kinds[kind];
        let held = kind.held(&key)?;
        let present = held.as_ref().filter(|held| *now < WallTime::from_millis(held.expires));
        if present.map(|held| Revision(held.revision)) != *expected {
            return Ok(Swapped::Moved);
        }
        // An expired entry at the key gives its place to the new one.
        if next.is_some() && held.is_none() && size(kind.by_key.len().map_err(redb::Error::from)?) >= kind.max {
            return Ok(Swapped::Full);
        }
        if let Some(held) = &held {
            kind.remove(&key, held.expires)?;
            self.has_changed = true;
        }
        if let Some(Expiring { entry, expires }) = next {
            let last = self.about.get(LAST_REVISION).map_err(redb::Error::from)?.map_or(0, |last| last.value());
            let (revision, expires) = (last + 1, expires.as_millis());
            self.about.insert(LAST_REVISION, revision).map_err(redb::Error::from)?;
            kind.insert(&key, &Held { revision, expires, entry: entry.clone() })?;
            self.has_changed = true;
        }
        Ok(Swapped::Done)
    }
}

impl Kind<'_> {
    fn held(&self, key: &[u8]) -> Result<Option<Held>, Trouble> {
        self.by_key.get(key).map_err(redb::Error::from)?.map(|held| read(held.value())).transpose()
    }

    /// Removes at most [`MAX_REMOVED`] of the expired entries. Returns whether any was removed.
    fn remove_expired(&mut self, now: WallTime) -> Result<bool, Trouble> {
        for removed in 0..MAX_REMOVED {
            let first = self.by_end.first().map_err(redb::Error::from)?;
            let first = first.map(|(end, _)| (end.value().0, end.value().1.to_vec()));
            let Some((end, key)) = first.filter(|(end, _)| WallTime::from_millis(*end) <= now) else {
                return Ok(removed > 0);
            };
            self.remove(&key, end)?;
        }
        Ok(true)
    }

    fn remove(&mut self, key: &[u8], end: u64) -> Result<(), Trouble> {
        self.by_key.remove(key).map_err(redb::Error::from)?;
        self.by_end.remove((end, key)).map_err(redb::Error::from)?;
        Ok(())
    }

    fn insert(&mut self, key: &[u8], held: &Held) -> Result<(), Trouble> {
        let text = serde_json::to_vec(held).map_err(|_| Trouble::Damaged)?;
        self.by_key.insert(key, text.as_slice()).map_err(redb::Error::from)?;
        self.by_end.insert((held.expires, key), ()).map_err(redb::Error::from)?;
        Ok(())
    }
}

/// The index of the key's kind in [`TABLES`], and the key's bytes there.
fn place(key: &Key) -> (usize, Vec<u8>) {
    match key {
        Key::Family(id) => (0, id.0.to_be_bytes().to_vec()),
        Key::Person(subject) => (1, subject.as_bytes().to_vec()),
        Key::Consent(digest) => (2, digest.as_bytes().to_vec()),
    }
}

fn read(text: &[u8]) -> Result<Held, Trouble> {
    serde_json::from_slice(text).map_err(|_| Trouble::Damaged)
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => error.into(),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Io(io::ErrorKind::Other),
            _ => Self::Damaged,
        }
    }
}
