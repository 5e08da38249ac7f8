//! The owners of refresh tokens. No two identities may hold the same one.
//!
//! Each token that is held, or reserved for a login, has one small sealed file. The file is named by the token's digest and
//! lists the identities. This list is only a hint. A hint is written before the record, and outdated hints are removed after
//! it. A hint is trusted only if the record, read under its own lock, holds the token. A process that dies in between thus
//! leaves no false owner. If the hint cannot be written, no login is stored.
//!
//! The result of a refresh does not wait for its hint, because it is the only copy of a token. If the hint cannot be written
//! at once, the record is written first, and the next reservation searches all records.
//!
//! The hints are not synced to the disk, because every refresh would pay for that. A power failure may lose some.
//! Therefore the first reservation of each boot reads all records once and writes the missing hints.

use std::time::Duration;

use base16ct::lower as hex;
use tokenkeeper_actors::ports::store::Reservation;
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{BootId, KeyedDigest, Moment, ServerIdentity, WallTime};

use crate::error::{FileError, Trouble};
use crate::folder::Durability;
use crate::lock::{self, Attempt, Lock};
use crate::names::Name;
use crate::records::{self, Place};
use crate::seal::{self, Kind};

/// The lifetime of a reservation that no install follows.
const WAITS: Duration = Duration::from_secs(600);

/// The lock for writing any hint. While a process holds it, the only lock that it may wait for is that of the index.
const LOCK: &str = "held";

/// The file that names the boot in which the hints were last found complete.
const BOOT: &str = "boot";

/// The maximal size of a hint.
const MOST: usize = 1024 * 1024;

/// The maximal number of attempts while other processes change the hint.
const ATTEMPTS: u32 = 16;

/// The contents of a hint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hint {
    /// The identities whose records hold the token, or were about to hold it.
    holders: Vec<ServerIdentity>,
    /// The identity that has reserved the token, and the time of the reservation.
    waiting: Option<(WallTime, ServerIdentity)>,
}

/// The tokens whose hints a finished write has to update.
#[derive(Default)]
pub(crate) struct Moved {
    /// The refresh token that the write replaced.
    gone: Option<KeyedDigest>,
    /// The new refresh token, if its identity may have waited to install it.
    installed: Option<KeyedDigest>,
}

/// Before a record is written, adds a hint for its new refresh token.
pub(crate) fn before(
    place: &Place,
    identity: &ServerIdentity,
    before: Option<&Record>,
    after: &Record,
) -> Result<Moved, FileError> {
    let (gone, come) = (before.and_then(held), held(after));
    if gone == come {
        return Ok(Moved::default());
    }
    match come {
        Some(_) => hint(place, identity, (gone, come), &lock::wait(&place.home.locks, LOCK)?),
        None => Ok(Moved { gone, installed: None }),
    }
}

/// Adds a hint like [`before`], but does not wait. Returns `None` if another process is writing hints. The record is then
/// written first, and the next reservation searches all records unless the hint follows.
pub(crate) fn before_at_once(
    place: &Place,
    identity: &ServerIdentity,
    before: Option<&Record>,
    after: &Record,
) -> Result<Option<Moved>, FileError> {
    let (gone, come) = (before.and_then(held), held(after));
    if gone == come {
        return Ok(Some(Moved::default()));
    }
    match lock::attempt(&place.home.locks, LOCK) {
        Ok(Attempt::Locked(lock)) => hint(place, identity, (gone, come), &lock).map(Some),
        _ => {
            look_again(place);
            Ok(None)
        }
    }
}

/// Adds a hint for a refresh token, which may have replaced another one (`gone`). The caller holds the lock.
fn hint(
    place: &Place,
    identity: &ServerIdentity,
    (gone, come): (Option<KeyedDigest>, Option<KeyedDigest>),
    _lock: &Lock,
) -> Result<Moved, FileError> {
    let mut moved = Moved { gone, installed: None };
    if let Some(come) = come {
        // In a rotation, the usual case, the hint keeps its contents and gets a new name. That needs no new file.
        let only_ours = Hint { holders: vec![identity.clone()], waiting: None };
        let old = gone.map(|gone| read(place, gone).map(|hint| (gone, hint))).transpose()?;
        let renamed = old.filter(|(_, hint)| *hint == only_ours);
        if !renamed.is_some_and(|(gone, _)| place.home.held.link(&file(gone), &file(come))) {
            update(place, come, |hint| {
                if !hint.holders.contains(identity) {
                    hint.holders.push(identity.clone());
                }
            })?;
            moved.installed = Some(come);
        }
    }
    Ok(moved)
}

impl Moved {
    /// After the record was written, removes the hints that are no longer true.
    pub(crate) fn after(self, place: &Place, identity: &ServerIdentity) -> Result<(), FileError> {
        let Self { gone, installed } = self;
        if (gone, installed) == (None, None) {
            return Ok(());
        }
        let _lock = lock::wait(&place.home.locks, LOCK)?;
        let not_waiting = |hint: &mut Hint| drop(hint.waiting.take_if(|(_, who)| who == identity));
        if let Some(gone) = gone {
            update(place, gone, |hint| {
                hint.holders.retain(|holder| holder != identity);
                not_waiting(hint);
            })?;
        }
        installed.map_or(Ok(()), |digest| update(place, digest, not_waiting))
    }
}

/// Reserves `digest` for `identity`, unless another identity holds it or waits for it.
pub(crate) fn reserve(
    place: &Place,
    identity: &ServerIdentity,
    digest: KeyedDigest,
    now: Moment,
) -> Result<Reservation, FileError> {
    for _ in 0..ATTEMPTS {
        let named = read(place, digest)?;
        // The records of the named identities must not change while they are read. The lock of the hints is taken last, in the
        // same order as where records are written.
        let (_standing, _lock) = (hold_still(place, identity, &named)?, lock::wait(&place.home.locks, LOCK)?);
        look_through(place, now.boot)?;
        let mut hint = read(place, digest)?;
        if hint.holders.iter().any(|holder| holder != identity && !named.holders.contains(holder)) {
            continue;
        }
        if let Some(other) = other_owner(place, &hint, identity, digest, now.wall)? {
            return Ok(Reservation::HeldBy(other));
        }
        hint.waiting = Some((now.wall, identity.clone()));
        hint.holders.retain(|holder| holder == identity);
        write(place, digest, &hint)?;
        return Ok(Reservation::Reserved);
    }
    Err(place.home.held.error(Trouble::Busy, &file(digest)))
}

/// Takes the locks of all other named records, in one global order.
fn hold_still(place: &Place, identity: &ServerIdentity, hint: &Hint) -> Result<Vec<Lock>, FileError> {
    let mut names: Vec<Name> =
        hint.holders.iter().filter(|holder| *holder != identity).map(|holder| place.name(holder)).collect();
    names.sort();
    names.iter().map(|name| lock::wait(&place.home.locks, &name.commit_lock())).collect()
}

fn other_owner(
    place: &Place,
    hint: &Hint,
    identity: &ServerIdentity,
    digest: KeyedDigest,
    now: WallTime,
) -> Result<Option<ServerIdentity>, FileError> {
    for holder in hint.holders.iter().filter(|holder| *holder != identity) {
        if records::load(place, holder)?.as_deref().and_then(held) == Some(digest) {
            return Ok(Some(holder.clone()));
        }
    }
    // The clock may have been set forward or back since.
    let lately = |since: WallTime| now.since(since).max(since.since(now)) < WAITS;
    let waiting = hint.waiting.as_ref().filter(|(since, who)| who != identity && lately(*since));
    Ok(waiting.map(|(_, who)| who.clone()))
}

/// Makes the next reservation search all records again, because a hint could not be written.
pub(crate) fn look_again(place: &Place) {
    if let Err(error) = place.home.held.remove(BOOT) {
        tracing::debug!(%error, "no look through the records was ordered");
    }
}

/// Searches all records, once in each boot, for tokens whose hint was lost. The caller holds the lock.
fn look_through(place: &Place, boot: BootId) -> Result<(), FileError> {
    let this = hex::encode_string(&boot.0.to_le_bytes());
    if place.home.held.read(BOOT, 64)?.is_some_and(|last| *last == this.as_bytes()) {
        return Ok(());
    }
    for identity in place.list()? {
        match records::load(place, &identity) {
            Ok(record) => {
                if let Some(digest) = record.as_deref().and_then(held) {
                    update(place, digest, |hint| {
                        if !hint.holders.contains(&identity) {
                            hint.holders.push(identity.clone());
                        }
                    })?;
                }
            }
            // The token of an unreadable record is unknown. Logins of other identities must not wait for it.
            Err(error) => tracing::warn!(%error, "a record cannot be read"),
        }
    }
    place.home.held.replace(BOOT, this.as_bytes(), Durability::ThisBoot)
}

/// The caller holds the lock.
fn update(place: &Place, digest: KeyedDigest, with: impl FnOnce(&mut Hint)) -> Result<(), FileError> {
    let found = read(place, digest)?;
    let mut hint = found.clone();
    with(&mut hint);
    if hint == found { Ok(()) } else { write(place, digest, &hint) }
}

fn read(place: &Place, digest: KeyedDigest) -> Result<Hint, FileError> {
    let Some(bytes) = place.home.held.read(&file(digest), MOST)? else { return Ok(Hint::default()) };
    // A hint that a power failure cut off counts as missing. The search after the next boot writes it again.
    let opened = seal::open(&place.keys, Kind::Hint, &[], bytes);
    let text = opened.as_ref().ok().and_then(|opened| std::str::from_utf8(opened.plaintext()).ok());
    Ok(Hint::from_text(text.unwrap_or_default()))
}

fn write(place: &Place, digest: KeyedDigest, hint: &Hint) -> Result<(), FileError> {
    if *hint == Hint::default() {
        return place.home.held.remove(&file(digest)).map(drop);
    }
    let held = &place.home.held;
    // The seal is not bound to the digest, because a rotation gives the same hint a second name.
    let sealed = seal::seal(&place.keys, Kind::Hint, &[], &[], hint.to_text().as_bytes());
    held.replace(&file(digest), &sealed.map_err(|trouble| held.error(trouble, &file(digest)))?, Durability::ThisBoot)
}

impl Hint {
    fn to_text(&self) -> String {
        let waiting = self.waiting.iter().map(|(since, who)| format!("waiting {} {}\n", since.as_millis(), who.key()));
        self.holders.iter().map(|holder| format!("held {}\n", holder.key())).chain(waiting).collect()
    }

    fn from_text(text: &str) -> Self {
        let mut hint = Self::default();
        for line in text.lines() {
            if let Some(key) = line.strip_prefix("held ") {
                hint.holders.extend(ServerIdentity::from_key(key));
            } else if let Some((since, key)) = line.strip_prefix("waiting ").and_then(|rest| rest.split_once(' ')) {
                let since = since.parse().map(WallTime::from_millis);
                hint.waiting = since.ok().zip(ServerIdentity::from_key(key).ok());
            }
        }
        hint
    }
}

fn held(record: &Record) -> Option<KeyedDigest> {
    record.held().map(|held| held.credential.digest())
}

fn file(digest: KeyedDigest) -> String {
    hex::encode_string(digest.as_bytes())
}
