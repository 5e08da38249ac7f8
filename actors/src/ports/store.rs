//! The store port. A store keeps durable records, exclusive claims, pending logins, issuers' entries and journals, and
//! reports changes of records. The file store and others implement it.
//!
//! # Contract
//!
//! `store_contract` of `tokenkeeper-testkit` tests an implementation against all of this.
//!
//! - [`change`](TokenStore::change) is one atomic step, durable when it returns. A store decides nothing. It reads,
//!   calls [`apply`](crate::law::ledger::apply), and writes the record that this returns.
//! - At most one spend claim is held per identity *and epoch*, over all processes and hosts that share the store. A
//!   claim of another epoch is independent.
//! - A tombstone is a record. Clearing keeps epoch, revision and number. Only [`remove`](TokenStore::remove) removes a
//!   record.
//! - An issuer's entries (client registrations, metadata, cool-downs) are kept apart from all identities, as
//!   atomically and durably, and sealed in the same way. An entry that is removed keeps its revision.
//! - A store that cannot be used returns a fault. It never falls back to another place.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::law::ledger::{Change, Changed, EntryChange, EntryChanged};
pub use crate::values::LoginKey;
use crate::values::issuer::{IssuerEntry, IssuerKey};
use crate::values::record::{Issuer, Record};
use crate::values::{
    AttemptId, DigestKey, Epoch, FlightId, KeyedDigest, Moment, Reason, ServerIdentity, StoreFault, Version,
};

/// Keeps records.
///
/// Shared by all sessions of a runtime. The storage behind it is shared by all runtimes that use it. Methods may be
/// called concurrently. Dropping a future leaves its operation either done or not done, never half done.
///
/// An operation must end even if the storage hangs. A session gives up on a read after five seconds, and begins no
/// other one until the first has ended, so that reads do not pile up.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the key of this store's digests. It is created with the store, and is the same for all processes that
    /// share the store.
    async fn digest_key(&self) -> Result<DigestKey, StoreFault>;

    /// Returns the record of `identity`, or `None` if there never was one, or it was removed.
    ///
    /// # Errors
    ///
    /// [`StoreFault::Unreadable`] for a record that exists and cannot be read, and [`StoreFault::Newer`] for a record
    /// of a newer format. The store never returns `None` for these.
    async fn load(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault>;

    /// Returns the identities that have a record, tombstones included, in no particular order. Reads no record.
    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault>;

    /// Applies `change` to the record of `identity` in one atomic, durable step.
    ///
    /// # Errors
    ///
    /// [`StoreFault::TimedOut`] if it is not known whether the change took effect, or may still do so. Every other
    /// fault means that it did not and will not. Changes may be repeated, because each compares everything it depends
    /// on.
    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault>;

    /// Removes what is stored of an identity that was logged out and will not be used again. These are its record, its
    /// journal, its pending logins and its reservations. A reservation that no install has followed may stay behind. Other
    /// identities, and claims that are held, stay as they are.
    ///
    /// It is one atomic step beside [`change`](Self::change), and durable when it returns. As with `change` the store
    /// decides nothing. It reads, calls [`remove`](crate::law::ledger::remove) with `expected`, and removes only if that
    /// permits it. If the process dies, either the record is still there, and the removal can be repeated, or nothing is.
    /// A line that is added to the journal of an identity without a record may be lost.
    ///
    /// # Errors
    ///
    /// As for [`change`](Self::change). After [`StoreFault::TimedOut`] the caller repeats the removal.
    async fn remove(&self, identity: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault>;

    /// Tries to take a claim, without waiting. If the holder asks again from the same process, it gets the claim that it
    /// has.
    ///
    /// For a leased claim, `at_least` is the minimum remaining time when it is granted.
    ///
    /// # Errors
    ///
    /// After [`StoreFault::TimedOut`] the claim may have been taken, and the caller ends it. A store whose claims do
    /// not run out by themselves must not take the claim after that. Every other fault means that no claim was taken.
    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault>;

    /// Makes a claim last for at least `at_least` from now, and never shorter than before. A claim that has run out is
    /// [`Lost`](Renewed::Lost), even if no other holder has taken it yet.
    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Result<Renewed, StoreFault>;

    /// Ends a claim. Ending a claim that is lost or ended changes nothing, and never affects the next holder's claim.
    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, ending: ClaimEnding) -> Result<(), StoreFault>;

    /// Tries to take the claim on an issuer's entry, without waiting. Its holder makes a request that all processes
    /// together should make once, such as a client registration, and the entry keeps the result. It is granted,
    /// contended and lost like a claim of an identity, and has the scope [`ClaimScope::Entry`]. It is never renewed,
    /// because such a request is short.
    ///
    /// # Errors
    ///
    /// As for [`claim`](Self::claim).
    async fn claim_entry(
        &self,
        key: &IssuerKey,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault>;

    /// Ends the claim on an issuer's entry. Ending a claim that is lost or ended changes nothing.
    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Result<(), StoreFault>;

    /// Reserves a refresh token's digest for `identity`, so that no two identities ever hold one refresh token.
    ///
    /// A reservation lasts while the identity's record holds that token. It lasts at least ten minutes by the wall
    /// clock in `now`, for the install that follows it. Each [`change`](Self::change) that stores another refresh token
    /// moves the reservation to it. Only tokens that identities hold now are compared. A dead token is remembered by
    /// the record in which it died.
    async fn reserve(
        &self,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: Moment,
    ) -> Result<Reservation, StoreFault>;

    /// Stores a pending login, so that any process that shares the store can complete it. `key` is the digest of its
    /// `state`. The content is opaque to the store. A second login under one key replaces the first. The store may drop
    /// expired logins at any time.
    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Result<(), StoreFault>;

    /// Removes a pending login and returns it. Exactly one caller gets it. An expired login is not found.
    ///
    /// # Errors
    ///
    /// After [`StoreFault::TimedOut`] the login may have been taken. Every other fault means that it was not.
    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault>;

    /// Returns a pending login without removing it. An expired login is not found.
    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault>;

    /// Returns the keys and the contents of all pending logins, except for expired ones, in no particular order. A host
    /// that was restarted shows them again.
    async fn pending_logins(&self, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault>;

    /// Removes the pending logins of `identity`, so that their answers are refused. A logout calls it.
    async fn drop_logins(&self, identity: &ServerIdentity) -> Result<(), StoreFault>;

    /// Returns the issuer's entry under `key`, removed ones included, or `None` if there never was one.
    ///
    /// # Errors
    ///
    /// [`StoreFault::Unreadable`] for an entry that exists and cannot be read. The store never returns `None` for it.
    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault>;

    /// Returns the keys of all entries of all issuers, removed ones included, in no particular order. Keys of kinds that
    /// only a later version knows are left out.
    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault>;

    /// Applies `change` to the entry of `issuer` that it names, in one atomic, durable step. As with
    /// [`change`](Self::change) the store decides nothing. It reads, calls
    /// [`apply_entry`](crate::law::ledger::apply_entry), and writes the entry that this returns.
    ///
    /// # Errors
    ///
    /// As for [`change`](Self::change). After [`StoreFault::TimedOut`] the caller repeats the change. The entry in a
    /// conflict may then be its own write.
    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault>;

    /// Watches the records of all identities and the entries of all issuers from now on. Writes of all processes,
    /// including this one, are reported, but not before they can be read. Events may be repeated, coalesced, or reduced
    /// to [`StoreEvent::Lagged`]. A refused change causes no event.
    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault>;

    /// Adds a line to the identity's journal, free of secrets. A line may be lost. The store bounds the journal.
    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault>;

    /// Returns the newest `most` lines of the identity's journal (all of them for `usize::MAX`), in the order in which
    /// they were added.
    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault>;
}

/// The answer to a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Nothing is stored of the identity any more.
    Done,
    /// The record is not the tombstone that the caller has read. Nothing was removed.
    Conflict {
        /// The current record. `None` if there is none, which may be the caller's own removal.
        current: Option<Box<Record>>,
    },
}

/// The right that a claim gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimScope {
    /// The right to spend the refresh token of this epoch.
    Spend(Epoch),
    /// The right to prompt a person. It is separate from the right to spend, because a person takes minutes to answer.
    Login,
    /// The right to make a request whose result an issuer's entry keeps, such as a client registration.
    Entry,
}

/// The answer to an attempt to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// The caller holds the claim.
    Granted(Claim),
    /// Another holder has the claim.
    Contended,
    /// This store, or the place where it is kept, does not support claims. No refresh token of such a store may be spent.
    Unsupported,
}

/// A claim that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The id under which the claim is held, for example that of a flight or of a login attempt.
    pub holder: FlightId,
    /// The right that the claim gives.
    pub scope: ClaimScope,
    /// The time the claim lasts unless renewed. `None` for the lifetime of this process (a kernel lock).
    pub remaining: Option<Duration>,
    /// Whether earlier holders can still act.
    pub predecessor: Predecessor,
}

/// Whether earlier holders of a claim can still act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Predecessor {
    /// Every earlier holder has ended its claim, or is provably dead (the kernel freed its lock, or its machine was
    /// rebooted).
    Gone,
    /// An earlier holder lost its leased claim, and may be alive. This remains the answer for the epoch until that
    /// holder ends its claim late, or a commit is stored. It has no meaning for a login claim, which has no epoch and
    /// spends nothing.
    MayLive,
}

/// The answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The claim lasts this much longer. `None` for the lifetime of this process.
    Until(Option<Duration>),
    /// The caller does not hold the claim any more.
    Lost,
}

/// The way in which a claim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimEnding {
    /// Everything is settled, and no mark of the holder is left.
    Released,
    /// The holder stops, and its mark stays in the record. It will not commit anything any more.
    Abandoned,
}

/// The answer to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The token is reserved for this identity.
    Reserved,
    /// Another identity holds this refresh token.
    HeldBy(ServerIdentity),
}

/// The data with which any process that shares the store completes a prompt once the person has answered.
#[derive(Clone)]
pub struct PendingLogin {
    /// The identity that signs in.
    pub identity: ServerIdentity,
    /// The attempt that asked.
    pub attempt: AttemptId,
    /// The epoch that the login is to replace.
    pub epoch: Epoch,
    /// Whether only a login of the subject that is signed in already may replace the grant.
    pub same_subject: bool,
    /// When the pending login expires, by the wall clock.
    pub expires: crate::values::WallTime,
    /// The data that is needed to complete the login. It contains secrets (a PKCE verifier) and is sealed like a record.
    pub sealed: secrecy::SecretSlice<u8>,
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin")
            .field("identity", &self.identity)
            .field("attempt", &self.attempt)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A subscription to the events of a store.
#[async_trait]
pub trait StoreWatch: fmt::Debug + Send {
    /// Returns the next event. Dropping the future loses no event.
    async fn next(&mut self) -> StoreEvent;
}

/// An event of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// The record of this identity was written or removed, by this or another process.
    Changed(ServerIdentity),
    /// The issuer's entry under this key was written, by this or another process.
    IssuerChanged(IssuerKey),
    /// Events were lost, and every record and entry may have been written. The watch continues.
    Lagged,
    /// The watch has ended. The caller asks for a new one.
    Ended,
}

/// A line of an identity's journal, the log of its events. Its types cannot hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// When the event happened.
    pub at: Moment,
    /// The flight that the event belongs to, if any.
    pub flight: Option<FlightId>,
    /// The kind of event.
    pub kind: EventKind,
    /// The reason, from the fixed vocabulary.
    pub reason: Option<Reason>,
}

/// The kinds of events of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A login was installed.
    LoggedIn,
    /// A logout was stored.
    LoggedOut,
    /// A new token was obtained and stored.
    Refreshed,
    /// A sibling's token was adopted.
    Adopted,
    /// A token could not be obtained, and callers wait while it is tried again. It is not in the journal, because those
    /// callers see no failure.
    Retrying,
    /// A token could not be obtained, and callers do not wait for another try. A flight that a shutdown ended early does not
    /// count if it had spent nothing and no caller waited.
    Failed,
    /// An answer was lost, and the refresh token is in doubt.
    InDoubt,
    /// A token was obtained and could not be stored yet.
    Degraded,
    /// The grant ended or was parked. A login is required. The journal has one line, from the flight whose request
    /// caused it, and none from flights that only read it.
    Ended,
    /// A token was obtained and could not be stored before the process stopped. A login is required.
    Lost,
    /// A person was asked to sign in.
    Asked,
    /// The person answered, and the answer was redeemed.
    Answered,
    /// The person or the server declined.
    Declined,
    /// The login failed in another way, was cancelled, or was not answered in time.
    LoginFailed,
}

impl EventKind {
    /// All kinds, in the order of the enum.
    pub const ALL: [EventKind; 14] = [
        EventKind::LoggedIn,
        EventKind::LoggedOut,
        EventKind::Refreshed,
        EventKind::Adopted,
        EventKind::Retrying,
        EventKind::Failed,
        EventKind::InDoubt,
        EventKind::Degraded,
        EventKind::Ended,
        EventKind::Lost,
        EventKind::Asked,
        EventKind::Answered,
        EventKind::Declined,
        EventKind::LoginFailed,
    ];

    /// The stable word, in snake case. It is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::LoggedIn => "logged_in",
            EventKind::LoggedOut => "logged_out",
            EventKind::Refreshed => "refreshed",
            EventKind::Adopted => "adopted",
            EventKind::Retrying => "retrying",
            EventKind::Failed => "failed",
            EventKind::InDoubt => "in_doubt",
            EventKind::Degraded => "degraded",
            EventKind::Ended => "ended",
            EventKind::Lost => "lost",
            EventKind::Asked => "asked",
            EventKind::Answered => "answered",
            EventKind::Declined => "declined",
            EventKind::LoginFailed => "login_failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), EventKind::ALL.len());
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }
}
