//! Locks between processes: `flock` on files of their own.
//!
//! A lock file is never renamed and holds nothing. It belongs to the open file, so two holders in one process exclude
//! each other like any others; the kernel frees it when the last process that has the file open ends, and a program that
//! is started does not inherit it.
//!
//! One that is not needed any more is removed while it is locked. Who was waiting for it then has a lock on a file that
//! no longer has the name; therefore whoever has locked a file looks whether it is still the one of that name.

use std::fs::{File, TryLockError};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{FileError, Trouble};
use crate::folder::{Folder, Inode};

/// How long a short lock is waited for. Shorter than the machines wait for a store, so that the answer is "busy" and not
/// silence.
const PATIENCE: Duration = Duration::from_secs(3);

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(10));

/// What says that nothing can be locked here, rather than that somebody else has.
const UNSUPPORTED: [Errno; 5] = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::INVAL];

/// How often a lock is tried whose file keeps being removed.
const REMOVALS: u32 = 64;

/// A lock that is held. Dropping it frees it at once, even where a child that has not yet become another program shares
/// the file. A child's own copy frees nothing.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    stamp: Stamp,
}

/// What was locked, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: Inode,
    process: u32,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The lock is ours.
    Locked(Lock),
    /// Somebody has it.
    Held,
    /// This file system cannot lock.
    Unsupported,
}

/// Tries to take the lock `name`, without waiting.
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

/// Takes the lock `name`, and waits for it a while. It blocks its thread.
///
/// # Errors
///
/// [`Trouble::Busy`] when whoever has it does not let go in time, [`Trouble::NoLocks`] where nothing can be locked.
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
    /// What was locked, and by whom.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Frees the lock, and removes its file.
    pub(crate) fn remove(self, locks: &Folder, name: &str) -> Result<(), FileError> {
        if self.stamp.is_good(locks, name) { locks.remove(name).map(drop) } else { Ok(()) }
    }
}

impl Stamp {
    /// Whether a lock with this stamp excludes others. A child that was forked off has a copy, and no lock; and one whose
    /// file was removed excludes nobody.
    pub(crate) fn is_good(self, locks: &Folder, name: &str) -> bool {
        self.is_ours() && self.is_at(locks, name)
    }

    /// Whether the file is still the one of this name: whoever locks that name now competes with us.
    fn is_at(self, locks: &Folder, name: &str) -> bool {
        locks.is_at(self.inode, name)
    }

    /// Whether this process took it, and is not a child with a copy.
    fn is_ours(self) -> bool {
        self.process == std::process::id()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would leave the lock with a child that was forked and has not closed it yet.
        if self.stamp.is_ours() {
            let _ = self.file.unlock();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "on a thread that may block: kernel locks have no wait with an end")]
fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}
