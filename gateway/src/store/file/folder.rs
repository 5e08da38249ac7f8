//! The private folder of a store, and its file.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::Trouble;

/// The name of the file.
pub(super) const FILE: &str = "gateway.redb";

/// Opens the file in the folder. Makes the folder and the file where missing. Follows no link at either.
pub(super) fn open(folder: &Path) -> Result<File, Trouble> {
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        // The check below reports anything else that stands at this path.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let about = folder.symlink_metadata()?;
    if !about.is_dir() || !is_private(&about) {
        return Err(Trouble::NotPrivate);
    }
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(folder.join(FILE)).map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => Trouble::NotPrivate,
        _ => error.into(),
    })?;
    let about = file.metadata()?;
    if !about.is_file() || !is_private(&about) {
        return Err(Trouble::NotPrivate);
    }
    // After this, the directory entry of a new file survives a power failure.
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Whether the file or folder belongs to this user, and its mode gives no other user any permission.
fn is_private(about: &Metadata) -> bool {
    about.uid() == geteuid().as_raw() && about.mode() & 0o077 == 0
}
