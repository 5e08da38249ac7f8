//! Stores with one planted fault each, around the store in memory.

mod claims;
mod issuers;
mod news;
mod records;
mod removal;
mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::store::{Claim, Predecessor, TokenStore};
use tokenkeeper_actors::values::ServerIdentity;
use tokenkeeper_testkit::store_contract::{Harness, Place};

use super::support::{LeasedPlace, overflow};
use store::{Faulty, Shared};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    MakesRecordsUp,
    RevisionStartsAtZero,
    LosesTheDpopKey,
    LosesSignsBeyondAscii,
    LosesTheMark,
    RevisionSkips,
    RefusalMovesTheRevision,
    ListForgetsTombstones,
    ListRepeats,
    FoldsCase,
    ForgetsWhenClosed,
    KeyForEachHandle,
    ShowsASecret,
    CachesReads,
    MarkComparesNothing,
    MarkComparesTheEpochOnly,
    ReadsThenWrites,
    WithdrawsOnlyWhatIsThere,
    WithdrawsAnyMark,
    ForgetsWhatIsSpent,
    CommitComparesTheRevision,
    CommitIgnoresTheToken,
    CommitIgnoresTheNumber,
    CommitIgnoresTheEpoch,
    CommitIgnoresTheSubject,
    CommitComparesNothing,
    CommitRevivesATombstone,
    CommitNeedsTheClaim,
    RepeatedCommitApplies,
    ConflictShowsNothing,
    OmittedTokenIsNone,
    NeedsALogin,
    InstallsTheDead,
    InstallsTheMarked,
    LosesWhyItIsParked,
    LosesThePlan,
    ConfigureIgnoresTheEpoch,
    TombstoneRestartsTheRevision,
    LogoutDeletesTheRecord,
    LogoutForgetsTheDead,
    ClearIgnoresTheEpoch,
    LogoutOfNobodyIsNothing,
    /// No fault: an honest store without claims.
    HonestlyGivesNoClaims,
    GivesClaimsItMustNot,
    ClaimIsNotExclusive,
    ClaimIsOfOneProcess,
    ClaimIsTooShort,
    ClaimLooksThenTakes,
    ClaimKnowsNoEpoch,
    ClaimKnowsNoIdentity,
    ClaimKnowsNoScope,
    HolderHindersItself,
    EndIsIgnored,
    EndsByName,
    AbandonedIsKept,
    AbandonedTakesItsMark,
    RenewalIsAlwaysGranted,
    RenewalIsTooShort,
    WriteEndsTheClaim,
    PredecessorsAlwaysLive,
    PredecessorsNeverLive,
    TellsTheNextOnly,
    LossIsNeverSettled,
    AnyWriteSettlesALoss,
    DeathKeepsTheClaim,
    ReservesForAll,
    NamesTheWrongHolder,
    ReserveLooksThenTakes,
    ReservationForgetsTheRecord,
    ReservationNeverEnds,
    ReservationIsTooShort,
    LoginIsTakenTwice,
    LoginIsCutShort,
    LoginLooksThenTakes,
    ExpiredLoginIsFound,
    AnyKeyFindsALogin,
    LoginForgetsItsEpoch,
    LookTakesTheLogin,
    LookShowsExpiredLogin,
    LoginsAreListedTwice,
    ExpiredLoginIsListed,
    LoginsAreNotDropped,
    AllLoginsAreDropped,
    RemovalIsNothing,
    RemovalKeepsTheJournal,
    RemovalKeepsTheLogins,
    RemovalTakesAll,
    RemovalComparesNothing,
    RemovalIgnoresTheVersion,
    RemovalShowsNothing,
    RemovedIsRevived,
    RemovalReadsThenRemoves,
    RemovalIsNoNews,
    MakesEntriesUp,
    EntryLosesItsManagement,
    EntryTakesStaleForUnknown,
    EntryLosesSignsBeyondAscii,
    CooldownLosesItsBoot,
    EntryIsOfOneProcess,
    EntryIsCreatedTwice,
    EntryConflictShowsNothing,
    EntryComparesNothing,
    EntryRefusalMovesTheRevision,
    EntryReadsThenWrites,
    RemovalForgetsTheRevision,
    CreatesOverARemovedEntry,
    EntryKnowsNoIssuer,
    EntryIsClaimedTwice,
    EntriesShareAClaim,
    EntryStaysClaimed,
    EntryKnowsNoName,
    EntryKnowsNoKind,
    EntryFoldsCase,
    EntryListForgetsRemoved,
    EntryListRepeats,
    IssuersAreListedAsIdentities,
    EntryIsNoNews,
    EntryRemovalIsNoNews,
    EntryNewsComesFirst,
    ShowsAClientSecret,
    WatchIsSilent,
    WatchHearsItselfOnly,
    WatchHearsOthersOnly,
    LogoutIsNoNews,
    NewsComesFirst,
    BrokenOffWaitEndsTheWatch,
    LossIsNotTold,
    JournalIsReversed,
    JournalKeepsTheOldest,
    JournalIsUnbounded,
    JournalIsShared,
}

/// Makes stores with this fault, or with none.
pub(crate) struct BrokenHarness(pub(crate) Option<Fault>);

#[async_trait]
impl Harness for BrokenHarness {
    async fn place(&self) -> Box<dyn Place> {
        let memory = LeasedPlace::new();
        let shared = Shared::new(memory.store.clone(), self.0);
        Box::new(BrokenPlace { fault: self.0, memory, shared: Mutex::new(shared) })
    }

    fn gives_claims(&self) -> bool {
        !matches!(self.0, Some(Fault::HonestlyGivesNoClaims | Fault::GivesClaimsItMustNot))
    }

    fn journal_bound(&self) -> usize {
        MemoryStore::JOURNAL_KEPT
    }

    fn timeout(&self) -> Duration {
        // Memory has no delay, and a silent watch must be found quickly.
        Duration::from_millis(50)
    }
}

struct BrokenPlace {
    fault: Option<Fault>,
    memory: LeasedPlace,
    shared: Mutex<Arc<Shared>>,
}

#[async_trait]
impl Place for BrokenPlace {
    async fn open(&self) -> Arc<dyn TokenStore> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = Arc::strong_count(&shared) == 1;
        if self.fault == Some(Fault::ForgetsWhenClosed) && unused {
            *shared = Shared::new(LeasedPlace::new().store, self.fault);
        }
        Arc::new(Faulty::open(&shared))
    }

    async fn lose_claim(&self, _: &ServerIdentity, _: &Claim) -> Option<Predecessor> {
        self.memory.let_leases_run_out();
        Some(Predecessor::MayLive)
    }

    async fn kill(&self, handle: Arc<dyn TokenStore>) -> Option<Predecessor> {
        drop(handle);
        if self.fault != Some(Fault::DeathKeepsTheClaim) {
            self.memory.let_leases_run_out();
        }
        Some(Predecessor::MayLive)
    }

    async fn lose_news(&self) -> bool {
        let store = self.open().await;
        overflow(&*store).await;
        true
    }
}
