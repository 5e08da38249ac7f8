//! Refusals of a provider that mean something else than their HTTP status.

use serde::{Deserialize, Serialize};

/// A refusal whose status this provider uses in another meaning than usual. tokenkeeper recognises it by a text in the answer's
/// body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UserRefusal {
    /// The HTTP status, from 400 to 599.
    pub status: u16,
    /// A text that the body contains, byte for byte. Other answers with this status mean what they usually do.
    pub text: String,
    /// The meaning.
    pub means: UserRefusalMeaning,
}

/// The meaning of a [`UserRefusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UserRefusalMeaning {
    /// The token is not accepted, as with a 401. It is refreshed once.
    Unauthorized,
    /// The token lacks a scope, as with a 403. No refresh helps.
    Forbidden,
    /// The provider asks for a pause, as with a 429.
    Throttled,
}

impl UserRefusal {
    pub(crate) fn new(status: u16, text: &str, means: UserRefusalMeaning) -> Self {
        Self { status, text: text.to_owned(), means }
    }

    pub(super) fn is_well_formed(&self) -> bool {
        (400..=599).contains(&self.status) && !self.text.is_empty()
    }

    /// Whether an answer is this refusal.
    pub(crate) fn is_met_by(&self, status: u16, body: &[u8]) -> bool {
        let text = self.text.as_bytes();
        !text.is_empty() && self.status == status && body.windows(text.len()).any(|part| part == text)
    }
}
