//! The change of a home of format 1 to format 2.
//!
//! In format 1, names of files were digests without a key, and identities were not sealed in the index, in the hints and in
//! the headers of records. A process of an earlier version may be using the home during the change. It must neither lose a
//! token that it is about to store, nor spend one after the change.
//!
//! 1. The folder of records gets another name. From then on every operation of an earlier version fails, and changes
//!    nothing.
//! 2. Each lock is taken, and its file removed. Then the folder of locks is removed. If a process of an earlier version holds
//!    a lock, it may be refreshing. The folder of records then gets its name back, and the change waits.
//! 3. The records are sealed again, in a new folder. The old ones are not changed.
//! 4. The file `home` is replaced by one with the new format. Earlier versions refuse the home from then on. A failure before
//!    this step is undone. After this step, the change is completed, if necessary when the home is opened the next time.
//! 5. The new folder and the journals get their new names, and the entries of issuers are sealed again. The hints, the old
//!    index and the old records are removed. The next reservation writes the hints again.
//!
//! Every step can be repeated, so a crash at any time leaves a home that can be opened.

use std::time::Duration;

use tokenkeeper_actors::values::ServerIdentity;
use zeroize::Zeroizing;

use crate::error::{FileError, Trouble};
use crate::folder::{DAMAGED, Durability, Folder};
use crate::home::{self, About, FORMAT, ISSUERS, RECORDS};
use crate::key::Keys;
use crate::lock::{self, Attempt, Lock};
use crate::names::Name;
use crate::seal::{self, CLEAR, Kind};

/// The folder of records of format 1, while it is replaced.
const EARLIER: &str = "records.1";

/// The folder of records of format 2, until it gets its final name.
const STAGED: &str = "records.2";

/// The index of format 1.
const INDEX: &str = "identities";

/// The folder of locks.
const LOCKS: &str = "locks";

/// The lock of this change. It is in the home itself, because the folder of locks is removed.
const LOCK: &str = "upgrade";

/// The maximum wait for a refresh of an earlier version, and the pause between two attempts.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(50));

/// The number of attempts at the lock of this change, of three seconds each.
const ATTEMPTS: u32 = 10;

/// The maximum number of times that locks are removed. Earlier versions may make new ones meanwhile.
const ROUNDS: u32 = 64;

/// Changes the home to the current format, unless it has it.
pub(crate) fn run(root: &Folder, about: &About, keys: &Keys) -> Result<(), FileError> {
    let is_needed = |about: &About| Ok(about.format < FORMAT || root.stat(EARLIER)?.is_some());
    if !is_needed(about)? {
        return Ok(());
    }
    let lock = wait(root)?;
    // Another process may have made the change meanwhile.
    let about = home::about(root)?.ok_or_else(|| root.error(Trouble::Missing, home::ABOUT))?;
    if is_needed(&about)? {
        if about.format < FORMAT {
            fence(root)?;
            replace(root, about, keys).inspect_err(|error| {
                // A home that may have the new format already is completed when it is opened the next time.
                if *error.trouble() != Trouble::Unsure {
                    open_again(root);
                }
            })?;
        }
        complete(root, keys)?;
    }
    lock.remove(root, LOCK)
}

fn wait(root: &Folder) -> Result<Lock, FileError> {
    for _ in 1..ATTEMPTS {
        match lock::wait(root, LOCK) {
            Err(error) if *error.trouble() == Trouble::Busy => {}
            done => return done,
        }
    }
    lock::wait(root, LOCK)
}

/// Waits until no process of an earlier version holds a lock, and then locks these processes out.
fn fence(root: &Folder) -> Result<(), FileError> {
    let (patience, pause) = PATIENCE;
    let mut waited = Duration::ZERO;
    loop {
        let held = match held_lock(root)? {
            None => shut(root).inspect_err(|_| open_again(root))?,
            held => held,
        };
        let Some(held) = held else { return Ok(()) };
        open_again(root);
        if waited >= patience {
            return Err(FileError::new(Trouble::Earlier, root.path_of(LOCKS).join(held)));
        }
        lock::sleep(pause);
        waited += pause;
    }
}

/// A lock that a process holds, if there is one. This check disturbs other processes less than `shut` does.
fn held_lock(root: &Folder) -> Result<Option<String>, FileError> {
    let Some(locks) = there(root, LOCKS)? else { return Ok(None) };
    for file in locks.names()? {
        if matches!(lock::attempt(&locks, &file)?, Attempt::Held) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Moves the records away, and removes all locks. Returns the name of the first lock that is held.
fn shut(root: &Folder) -> Result<Option<String>, FileError> {
    if root.stat(RECORDS)?.is_some() {
        if root.stat(EARLIER)?.is_some() {
            return Err(root.error(Trouble::Strange, EARLIER));
        }
        root.move_entry(RECORDS, root, EARLIER)?;
        root.sync()?;
    }
    let Some(locks) = there(root, LOCKS)? else { return Ok(None) };
    for _ in 0..ROUNDS {
        for file in locks.names()? {
            match lock::attempt(&locks, &file)? {
                Attempt::Locked(lock) => lock.remove(&locks, &file)?,
                Attempt::Held => return Ok(Some(file)),
                Attempt::Unsupported => return Err(locks.error(Trouble::NoLocks, &file)),
            }
        }
        // No file can be made in a removed folder, so an operation that has begun cannot take a lock in it.
        if root.remove_folder(LOCKS)? {
            return Ok(None);
        }
    }
    Err(root.error(Trouble::Busy, LOCKS))
}

/// Gives the home back to earlier versions.
fn open_again(root: &Folder) {
    if let Ok(None) = root.stat(RECORDS)
        && let Ok(Some(_)) = root.stat(EARLIER)
        && let Err(error) = root.move_entry(EARLIER, root, RECORDS)
    {
        tracing::warn!(%error, "the records did not get their place back, until the home is opened the next time");
    }
}

/// Writes the records in the new format, and then the new format into the file `home`.
fn replace(root: &Folder, about: About, keys: &Keys) -> Result<(), FileError> {
    let earlier = root.existing(EARLIER)?;
    clear(root, STAGED)?;
    let staged = root.subfolder(STAGED)?;
    for file in earlier.names()? {
        if let Some((name, rest)) = record(&file) {
            // A file of any size is kept.
            let Some(bytes) = earlier.read(&file, usize::MAX)? else { continue };
            let (name, bytes) = sealed_anew(keys, name, bytes).map_err(|trouble| earlier.error(trouble, &file))?;
            staged.replace(&[name.as_str(), rest].concat(), &bytes, Durability::Durable)?;
        }
    }
    home::write_about(root, &About { format: FORMAT, path: home::path_text(root), ..about })
}

/// The name of a record, and the rest of the file's name, if it is that of a record or of one that was put aside.
fn record(file: &str) -> Option<(Name, &str)> {
    let (name, rest) = file.split_at(file.find('.').unwrap_or(file.len()));
    (rest.is_empty() || rest.starts_with(DAMAGED)).then_some(())?;
    Some((Name::read(name)?, rest))
}

/// The record in the new format, and its name. If a record cannot be opened, only its key is sealed. If its key cannot be read
/// either, the record is not changed.
fn sealed_anew(keys: &Keys, name: Name, bytes: Zeroizing<Vec<u8>>) -> Result<(Name, Zeroizing<Vec<u8>>), Trouble> {
    let Some((key, end)) = clear_key(Kind::Record, &bytes) else { return Ok((name, bytes)) };
    let is_named = Name::unkeyed(&key) == name && ServerIdentity::from_key(&key).is_ok();
    let new = if is_named { Name::of_key(keys, &key) } else { name };
    Ok((new, renewed(keys, Kind::Record, &key, end, bytes)?))
}

/// A file of layout 1 in the current one.
fn renewed(
    keys: &Keys,
    kind: Kind,
    key: &str,
    end: usize,
    bytes: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    match seal::open_layout(keys, kind, CLEAR, &[], bytes.clone()) {
        Ok(opened) => seal::seal(keys, kind, &seal::seal_key(keys, kind, key)?, &[], opened.plaintext()),
        Err(_) => seal::with_sealed_key(keys, kind, key, end, &bytes),
    }
}

/// The key in the header of a file of layout 1, and where the header ends.
fn clear_key(kind: Kind, bytes: &[u8]) -> Option<(String, usize)> {
    let at = seal::header(kind, CLEAR, bytes).ok()?;
    let end = at.end;
    Some((std::str::from_utf8(&bytes[at]).ok()?.to_owned(), end))
}

/// Completes the change of a home that has the new format.
fn complete(root: &Folder, keys: &Keys) -> Result<(), FileError> {
    if root.stat(RECORDS)?.is_none() && root.stat(STAGED)?.is_some() {
        root.move_entry(STAGED, root, RECORDS)?;
        root.sync()?;
    }
    let records = root.existing(RECORDS)?;
    name_journals(root, &records, keys)?;
    seal_entries(root, keys)?;
    if let Some(held) = there(root, "held")? {
        for file in held.names()? {
            held.remove(&file)?;
        }
    }
    root.remove(INDEX)?;
    if let Some(earlier) = there(root, EARLIER)? {
        for file in earlier.names()? {
            let is_unfinished = file.ends_with(".room") || Folder::finished(&file).is_some();
            if record(&file).is_some() || is_unfinished {
                earlier.remove(&file)?;
            } else {
                // It is no file of the store, so it stays where it was found.
                earlier.move_entry(&file, &records, &file)?;
            }
        }
        root.remove_folder(EARLIER)?;
    }
    root.sync()
}

/// Gives the journal of each record its new name.
fn name_journals(root: &Folder, records: &Folder, keys: &Keys) -> Result<(), FileError> {
    let Some(journals) = there(root, "journal")? else { return Ok(()) };
    for file in records.names()? {
        let Some(name) = Name::read(&file) else { continue };
        let Some(bytes) = records.read(&file, usize::MAX)? else { continue };
        let Some(key) = seal::key(keys, Kind::Record, &bytes) else { continue };
        let earlier = Name::unkeyed(&key);
        if journals.stat(earlier.as_str())?.is_some() {
            journals.move_entry(earlier.as_str(), &journals, name.as_str())?;
        }
    }
    Ok(())
}

/// Seals the keys in the headers of issuers' entries.
fn seal_entries(root: &Folder, keys: &Keys) -> Result<(), FileError> {
    let Some(entries) = there(root, ISSUERS)? else { return Ok(()) };
    for file in entries.names()? {
        if Name::read(&file).is_none() {
            continue;
        }
        let Some(bytes) = entries.read(&file, usize::MAX)? else { continue };
        let Some((key, end)) = clear_key(Kind::Entry, &bytes) else { continue };
        let bytes = renewed(keys, Kind::Entry, &key, end, bytes).map_err(|trouble| entries.error(trouble, &file))?;
        entries.replace(&file, &bytes, Durability::Durable)?;
    }
    Ok(())
}

/// Removes a folder with its files, if it is there.
fn clear(root: &Folder, name: &str) -> Result<(), FileError> {
    if let Some(folder) = there(root, name)? {
        for file in folder.names()? {
            folder.remove(&file)?;
        }
        root.remove_folder(name)?;
    }
    Ok(())
}

/// The folder `name`, if it is there.
fn there(root: &Folder, name: &str) -> Result<Option<Folder>, FileError> {
    match root.existing(name) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if *error.trouble() == Trouble::Missing => Ok(None),
        Err(error) => Err(error),
    }
}
