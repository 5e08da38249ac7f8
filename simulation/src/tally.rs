//! Counts the events of each kind. A simulation without trouble shows nothing.

use std::fmt;

use tokenkeeper_actors::ports::observer::{EffectName, LoginEffectName};

use crate::config::ServerKind;

macro_rules! kinds {
    ($($name:ident = $word:literal,)*) => {
        /// A kind of event that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($name,)* }

        const WORDS: &[&str] = &[$($word,)*];
    };
}

kinds! {
    Hit = "hits past the mailbox",
    Minted = "tokens minted",
    Adopted = "tokens adopted from a sibling",
    AdoptedUnderClaim = "tokens adopted after the second read",
    Early = "early refreshes",
    KeptAlive = "refreshes against disuse",
    Forced = "forced refreshes",
    AfterRefusal = "refreshes after a refusal",
    SparedByLease = "valid tokens served though a refresh failed",
    LateRefusal = "late refusals that changed nothing",
    Futile = "futile refusals",
    RefusalNoted = "refusals noted",
    Cohort = "failures shared by a cohort",
    BackedOff = "callers told to come back after the backoff",
    WaitedOn = "failures that callers waited out",
    FailedAll = "failures that no caller waited out",
    Impatient = "callers told at once that the pause outlasts them",
    FailedFast = "callers that took the first failure",
    AttemptsSpent = "cohorts out of attempts",
    ServerThrottled = "answers 429",
    ServerCooling = "answers 429 during a cool-down",
    PermitHeld = "flights held by the issuer's throttle",
    DeadlinePassed = "deadlines passed",
    TooManyWaiters = "callers past the bound",
    WaiterGone = "waiters gone",
    Connected = "connections established",
    Unconnected = "connections not established, before a mark",
    NonceResent = "resends with a nonce",
    TooLate = "sends given up as too late",
    SentLate = "sends after a standstill between check and first byte",
    Withdrawn = "marks withdrawn",
    AnswerLost = "answers lost",
    ReadLate = "answers read after the time-out",
    Repeated = "in doubt: repeated by the flight that lost the answer",
    Replayed = "in doubt: presented again by a later flight",
    ReplayedOver = "in doubt: presented over a holder that may live",
    ReplayedOften = "in doubt: presented more than twice",
    ReplayedWithin = "in doubt: presented again within a grace period only",
    DoubtWaited = "in doubt: waited for",
    DoubtKept = "in doubt: still so after an answer without a new token",
    DoubtRefused = "in doubt: given up, because reuse costs more",
    DoubtEnded = "in doubt: ended by the owner's late commit",
    Reuse = "lineages ended by a second presentation",
    GrantEnded = "grants ended",
    Discarded = "refused tokens removed from ended grants",
    ParkedClient = "parked: client rejected",
    ParkedIssuer = "parked: issuer changed",
    ParkedSubject = "parked: subject changed",
    Degraded = "degraded flights",
    DegradedSaved = "degraded: saved in the end",
    DegradedTombstone = "degraded: tombstone saved instead",
    DegradedSuperseded = "degraded: superseded",
    LostUnnoted = "lost at shutdown, not even noted",
    LostNoted = "lost at shutdown, noted as spent",
    LostInCrash = "answers lost in a crash",
    Unstored = "tokens minted without a store",
    LateDropped = "results of an older epoch dropped",
    LateRevoked = "results of an older epoch revoked",
    EpochMoved = "epochs moved under a flight",
    ClaimContended = "claims contended",
    ClaimUnsupported = "claims not supported",
    ClaimRenewed = "claims renewed",
    ClaimRanOut = "claims run out in use",
    ClaimForgotten = "claims forgotten by the store",
    ClaimOrphaned = "claims granted to nobody",
    ClaimWaitedOut = "claims waited for in vain",
    WroteLate = "writes that landed after their time-out",
    StoreFailed = "store operations failed",
    StoreTimedOut = "store operations timed out",
    LoginInstalled = "logins installed",
    LoginMarked = "logins refused: marked",
    LoginDead = "logins refused: dead",
    LoginElsewhere = "logins refused: held elsewhere",
    LoginTroubled = "logins not stored",
    LoggedOut = "logouts",
    LogoutNotDurable = "logouts not durable",
    Configured = "renewal plans changed",
    ConfigureMarked = "renewal plans left as they are under a mark",
    ConfigureTroubled = "renewal plans not stored",
    Revoked = "revocations sent",
    Incarnation = "actors restarted",
    Attached = "actors attached to a running flight",
    CallerDropped = "callers dropped by an actor's end",
    FlightBroke = "flights broken off",
    Crash = "processes crashed",
    ShutDown = "processes shut down",
    Paused = "processes paused",
    Suspended = "hosts suspended",
    Rebooted = "hosts rebooted",
    ClockAhead = "wall clocks set ahead",
    ClockBack = "wall clocks set back",
    NewsLost = "news lost",
    LoginRequired = "callers told to sign in",
    Unparked = "grants taken back whose issuer is listed again",
    LoginWanted = "logins wanted by persons",
    LoginWantedAgain = "logins wanted again by persons",
    StepUpWanted = "logins wanted for operations",
    StepUpBounded = "logins for operations refused: too many",
    StepUpDeclined = "logins for operations refused: declined before",
    LoginInVain = "refusals of what a login for the operation brought",
    AttemptBegun = "attempts that ask",
    CompletionBegun = "attempts that complete an answer",
    Asked = "prompts written",
    Shown = "prompts shown",
    ShowReady = "prompts that can be shown",
    TakenOver = "prompts taken over",
    NotTakenOver = "prompts of another host that cannot be shown here",
    ShownBeside = "prompts shown beside one whose claim was lost",
    Followed = "attempts that follow another process",
    AskedElsewhere = "callers told that another process asks",
    Peeked = "looks at pending logins",
    PromptTimedOut = "prompts that nobody answered in time",
    SaidYes = "people: yes",
    SaidNo = "people: no",
    SaidLate = "people: yes after the request expired",
    SaidTwice = "people: the callback loaded twice",
    AnswerForged = "people: a forged answer",
    SaidCancel = "people: cancelled",
    TabClosed = "people: closed tabs",
    CallbackElsewhere = "answers that arrived in another process",
    CallbackLost = "answers that no process took",
    UnknownLogin = "answers to unknown logins",
    LateYes = "late answers that counted",
    NoShared = "noes shared between processes",
    PageUnknownClient = "authorization pages that do not know the client",
    Reauthorized = "grants ended by a new authorization",
    CodeSent = "codes presented",
    CodeUnsent = "codes that could not be sent",
    CodeLost = "codes whose answer was lost",
    CodeRefused = "codes refused",
    Polled = "device logins polled",
    RedeemedUnclaimed = "codes presented without the right to spend",
    PresentedBeside = "tokens presented beside a redemption without it",
    AttemptSignedIn = "attempts that signed in",
    LoginStored = "logins stored by attempts",
    LoginStoredLate = "logins stored late",
    LoginUnstored = "logins served before they were stored",
    LoginDropped = "logins dropped: another one came first",
    LoginRevoked = "logins revoked: logged out, or another person",
    LoginOtherSubject = "logins refused: another person",
    LoginLost = "logins lost at shutdown",
    LoginLostInCrash = "logins lost in a crash",
    AttemptLoggedOut = "attempts ended by a logout",
    AttemptTimedOut = "attempts that timed out",
    AttemptShutDown = "attempts ended by a shutdown",
    AttemptBroke = "attempts broken off",
    AskerDied = "askers that died with an open prompt",
    RedeemerDied = "redeemers that died with a code under way",
    StaleEnded = "prompts ended whose redeemer had died",
    EndedDenied = "prompts ended: denied",
    EndedCancelled = "prompts ended: cancelled",
    EndedTimedOut = "prompts ended: timed out",
    EndedFailed = "prompts ended: failed",
    EndedAborted = "prompts ended: lost",
    LoginDeadline = "requests for a login past their deadline",
    SeekerSignedIn = "requests for a login answered: signed in",
    SeekerDenied = "requests for a login answered: denied",
    SeekerCancelled = "requests to cancel a login answered",
}

const KINDS: usize = WORDS.len();
const SERVERS: usize = ServerKind::ALL.len();
const EFFECTS: usize = EffectName::ALL.len();
const LOGIN_EFFECTS: usize = LoginEffectName::ALL.len();

/// The number of events of each kind.
#[derive(Clone, Debug)]
pub struct Tally {
    kinds: [u64; KINDS],
    /// Crashes, aborts and reboots at each effect of a flight, before it begins and after.
    crashes: [[u64; 2]; EFFECTS],
    /// The same at each effect of a login attempt.
    login_crashes: [[u64; 2]; LOGIN_EFFECTS],
    /// For each kind of server, the lineages that lost an answer, those of them whose refresh token was spent, those that
    /// survive by the rule before, and those that survived.
    lineages: [[u64; 4]; SERVERS],
    /// The number of steps taken.
    pub steps: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            kinds: [0; KINDS],
            crashes: [[0; 2]; EFFECTS],
            login_crashes: [[0; 2]; LOGIN_EFFECTS],
            lineages: [[0; 4]; SERVERS],
            steps: 0,
        }
    }
}

impl Tally {
    pub(crate) fn count(&mut self, kind: Kind) {
        self.kinds[kind as usize] += 1;
    }

    pub(crate) fn crash(&mut self, effect: EffectName, after: bool) {
        if let Some(place) = EffectName::ALL.iter().position(|name| *name == effect) {
            self.crashes[place][usize::from(after)] += 1;
        }
    }

    pub(crate) fn login_crash(&mut self, effect: LoginEffectName, after: bool) {
        if let Some(place) = LoginEffectName::ALL.iter().position(|name| *name == effect) {
            self.login_crashes[place][usize::from(after)] += 1;
        }
    }

    /// Notes whether a lineage survived a lost answer, and whether it would have by the rule before.
    pub(crate) fn survival(&mut self, kind: ServerKind, spent: bool, before: bool, now: bool) {
        if let Some(place) = ServerKind::ALL.iter().position(|other| *other == kind) {
            let counts = [1, u64::from(spent), u64::from(before), u64::from(now)];
            self.lineages[place].iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    /// For each kind of server, the lineages that lost an answer, those of them whose refresh token was spent by the request,
    /// those that survive by the rule before (wait for the time-out of the request, then present a second and last time),
    /// and those that survived.
    pub fn survivals(&self) -> impl Iterator<Item = (String, [u64; 4])> + '_ {
        ServerKind::ALL.iter().map(ToString::to_string).zip(self.lineages)
    }

    /// Adds the counts of another schedule.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.kinds.iter_mut().zip(other.kinds).for_each(|(ours, theirs)| *ours += theirs);
        for (ours, theirs) in self.lineages.iter_mut().zip(other.lineages) {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        }
        for (ours, theirs) in self.login_crashes.iter_mut().zip(other.login_crashes) {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        }
        for (ours, theirs) in self.crashes.iter_mut().zip(other.crashes) {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        }
    }

    /// Every kind of event with its count.
    pub fn rows(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let kinds = WORDS.iter().zip(self.kinds).map(|(word, count)| ((*word).to_owned(), count));
        let crashes = EffectName::ALL.iter().zip(self.crashes).flat_map(|(name, [before, after])| {
            [(format!("crash before {}", name.as_str()), before), (format!("crash after {}", name.as_str()), after)]
        });
        let logins = LoginEffectName::ALL.iter().zip(self.login_crashes).flat_map(|(name, [before, after])| {
            let name = name.as_str();
            [(format!("crash before {name} of a login"), before), (format!("crash after {name} of a login"), after)]
        });
        kinds.chain(crashes).chain(logins)
    }

    /// The kinds that occurred less often than `least`.
    pub fn rare(&self, least: u64) -> Vec<(String, u64)> {
        self.rows().filter(|(_, count)| *count < least).collect()
    }
}

/// A table, one kind a line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  steps", self.steps)?;
        self.rows().try_for_each(|(word, count)| writeln!(f, "{count:>12}  {word}"))?;
        writeln!(f, "\nlineages that survived a lost answer, by kind of server (old rule: a second and last")?;
        writeln!(f, "presentation after the time-out; worked out for the same losses)")?;
        writeln!(f, "{:>12}{:>12}{:>12}{:>12}", "lost", "and spent", "old rule", "new rule")?;
        self.survivals().try_for_each(|(kind, [lost, spent, before, now])| {
            writeln!(f, "{lost:>12}{spent:>12}{before:>12}{now:>12}  {kind}")
        })
    }
}
