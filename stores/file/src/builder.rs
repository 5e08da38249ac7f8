//! Options for opening a home, such as its folder and the source of its key.

use std::path::PathBuf;

use crate::error::FileError;
use crate::home::Where;
use crate::key::StoreKey;
use crate::store::FileStore;

/// The place where a home keeps its key.
///
/// A home notes the place of its key when it is made. Opening it with another source is an error, and no other place is
/// tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A file in the home, readable by its owner only. This is the default. **It protects records that are copied without
    /// the key file**, such as a backup of single files. **It does not protect from a reader of the whole home.** The
    /// folder's permissions do that.
    #[default]
    File,
    /// The operating system's keychain. That is the login keychain on macOS, the Secret Service (GNOME Keyring,
    /// KWallet, KeePassXC) elsewhere, or the default store that the host has set for `keyring-core`. Each home has one
    /// item, which is written once, and read whenever the home is opened. The item stays in the keychain when the home is
    /// removed.
    #[cfg(feature = "keychain")]
    Keychain,
    /// A key that the host supplies from its key management, or derives from a passphrase with a slow function.
    Given(StoreKey),
}

impl KeySource {
    /// The name of this source in the home's file.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::File => "file",
            #[cfg(feature = "keychain")]
            Self::Keychain => "keychain",
            Self::Given(_) => "given",
        }
    }

    /// The place of the key that the home's file calls `word`, for people to read.
    pub(crate) fn place(word: &str) -> &'static str {
        match word {
            "file" => "in a file of the home",
            "keychain" => "in the keychain",
            "given" => "given by the host",
            _ => "in a place that a later version knows",
        }
    }
}

/// The method by which a watch learns of other processes' writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Watching {
    /// Events of the operating system (inotify, FSEvents), within milliseconds. Falls back to polling where events are
    /// unavailable, and where the home lies on a network file system, which reports only this machine's writes. The
    /// default.
    #[default]
    System,
    /// Polling twice a second, for file systems that report no events.
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

    /// Sets the source of the key. Default: [`KeySource::File`].
    #[must_use]
    pub fn key(self, key: KeySource) -> Self {
        Self { key, ..self }
    }

    /// Sets how watches learn of changes. Default: [`Watching::System`].
    #[must_use]
    pub fn watching(self, watching: Watching) -> Self {
        Self { watching, ..self }
    }

    /// Makes no new home. If there is none, opening fails with [`Trouble::NoHome`](crate::Trouble::NoHome) and
    /// changes nothing.
    #[must_use]
    pub fn existing(self) -> Self {
        Self { wanted: Where::AtHome, ..self }
    }

    /// Opens the home. Makes one if its folder is missing or empty. Reads no record.
    ///
    /// This reads and writes the disk, and may wait. It waits up to three seconds for another process that is making
    /// the home. If the home has an earlier format, it waits up to ten seconds for a refresh of an earlier version. With a key
    /// from the keychain, it waits up to five seconds for the keychain and then thirty for the user to unlock it. A keychain
    /// request that timed out occupies a thread until the keychain answers, so do not repeat it in a loop. Neither opening a
    /// home nor using it needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// A [`FileError`] if the home cannot be used. It names the file and the remedy.
    pub fn open(self) -> Result<FileStore, FileError> {
        FileStore::open_with(&self.dir, &self.key, self.watching, self.wanted)
    }
}
