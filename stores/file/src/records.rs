//! Records. Each identity has one sealed file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret;
use tokenkeeper_actors::law::ledger::{self, Change, Changed, apply};
use tokenkeeper_actors::ports::store::Removal;
use tokenkeeper_actors::values::record::format;
use tokenkeeper_actors::values::record::{Content, DeadDigests, Record};
use tokenkeeper_actors::values::{Epoch, Revision, ServerIdentity, Version, WallTime};

use crate::claims;
use crate::error::{FileError, Trouble};
use crate::folder::Durability;
use crate::home::Home;
use crate::journal;
use crate::key::Keys;
use crate::lock::{self, Attempt, Lock};
use crate::logins;
use crate::names::{Name, Names};
use crate::reservations;
use crate::seal::{self, Kind};
use crate::session_names;

/// The maximal size of a record's file.
const MOST: usize = format::MAX_BYTES + seal::OVERHEAD;

/// The minimum room that is made for the record with the next refresh token.
const ROOM: usize = 8 * 1024;

/// An open home, with everything needed to read it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) home: Arc<Home>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) names: Arc<Names>,
    /// The damaged records that logins through this handle have put aside.
    pub(crate) aside: Arc<Mutex<Vec<PathBuf>>>,
}

impl Place {
    pub(crate) fn new(home: Home, keys: Keys) -> Self {
        Self { home: Arc::new(home), keys: Arc::new(keys), names: Arc::default(), aside: Arc::default() }
    }

    /// The name of this identity's files.
    pub(crate) fn name(&self, identity: &ServerIdentity) -> Name {
        Name::of(&self.keys, identity)
    }

    /// The identities that have a record.
    pub(crate) fn list(&self) -> Result<Vec<ServerIdentity>, FileError> {
        self.names.list(&self.home, &self.keys)
    }
}

/// Reads the record of `identity`. Returns `None` where there is none.
pub(crate) fn load(place: &Place, identity: &ServerIdentity) -> Result<Option<Box<Record>>, FileError> {
    let name = place.name(identity);
    let records = &place.home.records;
    let Some(bytes) = records.read(name.as_str(), MOST)? else { return Ok(None) };
    let wrong = |trouble| records.error(trouble, name.as_str());
    let opened = seal::open(&place.keys, Kind::Record, &[], bytes).map_err(wrong)?;
    if seal::open_key(&place.keys, Kind::Record, opened.header()).is_none_or(|key| key != identity.key()) {
        return Err(wrong(Trouble::Foreign));
    }
    let record = format::decode(opened.plaintext()).map_err(|error| wrong(error.into()))?;
    Ok(Some(Box::new(record)))
}

/// Reads, applies and writes the record as one step for all processes.
pub(crate) fn change(place: &Place, identity: &ServerIdentity, change: &Change) -> Result<Changed, FileError> {
    let name = place.name(identity);
    let _commit = lock::wait(&place.home.locks, &name.commit_lock())?;
    let (before, unknown) = match (load(place, identity), change) {
        (Err(error), Change::Install(login)) if error.is_damage() => (None, Some(unknown(login.at.wall))),
        (loaded, _) => (loaded?, None),
    };
    let after = match apply(unknown.as_ref().or(before.as_deref()), change) {
        Ok(after) => Box::new(after),
        Err(why) => return Ok(Changed::Conflict { why, current: before }),
    };
    let sealed = seal_record(place, &name, identity, &after)?;
    if matches!(change, Change::Mark { .. }) {
        // A full disk is thus noticed before the token is presented. The record with the next token can be written in this
        // room.
        place.home.records.make_room(name.as_str(), (2 * sealed.len()).max(ROOM))?;
    }
    if let Change::Commit(_) = change {
        // The server has just issued this token, and this is its only copy. Therefore the write waits only for the record's own
        // lock. No other identity can be about to install this token.
        let hinted = reservations::before_at_once(place, identity, before.as_deref(), &after);
        match replace(place, &name, &sealed, change) {
            // A disk that is too full for a huge access token may have room for the refresh token, which cannot be obtained
            // again.
            Err(error) if *error.trouble() == Trouble::Full => {
                let Some(bare) = without_access(&after) else { return Err(error) };
                replace(place, &name, &seal_record(place, &name, identity, &bare)?, change).map_err(|_| error)?;
                tracing::warn!("there was no room for the access token, so only the refresh token was stored");
            }
            replaced => replaced?,
        }
        let moved = match hinted {
            Ok(None) => reservations::before(place, identity, before.as_deref(), &after),
            Ok(Some(moved)) => Ok(moved),
            Err(error) => Err(error),
        };
        if let Err(error) = moved.and_then(|moved| moved.after(place, identity)) {
            tracing::warn!(%error, "who holds the new refresh token could not be noted");
            reservations::look_again(place);
        }
        add_name(place, &name, identity, before.as_deref());
    } else {
        add_name(place, &name, identity, before.as_deref());
        // A process that reserves the token between these two steps finds this identity in the hint. It then waits for this
        // lock and checks whether the record holds the token.
        let moved = reservations::before(place, identity, before.as_deref(), &after)?;
        if unknown.is_some() {
            put_aside(place, &name, &sealed)?;
        } else {
            replace(place, &name, &sealed, change)?;
        }
        if let Err(error) = moved.after(place, identity) {
            tracing::debug!(%error, "a reservation that is over was left behind");
        }
    }
    if after.held().is_none_or(|held| held.mark.is_none())
        && let Err(error) = place.home.records.give_room_back(name.as_str())
    {
        tracing::debug!(%error, "room that is no longer needed was left behind");
    }
    if let Some(earlier) = before.as_ref().filter(|before| before.epoch != after.epoch) {
        claims::collect(&place.home, &name, earlier.epoch);
    }
    Ok(Changed::Applied { before, after })
}

/// Writes a record. On a full disk, the record is written in the room that was made with the mark. A record with a new mark
/// never uses that room.
fn replace(place: &Place, name: &Name, sealed: &[u8], change: &Change) -> Result<(), FileError> {
    let (records, name) = (&place.home.records, name.as_str());
    match records.replace(name, sealed, Durability::Durable) {
        Err(full) if *full.trouble() == Trouble::Full && !matches!(change, Change::Mark { .. }) => {
            if records.replace_in_room(name, sealed, Durability::Durable)? { Ok(()) } else { Err(full) }
        }
        replaced => replaced,
    }
}

/// The record without its access token, if it has both tokens.
fn without_access(record: &Record) -> Option<Record> {
    let mut bare = record.clone();
    let Content::Grant(grant) = &mut bare.content else { return None };
    grant.access.take()?;
    bare.held().is_some().then_some(bare)
}

/// Replaces a record that cannot be opened. The damaged file is kept under another name.
fn put_aside(place: &Place, name: &Name, sealed: &[u8]) -> Result<(), FileError> {
    let records = &place.home.records;
    let aside = records.path_of(&records.replace_damaged(name.as_str(), sealed)?);
    tracing::warn!(file = %aside.display(), "a login has put a damaged record aside");
    place.aside.lock().unwrap_or_else(PoisonError::into_inner).push(aside);
    Ok(())
}

/// A substitute for a record that cannot be opened. Its counters are the seconds since 1970, and thus above those of the lost
/// record, because no counter grows once every second.
fn unknown(now: WallTime) -> Record {
    let seconds = now.as_millis() / 1_000;
    Record {
        epoch: Epoch::new(seconds),
        revision: Revision::new(seconds),
        number: seconds,
        dead: DeadDigests::default(),
        content: Content::Tombstone,
        prompt: None,
    }
}

/// Adds an identity to the index if it had no record before. The record names the identity too, so the index can be rebuilt.
fn add_name(place: &Place, name: &Name, identity: &ServerIdentity, before: Option<&Record>) {
    if before.is_none()
        && let Err(error) = place.names.add(&place.home, &place.keys, name, identity)
    {
        tracing::debug!(%error, "an identity is missing from the index");
    }
}

/// Removes the journal of an identity that was logged out. Returns whether it was.
pub(crate) fn forget(place: &Place, identity: &ServerIdentity) -> Result<bool, FileError> {
    let name = place.name(identity);
    // The lock keeps a login from being installed meanwhile.
    let _commit = lock::wait(&place.home.locks, &name.commit_lock())?;
    let is_logged_out = load(place, identity)?.is_some_and(|record| record.content == Content::Tombstone);
    if is_logged_out {
        journal::remove(place, &name)?;
    }
    Ok(is_logged_out)
}

/// Removes everything that is stored of an identity that was logged out, as one step for all processes.
///
/// The record's file is removed last of all that a reader can see. A process that dies before has removed nothing that a
/// tombstone needs, and the removal can be repeated.
pub(crate) fn remove(place: &Place, identity: &ServerIdentity, expected: Version) -> Result<Removal, FileError> {
    let name = place.name(identity);
    let home = &place.home;
    let commit = lock::wait(&home.locks, &name.commit_lock())?;
    let current = load(place, identity)?;
    let Some(record) = current.as_deref().filter(|record| ledger::remove(Some(record), expected).is_ok()) else {
        return Ok(Removal::Conflict { current });
    };
    logins::drop_all(place, identity)?;
    session_names::remove(place, identity)?;
    journal::remove(place, &name)?;
    // From now on no process begins a journal for an identity without a record.
    home.mark_removals()?;
    home.records.remove(name.as_str())?;
    home.records.sync().map_err(|_| home.records.error(Trouble::Unsure, name.as_str()))?;
    if let Err(error) = clean_up(place, &name, record.epoch, commit) {
        tracing::debug!(%error, "leftovers of a removed identity stay");
    }
    Ok(Removal::Done)
}

/// Removes the files of a removed identity that mean nothing without its record. Lock files that are in use stay until they are
/// swept.
fn clean_up(place: &Place, name: &Name, epoch: Epoch, commit: Lock) -> Result<(), FileError> {
    let home = &place.home;
    // A line may have been added while the record was still there.
    journal::remove(place, name)?;
    home.records.give_room_back(name.as_str())?;
    place.names.shorten(home, &place.keys)?;
    claims::collect_all(home, name, epoch);
    if let Ok(Attempt::Locked(journal)) = lock::attempt(&home.locks, &name.journal_lock()) {
        journal.remove(&home.locks, &name.journal_lock())?;
    }
    // Removed while it is locked. A process that waits for it notices that, and locks a new file.
    commit.remove(&home.locks, &name.commit_lock())
}

fn seal_record(
    place: &Place,
    name: &Name,
    identity: &ServerIdentity,
    record: &Record,
) -> Result<zeroize::Zeroizing<Vec<u8>>, FileError> {
    let wrong = |trouble| place.home.records.error(trouble, name.as_str());
    let plaintext = format::encode(record).map_err(|error| wrong(error.into()))?;
    let header = seal::seal_key(&place.keys, Kind::Record, &identity.key()).map_err(wrong)?;
    seal::seal(&place.keys, Kind::Record, &header, &[], plaintext.expose_secret()).map_err(wrong)
}

#[cfg(test)]
mod tests;
