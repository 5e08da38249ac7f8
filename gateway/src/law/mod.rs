//! The rules of a gateway's own tokens, as a pure machine. It has no I/O, no clock and no randomness.

mod family;
mod tokens;

pub(crate) use family::{Change, Issue, Question, Refusal};
pub use family::{Family, Grant, Limits, Phase};
pub use tokens::FamilyId;
pub(crate) use tokens::{AccessToken, RefreshToken};
