//! A folder of a home: the only room that opens, replaces and removes files.
//!
//! Everything is relative to the open folder, so that nothing can be slipped in between a look and a use; no symbolic
//! link is followed; what is not a plain file of ours is refused.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::error::{FileError, Trouble};

/// What a file is called while it is written. Whoever writes a file holds a lock for it, so one such name is enough,
/// and a stale one is removed by the next who writes.
const UNFINISHED: &str = ".new";

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    inode: Inode,
    path: PathBuf,
}

/// Which file it is, whatever name it has. As long as it is open, no other file is the same; later another one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

/// Whether a change has to outlast a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On the disk when the call returns: the file, and the folder that names it.
    Durable,
    /// For all processes of this boot. What must not be lost can be found again otherwise.
    ThisBoot,
}

impl Folder {
    /// Opens the folder at `path`, and makes it where it is missing, with its parents. It must be this user's, and nobody
    /// else's to write.
    pub(crate) fn create(path: &Path) -> Result<Self, FileError> {
        use std::os::unix::fs::DirBuilderExt;
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
            // What stands there instead is said below.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(FileError::io(&error, path)),
            _ => {}
        }
        // A record is no more durable than the folders it lies in. Where a parent cannot be read, it is left to itself.
        for parent in missing.iter().filter_map(|path| path.parent()) {
            if let Ok(fd) = rustix::fs::openat(CWD, parent, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                synced(&fd).map_err(|errno| FileError::errno(errno, parent))?;
            }
        }
        Self::open(path)
    }

    /// Opens the folder at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        Self::checked(rustix::fs::openat(CWD, path, folder(), Mode::empty()), path.to_owned())
    }

    /// Opens the folder `name` in this one, and makes it where it is missing.
    pub(crate) fn subfolder(&self, name: &str) -> Result<Self, FileError> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(FileError::errno(errno, self.path.join(name))),
        }
        self.existing(name)
    }

    /// Opens the folder `name` in this one, which must be there.
    pub(crate) fn existing(&self, name: &str) -> Result<Self, FileError> {
        Self::checked(rustix::fs::openat(&self.fd, name, folder(), Mode::empty()), self.path.join(name))
    }

    /// Keeps everybody else out, of a folder that somebody made for a home with the usual permissions.
    pub(crate) fn make_private(&self) -> Result<(), FileError> {
        rustix::fs::fchmod(&self.fd, Mode::RWXU).map_err(|errno| FileError::errno(errno, &self.path))
    }

    fn checked(opened: rustix::io::Result<OwnedFd>, path: PathBuf) -> Result<Self, FileError> {
        let fd = opened.map_err(|errno| match errno {
            // A symbolic link is no folder, says the kernel where it is asked for both.
            Errno::NOTDIR if path.is_symlink() => FileError::new(Trouble::Link, &path),
            errno => FileError::errno(errno, &path),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| FileError::errno(errno, &path))?;
        if !is_ours(&stat) || Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
            return Err(FileError::new(Trouble::Exposed, path));
        }
        Ok(Self { fd, inode: Inode::of(&stat), path })
    }

    /// The path of the file `name`, for people to read.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether other machines may write here without this one noticing.
    pub(crate) fn is_remote(&self) -> bool {
        // NFS, SMB, CIFS, SMB 2, FUSE, 9P, Ceph, AFS, Lustre: `statfs(2)`.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const REMOTE: [u64; 9] =
            [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x0102_1997, 0x00C3_6400, 0x5346_414F, 0x0BD0_0BD0];
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Ok(stat) = rustix::fs::fstatfs(&self.fd) {
            return u64::try_from(stat.f_type).is_ok_and(|kind| REMOTE.contains(&kind));
        }
        false
    }

    /// Whether the path still leads here.
    pub(crate) fn is_current(&self) -> bool {
        let there = rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        there.is_ok_and(|there| Inode::of(&there) == self.inode)
    }

    /// The whole of the file `name`, wiped when dropped; `None` where there is none. One larger than `most` bytes is
    /// [`Trouble::Damaged`].
    pub(crate) fn read(&self, name: &str, most: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        let Some((file, stat)) = self.open_file(name, OFlags::RDONLY)? else { return Ok(None) };
        let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if size > most {
            return Err(self.error(Trouble::Damaged, name));
        }
        // One more than there is, so that reading it never has to grow the buffer, and to see that it ended.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
        let room = u64::try_from(size + 1).unwrap_or(u64::MAX);
        file.take(room).read_to_end(&mut bytes).map_err(|error| self.io(&error, name))?;
        if bytes.len() > size { Err(self.error(Trouble::Damaged, name)) } else { Ok(Some(bytes)) }
    }

    /// The file `name` from byte `from` on, up to `most` bytes of it; `None` where there is none.
    pub(crate) fn read_part(&self, name: &str, from: u64, most: u64) -> Result<Option<Vec<u8>>, FileError> {
        let Some((mut file, _)) = self.open_file(name, OFlags::RDONLY)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.take(most).read_to_end(&mut bytes));
        read.map_err(|error| self.io(&error, name))?;
        Ok(Some(bytes))
    }

    /// Opens the file `name` to be locked, and makes it where it is missing.
    pub(crate) fn open_lock(&self, name: &str) -> Result<(File, Inode), FileError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        file.map(|(file, stat)| (file, Inode::of(&stat))).ok_or_else(|| self.error(Trouble::Missing, name))
    }

    /// Opens the file `name` to add to it, and makes it where it is missing.
    pub(crate) fn open_to_append(&self, name: &str) -> Result<File, FileError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
        file.map(|(file, _)| file).ok_or_else(|| self.error(Trouble::Missing, name))
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<(File, Stat)>, FileError> {
        // Opening a pipe that somebody put there must not wait for its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => fd,
            Err(Errno::NOENT) if !flags.contains(OFlags::CREATE) && self.exists() => return Ok(None),
            Err(errno) => return Err(FileError::errno(errno, self.path_of(name))),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| FileError::errno(errno, self.path_of(name)))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.error(Trouble::Strange, name));
        }
        if !is_ours(&stat) {
            return Err(self.error(Trouble::Exposed, name));
        }
        Ok(Some((File::from(fd), stat)))
    }

    /// Whether this folder has not been removed. A file missing from a folder that is gone is not "no file".
    fn exists(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// Puts `bytes` in the place of the file `name`, at once and whole. Whoever calls holds a lock for that file.
    ///
    /// # Errors
    ///
    /// [`Trouble::Unsure`] when it was replaced and is perhaps not durable; after any other, what was there is there.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<(), FileError> {
        let unfinished = [name, UNFINISHED].concat();
        let failed = |error: io::Error| {
            // Of a full disk, nothing may be left behind.
            let _ = rustix::fs::unlinkat(&self.fd, &*unfinished, AtFlags::empty());
            self.io(&error, name)
        };
        let create = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&self.fd, &*unfinished, flags, Mode::RUSR | Mode::WUSR)
        };
        let created = match create() {
            Err(Errno::EXIST) => self.remove(&unfinished).map(|_| create())?,
            created => created,
        };
        let mut file = File::from(created.map_err(|errno| FileError::errno(errno, self.path_of(name)))?);
        file.write_all(bytes).map_err(failed)?;
        if durability == Durability::Durable {
            file.sync_all().map_err(failed)?;
        }
        rustix::fs::renameat(&self.fd, &*unfinished, &self.fd, name).map_err(|errno| failed(errno.into()))?;
        match durability {
            Durability::Durable => self.sync().map_err(|_| self.error(Trouble::Unsure, name)),
            Durability::ThisBoot => Ok(()),
        }
    }

    /// Gives the file `name` a second name, where it is free; whether that was done.
    pub(crate) fn link(&self, name: &str, second: &str) -> bool {
        rustix::fs::linkat(&self.fd, name, &self.fd, second, AtFlags::empty()).is_ok()
    }

    /// Removes the file `name`, if there is one; whether there was.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, FileError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(FileError::errno(errno, self.path_of(name))),
        }
    }

    /// Removes what writing the file `name` left behind, if anything. Whoever calls holds a lock for that file.
    pub(crate) fn remove_unfinished(&self, name: &str) -> Result<bool, FileError> {
        self.remove(&[name, UNFINISHED].concat())
    }

    /// The file that an unfinished one of this `name` was to become.
    pub(crate) fn finished(name: &str) -> Option<&str> {
        name.strip_suffix(UNFINISHED)
    }

    /// The names of everything in this folder, in no order.
    pub(crate) fn names(&self) -> Result<Vec<String>, FileError> {
        let failed = |errno| FileError::errno(errno, &self.path);
        if !self.exists() {
            return Err(FileError::new(Trouble::Missing, &self.path));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Whatever is not UTF-8 is none of ours.
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// Looks at the file `name` itself, not at where it points to; `None` where there is none.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stat>, FileError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FileError::errno(errno, self.path_of(name))),
        }
    }

    /// Whether `file` is what `name` stands for now.
    pub(crate) fn is_at(&self, file: Inode, name: &str) -> bool {
        matches!(self.stat(name), Ok(Some(there)) if Inode::of(&there) == file)
    }

    /// Makes the names in this folder durable.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        synced(&self.fd).map_err(|errno| FileError::errno(errno, &self.path))
    }

    pub(crate) fn error(&self, trouble: Trouble, name: &str) -> FileError {
        FileError::new(trouble, self.path_of(name))
    }

    pub(crate) fn io(&self, error: &io::Error, name: &str) -> FileError {
        FileError::io(error, self.path_of(name))
    }
}

impl Inode {
    #[allow(clippy::unnecessary_cast, reason = "the widths differ between systems")]
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev as u64, number: stat.st_ino as u64 }
    }
}

/// The file name of an event's path, where it is one of ours.
pub(crate) fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str)
}

/// Whether others than its owner may use the file at all.
pub(crate) fn is_private(stat: &Stat) -> bool {
    is_ours(stat) && !Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO)
}

/// Makes a folder durable, as std does files.
fn synced(folder: &OwnedFd) -> rustix::io::Result<()> {
    // Here a plain sync goes no further than the disk's own memory.
    #[cfg(target_vendor = "apple")]
    if rustix::fs::fcntl_fullfsync(folder).is_ok() {
        return Ok(());
    }
    match rustix::fs::fsync(folder) {
        // Where folders cannot be synced, their names are as durable as that file system makes them.
        Err(Errno::INVAL) => Ok(()),
        synced => synced,
    }
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

fn folder() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}
