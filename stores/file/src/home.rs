//! The home, which is the folder that holds all files of a store.

use std::path::{Path, PathBuf};

use base16ct::lower as hex;
use serde::{Deserialize, Serialize};

use crate::builder::KeySource;
use crate::error::{FileError, Trouble};
use crate::folder::{Durability, Folder, LOST_AND_FOUND};
use crate::key::{self, Keys, StoreKey};
use crate::lock::{self, Attempt};
use crate::names::INDEX;
use crate::{session_names, upgrade};

/// The newest format of a home that this version knows.
pub(crate) const FORMAT: u32 = 2;

/// The file that describes the home.
pub(crate) const ABOUT: &str = "home";

/// The folder of records.
pub(crate) const RECORDS: &str = "records";

/// The maximal size of the file that describes the home, in bytes.
const ABOUT_MOST: usize = 4 * 1024;

/// An open home.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) root: Folder,
    pub(crate) records: Folder,
    pub(crate) locks: Folder,
    pub(crate) held: Folder,
    pub(crate) logins: Folder,
    pub(crate) journals: Folder,
}

/// The home's description of itself. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) format: u32,
    /// A random id, different for each home.
    pub(crate) id: String,
    /// The place of the key.
    pub(crate) key: String,
    /// A check value that only the right key produces.
    pub(crate) check: String,
    /// The path at which the home last granted a claim to spend, or was made. A path that is not UTF-8 is not noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
}

/// The part of the description that every format has, even a newer one.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

/// The lock for making the home.
const MAKING: &str = "home";

/// The empty file of a home from which a record was removed.
pub(crate) const REMOVALS: &str = "removals";

/// The folder of issuers' entries.
pub(crate) const ISSUERS: &str = "issuers";

/// Names that may exist in a folder that is becoming a home.
const PARTS: [&str; 9] = [RECORDS, "locks", "held", "logins", ISSUERS, "journal", "key", INDEX, session_names::FILE];

/// The folders that opening accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Any folder. If there is no home, opening makes one.
    Anywhere,
    /// Only a folder with a home. Otherwise opening fails and changes nothing.
    AtHome,
}

impl Home {
    /// Opens the home at `path`, and finds its key.
    pub(crate) fn open(path: &Path, source: &KeySource, wanted: Where) -> Result<(Self, Keys), FileError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        Self::open_or_make(path, source, wanted).inspect_err(|_| unmake(&missing))
    }

    fn open_or_make(path: &Path, source: &KeySource, wanted: Where) -> Result<(Self, Keys), FileError> {
        let root = match wanted {
            Where::Anywhere => Self::ground(path)?,
            Where::AtHome => Self::found(path)?,
        };
        if let Some(about) = about(&root)? {
            return Self::enter(root, &about, source);
        }
        let home = Self::folders(root)?;
        let making = lock::wait(&home.locks, MAKING)?;
        // Another process that could not make the home may have removed these folders.
        if !home.is_current() {
            return Err(FileError::new(Trouble::Missing, path));
        }
        if let Some(about) = about(&home.root)? {
            drop(making);
            return Self::enter(home.root, &about, source);
        }
        let keys = home.make(source)?;
        Ok((home, keys))
    }

    /// Opens a home that has been made.
    fn enter(root: Folder, about: &About, source: &KeySource) -> Result<(Self, Keys), FileError> {
        let keys = unlock(&root, about, source)?;
        upgrade::run(&root, about, &keys)?;
        Ok((Self::folders(root)?, keys))
    }

    /// Opens the folder of a home, or one that may become a home. A folder that holds other things is refused, because
    /// its path is probably a mistake.
    fn ground(path: &Path) -> Result<Folder, FileError> {
        let root = Folder::create(path)?;
        let is_part = |name: &str| match Folder::finished(name) {
            Some(finished) => finished == ABOUT || PARTS.contains(&finished),
            None => PARTS.contains(&name) || name == LOST_AND_FOUND,
        };
        if root.stat(ABOUT)?.is_none() {
            // Another process may have made the home meanwhile.
            if root.names()?.iter().any(|name| !is_part(name)) && root.stat(ABOUT)?.is_none() {
                return Err(FileError::new(Trouble::Occupied, path));
            }
            root.make_private()?;
        }
        Ok(root)
    }

    /// Opens the folder of an existing home.
    fn found(path: &Path) -> Result<Folder, FileError> {
        let none = || FileError::new(Trouble::NoHome, path);
        let root = Folder::open(path).map_err(|error| match error.trouble() {
            Trouble::Missing => none(),
            _ => error,
        })?;
        if root.stat(ABOUT)?.is_some() {
            return Ok(root);
        }
        // Records or entries without a `home` file mean a damaged home.
        let holds_any = holds_any(&root);
        match holds_any {
            // Another process may have finished making the home meanwhile.
            _ if root.stat(ABOUT)?.is_some() => Ok(root),
            Ok(true) => Err(root.error(Trouble::Missing, ABOUT)),
            _ => Err(none()),
        }
    }

    /// Opens the home at `path` again. It must be the same home, so the key is not read again.
    pub(crate) fn reopen(path: &Path, keys: &Keys) -> Result<Self, FileError> {
        // This makes no home, because an empty home must not replace a missing one.
        let root = Folder::open(path)?;
        if root.stat(ABOUT)?.is_none() {
            return Err(root.error(Trouble::Missing, ABOUT));
        }
        match about(&root)? {
            Some(about) if about.check == hex::encode_string(&keys.check) => {
                upgrade::run(&root, &about, keys)?;
                Self::folders(root)
            }
            Some(_) => Err(root.error(Trouble::WrongKey, ABOUT)),
            None => Err(root.error(Trouble::Missing, ABOUT)),
        }
    }

    /// Whether this home still exists at its path.
    pub(crate) fn is_current(&self) -> bool {
        [&self.root, &self.records, &self.locks].into_iter().all(Folder::is_current)
    }

    /// The folder of issuers' entries. Returns `None` where no entry was ever written. Homes of older versions have no
    /// such folder.
    pub(crate) fn issuers(&self) -> Result<Option<Folder>, FileError> {
        match self.root.existing(ISSUERS) {
            Ok(folder) => Ok(Some(folder)),
            // If the home itself is gone, a missing folder does not prove that no entry was written.
            Err(error) if *error.trouble() == Trouble::Missing && self.root.is_current() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder of issuers' entries. Makes it where missing.
    pub(crate) fn make_issuers(&self) -> Result<Folder, FileError> {
        self.root.subfolder(ISSUERS)
    }

    /// Notes that records are removed from this home, so that late lines begin no journals without a record.
    pub(crate) fn mark_removals(&self) -> Result<(), FileError> {
        if self.removes_records()? {
            return Ok(());
        }
        let _lock = lock::wait(&self.locks, REMOVALS)?;
        self.root.replace(REMOVALS, &[], Durability::Durable)
    }

    /// Whether a record was ever removed from this home.
    pub(crate) fn removes_records(&self) -> Result<bool, FileError> {
        Ok(self.root.stat(REMOVALS)?.is_some())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    fn folders(root: Folder) -> Result<Self, FileError> {
        // A complete home has a folder of records. If that folder is missing, none is made, because an empty one would hide all
        // logins.
        let begun = root.stat(ABOUT)?.is_some();
        Ok(Self {
            records: if begun { root.existing(RECORDS)? } else { root.subfolder(RECORDS)? },
            locks: root.subfolder("locks")?,
            held: root.subfolder("held")?,
            logins: root.subfolder("logins")?,
            journals: root.subfolder("journal")?,
            root,
        })
    }

    /// Makes a home in an empty folder. The caller holds its lock.
    fn make(&self, source: &KeySource) -> Result<Keys, FileError> {
        // Records or entries without a `home` file mean a damaged home. A new key would make them unreadable for ever.
        if holds_any(&self.root)? {
            return Err(self.root.error(Trouble::Missing, ABOUT));
        }
        let no_randomness = || self.root.error(Trouble::NoRandomness, "key");
        let mut id = [0; 16];
        if !key::fill(&mut id) {
            return Err(no_randomness());
        }
        let id = hex::encode_string(&id);
        let new = || StoreKey::generate().ok_or_else(no_randomness);
        let key = match source {
            KeySource::Given(key) => key.clone(),
            // An existing key file is replaced, because another program may know its key. A process that died while it made
            // the home may have left the file, and nothing is sealed with its key.
            KeySource::File => {
                let key = new()?;
                key::write_file(&self.root, &key)?;
                key
            }
            #[cfg(feature = "keychain")]
            KeySource::Keychain => {
                let key = new()?;
                crate::keychain::write(&id, &key).map_err(|trouble| FileError::new(trouble, self.path()))?;
                key
            }
        };
        let keys = Keys::new(&key, id.as_bytes());
        let (key, check) = (source.word().to_owned(), hex::encode_string(&keys.check));
        write_about(&self.root, &About { format: FORMAT, id, key, check, path: path_text(&self.root) })?;
        Ok(keys)
    }

    /// Fails if this home is a copy of another home that still exists. If the home was moved, its new path is noted.
    pub(crate) fn settle(&self) -> Result<(), FileError> {
        let (here, Some(noted)) = (path_text(&self.root), about(&self.root)?) else { return Ok(()) };
        if here.is_none() || noted.path == here {
            return Ok(());
        }
        // A folder of another user, or one that cannot be read, has no home that this user could spend from.
        if let Some(there) = noted.path.as_ref().and_then(|path| Folder::open(Path::new(path)).ok()) {
            if there.is_same(&self.root) {
                return Ok(());
            }
            if about(&there).is_ok_and(|other| other.is_some_and(|other| other.id == noted.id)) {
                return Err(FileError::new(Trouble::Copy(there.path().to_owned()), self.path()));
            }
        }
        let Attempt::Locked(_making) = lock::attempt(&self.locks, MAKING)? else { return Ok(()) };
        if about(&self.root)?.as_ref() == Some(&noted)
            && let Err(error) = write_about(&self.root, &About { path: here, ..noted })
        {
            tracing::debug!(%error, "the new path of the home was not noted");
        }
        Ok(())
    }
}

/// The path of the home, in the form in which the file `home` notes it.
pub(crate) fn path_text(root: &Folder) -> Option<String> {
    root.path().to_str().map(str::to_owned)
}

/// Writes the home's description of itself.
pub(crate) fn write_about(root: &Folder, about: &About) -> Result<(), FileError> {
    let bytes = serde_json::to_vec(about).map_err(|_| root.error(Trouble::Aborted, ABOUT))?;
    root.replace(ABOUT, &bytes, Durability::Durable)
}

/// Reads the home's description of itself. Returns `None` where there is none.
pub(crate) fn about(root: &Folder) -> Result<Option<About>, FileError> {
    let Some(bytes) = root.read(ABOUT, ABOUT_MOST)? else { return Ok(None) };
    let damaged = |_| root.error(Trouble::Damaged, ABOUT);
    let Envelope { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if format > FORMAT {
        return Err(root.error(Trouble::Newer, ABOUT));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Reads the key of a home that has one. Only the place that the home names is tried.
fn unlock(root: &Folder, about: &About, source: &KeySource) -> Result<Keys, FileError> {
    if about.key != source.word() {
        let place = KeySource::place(&about.key);
        return Err(root.error(Trouble::KeyElsewhere(place), ABOUT));
    }
    let key = match source {
        KeySource::File => key::read_file(root)?.ok_or_else(|| root.error(Trouble::KeyMissing, "key"))?,
        KeySource::Given(key) => key.clone(),
        #[cfg(feature = "keychain")]
        KeySource::Keychain => crate::keychain::read(&about.id)
            .and_then(|key| key.ok_or(Trouble::KeyMissing))
            .map_err(|trouble| FileError::new(trouble, root.path()))?,
    };
    let keys = Keys::new(&key, about.id.as_bytes());
    if about.check == hex::encode_string(&keys.check) { Ok(keys) } else { Err(root.error(Trouble::WrongKey, ABOUT)) }
}

/// Removes the empty folders of a home that could not be made. `missing` are the folders that did not exist before, the home
/// first.
fn unmake(missing: &[&Path]) {
    let Some(root) = missing.first() else { return };
    let remove = |path: &Path| std::fs::remove_dir(path);
    if let Ok(locks) = Folder::open(&root.join("locks")) {
        let held = lock::attempt(&locks, MAKING);
        // The process that holds the lock makes the home now, or has made it.
        if matches!(held, Ok(Attempt::Held)) || root.join(ABOUT).exists() {
            return;
        }
        // These folders are removed under the lock, because other processes look for them once they have it.
        for part in PARTS.iter().filter(|part| **part != "locks") {
            let _ = remove(&root.join(part));
        }
        let _ = locks.remove(MAKING);
        let _ = remove(locks.path());
    }
    // The first folder that is not empty ends this, because it and its parents are in use for something else.
    let _ = missing.iter().try_for_each(|path| remove(path));
}

/// Whether the folder holds a record or an issuer's entry.
fn holds_any(root: &Folder) -> Result<bool, FileError> {
    for folder in [RECORDS, ISSUERS] {
        match root.existing(folder).and_then(|folder| folder.names()) {
            Ok(names) if names.is_empty() => {}
            Err(error) if *error.trouble() == Trouble::Missing => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
