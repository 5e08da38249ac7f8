//! What goes wrong in a home: which file, why, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_actors::values::record::format::FormatError;

/// What went wrong, with the file it went wrong with. It displays as both and what to do about it, and names no secret:
/// files are named by digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    trouble: Trouble,
    path: PathBuf,
}

/// The kinds of trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// There is no room left, or a quota is used up.
    Full,
    /// Reading or writing it is not permitted, or the file system is read-only.
    Denied,
    /// It is not there, and should be: the home was removed, or its file system is not mounted.
    Missing,
    /// There is no home, and none was to be made.
    NoHome,
    /// It is no home, and holds other things: none is made there.
    Occupied,
    /// A symbolic link stands in its place. None is followed.
    Link,
    /// It is of another kind than it should be.
    Strange,
    /// It belongs to another user, or others may write it (a folder), or use it at all (the key file).
    Exposed,
    /// What it holds cannot be opened: it was cut off or changed, or sealed with another key.
    Damaged,
    /// It holds what belongs to another identity, or to another issuer: files were exchanged.
    Foreign,
    /// A later version of this program wrote it. It is left as it is.
    Newer,
    /// It was opened, and what was in it cannot be read, or what should be in it cannot be written.
    Format(FormatError),
    /// Another process holds its lock and has not let go of it in time.
    Busy,
    /// The file system cannot lock.
    NoLocks,
    /// The key is not the one this home was made with.
    WrongKey,
    /// The home was made with a key from another place, which is named here. No other place is tried.
    KeyElsewhere(&'static str),
    /// The key is not where it should be, though the home has one.
    KeyMissing,
    /// The keychain is locked, or refused the key to this program, or it asked a person who did not answer in time.
    KeyLocked,
    /// There is no keychain to be reached, or it failed, or said nothing.
    NoKeychain,
    /// Randomness could not be had from the operating system.
    NoRandomness,
    /// No folder is known to keep a home in: neither `XDG_STATE_HOME` nor the user's home directory is set.
    NoDirectory,
    /// It was replaced, and whether that is durable is not known.
    Unsure,
    /// The work on it broke off inside this process.
    Aborted,
    /// Any other failure of the operating system.
    Io(io::ErrorKind),
}

impl FileError {
    pub(crate) fn new(trouble: Trouble, path: impl Into<PathBuf>) -> Self {
        Self { trouble, path: path.into() }
    }

    pub(crate) fn io(error: &io::Error, path: impl Into<PathBuf>) -> Self {
        Self::new(Trouble::of(error), path)
    }

    pub(crate) fn errno(errno: Errno, path: impl Into<PathBuf>) -> Self {
        Self::io(&errno.into(), path)
    }

    /// What kind of trouble it is.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the law is told of it.
    pub fn fault(&self) -> StoreFault {
        match self.trouble {
            Trouble::Full => StoreFault::Full,
            Trouble::Denied | Trouble::Link | Trouble::Exposed | Trouble::KeyLocked => StoreFault::Denied,
            Trouble::Missing | Trouble::NoHome => StoreFault::Gone,
            Trouble::Damaged | Trouble::Foreign | Trouble::Newer => StoreFault::Unreadable,
            Trouble::Format(FormatError::TooLarge | FormatError::Inconsistent { .. }) => StoreFault::Failed,
            Trouble::Format(_) => StoreFault::Unreadable,
            Trouble::Busy => StoreFault::Busy,
            Trouble::Unsure | Trouble::Aborted => StoreFault::TimedOut,
            _ => StoreFault::Failed,
        }
    }
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full,
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Denied,
            Some(Errno::NOENT | Errno::STALE) => Self::Missing,
            Some(Errno::LOOP) => Self::Link,
            Some(Errno::ISDIR | Errno::NOTDIR) => Self::Strange,
            _ => Self::Io(error.kind()),
        }
    }
}

/// A later version's format is told apart from damage.
impl From<FormatError> for Trouble {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Newer { .. } => Self::Newer,
            error => Self::Format(error),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.trouble)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Full => "there is no room left: free some",
            Self::Denied => "it may not be read or written: check its owner, its permissions and how it is mounted",
            Self::Missing => "it is not there: bring the folder back, or mount it",
            Self::NoHome => "there is no home: sign in first, or name another folder",
            Self::Occupied => {
                "it is no home, and holds other things: name an empty folder, or one that is not there yet"
            }
            Self::Link => {
                "a symbolic link stands in its place, and none is followed: name the real folder, or remove it"
            }
            Self::Strange => "it is no file or folder of the kind that belongs here: move it away",
            Self::Exposed => "others may use it: make it your own (chown), and keep others out (chmod go-rwx)",
            Self::Damaged => {
                "it cannot be opened, because it was cut off or changed, or sealed with another key: restore it, or \
                 remove it and sign in again"
            }
            Self::Foreign => "it belongs to another identity or issuer: restore it, or remove it and sign in again",
            Self::Newer => "a later version of this program wrote it, and it was left as it is: update this program",
            Self::Format(error) => return error.fmt(f),
            Self::Busy => "another process uses it and has not finished: try again, or look for a stopped process",
            Self::NoLocks => "its file system cannot lock: keep the home on a local one",
            Self::WrongKey => "the key is not the one this home was made with: give it that one",
            Self::KeyElsewhere(place) => return write!(f, "its key is {place}: open it with that"),
            Self::KeyMissing => {
                "its key is gone: restore the key, or move the folder away and sign in again; nothing in it can be \
                 read without"
            }
            Self::KeyLocked => "the keychain that has its key is locked: unlock it, and allow this program to use it",
            Self::NoKeychain => "no keychain can be reached: start one, or open the home with a key from elsewhere",
            Self::NoRandomness => "the operating system gives no randomness: nothing can be sealed",
            Self::NoDirectory => "no folder is known for it: set XDG_STATE_HOME or HOME, or name one",
            Self::Unsure => "it was replaced, but the disk did not say that it kept that: check the disk",
            Self::Aborted => "the work on it broke off: try again, and report this if it goes on",
            Self::Io(kind) => return write!(f, "{kind}: check the disk"),
        };
        f.write_str(words)
    }
}

impl std::error::Error for FileError {}
