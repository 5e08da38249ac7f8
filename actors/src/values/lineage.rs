//! The counters that order an identity's history. No counter ever restarts.

use std::fmt;

/// A counter that grows with each login that is installed and each logout that commits. Zero means that no login was ever
/// installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Epoch number `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The epoch that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A counter of a record that grows with each write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Revision number `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The revision that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The place of one write in an identity's history. It is compared before anything is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The epoch of the record, which a login or logout began.
    pub epoch: Epoch,
    /// The number of the write within the identity's history.
    pub revision: Revision,
}

/// Identifies the process that minted a token while it could not reach the store. It is never zero for such a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nonce(pub u64);

/// Names one access token of an identity by its epoch, its number within the identity's history, and, for a token
/// minted without a store, the process that minted it.
///
/// Generations are ordered by [`supersedes`](Generation::supersedes) and deliberately not by `Ord`. Two tokens that
/// two processes minted without a store may share their number, and neither supersedes the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Generation {
    /// The epoch the token belongs to.
    pub epoch: Epoch,
    /// Grows with each token the identity gets, over all epochs.
    pub number: u64,
    /// Zero for a token that the store has.
    pub nonce: Nonce,
}

impl Generation {
    /// The generation of a token that the store has.
    pub const fn stored(epoch: Epoch, number: u64) -> Self {
        Self { epoch, number, nonce: Nonce(0) }
    }

    /// Whether this token is certainly newer than `other`.
    pub fn supersedes(&self, other: &Generation) -> bool {
        (self.epoch, self.number) > (other.epoch, other.number)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.number)?;
        match self.nonce {
            Nonce(0) => Ok(()),
            Nonce(nonce) => write!(f, "~{nonce:x}"),
        }
    }
}

/// Names one flight, which is one attempt to obtain a new token, among all processes and hosts. It consists of 128 random
/// bits, which the driver draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightId(pub u128);

impl fmt::Display for FlightId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names one login attempt among all processes and hosts. It consists of 128 random bits, which the driver draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u128);

impl AttemptId {
    /// The id under which the attempt holds claims. It has the same bits, because claims are held under flight ids.
    pub const fn holder(self) -> FlightId {
        FlightId(self.0)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_ordered_by_epoch_then_number_and_a_nonce_orders_nothing() {
        let stored = |epoch, number| Generation::stored(Epoch::new(epoch), number);
        assert!(stored(1, 8).supersedes(&stored(1, 7)));
        assert!(stored(2, 8).supersedes(&stored(1, 9)));
        assert!(!stored(1, 9).supersedes(&stored(2, 8)));
        let ours = Generation { nonce: Nonce(5), ..stored(1, 8) };
        assert_ne!(ours, stored(1, 8));
        assert!(!ours.supersedes(&stored(1, 8)) && !stored(1, 8).supersedes(&ours));
    }

    #[test]
    fn counters_grow_and_show_themselves() {
        assert_eq!(Epoch::new(3).next().number(), 4);
        assert_eq!(Revision::new(3).next().number(), 4);
        assert_eq!(Generation::stored(Epoch::new(2), 7).to_string(), "2.7");
        let lone = Generation { nonce: Nonce(255), ..Generation::stored(Epoch::new(2), 7) };
        assert_eq!(lone.to_string(), "2.7~ff");
        assert_eq!(FlightId(255).to_string(), format!("{:0>32}", "ff"));
        assert_eq!(AttemptId(255).to_string(), FlightId(255).to_string());
        assert_eq!(AttemptId(255).holder(), FlightId(255));
    }
}
