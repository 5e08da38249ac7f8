//! The configuration of one check. It contains the cost of a reuse, the kind of claim, the bounds and the planted
//! faults.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Equipment, Spending, StoreTimeouts};
use tokenkeeper_actors::law::profile::{Profile, Reuse};
use tokenkeeper_actors::values::{DigestKey, SourceName};

use crate::bounds::Bounds;

/// The time-out of a token request. It is shorter than the shipped default, so that the model's spans lie on either
/// side of it.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a flight waits for a claim. Longer than one request and its writes, as in the shipped default.
const CLAIM_WAIT: Duration = Duration::from_secs(90);

/// One check.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cost of a reuse at the server, which decides whether a refresh token in doubt is presented again.
    pub reuse: Reuse,
    /// The kind of claim that the store grants.
    pub claims: Claims,
    /// Whether the processes run on two hosts. Their elapsed clocks cannot be compared then.
    pub apart: bool,
    /// The bounds on the events of one run.
    pub bounds: Bounds,
    /// Faults planted on purpose, to show that the check finds them.
    pub faults: Vec<Fault>,
}

/// The kind of claim that the store grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// A kernel lock. A crash frees the claim, and its holder is provably gone. The claim cannot be lost.
    Kernel,
    /// A lease. A holder that vanishes keeps it until it expires, and is never known to be gone. The store grants this
    /// duration, or the requested one if that is longer.
    Leased(Duration),
}

impl Claims {
    /// Leases as long as flights request.
    pub const LEASED: Claims = Claims::Leased(Duration::ZERO);

    /// Leases of an hour, like those of a store that renews its leases by itself.
    pub const LONG: Claims = Claims::Leased(Duration::from_secs(3600));

    /// Whether a claim is a lease.
    pub fn is_leased(self) -> bool {
        matches!(self, Claims::Leased(_))
    }
}

/// A fault planted in the model's driver or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The driver answers the first read under the claim with the result of the read before the claim.
    StaleReread,
    /// The store ignores the expected version of a mark.
    MarkAnywhere,
    /// The store reports a mark as durable and does not write it.
    MarkUnwritten,
    /// A mark states an end for its request that holds only for a request sent at the time of the mark.
    MarkTooShort,
    /// The store grants a claim that another flight holds.
    SharedClaim,
    /// The store reports that a holder that lost its claim is gone.
    LostIsGone,
    /// The store ignores the epoch and the tokens that a commit is compared by.
    CommitAnywhere,
    /// The store keeps whole seconds, so a mark seems older than the claim that was requested just before it.
    MarkBackdated,
    /// The store ignores the epoch and the token that the end of a grant is compared by.
    EndAnywhere,
    /// The driver never ends a claim.
    ClaimLeft,
    /// The source sends although the time to send by has passed.
    SendLate,
    /// The driver forgets that a claim it gave up may still be granted, and drops the answer.
    OrphanForgotten,
    /// The store forgets the earlier presentations when a mark is withdrawn.
    WithdrawnWhole,
}

/// Both costs of a reuse. No check has a grace period, because this server has none.
const REUSES: [Reuse; 2] = [Reuse::EndsLineage, Reuse::EndsMore];

impl Config {
    /// A check of `reuse` and `claims` within `bounds`. On leases, the processes run on two hosts.
    pub fn new(reuse: Reuse, claims: Claims, bounds: Bounds) -> Self {
        let claim_losses = if claims.is_leased() { bounds.claim_losses } else { 0 };
        let bounds = Bounds { claim_losses, ..bounds };
        Self { reuse, claims, apart: claims.is_leased(), bounds, faults: Vec::new() }
    }

    /// The checks that run before a change is accepted.
    pub fn usual() -> Vec<Self> {
        let both = |bounds| REUSES.map(|reuse| Self::new(reuse, Claims::Kernel, bounds));
        let repeating = |claims, bounds| Self::new(Reuse::EndsLineage, claims, bounds);
        let leased = [
            Bounds { flights: 1, ..Bounds::STATED },
            Bounds { logins: 0, ..Bounds::STATED },
            Bounds { lost_answers: 0, ..Bounds::STATED },
            Bounds { lost_answers: 0, ..Bounds::STILL },
            Bounds { flights: 1, late_requests: 1, ..Bounds::STILL },
        ];
        let doubtful = Bounds { flights: 1, waits: 1, ..Bounds::DOUBTFUL };
        let kernel = [Bounds::DOUBTFUL, doubtful, Bounds { waits: 0, ..Bounds::SLOW }, Bounds::OVERTAKEN];
        let others = [
            Self::new(Reuse::EndsMore, Claims::LEASED, Bounds::STATED),
            Self::new(Reuse::EndsMore, Claims::Kernel, Bounds::SLOW),
            repeating(Claims::LONG, Bounds { flights: 1, ..Bounds::STILL }),
            repeating(Claims::LONG, Bounds::LOST),
            repeating(Claims::LONG, Bounds::LOST).together(),
        ];
        let leased = leased.map(|bounds| repeating(Claims::LEASED, bounds));
        let kernel = kernel.map(|bounds| repeating(Claims::Kernel, bounds));
        let unsaved_or_still = [Bounds::UNSAVED, Bounds::STILL].into_iter().flat_map(both);
        leased.into_iter().chain(unsaved_or_still).chain(kernel).chain(others).collect()
    }

    /// Larger checks, which take longer.
    pub fn larger() -> Vec<Self> {
        let both = |claims, bounds| REUSES.map(|reuse| Self::new(reuse, claims, bounds));
        let three = Bounds { flights: 3, ..Bounds::STATED };
        let learnt = Bounds { unsent: 1, lessons: 1, ..Bounds::OVERTAKEN };
        let late = Bounds { late_requests: 1, ..Bounds::UNSAVED };
        [
            both(Claims::LEASED, Bounds::UNSAVED),
            both(Claims::Kernel, three),
            both(Claims::Kernel, learnt),
            both(Claims::Kernel, late),
            both(Claims::Kernel, Bounds::SLOW),
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
        format!("{:?}, {claims}: {}", self.reuse, self.bounds)
    }

    /// The time-outs of flights, as shipped except for the wait for a claim. The pauses before another attempt to claim or to
    /// save take no time, because the model decides when a pause ends.
    pub fn timeouts(&self) -> StoreTimeouts {
        StoreTimeouts {
            claim_wait: CLAIM_WAIT,
            claim_pause: Duration::ZERO,
            save_pause: Duration::ZERO,
            ..StoreTimeouts::default()
        }
    }

    /// The equipment of the flights.
    pub fn equipment(&self) -> Equipment {
        Equipment {
            profiles: Profile { reuse: self.reuse, request_timeout: REQUEST_TIMEOUT, ..Profile::default() }.into(),
            sources: [(SourceName::REFRESH_TOKEN, Spending::SingleUse)].into(),
            timeouts: self.timeouts(),
            digests: DigestKey::new([7; 32]),
        }
    }
}
