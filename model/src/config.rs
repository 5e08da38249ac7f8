//! What one check explores: the issuer's policy, the kind of claim, the bounds, and faults planted on purpose.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Equipment, Spending, StoreTimeouts};
use tokenkeeper_actors::law::profile::{InDoubt, Profile};
use tokenkeeper_actors::values::{DigestKey, SourceName};

use crate::bounds::Bounds;

/// One check.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to do about a refresh token in doubt.
    pub policy: InDoubt,
    /// What kind of claim the store gives out.
    pub claims: Claims,
    /// Whether the processes run on two hosts, so that neither can compare the other's elapsed time with its own.
    pub apart: bool,
    /// How much of each kind may happen in one run.
    pub bounds: Bounds,
    /// Faults planted on purpose, to show that the check notices.
    pub faults: Vec<Fault>,
}

/// What kind of claim the store gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// A kernel lock: a crash frees the claim, and its holder is provably gone. It cannot be lost.
    Kernel,
    /// A lease: a holder that vanishes keeps it until it runs out, and is never known to be gone. The store grants this
    /// long a lease, or what the flight asks for if that is more.
    Leased(Duration),
}

impl Claims {
    /// Leases as long as flights ask for.
    pub const LEASED: Claims = Claims::Leased(Duration::ZERO);

    /// Leases of an hour: as a store grants them that renews them by itself.
    pub const LONG: Claims = Claims::Leased(Duration::from_secs(3600));

    /// Whether a claim is a lease.
    pub fn is_leased(self) -> bool {
        matches!(self, Claims::Leased(_))
    }
}

/// A fault planted in the model's driver or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The driver answers the first read under the claim with what the read before the claim brought.
    StaleReread,
    /// The store ignores the version a mark expects.
    MarkAnywhere,
    /// The store says that a mark is durable and does not write it.
    MarkUnwritten,
    /// A mark says that its request is over as soon as a request may be that leaves together with it.
    MarkTooShort,
    /// The store grants a claim that somebody holds.
    SharedClaim,
    /// The store says that a holder who lost its claim is gone.
    LostIsGone,
    /// The store ignores the epoch and the tokens that a commit compares with.
    CommitAnywhere,
    /// The store keeps whole seconds: a mark seems made before the claim that was asked for just before it.
    MarkBackdated,
    /// The store ignores the epoch and the token that the end of a grant compares with.
    EndAnywhere,
    /// The driver never ends a claim.
    ClaimLeft,
    /// The source sends although the time to send by has passed.
    SendLate,
    /// The driver forgets that a claim it has given up on may be granted.
    OrphanForgotten,
}

/// The policies that tell on a strict server. One with a grace period, for which `RetryWithin` is meant, is another
/// server.
const POLICIES: [InDoubt; 2] = [InDoubt::RetryOnce, InDoubt::NeverReplay];

impl Config {
    /// A check of `policy` and `claims` within `bounds`; leases are between two hosts.
    pub fn new(policy: InDoubt, claims: Claims, bounds: Bounds) -> Self {
        let claim_losses = if claims.is_leased() { bounds.claim_losses } else { 0 };
        let bounds = Bounds { claim_losses, ..bounds };
        Self { policy, claims, apart: claims.is_leased(), bounds, faults: Vec::new() }
    }

    /// What is explored before a change is taken.
    pub fn usual() -> Vec<Self> {
        let kernel = |bounds| POLICIES.map(|policy| Self::new(policy, Claims::Kernel, bounds));
        let stated = POLICIES.map(|policy| Self::new(policy, Claims::LEASED, Bounds::STATED));
        let late_login = Self::new(InDoubt::RetryOnce, Claims::Kernel, Bounds::OVERTAKEN);
        let still = Self::new(InDoubt::RetryOnce, Claims::LEASED, Bounds::STILL);
        let long = Self::new(InDoubt::RetryOnce, Claims::LONG, Bounds::LOST).together();
        let many = [Bounds::UNSAVED, Bounds::SLOW, Bounds::STILL].into_iter().flat_map(kernel);
        stated.into_iter().chain(many).chain([late_login, still, long]).collect()
    }

    /// The same and more at once: for those who have the time.
    pub fn larger() -> Vec<Self> {
        let both = |claims, bounds| POLICIES.map(|policy| Self::new(policy, claims, bounds));
        let three = Bounds { flights: 3, ..Bounds::STATED };
        let learnt = Bounds { unsent: 1, lessons: 1, ..Bounds::OVERTAKEN };
        [
            both(Claims::LEASED, Bounds::UNSAVED),
            both(Claims::Kernel, three),
            both(Claims::Kernel, learnt),
            both(Claims::LEASED, Bounds::STILL),
            both(Claims::LONG, Bounds::STILL).map(Self::together),
        ]
        .concat()
    }

    /// The same check with faults planted.
    #[must_use]
    pub fn with(self, faults: &[Fault]) -> Self {
        Self { faults: faults.to_vec(), ..self }
    }

    /// The same check with both processes on one host.
    #[must_use]
    pub fn together(self) -> Self {
        Self { apart: false, ..self }
    }

    /// Whether this fault is planted.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// One line that names the check.
    pub fn name(&self) -> String {
        let claims = match (self.claims, self.apart) {
            (Claims::Kernel, _) => "kernel locks",
            (Claims::LEASED, true) => "leases, two hosts",
            (Claims::LEASED, false) => "leases, one host",
            (Claims::Leased(_), true) => "long leases, two hosts",
            (Claims::Leased(_), false) => "long leases, one host",
        };
        format!("{:?}, {claims}: {}", self.policy, self.bounds)
    }

    /// How patient flights are: as shipped, except that the pauses before another attempt to claim or to save take no
    /// time. The model decides when a pause ends.
    pub fn timeouts(&self) -> StoreTimeouts {
        StoreTimeouts { claim_pause: Duration::ZERO, save_pause: Duration::ZERO, ..StoreTimeouts::default() }
    }

    /// What the flights are equipped with.
    pub fn equipment(&self) -> Equipment {
        Equipment {
            profiles: Profile { in_doubt: self.policy, ..Profile::default() }.into(),
            sources: [(SourceName::REFRESH_TOKEN, Spending::SingleUse)].into(),
            timeouts: self.timeouts(),
            digests: DigestKey::new([7; 32]),
        }
    }
}
