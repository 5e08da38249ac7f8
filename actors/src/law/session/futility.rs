//! Futility.
/// Operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey(pub u64);
/// Challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChallengeKey(pub u64);
/// Futility.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Futility;
