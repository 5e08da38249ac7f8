//! A folder of a home. Only this module opens, replaces and removes files.
//!
//! Every operation is relative to the open folder, so that no other program can exchange the folder between a check and a
//! use. No symbolic link is followed. Anything but a plain file of this user is refused.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use base16ct::lower as hex;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::error::{FileError, Trouble};
use crate::key;

/// The suffix of a file while it is written. A random tag stands before it.
const UNFINISHED: &str = ".new";

/// The length of a random tag in a name, in hexadecimal digits.
const TAG: usize = 16;

/// The suffix of a file that reserves room on the disk for the next version of another file.
const ROOM: &str = ".room";

/// The suffix of a damaged file that was put aside. A random tag follows it.
pub(crate) const DAMAGED: &str = ".damaged.";

/// The folder that a file system makes at its own root. It may stand beside a home.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    inode: Inode,
    path: PathBuf,
}

/// The identity of a file, independent of its name. While the file is open, no other file has the same identity. Afterwards
/// the system may reuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

/// Whether a change must survive a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The file and the folder entry that names it are on the disk when the call returns.
    Durable,
    /// The change is visible to all processes of this boot, and a power failure may undo it. The contents can be rebuilt from
    /// other files.
    ThisBoot,
}

impl Folder {
    /// Opens the folder at `path`. Makes it, and its parents, where missing. It must belong to this user, and others
    /// must not be able to write it.
    pub(crate) fn create(path: &Path) -> Result<Self, FileError> {
        use std::os::unix::fs::DirBuilderExt;
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
            // The check below reports anything else that stands at this path.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(FileError::io(&error, path)),
            _ => {}
        }
        // A record is no more durable than the folders that contain it. A parent that cannot be read is skipped.
        for parent in missing.iter().filter_map(|path| path.parent()) {
            if let Ok(fd) = rustix::fs::openat(CWD, parent, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                synced(&fd).map_err(|errno| FileError::errno(errno, parent))?;
            }
        }
        let opened = Self::open(path);
        // An empty folder of this user was made for the home, perhaps with permissions for its group.
        if opened.as_ref().is_err_and(|error| *error.trouble() == Trouble::Exposed) {
            return Self::take(path).map_or(opened, Ok);
        }
        opened
    }

    /// Takes an empty folder of this user, by removing other users' access to it. Returns `None` for any other folder.
    fn take(path: &Path) -> Option<Self> {
        let fd = rustix::fs::openat(CWD, path, folder(), Mode::empty()).ok()?;
        let taken = Self { inode: Inode::of(&rustix::fs::fstat(&fd).ok()?), fd, path: path.to_owned() };
        let is_empty = || taken.names().is_ok_and(|names| names.iter().all(|name| name == LOST_AND_FOUND));
        if !is_ours(&rustix::fs::fstat(&taken.fd).ok()?) || !is_empty() {
            return None;
        }
        taken.make_private().ok()?;
        // Another user may have put something into the folder before its permissions were changed.
        if !is_empty() {
            return None;
        }
        Self::open(path).ok()
    }

    /// Opens the folder at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        Self::checked(rustix::fs::openat(CWD, path, folder(), Mode::empty()), path.to_owned())
    }

    /// Opens the folder `name` in this one. Makes it where missing.
    pub(crate) fn subfolder(&self, name: &str) -> Result<Self, FileError> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(FileError::errno(errno, self.path.join(name))),
        }
        self.existing(name)
    }

    /// Opens the folder `name` in this one. It is an error if it is missing.
    pub(crate) fn existing(&self, name: &str) -> Result<Self, FileError> {
        Self::checked(rustix::fs::openat(&self.fd, name, folder(), Mode::empty()), self.path.join(name))
    }

    /// Removes other users' access to a folder that was made in advance with the usual permissions.
    pub(crate) fn make_private(&self) -> Result<(), FileError> {
        rustix::fs::fchmod(&self.fd, Mode::RWXU).map_err(|errno| FileError::errno(errno, &self.path))
    }

    fn checked(opened: rustix::io::Result<OwnedFd>, path: PathBuf) -> Result<Self, FileError> {
        let fd = opened.map_err(|errno| match errno {
            // The kernel reports a symbolic link as "not a directory" when both flags are set.
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

    /// Whether other machines may write here without this one being notified.
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

    /// Whether the path still leads to this folder.
    pub(crate) fn is_current(&self) -> bool {
        let there = rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        there.is_ok_and(|there| Inode::of(&there) == self.inode)
    }

    /// Reads the whole file `name` into a buffer that is wiped when dropped. Returns `None` where there is no file. A
    /// file larger than `most` bytes is [`Trouble::Damaged`].
    pub(crate) fn read(&self, name: &str, most: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        let Some((file, stat)) = self.open_file(name, OFlags::RDONLY)? else { return Ok(None) };
        let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if size > most {
            return Err(self.error(Trouble::Damaged, name));
        }
        // The spare byte keeps the read from growing the buffer, and shows where the file ends.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
        let room = u64::try_from(size + 1).unwrap_or(u64::MAX);
        file.take(room).read_to_end(&mut bytes).map_err(|error| self.io(&error, name))?;
        if bytes.len() > size { Err(self.error(Trouble::Damaged, name)) } else { Ok(Some(bytes)) }
    }

    /// Reads up to `most` bytes of the file `name`, starting at byte `from`. Returns `None` where there is no file.
    pub(crate) fn read_part(&self, name: &str, from: u64, most: u64) -> Result<Option<Vec<u8>>, FileError> {
        let Some((mut file, _)) = self.open_file(name, OFlags::RDONLY)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.take(most).read_to_end(&mut bytes));
        read.map_err(|error| self.io(&error, name))?;
        Ok(Some(bytes))
    }

    /// Opens the file `name` for locking. Makes it where missing.
    pub(crate) fn open_lock(&self, name: &str) -> Result<(File, Inode), FileError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        file.map(|(file, stat)| (file, Inode::of(&stat))).ok_or_else(|| self.error(Trouble::Missing, name))
    }

    /// Opens the file `name` for appending. Makes it where missing.
    pub(crate) fn open_to_append(&self, name: &str) -> Result<File, FileError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
        file.map(|(file, _)| file).ok_or_else(|| self.error(Trouble::Missing, name))
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<(File, Stat)>, FileError> {
        // Opening a pipe that was planted there must not wait for its other end.
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

    /// Whether this folder still exists. A file missing from a removed folder does not count as "no file".
    fn exists(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// Replaces the file `name` with `bytes` atomically. The caller holds the file's lock.
    ///
    /// # Errors
    ///
    /// [`Trouble::Unsure`] when the file was replaced but may not be durable. After any other error the old file is
    /// unchanged.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<(), FileError> {
        let unfinished = self.unfinished(name)?;
        let written = self.create_file(&unfinished).and_then(|mut file| {
            file.write_all(bytes)?;
            Ok(file)
        });
        self.put(written, &unfinished, name, durability).inspect_err(|error| {
            if *error.trouble() != Trouble::Unsure {
                // A full disk must keep no unfinished file.
                let _ = rustix::fs::unlinkat(&self.fd, &*unfinished, AtFlags::empty());
            }
        })
    }

    /// Makes room on the disk for the next version of the file `name`, of up to `size` bytes. The caller holds the file's
    /// lock. On file systems that compress, or that write every change to a new place, the next version may still find the disk
    /// full.
    pub(crate) fn make_room(&self, name: &str, size: usize) -> Result<(), FileError> {
        let room = [name, ROOM].concat();
        let has_room = |stat: Stat| usize::try_from(stat.st_size).is_ok_and(|there| there >= size);
        if self.stat(&room)?.is_some_and(has_room) {
            return Ok(());
        }
        self.remove(&room)?;
        let written = self.create_file(&room).and_then(|mut file| file.write_all(&vec![0; size]));
        written.map_err(|error| {
            let _ = rustix::fs::unlinkat(&self.fd, &*room, AtFlags::empty());
            self.io(&error, name)
        })
    }

    /// Replaces the file `name`, like [`replace`](Self::replace), in the room that was made for it. Returns `false` if no room
    /// was made.
    pub(crate) fn replace_in_room(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<bool, FileError> {
        let room = [name, ROOM].concat();
        let Some((mut file, _)) = self.open_file(&room, OFlags::WRONLY)? else { return Ok(false) };
        let written = file.write_all(bytes).and_then(|()| file.set_len(bytes.len().try_into().unwrap_or(u64::MAX)));
        self.put(written.map(|()| file), &room, name, durability).map(|()| true)
    }

    /// Gives back the room that was made for the file `name`, if any was.
    pub(crate) fn give_room_back(&self, name: &str) -> Result<(), FileError> {
        self.remove(&[name, ROOM].concat()).map(drop)
    }

    /// Replaces the damaged file `name`, like [`replace`](Self::replace), and keeps it under another name, which is returned.
    pub(crate) fn replace_damaged(&self, name: &str, bytes: &[u8]) -> Result<String, FileError> {
        let aside = [name, DAMAGED, &self.tag(name)?].concat();
        // On a file system without hard links the file is renamed, so for a moment no file has the name.
        let is_linked = self.link(name, &aside);
        if !is_linked {
            self.rename(name, &aside).map_err(|errno| FileError::errno(errno, self.path_of(name)))?;
        }
        match self.replace(name, bytes, Durability::Durable) {
            Ok(()) => Ok(aside),
            Err(error) => {
                if *error.trouble() != Trouble::Unsure {
                    // After a failure, the damaged file has only its own name again.
                    let _ = if is_linked { self.remove(&aside).is_ok() } else { self.rename(&aside, name).is_ok() };
                }
                Err(error)
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
    }

    /// A name for the next version of the file `name` while it is written. Each call returns another name, because a process on
    /// another machine, or in another container, may not see the locks of this process.
    fn unfinished(&self, name: &str) -> Result<String, FileError> {
        Ok([name, ".", &self.tag(name)?, UNFINISHED].concat())
    }

    /// A random part of a name that belongs to the file `name`.
    fn tag(&self, name: &str) -> Result<String, FileError> {
        let mut tag = [0; TAG / 2];
        if key::fill(&mut tag) { Ok(hex::encode_string(&tag)) } else { Err(self.error(Trouble::NoRandomness, name)) }
    }

    fn create_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Replaces the file `name` by the file that was written under the name `from`.
    fn put(&self, written: io::Result<File>, from: &str, name: &str, durability: Durability) -> Result<(), FileError> {
        let moved = written.and_then(|file| {
            if durability == Durability::Durable {
                file.sync_all()?;
            }
            Ok(self.rename(from, name)?)
        });
        moved.map_err(|error| self.io(&error, name))?;
        match durability {
            Durability::Durable => self.sync().map_err(|_| self.error(Trouble::Unsure, name)),
            Durability::ThisBoot => Ok(()),
        }
    }

    /// Gives the file or folder `from` the name `name` in the folder `to`, which may be this one.
    pub(crate) fn move_entry(&self, from: &str, to: &Self, name: &str) -> Result<(), FileError> {
        let moved = rustix::fs::renameat(&self.fd, from, &to.fd, name);
        moved.map_err(|errno| FileError::errno(errno, self.path_of(from)))
    }

    /// Removes the folder `name`. Returns `false` if it is not empty, and `true` if there is none.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<bool, FileError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(FileError::errno(errno, self.path_of(name))),
        }
    }

    /// Whether both are the same folder, even if their paths differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.inode == other.inode
    }

    /// Gives the file `name` a second name (a hard link) if that name is free. Returns whether this succeeded.
    pub(crate) fn link(&self, name: &str, second: &str) -> bool {
        rustix::fs::linkat(&self.fd, name, &self.fd, second, AtFlags::empty()).is_ok()
    }

    /// Removes the file `name`. Returns whether there was one.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, FileError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(FileError::errno(errno, self.path_of(name))),
        }
    }

    /// The final name of an unfinished file called `name`. Earlier versions gave unfinished files no tag.
    pub(crate) fn finished(name: &str) -> Option<&str> {
        let stem = name.strip_suffix(UNFINISHED)?;
        match stem.rsplit_once('.') {
            Some((finished, tag)) if tag.len() == TAG && tag.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Some(finished)
            }
            _ => Some(stem),
        }
    }

    /// The names of all entries of this folder, unordered.
    pub(crate) fn names(&self) -> Result<Vec<String>, FileError> {
        let failed = |errno| FileError::errno(errno, &self.path);
        if !self.exists() {
            return Err(FileError::new(Trouble::Missing, &self.path));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Names that are not UTF-8 do not belong to the store.
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// Reads the metadata of the file `name` itself, not of a link's target. Returns `None` where there is no file.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stat>, FileError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FileError::errno(errno, self.path_of(name))),
        }
    }

    /// Whether `name` is the name of `file` now.
    pub(crate) fn is_at(&self, file: Inode, name: &str) -> bool {
        matches!(self.stat(name), Ok(Some(there)) if Inode::of(&there) == file)
    }

    /// Makes the entries of this folder durable.
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

/// The file name at the end of an event's path, if it is UTF-8, as all names of the store are.
pub(crate) fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str)
}

/// Whether only the owner has any access to the file.
pub(crate) fn is_private(stat: &Stat) -> bool {
    is_ours(stat) && !Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO)
}

/// Syncs a folder as durably as std syncs files.
fn synced(folder: &OwnedFd) -> rustix::io::Result<()> {
    // On Apple systems a plain sync only reaches the disk's own memory.
    #[cfg(target_vendor = "apple")]
    if rustix::fs::fcntl_fullfsync(folder).is_ok() {
        return Ok(());
    }
    match rustix::fs::fsync(folder) {
        // Some file systems cannot sync folders. Names there are as durable as the file system makes them.
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
