//! The private folder of one child grant, with its socket and its token file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::geteuid;
use tokio::net::UnixListener;

use crate::AccessToken;

/// The beginning of the names of all private folders.
const PREFIX: &str = "tokenkeeper-child-";

/// The file that is locked by the process that made the folder. The lock ends with that process.
const ALIVE: &str = "alive";

/// The maximum number of entries of a parent folder that are examined for folders of dead processes. The temporary folder may
/// have many entries.
const MAX_ENTRIES: usize = 10_000;

/// A folder of mode 0700 with a random name. It is removed with its content when it is dropped or [removed](Self::remove). If
/// the process that made it is killed, the next process that makes such a folder in the same parent folder removes it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The locked file. `None` once the folder was removed, after which nothing is written.
    alive: Mutex<Option<File>>,
}

impl Folder {
    /// Makes a folder below `XDG_RUNTIME_DIR`, with a socket if that is wanted. If this fails, for example because the path of
    /// a socket has at most 107 bytes, the folder is made below the temporary folder.
    pub(super) fn with_socket(wanted: bool) -> io::Result<(Self, Option<UnixListener>)> {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let places = runtime_dir.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]);
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for place in places {
            match Self::below(&place).and_then(|folder| Ok((folder.listener(wanted)?, folder))) {
                Ok((listener, folder)) => return Ok((folder, listener)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Makes a folder in `parent`.
    pub(super) fn below(parent: &Path) -> io::Result<Self> {
        const STICKY: u32 = 0o1000;
        const WRITABLE_BY_OTHERS: u32 = 0o022;
        let mode = fs::metadata(parent)?.mode();
        if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
            // Another user could replace this folder by another one.
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "other users may rename what is in the folder",
            ));
        }
        let path = parent.join(format!("{PREFIX}{}", draw_name()?));
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self { path, alive: Mutex::new(None) };
        // The file gets its final name only once it is locked, so that no other process takes this process for dead.
        let (unlocked, alive) = (folder.path.join("alive.new"), folder.path.join(ALIVE));
        let file = private_file(&unlocked)?;
        file.try_lock()?;
        fs::rename(unlocked, alive)?;
        *folder.alive.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(folder)
    }

    /// The parent folder.
    pub(super) fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The path of the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join("socket")
    }

    /// The path of the token file.
    pub(super) fn token(&self) -> PathBuf {
        self.path.join("token")
    }

    fn listener(&self, wanted: bool) -> io::Result<Option<UnixListener>> {
        if !wanted {
            return Ok(None);
        }
        let listener = UnixListener::bind(self.socket())?;
        fs::set_permissions(self.socket(), fs::Permissions::from_mode(0o600))?;
        Ok(Some(listener))
    }

    /// Puts `token` into the token file, or removes the file if there is no token. A reader finds the old file or the new
    /// one, whole. Does nothing if the folder was removed.
    pub(super) fn write(&self, token: Option<&AccessToken>) -> io::Result<()> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if alive.is_none() {
            return Ok(());
        }
        let Some(token) = token else { return removed(fs::remove_file(self.token())) };
        let new = self.path.join("token.new");
        // An earlier write that failed may have left this file behind.
        removed(fs::remove_file(&new))?;
        private_file(&new)?.write_all(token.expose().as_bytes())?;
        fs::rename(new, self.token())
    }

    /// Removes the folder and its content.
    pub(super) fn remove(&self) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is kept until the folder is removed.
        let _ = fs::remove_dir_all(&self.path);
        *alive = None;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes the folders in `parent` whose processes are dead.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let is_ours = |found: fs::Metadata| found.is_dir() && found.uid() == geteuid().as_raw();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !entry.metadata().is_ok_and(is_ours) {
            continue;
        }
        if File::open(entry.path().join(ALIVE)).is_ok_and(|alive| alive.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The result of a removal. A file that does not exist counts as removed.
fn removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver's own randomness, for a name that is not taken")]
fn draw_name() -> io::Result<String> {
    let mut bits = [0; 12];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}
