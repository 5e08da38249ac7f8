//! The store: durable records, exclusive claims, and news of both.
//!
//! # Contract
//!
//! The testkit's store contract checks all of this; run it over any store of your own.
//!
//! - [`change`](TokenStore::change) is one atomic step, durable when it returns. A store decides nothing: it reads,
//!   calls [`apply`](crate::law::ledger::apply), and writes what comes back.
//! - At most one spend claim is held per identity *and epoch*, over all processes and hosts that share the store. A
//!   claim of another epoch is no hindrance.
//! - A tombstone is a record: clearing never forgets epoch, revision or number.
//! - Fail, do not fall back: a store that cannot be used says so, and never answers from another place.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::law::ledger::{Change, Changed};
use crate::values::record::Record;
use crate::values::{DigestKey, Epoch, FlightId, KeyedDigest, Moment, Reason, ServerIdentity, StoreFault};

/// A place that keeps records.
///
/// Shared by all sessions of a runtime, and through what lies behind it by all runtimes on it. Methods may be called
/// concurrently. Dropping a future leaves its operation either done or not done, never half done.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// The key of this store's digests: made with the store, the same for all who share it.
    async fn digest_key(&self) -> Result<DigestKey, StoreFault>;

    /// The record of `identity`; `None` when there never was one.
    ///
    /// # Errors
    ///
    /// [`StoreFault::Unreadable`] for a record that exists and cannot be read: never `None` instead.
    async fn load(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault>;

    /// The identities that have a record, tombstones included, in no particular order. Reads no record.
    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault>;

    /// Applies `change` to the record of `identity` in one atomic, durable step.
    ///
    /// # Errors
    ///
    /// [`StoreFault::TimedOut`] when it is not known whether the change took effect, or may still. Every other fault
    /// promises that it did not and will not. Changes may be repeated: each compares what it must.
    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault>;

    /// Tries to take a claim, without waiting. The same holder asking again from the same process gets the claim it has.
    ///
    /// For a leased claim, `at_least` is what must be left of it when it is granted.
    ///
    /// # Errors
    ///
    /// After [`StoreFault::TimedOut`] the claim may have been taken, and the caller ends it; a store whose claims do not
    /// run out by themselves takes none after that. Every other fault promises that no claim was left behind.
    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault>;

    /// Makes a claim last for `at_least` longer, from now; never shorter than it would have lasted. A claim that has run
    /// out is [`Lost`](Renewed::Lost), even where nobody has taken it yet.
    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Result<Renewed, StoreFault>;

    /// Ends a claim. Ending one that is lost or ended changes nothing, least of all the next holder's.
    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, ending: ClaimEnding) -> Result<(), StoreFault>;

    /// Reserves a refresh token's digest for `identity`, so that no two identities ever hold one refresh token.
    ///
    /// A reservation lasts while the identity's record holds that token, and at least ten minutes by `now`'s wall clock
    /// for the install that follows it. Each [`change`](Self::change) that brings another refresh token moves the
    /// reservation with it. It looks at what identities hold, not at what they once held: that a token is dead is known
    /// to the record it died in.
    async fn reserve(
        &self,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: Moment,
    ) -> Result<Reservation, StoreFault>;

    /// Keeps a login that waits for a person, so that another replica may complete it. `key` is the digest of its
    /// `state`; what is kept is the login machinery's, opaque here. A second login under one key replaces the first. The
    /// store may drop what has expired whenever it likes.
    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Result<(), StoreFault>;

    /// Takes a pending login out: exactly one caller gets it. One whose time has come is not found.
    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault>;

    /// StoreEvent of every identity's record from now on: of writes by anybody, this process included, and not before they can
    /// be read. StoreEvent may be repeated, coalesced, or reduced to [`StoreEvent::Lagged`]. A change that was refused is none.
    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault>;

    /// Adds a line to the identity's journal: what happened to it, free of secrets. Best effort, bounded by the store.
    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault>;

    /// The newest `most` lines of the identity's journal (all of them for `usize::MAX`), in the order in which they were
    /// noted.
    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault>;
}

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimScope {
    /// The right to spend the refresh token of this epoch.
    Spend(Epoch),
    /// The right to prompt a person. Never held for a machine's work, nor the other way round.
    Login,
}

/// The answer to an attempt to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// It is ours.
    Granted(Claim),
    /// Somebody else holds it.
    Contended,
    /// This store, or the place it lies in, cannot give out claims. Nobody may spend on it.
    Unsupported,
}

/// A claim that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it.
    pub holder: FlightId,
    /// What for.
    pub scope: ClaimScope,
    /// How long it lasts unless renewed; `None` for as long as this process lives (a kernel lock).
    pub remaining: Option<Duration>,
    /// Whether those who held it before can still act.
    pub predecessor: Predecessor,
}

/// Whether earlier holders of a claim can still act on what they did under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Predecessor {
    /// Every one has ended its claim, or is provably dead: the kernel freed its lock, or its machine booted anew.
    Gone,
    /// One lost its claim, and may be alive: a lease that ran out. It stays so for the epoch until that holder ends its
    /// claim late, or the record is committed to. Of a login's claim, which has no epoch and spends nothing, it says
    /// nothing.
    MayLive,
}

/// The answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The claim lasts this much longer; `None` for as long as this process lives.
    Until(Option<Duration>),
    /// The claim is no longer ours.
    Lost,
}

/// How a claim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimEnding {
    /// All is settled: no mark of the holder is left.
    Released,
    /// The holder stops and leaves its mark: it will commit nothing more.
    Abandoned,
}

/// The answer to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It is this identity's.
    Reserved,
    /// Another identity holds this refresh token.
    HeldBy(ServerIdentity),
}

/// The key of a pending login: a digest of the `state` parameter, never the parameter itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginKey(pub [u8; 32]);

/// A login that waits for a person.
#[derive(Clone)]
pub struct PendingLogin {
    /// Whose login it is.
    pub identity: ServerIdentity,
    /// When it ends, by the wall clock.
    pub expires: crate::values::WallTime,
    /// What the login machinery needs to complete it. It holds secrets (a PKCE verifier): sealed like a record.
    pub sealed: secrecy::SecretSlice<u8>,
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// StoreEvent from a store.
#[async_trait]
pub trait StoreWatch: fmt::Debug + Send {
    /// The next piece of news. Safe to drop; nothing is lost by it.
    async fn next(&mut self) -> StoreEvent;
}

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// The record of this identity was written, by whomever.
    Changed(ServerIdentity),
    /// StoreEvent was lost: every record may have been written. The watch goes on.
    Lagged,
    /// The watch has ended; ask for a new one.
    Ended,
}

/// A line of an identity's journal. No secret fits in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// When.
    pub at: Moment,
    /// The flight it belongs to, if any.
    pub flight: Option<FlightId>,
    /// What happened.
    pub kind: EventKind,
    /// Why, in a fixed word.
    pub reason: Option<Reason>,
}

/// What a journal tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A login was installed.
    LoggedIn,
    /// A logout was stored.
    LoggedOut,
    /// A new token was obtained and stored.
    Refreshed,
    /// A sibling's token was taken over.
    Adopted,
    /// An attempt failed.
    Failed,
    /// An answer was lost; the refresh token is in doubt.
    InDoubt,
    /// A token was obtained and could not be stored yet.
    Degraded,
    /// The grant ended or was parked; a login is needed.
    Ended,
    /// A token was obtained and could not be stored before the process stopped; a login is needed.
    Lost,
}

impl EventKind {
    /// Everything a journal tells of, in the order of the enum.
    pub const ALL: [EventKind; 9] = [
        EventKind::LoggedIn,
        EventKind::LoggedOut,
        EventKind::Refreshed,
        EventKind::Adopted,
        EventKind::Failed,
        EventKind::InDoubt,
        EventKind::Degraded,
        EventKind::Ended,
        EventKind::Lost,
    ];

    /// The stable word, in snake case: stored, and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::LoggedIn => "logged_in",
            EventKind::LoggedOut => "logged_out",
            EventKind::Refreshed => "refreshed",
            EventKind::Adopted => "adopted",
            EventKind::Failed => "failed",
            EventKind::InDoubt => "in_doubt",
            EventKind::Degraded => "degraded",
            EventKind::Ended => "ended",
            EventKind::Lost => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_that_happens_has_a_word_of_its_own() {
        let words: BTreeSet<_> = EventKind::ALL.iter().map(|what| what.as_str()).collect();
        assert_eq!(words.len(), EventKind::ALL.len());
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }
}
