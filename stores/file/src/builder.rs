//! How a home is opened: where it lies, and where its key comes from.

use std::path::PathBuf;

use crate::error::FileError;
use crate::home::Where;
use crate::key::StoreKey;
use crate::store::FileStore;

/// Where the key of a home comes from.
///
/// A home remembers where its key is from the day it was made; opening it with a key from elsewhere is an error, and no
/// other place is ever tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A file in the home, readable by its owner alone. **It protects from whoever gets hold of records only** (a backup
    /// of single files, say), **and not from whoever can read the home**: that is what the folder's permissions do. The
    /// default.
    #[default]
    File,
    /// The operating system's keychain: the login keychain on macOS, the Secret Service (GNOME Keyring, KWallet,
    /// KeePassXC) elsewhere, or what the host has set as `keyring-core`'s default store. One item for each home, written
    /// once and read once when the home is opened; it stays in the keychain when a home is removed.
    #[cfg(feature = "keychain")]
    Keychain,
    /// The host's own: from its key management, or from a passphrase by way of a slow function.
    Given(StoreKey),
}

impl KeySource {
    /// What a home says of itself.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::File => "file",
            #[cfg(feature = "keychain")]
            Self::Keychain => "keychain",
            Self::Given(_) => "given",
        }
    }

    /// Where the key is that `word` stands for.
    pub(crate) fn place(word: &str) -> &'static str {
        match word {
            "file" => "in a file of the home",
            "keychain" => "in the keychain",
            "given" => "given by the host",
            _ => "in a place that a later version knows",
        }
    }
}

/// How a watch learns of what other processes write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Watching {
    /// From the operating system (inotify, FSEvents), within milliseconds; by looking where that cannot be had, and where
    /// the home lies on a network file system, which tells of this machine's writes only. The default.
    #[default]
    System,
    /// By looking, twice a second: for file systems that tell of nothing.
    Polling,
}

/// Opens a [`FileStore`].
#[derive(Clone, Debug)]
pub struct FileStoreBuilder {
    dir: PathBuf,
    key: KeySource,
    watching: Watching,
    wanted: Where,
}

impl FileStoreBuilder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, key: KeySource::default(), watching: Watching::default(), wanted: Where::Anywhere }
    }

    /// Where the key comes from. Default: [`KeySource::File`].
    #[must_use]
    pub fn key(self, key: KeySource) -> Self {
        Self { key, ..self }
    }

    /// How watches learn of news. Default: [`Watching::System`].
    #[must_use]
    pub fn watching(self, watching: Watching) -> Self {
        Self { watching, ..self }
    }

    /// Makes no home: where there is none, opening is [`Trouble::NoHome`](crate::Trouble::NoHome), and nothing is touched.
    #[must_use]
    pub fn existing(self) -> Self {
        Self { wanted: Where::AtHome, ..self }
    }

    /// Opens the home, and makes it where there is none: in a folder that is not there yet, or is empty. It reads no record.
    ///
    /// This touches the disk, and may wait: up to three seconds for another process that is just making the home, and
    /// with a key from the keychain five seconds for the keychain and then thirty for a person who unlocks it. A question
    /// to the keychain that was given up on occupies a thread until it is answered, so do not ask again and again. It needs
    /// no tokio runtime, though the store does.
    ///
    /// # Errors
    ///
    /// A [`FileError`], when the home cannot be used as it is: it says which file is the matter, and what to do.
    pub fn open(self) -> Result<FileStore, FileError> {
        FileStore::open_with(&self.dir, &self.key, self.watching, self.wanted)
    }
}
