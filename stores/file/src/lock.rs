//! Locks between processes, made with `flock` on separate files.
//!
//! A lock file is never renamed and holds no data. The lock belongs to the open file, so two holders in one process
//! exclude each other like any others. The kernel frees it when the last process that has the file open ends. A
//! program that this process starts does not inherit it.
//!
//! An unneeded lock file is removed while it is locked. A process that waited for it then has a lock on a file that no
//! longer has the name. Therefore each process checks after locking that its file still has its name.

use std::fs::{File, TryLockError};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{FileError, Trouble};
use crate::folder::{Folder, Inode};

/// The timeout for a short lock. It is shorter than the engine's timeout for a store, so that the caller gets "busy"
/// instead of a timeout.
const PATIENCE: Duration = Duration::from_secs(3);

/// The shortest and the longest pause between two attempts. The first pause is the shortest.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(10));

/// The errors that mean that no file can be locked here, rather than that another process holds the lock.
const UNSUPPORTED: [Errno; 5] = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::INVAL];

/// The maximal number of attempts at a lock whose file keeps being removed.
const REMOVALS: u32 = 64;

/// A held lock. Dropping it frees the lock at once, even while a forked child that has not yet executed another program shares
/// the file. Dropping the copy in a forked child does not free the lock.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    stamp: Stamp,
}

/// The identity of the locked file, and the process that locked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: Inode,
    process: u32,
}

/// The outcome of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// This process has the lock.
    Locked(Lock),
    /// Another holder has it.
    Held,
    /// This file system cannot lock.
    Unsupported,
}

/// Tries to take the lock `name` without waiting.
pub(crate) fn attempt(locks: &Folder, name: &str) -> Result<Attempt, FileError> {
    for _ in 0..REMOVALS {
        let (file, inode) = locks.open_lock(name)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Held),
            Err(TryLockError::Error(error)) => match Errno::from_io_error(&error) {
                Some(Errno::INTR) => continue,
                Some(errno) if UNSUPPORTED.contains(&errno) => return Ok(Attempt::Unsupported),
                _ => return Err(locks.io(&error, name)),
            },
        }
        let stamp = Stamp { inode, process: std::process::id() };
        if stamp.is_at(locks, name) {
            return Ok(Attempt::Locked(Lock { file, stamp }));
        }
    }
    Ok(Attempt::Held)
}

/// Takes the lock `name`, and waits for it up to the timeout. It blocks its thread.
///
/// # Errors
///
/// [`Trouble::Busy`] when the holder does not release it in time, [`Trouble::NoLocks`] where nothing can be locked.
pub(crate) fn wait(locks: &Folder, name: &str) -> Result<Lock, FileError> {
    let (mut pause, longest) = PAUSES;
    let mut waited = Duration::ZERO;
    loop {
        match attempt(locks, name)? {
            Attempt::Locked(lock) => return Ok(lock),
            Attempt::Unsupported => return Err(locks.error(Trouble::NoLocks, name)),
            Attempt::Held if waited >= PATIENCE => return Err(locks.error(Trouble::Busy, name)),
            Attempt::Held => {}
        }
        sleep(pause);
        waited += pause;
        pause = (pause * 2).min(longest);
    }
}

impl Lock {
    /// The identity of the locked file, and the process that locked it.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Frees the lock and removes its file.
    pub(crate) fn remove(self, locks: &Folder, name: &str) -> Result<(), FileError> {
        if self.stamp.is_good(locks, name) { locks.remove(name).map(drop) } else { Ok(()) }
    }
}

impl Stamp {
    /// Whether a lock with this stamp excludes other holders. The copy in a forked child does not count as a lock, and neither
    /// does a lock whose file was removed.
    pub(crate) fn is_good(self, locks: &Folder, name: &str) -> bool {
        self.is_ours() && self.is_at(locks, name)
    }

    /// Whether the file still has its name. If so, other processes that lock the name compete with this lock.
    fn is_at(self, locks: &Folder, name: &str) -> bool {
        locks.is_at(self.inode, name)
    }

    /// Whether this process took the lock. A forked child has only a copy.
    fn is_ours(self) -> bool {
        self.process == std::process::id()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If the file were only closed, a forked child that has not closed its copy yet would keep the lock.
        if self.stamp.is_ours() {
            let _ = self.file.unlock();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "on a thread that may block: kernel locks have no wait with an end")]
pub(crate) fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_has_no_lock_and_frees_none() {
        let ground = tempfile::tempdir().unwrap();
        let locks = Folder::create(&ground.path().join("locks")).unwrap();
        let Attempt::Locked(lock) = attempt(&locks, "a").unwrap() else { panic!("it is free") };
        assert!(lock.stamp().is_good(&locks, "a"));
        // A forked child has a copy of its parent's lock, and another process id.
        let parent = Stamp { process: std::process::id() + 1, ..lock.stamp() };
        assert!(!parent.is_good(&locks, "a"));
        drop(Lock { file: lock.file.try_clone().unwrap(), stamp: parent });
        assert!(matches!(attempt(&locks, "a"), Ok(Attempt::Held)));
        // The copy does not remove the file either.
        Lock { file: lock.file.try_clone().unwrap(), stamp: parent }.remove(&locks, "a").unwrap();
        assert!(lock.stamp().is_good(&locks, "a"));
        drop(lock);
        assert!(matches!(attempt(&locks, "a"), Ok(Attempt::Locked(_))));
    }
}
