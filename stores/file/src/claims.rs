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
use crate::lock::{self, Attempt, Lock};
use crate::names::Name;

/// What one handle on a home holds.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<BTreeMap<String, Taken>>);

#[derive(Debug)]
struct Taken {
    holder: FlightId,
    lock: Lock,
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
        match self.taken(home, &file) {
            Some(other) if other != holder => return Ok((ClaimAnswer::Contended, false)),
            Some(_) => return Ok((ClaimAnswer::Granted(claim), false)),
            None => {}
        }
        let lock = match lock::attempt(&home.locks, &file)? {
            Attempt::Locked(lock) => lock,
            Attempt::Held => return Ok((ClaimAnswer::Contended, false)),
            Attempt::Unsupported => return Ok((ClaimAnswer::Unsupported, false)),
        };
        self.table().insert(file, Taken { holder, lock });
        Ok((ClaimAnswer::Granted(claim), true))
    }

    /// Whether the claim is still held. It needs no renewing.
    pub(crate) fn renew(&self, home: &Home, identity: &ServerIdentity, claim: &Claim) -> Renewed {
        let file = lock_file(&Name::of(identity), claim.scope);
        if self.taken(home, &file) == Some(claim.holder) { Renewed::Until(None) } else { Renewed::Lost }
    }

    /// Ends a claim, if `holder` has it, without a look at the disk. The file stays for the next one, until its epoch is
    /// over.
    pub(crate) fn end(&self, identity: &ServerIdentity, scope: ClaimScope, holder: FlightId) {
        if let Entry::Occupied(taken) = self.table().entry(lock_file(&Name::of(identity), scope))
            && taken.get().holder == holder
        {
            drop(taken.remove());
        }
    }

    /// Which flight of this handle holds the claim.
    fn taken(&self, home: &Home, file: &str) -> Option<FlightId> {
        let (holder, stamp) = self.table().get(file).map(|taken| (taken.holder, taken.lock.stamp()))?;
        stamp.is_good(&home.locks, file).then_some(holder)
    }

    /// Never kept over a look at the disk: whoever ends a claim must not wait for that.
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
