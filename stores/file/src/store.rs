//! The store. It runs every operation on one of its own threads, and keeps the full error of the last failure.

mod claiming;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use etcetera::BaseStrategy;
use tokenkeeper_actors::law::ledger::{Change, Changed, EntryChange, EntryChanged};
use tokenkeeper_actors::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, LoginKey, PendingLogin, Removal, Renewed, Reservation,
    StoreWatch, TokenStore,
};
use tokenkeeper_actors::values::issuer::{IssuerEntry, IssuerKey};
use tokenkeeper_actors::values::record::{Issuer, Record};
use tokenkeeper_actors::values::{
    DigestKey, Epoch, FlightId, KeyedDigest, Moment, ServerIdentity, StoreFault, Version,
};

use crate::builder::{FileStoreBuilder, KeySource, Watching};
use crate::claims::{self, Claims};
use crate::error::{FileError, Trouble};
use crate::folder::Folder;
use crate::home::{Home, REMOVALS, Where};
use crate::journal::{self, Entry};
use crate::key::Keys;
use crate::lock::{self, Attempt};
use crate::names::Name;
use crate::records::{self, Place};
use crate::watch::{self, Hearing};
use crate::workers::{Undone, Workers};
use crate::{issuers, logins, reservations, session_names};

/// A handle on a home. Clones share one handle. Opening a home twice, even in one process, gives two handles that
/// share only the home. Neither gets a claim that the other holds.
///
/// A claim is held until it is ended, until the last clone of the handle is dropped, or until the process is dead.
/// Dropping a future of this store does not stop an operation that has begun. A change is made completely or not at all. If
/// the future of a claim was dropped, the claim is released.
///
/// A handle works on the disk with at most 32 threads of its own, which end when they are idle. A disk that hangs blocks no
/// thread of the host. Work for which none of the 32 is free within four seconds fails with [`Trouble::Unserved`].
#[derive(Clone)]
pub struct FileStore(Arc<Inner>);

/// The files that [`FileStore::sweep`] has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Lock files of claims without a holder.
    pub locks: usize,
    /// Unfinished files of writers that died.
    pub unfinished: usize,
}

impl FileStore {
    /// The maximal number of lines kept of each identity's journal. When full, the older half is dropped.
    pub const JOURNAL_KEPT: usize = journal::KEPT;

    /// Opens the home in the folder `dir`, or makes one if there is none. The key must be in a file of the home. For other
    /// options see [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// See [`FileStoreBuilder::open`], which also lists the waits.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, FileError> {
        Self::builder(dir).open()
    }

    /// Returns a builder for the home in the folder `dir`, for options other than the default.
    pub fn builder(dir: impl Into<PathBuf>) -> FileStoreBuilder {
        FileStoreBuilder::new(dir.into())
    }

    /// The conventional folder of a home, `$XDG_STATE_HOME/tokenkeeper`, by default `~/.local/state/tokenkeeper`. It
    /// is meant for data that belongs to this machine. A home copied to a second machine gives each refresh token two
    /// owners, and the server then revokes it.
    ///
    /// # Errors
    ///
    /// [`Trouble::NoDirectory`] where there is no home directory.
    pub fn default_dir() -> Result<PathBuf, FileError> {
        let folders = etcetera::base_strategy::Xdg::new().ok();
        let state = folders.and_then(|folders| folders.state_dir());
        state.map(|state| state.join("tokenkeeper")).ok_or_else(|| FileError::new(Trouble::NoDirectory, "tokenkeeper"))
    }

    /// The folder of this home.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The last error, with the file and the remedy. It explains a [`StoreFault`], which has no such text. Failures to write
    /// the journal are not kept.
    pub fn last_trouble(&self) -> Option<FileError> {
        self.0.trouble().clone()
    }

    /// The files of damaged records that logins through this handle have put aside, oldest first. Nothing reads or removes
    /// them.
    pub fn put_aside(&self) -> Vec<PathBuf> {
        let place = self.0.lock_place().clone();
        place.aside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The record of `identity`, like [`load`](TokenStore::load), but with the store's own errors.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when there is a record and it cannot be read.
    pub async fn inspect(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, FileError> {
        let identity = identity.clone();
        self.run(move |_, place| records::load(place, &identity)).await
    }

    /// Whether a process has the right to present the refresh token of `identity` in this epoch right now. A flight has it
    /// while it presents the token, and until it has stored the result.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when the lock cannot be tested.
    pub async fn is_presenting(&self, identity: &ServerIdentity, epoch: Epoch) -> Result<bool, FileError> {
        let identity = identity.clone();
        self.run(move |_, place| claims::is_held(&place.home, &place.name(&identity), ClaimScope::Spend(epoch))).await
    }

    /// The newest `most` lines of the identity's journal, oldest first, with the processes that wrote them.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when the journal cannot be read.
    pub async fn history(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<Entry>, FileError> {
        let identity = identity.clone();
        self.run(move |_, place| journal::read(place, &identity, most)).await
    }

    /// The sessions' short names, which people have chosen. Not every session has one.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when the names cannot be read.
    pub async fn names(&self) -> Result<BTreeMap<String, ServerIdentity>, FileError> {
        self.run(|_, place| session_names::read(place)).await
    }

    /// Gives the session of `identity` a short name, in place of its earlier one. Any text can be a name, and it is stored
    /// sealed. Returns `false`, and changes nothing, if another session has this name.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when the names cannot be read or written.
    pub async fn set_name(&self, name: &str, identity: &ServerIdentity) -> Result<bool, FileError> {
        let (name, identity) = (name.to_owned(), identity.clone());
        self.run(move |_, place| session_names::set(place, &name, &identity)).await
    }

    /// Removes the short name of the session of `identity`. Returns whether it had one.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when the names cannot be read or written.
    pub async fn remove_name(&self, identity: &ServerIdentity) -> Result<bool, FileError> {
        let identity = identity.clone();
        self.run(move |_, place| session_names::remove(place, &identity)).await
    }

    /// Removes the journal of an identity that was logged out. Returns whether it was removed. An identity that is
    /// signed in, or has no record, is left as it is. It may sign in again. An identity that will not be used again is removed
    /// whole by [`remove`](TokenStore::remove).
    ///
    /// The record stays as a tombstone without a secret. It holds the epoch, revision and token number, from which the
    /// next login continues to count. Without them, a running process could take a new login for an older one, and a refresh
    /// of the old session for one of the new. It also holds digests of refresh tokens that must not be used again.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when the record cannot be read or the journal cannot be removed.
    pub async fn forget(&self, identity: &ServerIdentity) -> Result<bool, FileError> {
        let identity = identity.clone();
        self.run(move |_, place| records::forget(place, &identity)).await
    }

    /// Removes the leftovers of dead processes, namely unlocked lock files and unfinished files. It is safe at any
    /// time, concurrently with any other operation. A watch calls it when it begins.
    ///
    /// # Errors
    ///
    /// A [`FileError`] when a folder of the home cannot be read.
    pub async fn sweep(&self) -> Result<Swept, FileError> {
        self.run(|_, place| sweep(&place.home)).await
    }

    pub(crate) fn open_with(dir: &Path, key: &KeySource, watching: Watching, wanted: Where) -> Result<Self, FileError> {
        // An absolute path keeps the folder the same if the process changes its working directory.
        let dir = std::path::absolute(dir).map_err(|error| FileError::io(&error, dir))?;
        // This removes a trailing slash, which would make the system follow a symbolic link.
        let dir: PathBuf = dir.components().collect();
        let (home, keys) = Home::open(&dir, key, wanted)?;
        let place = Place::new(home, keys);
        Ok(Self(Arc::new(Inner {
            dir,
            keys: Arc::clone(&place.keys),
            place: Mutex::new(place),
            claims: Claims::default(),
            watching,
            watches: Mutex::default(),
            trouble: Mutex::default(),
            workers: Workers::default(),
        })))
    }

    /// Runs `work` on the home, on one of the store's threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>, &Place) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let inner = Arc::clone(&self.0);
        let done = self.0.workers.run(move || work(&inner, &inner.place()?)).await;
        done.unwrap_or_else(|undone| {
            let trouble = match undone {
                Undone::NotBegun => Trouble::Unserved,
                Undone::BrokenOff => Trouble::Aborted,
            };
            Err(FileError::new(trouble, &self.0.dir))
        })
    }

    /// Runs `work` for the store port. The caller gets the fault, and the full error is kept for people.
    async fn serve<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>, &Place) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.run(work).await.map_err(|error| {
            tracing::warn!(%error, "the file store failed");
            let fault = error.fault();
            *self.0.trouble() = Some(error);
            fault
        })
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenStore for FileStore {
    async fn digest_key(&self) -> Result<DigestKey, StoreFault> {
        Ok(self.0.keys.digest.clone())
    }

    async fn load(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault> {
        let identity = identity.clone();
        self.serve(move |_, place| records::load(place, &identity)).await
    }

    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        self.serve(|_, place| place.list()).await
    }

    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault> {
        let identity = identity.clone();
        self.serve(move |_, place| records::change(place, &identity, &change)).await
    }

    async fn remove(&self, identity: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault> {
        let identity = identity.clone();
        self.serve(move |_, place| records::remove(place, &identity, expected)).await
    }

    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        _: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        let identity = identity.clone();
        self.claim_lock(move |place| place.name(&identity), scope, holder).await
    }

    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, _: Duration) -> Result<Renewed, StoreFault> {
        let (identity, claim) = (identity.clone(), claim.clone());
        self.serve(move |inner, place| Ok(inner.claims.renew(&place.home, &place.name(&identity), &claim))).await
    }

    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, _: ClaimEnding) -> Result<(), StoreFault> {
        let (inner, name, claim) = (Arc::clone(&self.0), Name::of(&self.0.keys, identity), claim.clone());
        // A claim can be ended even if the home is gone.
        let ended = self.0.workers.run_at_last(move || inner.claims.end(&name, claim.scope, claim.holder));
        ended.await.map_err(|_| StoreFault::TimedOut)
    }

    async fn claim_entry(&self, key: &IssuerKey, holder: FlightId, _: Duration) -> Result<ClaimAnswer, StoreFault> {
        let key = key.key();
        self.claim_lock(move |place| issuers::name_of(place, &key), ClaimScope::Entry, holder).await
    }

    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Result<(), StoreFault> {
        let (key, holder) = (key.key(), claim.holder);
        self.serve(move |inner, place| {
            inner.claims.end(&issuers::name_of(place, &key), ClaimScope::Entry, holder);
            Ok(())
        })
        .await
    }

    async fn reserve(
        &self,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: Moment,
    ) -> Result<Reservation, StoreFault> {
        let identity = identity.clone();
        self.serve(move |_, place| reservations::reserve(place, &identity, digest, now)).await
    }

    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Result<(), StoreFault> {
        self.serve(move |_, place| logins::put(place, key, &login)).await
    }

    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        let key = *key;
        self.serve(move |_, place| logins::peek(place, &key, now)).await
    }

    async fn pending_logins(&self, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault> {
        self.serve(move |_, place| logins::pending(place, now)).await
    }

    async fn drop_logins(&self, identity: &ServerIdentity) -> Result<(), StoreFault> {
        let identity = identity.clone();
        self.serve(move |_, place| logins::drop_all(place, &identity)).await
    }

    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        let key = *key;
        self.serve(move |_, place| logins::take(place, &key, now)).await
    }

    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        let key = key.clone();
        self.serve(move |_, place| issuers::load(place, &key)).await
    }

    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        self.serve(|_, place| issuers::list(place)).await
    }

    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        let issuer = issuer.clone();
        self.serve(move |_, place| issuers::change(place, &issuer, &change)).await
    }

    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault> {
        let watch = self.serve(|inner, place| {
            let watch = watch::begin(inner, inner.watching)?;
            // A watch lives long, so the leftovers of dead processes are removed when it begins. A failure does not matter.
            if let Err(error) = sweep(&place.home) {
                tracing::debug!(%error, "what dead processes left was not removed");
            }
            Ok(watch)
        });
        Ok(Box::new(watch.await?))
    }

    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault> {
        let identity = identity.clone();
        let noted = self.run(move |_, place| journal::note(place, &identity, &line)).await;
        // This error is not kept as the last one, because it would hide the error of the request that the line describes.
        noted.map_err(|error| {
            tracing::warn!(%error, "the journal could not be written");
            error.fault()
        })
    }

    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault> {
        let identity = identity.clone();
        let entries = self.serve(move |_, place| journal::read(place, &identity, most)).await?;
        Ok(entries.into_iter().map(|entry| entry.line).collect())
    }
}

/// The state that all clones of a handle share.
pub(crate) struct Inner {
    dir: PathBuf,
    keys: Arc<Keys>,
    place: Mutex<Place>,
    claims: Claims,
    watching: Watching,
    watches: Mutex<Vec<Weak<Hearing>>>,
    trouble: Mutex<Option<FileError>>,
    workers: Workers,
}

impl Inner {
    /// Opens the home as it is now. A home that was moved or removed is looked up at its path each time.
    pub(crate) fn place(&self) -> Result<Place, FileError> {
        let mut place = self.lock_place();
        if !place.home.is_current() {
            self.end_watches();
            place.home = Arc::new(Home::reopen(&self.dir, &place.keys)?);
            place.names.forget();
        }
        Ok(place.clone())
    }

    pub(crate) fn whose(&self, name: &Name) -> Option<ServerIdentity> {
        let place = self.place().ok()?;
        place.names.whose(&place.home, &place.keys, name)
    }

    pub(crate) fn which_entry(&self, name: &Name) -> Option<IssuerKey> {
        issuers::whose(&self.place().ok()?, name)
    }

    pub(crate) fn add_watch(&self, hearing: &Arc<Hearing>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(hearing));
    }

    fn end_watches(&self) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.drain(..).filter_map(|watch| watch.upgrade()).for_each(|hearing| hearing.end());
    }

    fn lock_place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<FileError>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end_watches();
    }
}

fn sweep(home: &Home) -> Result<Swept, FileError> {
    let mut swept = Swept::default();
    for file in home.locks.names()? {
        swept.locks += usize::from(claims::collect_file(&home.locks, &file));
    }
    let for_records = |file: &str| Name::read(file).map(|name| name.commit_lock());
    let for_journals = |file: &str| Name::read(file).map(|name| name.journal_lock());
    swept.unfinished += sweep_unfinished(home, &home.records, for_records)?;
    swept.unfinished += sweep_unfinished(home, &home.journals, for_journals)?;
    swept.unfinished += sweep_unfinished(home, &home.held, |_| Some("held".to_owned()))?;
    swept.unfinished += sweep_unfinished(home, &home.logins, |_| Some("logins".to_owned()))?;
    // The lock of each of these files has the name of the file.
    let alone = |file: &str| ["home", session_names::FILE, REMOVALS].contains(&file).then(|| file.to_owned());
    swept.unfinished += sweep_unfinished(home, &home.root, alone)?;
    if let Some(folder) = home.issuers()? {
        swept.unfinished += sweep_unfinished(home, &folder, |_| Some(issuers::LOCK.to_owned()))?;
    }
    Ok(swept)
}

/// Removes unfinished files from a folder, each under the lock for writing it. Files that are being written now are
/// left alone.
fn sweep_unfinished(home: &Home, folder: &Folder, lock: impl Fn(&str) -> Option<String>) -> Result<usize, FileError> {
    let mut removed = 0;
    for file in folder.names()? {
        let Some(finished) = Folder::finished(&file) else { continue };
        let Some(lock) = lock(finished) else { continue };
        if let Ok(Attempt::Locked(_lock)) = lock::attempt(&home.locks, &lock) {
            removed += usize::from(folder.remove(&file)?);
        }
    }
    Ok(removed)
}
