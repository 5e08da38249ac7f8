//! What one check explores: the issuer's policy, the kind of claim, the bounds, and a fault planted on purpose.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Equipment, Spending, Terms};
use tokenkeeper_actors::law::profile::{InDoubt, Profile};
use tokenkeeper_actors::values::DigestKey;

/// One check.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to do about a refresh token in doubt.
    pub policy: InDoubt,
    /// What kind of claim the store gives out.
    pub claims: Claims,
    /// Whether the processes run on two hosts, so that neither can compare the other's clock with its own.
    pub apart: bool,
    /// How much of each kind may happen in one run.
    pub bounds: Bounds,
    /// A fault planted on purpose, to show that the check notices.
    pub fault: Option<Fault>,
}

/// What kind of claim the store gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// A kernel lock: both processes on one host in one boot; a crash frees the claim, and its holder is provably gone.
    Kernel,
    /// A lease: the processes on two hosts; a holder that vanishes keeps it until it runs out, and is never known to be
    /// gone. The store grants this long a lease, or what the flight asks for if that is more.
    Leased(Duration),
}

impl Claims {
    /// Whether a claim is a lease.
    pub fn is_leased(self) -> bool {
        matches!(self, Claims::Leased(_))
    }
}

/// How much of each kind may happen in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounds {
    /// Flights of each process, one after the other; a crash grants one more, so that a restarted process flies again.
    pub flights: u8,
    /// Processes that crash, at any point.
    pub crashes: u8,
    /// Claims that are lost without their holder noticing. Leases only.
    pub claim_losses: u8,
    /// Answers of the authorization server that are lost, before or after it has processed the request.
    pub lost_answers: u8,
    /// Logins that are installed.
    pub logins: u8,
    /// Sessions that learn of a login while their flight holds its claim, and may begin another beside it. A session
    /// that does not waits for the flight.
    pub lessons: u8,
    /// Store operations that time out, and take effect later or never.
    pub timeouts: u8,
    /// Stretches of 6 s: longer than a store operation may take, and than may pass between mark and send.
    pub lulls: u8,
    /// Stretches of 25 s: shorter than a request's time-out, but not together with a lull.
    pub waits: u8,
    /// Stretches of 100 s, past every time-out, at any point. There are more of them where nothing else can happen.
    pub pauses: u8,
}

impl Bounds {
    /// The bounds the protocol is checked at.
    pub const STATED: Bounds = Bounds {
        flights: 2,
        crashes: 1,
        claim_losses: 1,
        lost_answers: 1,
        logins: 1,
        lessons: 1,
        timeouts: 1,
        lulls: 1,
        waits: 1,
        pauses: 1,
    };

    /// Nothing goes wrong, and no time passes.
    pub const CALM: Bounds = Bounds {
        flights: 2,
        crashes: 0,
        claim_losses: 0,
        lost_answers: 0,
        logins: 0,
        lessons: 0,
        timeouts: 0,
        lulls: 0,
        waits: 0,
        pauses: 0,
    };
}

/// A fault planted in the model's driver or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The driver answers the read under the claim with what the read before it brought.
    StaleReread,
    /// The store ignores the version a mark expects.
    MarkAnywhere,
    /// The store says that a mark is durable and does not write it.
    MarkUnwritten,
    /// The store grants a claim that somebody holds.
    SharedClaim,
    /// The store says that a holder who lost its claim is gone.
    LostIsGone,
    /// The store ignores the epoch of a commit.
    CommitAnywhere,
    /// The driver never ends a claim.
    ClaimLeft,
}

impl Config {
    /// A check at the [stated bounds](Bounds::STATED).
    pub fn new(policy: InDoubt, claims: Claims) -> Self {
        let mut bounds = Bounds::STATED;
        if !claims.is_leased() {
            bounds.claim_losses = 0;
        }
        Self { policy, claims, apart: claims.is_leased(), bounds, fault: None }
    }

    /// All checks at the stated bounds.
    pub fn all() -> Vec<Self> {
        let leased = Claims::Leased(Duration::ZERO);
        let both = |policy| [Claims::Kernel, leased].map(|claims| Self::new(policy, claims));
        [InDoubt::RetryOnce, InDoubt::NeverReplay].into_iter().flat_map(both).collect()
    }

    /// One line that names the check.
    pub fn name(&self) -> String {
        let claims = match self.claims {
            Claims::Kernel => "kernel locks",
            Claims::Leased(_) => "leases",
        };
        format!("{:?}, {claims}", self.policy)
    }

    /// How patient flights are: as shipped, except that the pauses before another attempt to claim or to save take no
    /// time. The model decides when a pause ends.
    pub fn terms(&self) -> Terms {
        Terms { claim_pause: Duration::ZERO, save_pause: Duration::ZERO, ..Terms::default() }
    }

    /// What the flights are equipped with.
    pub fn equipment(&self) -> Equipment {
        Equipment {
            profile: Profile { in_doubt: self.policy, ..Profile::default() },
            terms: self.terms(),
            digests: DigestKey::new([7; 32]),
            spending: Spending::SingleUse,
        }
    }
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// 6 s.
    Lull,
    /// 25 s.
    Wait,
    /// 100 s.
    Pause,
}

impl Span {
    /// The spans, shortest first.
    pub const ALL: [Span; 3] = [Span::Lull, Span::Wait, Span::Pause];

    /// How long it is, in milliseconds.
    pub const fn millis(self) -> u64 {
        match self {
            Span::Lull => 6_000,
            Span::Wait => 25_000,
            Span::Pause => 100_000,
        }
    }
}
