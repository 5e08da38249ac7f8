//! The rules of a gateway's own tokens, as pure functions without I/O, clock and randomness. `family` judges a request by the
//! stored family of the presented token, and `tokens` reads and writes the tokens' texts.

mod family;
mod tokens;

pub(crate) use family::{Change, Issue, Question, Refusal};
pub use family::{Family, Grant, Limits, Phase};
pub use tokens::FamilyId;
pub(crate) use tokens::{AccessToken, RefreshToken};
