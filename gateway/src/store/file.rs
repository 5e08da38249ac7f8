//! The store of one machine, in a file.

mod folder;
mod format;
mod owner;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokenkeeper::engine::values::WallTime;

use self::format::Entries;
use self::owner::{Owner, Write};
use super::{Bounds, Counts, Expiring, GatewayStore, Key, Revision, StoreTrouble, Stored, Swapped};

/// The store of one process, in a file. Clients stay signed in through a restart.
///
/// The file contains no token, no code and no secret, but the identifiers of clients and persons. So only the user of the
/// process has access to the folder and the file. Leave the file out of backups, because a copy that is restored brings back
/// tokens that were revoked since.
///
/// One process at a time has the file open. Replicas need a store that they share over the network, and a deployment that starts
/// the new process before it ends the old one gets [`OpenError::InUse`] until the old one has ended.
///
/// # Concurrency
///
/// Clones share the file. Two threads of the store read and write it, so that no task waits for the disk on its own thread.
/// Changes that wait at the same time are written together. A change is on the disk before it is answered, and survives a kill
/// and a power failure. An operation that has no answer within ten seconds ends with [`StoreTrouble`].
///
/// After an error of the disk, the file is opened anew with the next operation.
#[derive(Clone)]
pub struct FileGatewayStore(Arc<Owner>);

impl FileGatewayStore {
    /// Opens the store in this folder, with the default [`Bounds`]. Makes the folder and the file where missing. The folder
    /// must be on a disk of this machine, and not on the network.
    ///
    /// Reads the disk on the caller's thread. After a kill, this may read the whole file.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the file cannot be used.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(folder, Bounds::default())
    }

    /// Opens the store in this folder, with these bounds.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the file cannot be used.
    pub fn open_with(folder: impl AsRef<Path>, bounds: Bounds) -> Result<Self, OpenError> {
        let path = folder.as_ref().join(folder::FILE);
        let folder = folder.as_ref().to_owned();
        let open = move || Entries::open(folder::open(&folder)?, bounds);
        let owner = Owner::start(open).map_err(|trouble| OpenError::of(trouble, path))?;
        Ok(Self(Arc::new(owner)))
    }

    /// The numbers of entries, including those that have expired and were not removed yet.
    ///
    /// # Errors
    ///
    /// If the store cannot be read now.
    ///
    /// # Cancellation
    ///
    /// Nothing changes.
    pub async fn counts(&self) -> Result<Counts, StoreTrouble> {
        self.0.read(Entries::counts).await
    }

    /// Ends the store, for all clones. When this returns, changes that waited are written and another process may open the file.
    /// Without this call, both happen soon after the last clone was dropped.
    ///
    /// # Cancellation
    ///
    /// The store ends all the same.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
impl GatewayStore for FileGatewayStore {
    async fn load(&self, key: &Key, now: WallTime) -> Result<Option<Stored>, StoreTrouble> {
        let key = key.clone();
        self.0.read(move |entries| entries.load(&key, now)).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Revision>,
        next: Option<Expiring>,
        now: WallTime,
    ) -> Result<Swapped, StoreTrouble> {
        self.0.write(Write { key: key.clone(), expected, next, now }).await
    }
}

impl fmt::Debug for FileGatewayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileGatewayStore").finish_non_exhaustive()
    }
}

/// Why a store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store in this process, has the file open.
    #[error(
        "{path}: another process has the gateway's store open: end it first, or let the replicas share a store over the \
         network (GatewayStore)"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of the gateway has written the file.
    #[error("{path}: a newer version of the gateway has written this store (format {format}): update this one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// Other users can read or write the file or its folder, or one of the two is a link or belongs to another user.
    #[error(
        "{path}: the gateway's store must be a plain file in a folder that are this user's alone: use another folder, or change \
         the owner and the permissions (0700 for the folder, 0600 for the file)"
    )]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a gateway's store that this version can read.
    #[error(
        "{path}: this is no gateway's store, or it is damaged: check the path, or move the file away, after which all clients \
         sign in anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The operating system reported an error.
    #[error("{path}: the gateway's store cannot be opened ({kind}): check the disk and the permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// The kind of the error.
        kind: io::ErrorKind,
    },
}

/// Trouble with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    InUse,
    Newer(u64),
    NotPrivate,
    Damaged,
    Io(io::ErrorKind),
}

impl OpenError {
    fn of(trouble: Trouble, path: PathBuf) -> Self {
        match trouble {
            Trouble::InUse => Self::InUse { path },
            Trouble::Newer(format) => Self::Newer { path, format },
            Trouble::NotPrivate => Self::NotPrivate { path },
            Trouble::Damaged => Self::Damaged { path },
            Trouble::Io(kind) => Self::Io { path, kind },
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

#[cfg(test)]
mod tests;
