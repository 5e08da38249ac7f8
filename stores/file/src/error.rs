//! Errors of a home, with the file, the reason and the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_actors::values::record::format::FormatError;

/// An error, with the file that it concerns. Its text states both, and the remedy. It names no secret, because files are
/// named by digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    trouble: Trouble,
    path: PathBuf,
}

/// The kinds of errors. "It" is the file or folder of the error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The disk is full, or a quota is used up.
    Full,
    /// Reading or writing it is not permitted, or the file system is read-only.
    Denied,
    /// It is missing. The home was removed, or its file system is not mounted.
    Missing,
    /// There is no home, and the options forbid making one.
    NoHome,
    /// The folder is no home and holds other things, so no home is made in it.
    Occupied,
    /// It is a symbolic link. The store follows none.
    Link,
    /// Its file type is not the expected one.
    Strange,
    /// It belongs to another user, or its permissions are too wide. A folder must not be writable by others. The key
    /// file must not be accessible to others at all.
    Exposed,
    /// Its contents cannot be opened. They were cut off, changed, or sealed with another key.
    Damaged,
    /// It belongs to another identity or another issuer. Files were exchanged.
    Foreign,
    /// A later version of this program wrote it. It is left as it is.
    Newer,
    /// It was opened, but its contents cannot be read, or the new contents cannot be written.
    Format(FormatError),
    /// Another process held its lock for too long.
    Busy,
    /// A process of an earlier version of this program held the home's locks for too long, so the home could not get its new
    /// format.
    Earlier,
    /// It is a copy of the home in this folder, and has the same refresh tokens. Nothing is spent here.
    Copy(PathBuf),
    /// The file system cannot lock.
    NoLocks,
    /// The home was made with another key.
    WrongKey,
    /// The home was made with a key from this other place, which the store does not try.
    KeyElsewhere(&'static str),
    /// The key of the home is missing from its place.
    KeyMissing,
    /// The keychain is locked or denies this program the key, or the user did not answer its prompt in time.
    KeyLocked,
    /// No keychain is reachable, or it failed, or it did not answer.
    NoKeychain,
    /// The operating system supplied no randomness.
    NoRandomness,
    /// There is no default folder for a home. Neither `XDG_STATE_HOME` nor the user's home directory is set.
    NoDirectory,
    /// It was replaced, but the new version may not be durable.
    Unsure,
    /// The work on it panicked.
    Aborted,
    /// The work on it did not begin. The store's threads were all taken for too long, or none could be started.
    Unserved,
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

    /// The kind of error.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether no version of this program can use the contents of the file.
    pub(crate) fn is_damage(&self) -> bool {
        let format = |error: &FormatError| matches!(error, FormatError::NotJson | FormatError::Damaged { .. });
        match &self.trouble {
            Trouble::Damaged | Trouble::Foreign => true,
            Trouble::Format(error) => format(error),
            _ => false,
        }
    }

    /// The fault that the store port reports for this error.
    pub fn fault(&self) -> StoreFault {
        match self.trouble {
            Trouble::Full => StoreFault::Full,
            Trouble::Denied | Trouble::Link | Trouble::Exposed | Trouble::KeyLocked | Trouble::Copy(_) => {
                StoreFault::Denied
            }
            Trouble::Missing | Trouble::NoHome => StoreFault::Gone,
            Trouble::Newer => StoreFault::Newer,
            Trouble::Damaged | Trouble::Foreign => StoreFault::Unreadable,
            Trouble::Format(FormatError::TooLarge | FormatError::Inconsistent { .. }) => StoreFault::Failed,
            Trouble::Format(_) => StoreFault::Unreadable,
            Trouble::Busy | Trouble::Earlier | Trouble::Unserved => StoreFault::Busy,
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

/// Maps the format of a later version to [`Trouble::Newer`], so that it is not taken for damage.
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
            Self::Exposed => {
                "others may use it: make it your own (chown), and keep others out (chmod go-rwx); a mount that keeps no \
                 permissions needs options for them (such as uid, gid and umask=077), or the home another place"
            }
            Self::Damaged => {
                "it cannot be opened, because it was cut off or changed, or sealed with another key: restore it; a new \
                 login puts a damaged record aside"
            }
            Self::Foreign => {
                "it belongs to another identity or issuer: restore it; a new login puts another identity's record aside"
            }
            Self::Newer => "a later version of this program wrote it, and it was left as it is: update this program",
            Self::Format(error) => return error.fmt(f),
            Self::Busy => "another process uses it and has not finished: try again, or look for a stopped process",
            Self::Earlier => {
                "a process of an earlier version of this program uses the home: end it, or try again when its refresh is over"
            }
            Self::Copy(original) => {
                return write!(
                    f,
                    "it is a copy of the home in {}, and two owners of a refresh token kill it: use that one, or remove it if \
                     this one is to take its place",
                    original.display()
                );
            }
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
            Self::Unserved => {
                "no thread is free for it: check whether its disk or network still answers, and how many threads this \
                 process may have"
            }
            Self::Io(kind) => return write!(f, "{kind}: check the disk"),
        };
        f.write_str(words)
    }
}

impl std::error::Error for FileError {}
