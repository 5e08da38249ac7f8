//! Claims as file locks. A flight holds its lock as long as it needs it, and the kernel frees the lock when the
//! process dies.
//!
//! Each identity, epoch and purpose has a separate lock file, and so has each issuer's entry. A table of this handle's claims
//! lets the same flight claim again, and prevents other flights from ending its claim.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed};
use tokenkeeper_actors::values::{Epoch, FlightId};

use crate::error::FileError;
use crate::folder::Folder;
use crate::home::Home;
use crate::lock::{self, Attempt, Lock, Stamp};
use crate::names::Name;

/// The claims that one handle on a home holds.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<BTreeMap<String, Taken>>);

#[derive(Debug)]
struct Taken {
    holder: FlightId,
    lock: Lock,
}

impl Taken {
    fn tag(&self) -> (FlightId, Stamp) {
        (self.holder, self.lock.stamp())
    }
}

impl Claims {
    /// Takes a claim without waiting. Also returns whether this call took it, rather than an earlier call of the same flight.
    pub(crate) fn claim(
        &self,
        home: &Home,
        name: &Name,
        scope: ClaimScope,
        holder: FlightId,
    ) -> Result<(ClaimAnswer, bool), FileError> {
        let file = lock_file(name, scope);
        // A claim is granted only if the lock is free or this handle has it already. Every earlier holder has then released it
        // or is dead.
        let claim = Claim { holder, scope, remaining: None, predecessor: Predecessor::Gone };
        let known = self.known(&file);
        match known.filter(|(_, stamp)| stamp.is_good(&home.locks, &file)) {
            Some((other, _)) if other != holder => return Ok((ClaimAnswer::Contended, false)),
            Some(_) => return Ok((ClaimAnswer::Granted(claim), false)),
            None => {}
        }
        let lock = match lock::attempt(&home.locks, &file)? {
            Attempt::Locked(lock) => lock,
            Attempt::Held => return Ok((ClaimAnswer::Contended, false)),
            Attempt::Unsupported => return Ok((ClaimAnswer::Unsupported, false)),
        };
        let mut table = self.table();
        // Two locks of one name can exist only if the file was removed between them. Only the later lock counts, and it is not
        // known here which one is later.
        if table.get(&file).map(Taken::tag) != known {
            return Ok((ClaimAnswer::Contended, false));
        }
        let stale = table.insert(file, Taken { holder, lock });
        drop(table);
        drop(stale);
        Ok((ClaimAnswer::Granted(claim), true))
    }

    /// Returns whether the claim is still held. A lock needs no renewal.
    pub(crate) fn renew(&self, home: &Home, name: &Name, claim: &Claim) -> Renewed {
        let file = lock_file(name, claim.scope);
        let known = self.known(&file).filter(|(holder, _)| *holder == claim.holder);
        if known.is_some_and(|(_, stamp)| stamp.is_good(&home.locks, &file)) {
            Renewed::Until(None)
        } else {
            Renewed::Lost
        }
    }

    /// Ends a claim if `holder` has it. The file stays for the next claim until its epoch is over.
    pub(crate) fn end(&self, name: &Name, scope: ClaimScope, holder: FlightId) {
        let ended = match self.table().entry(lock_file(name, scope)) {
            Entry::Occupied(taken) if taken.get().holder == holder => Some(taken.remove()),
            _ => None,
        };
        drop(ended);
    }

    /// Returns the flight of this handle that was granted the claim, and the stamp of its lock.
    fn known(&self, file: &str) -> Option<(FlightId, Stamp)> {
        self.table().get(file).map(Taken::tag)
    }

    /// The guard is never held during disk access, so no identity waits for another's.
    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether any process holds the claim of this scope. This takes a free lock for a moment. A flight that claims at that
/// moment finds the claim contended, and tries again.
pub(crate) fn is_held(home: &Home, name: &Name, scope: ClaimScope) -> Result<bool, FileError> {
    let file = lock_file(name, scope);
    if home.locks.stat(&file)?.is_none() {
        return Ok(false);
    }
    Ok(matches!(lock::attempt(&home.locks, &file)?, Attempt::Held))
}

/// Removes the lock file of an epoch that is over, unless it is locked.
pub(crate) fn collect(home: &Home, name: &Name, epoch: Epoch) {
    collect_file(&home.locks, &lock_file(name, ClaimScope::Spend(epoch)));
}

/// Removes the lock files of an identity whose last epoch this is, unless they are locked.
pub(crate) fn collect_all(home: &Home, name: &Name, epoch: Epoch) {
    let before = epoch.number().checked_sub(1).map(Epoch::new);
    before.into_iter().chain([epoch]).for_each(|epoch| collect(home, name, epoch));
    collect_file(&home.locks, &lock_file(name, ClaimScope::Login));
}

/// Removes the lock file `file` if it belongs to a claim and is not locked. Returns whether it was removed.
pub(crate) fn collect_file(locks: &Folder, file: &str) -> bool {
    if !is_claim(file) || !matches!(locks.stat(file), Ok(Some(_))) {
        return false;
    }
    match lock::attempt(locks, file) {
        Ok(Attempt::Locked(lock)) => lock.remove(locks, file).is_ok(),
        _ => false,
    }
}

fn lock_file(name: &Name, scope: ClaimScope) -> String {
    match scope {
        ClaimScope::Spend(epoch) => format!("{}.spend.{}", name.as_str(), epoch.number()),
        ClaimScope::Login => format!("{}.login", name.as_str()),
        ClaimScope::Entry => format!("{}.entry", name.as_str()),
    }
}

fn is_claim(file: &str) -> bool {
    let Some((name, scope)) = file.split_once('.') else { return false };
    Name::read(name).is_some() && (matches!(scope, "login" | "entry") || scope.starts_with("spend."))
}
