//! Claims: locks that are held as long as a flight needs them, and freed by the kernel if its process dies.
//!
//! Each identity, epoch and purpose has a lock file of its own. What this handle holds stands in a table besides, so that
//! the same flight may ask again and nobody else ends its claim.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed};
use tokenkeeper_actors::values::{Epoch, FlightId, ServerIdentity};

use crate::error::FileError;
use crate::folder::Folder;
use crate::home::Home;
use crate::lock::{self, Attempt, Lock, Stamp};
use crate::names::Name;

/// What one handle on a home holds.
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
    /// Takes a claim, without waiting; and whether it was taken by this very call.
    pub(crate) fn claim(
        &self,
        home: &Home,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
    ) -> Result<(ClaimAnswer, bool), FileError> {
        let file = lock_file(&Name::of(identity), scope);
        // The lock is free, or ours already: everybody before has let go of it, or is dead.
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
        // Two locks of one name can only be where its file was removed between them: the later one counts, and it is not
        // known which that is.
        if table.get(&file).map(Taken::tag) != known {
            return Ok((ClaimAnswer::Contended, false));
        }
        let stale = table.insert(file, Taken { holder, lock });
        drop(table);
        drop(stale);
        Ok((ClaimAnswer::Granted(claim), true))
    }

    /// Whether the claim is still held. It needs no renewing.
    pub(crate) fn renew(&self, home: &Home, identity: &ServerIdentity, claim: &Claim) -> Renewed {
        let file = lock_file(&Name::of(identity), claim.scope);
        let known = self.known(&file).filter(|(holder, _)| *holder == claim.holder);
        if known.is_some_and(|(_, stamp)| stamp.is_good(&home.locks, &file)) {
            Renewed::Until(None)
        } else {
            Renewed::Lost
        }
    }

    /// Ends a claim, if `holder` has it. The file stays for the next one, until its epoch is over.
    pub(crate) fn end(&self, identity: &ServerIdentity, scope: ClaimScope, holder: FlightId) {
        let ended = match self.table().entry(lock_file(&Name::of(identity), scope)) {
            Entry::Occupied(taken) if taken.get().holder == holder => Some(taken.remove()),
            _ => None,
        };
        drop(ended);
    }

    /// Which flight of this handle was granted the claim, and what it locked for it.
    fn known(&self, file: &str) -> Option<(FlightId, Stamp)> {
        self.table().get(file).map(Taken::tag)
    }

    /// Never kept over a look at the disk: no identity waits for another's.
    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the lock file of an epoch that is over, unless somebody holds it.
pub(crate) fn collect(home: &Home, name: &Name, epoch: Epoch) {
    collect_file(&home.locks, &lock_file(name, ClaimScope::Spend(epoch)));
}

/// Removes the lock file `file` if it is one of a claim and nobody holds it; whether it did.
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
    }
}

fn is_claim(file: &str) -> bool {
    let Some((name, scope)) = file.split_once('.') else { return false };
    Name::read(name).is_some() && (scope == "login" || scope.starts_with("spend."))
}
