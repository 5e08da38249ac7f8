//! The fixed strings, here called words, as which the values of small enums are stored. They never change within a format.

use super::super::{ClientAuth, MarkState, Parked, PromptEnd, PromptState, Spending};
use crate::values::issuer::{ApplicationType, RegistrationOrigin};
use crate::values::{Cause, TokenKind};

/// A value that is stored as a word.
pub(super) trait Word: Sized {
    /// The word for it.
    fn word(self) -> &'static str;

    /// The value of a word.
    fn meant_by(word: &str) -> Option<Self>;
}

macro_rules! words {
    ($type:ident: $($variant:ident = $word:literal),+) => {
        impl Word for $type {
            fn word(self) -> &'static str {
                match self {
                    $($type::$variant => $word,)+
                }
            }

            fn meant_by(word: &str) -> Option<Self> {
                match word {
                    $($word => Some($type::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

words!(ClientAuth: None = "none", Basic = "basic", Post = "post", PrivateKeyJwt = "private_key_jwt");
words!(TokenKind: Bearer = "bearer", Dpop = "dpop");
words!(
    Cause: Login = "login",
    Expiry = "expiry",
    Early = "early",
    KeepAlive = "keep_alive",
    Refusal = "refusal",
    Force = "force"
);
words!(Spending: SingleUse = "single_use", Repeatable = "repeatable");
words!(MarkState: Open = "open", Spent = "spent");
words!(
    Parked: ClientRejected = "client_rejected",
    IssuerChanged = "issuer_changed",
    SubjectChanged = "subject_changed"
);
words!(
    PromptEnd: Denied = "denied",
    Cancelled = "cancelled",
    TimedOut = "timed_out",
    Failed = "failed",
    Aborted = "aborted"
);
words!(
    RegistrationOrigin: PreRegistered = "pre_registered",
    MetadataDocument = "metadata_document",
    Dynamic = "dynamic"
);
words!(ApplicationType: Native = "native", Web = "web");

impl Word for PromptState {
    fn word(self) -> &'static str {
        match self {
            PromptState::Open => "open",
            PromptState::Answered => "answered",
            PromptState::Ended(end) => end.word(),
        }
    }

    fn meant_by(word: &str) -> Option<Self> {
        match word {
            "open" => Some(PromptState::Open),
            "answered" => Some(PromptState::Answered),
            word => PromptEnd::meant_by(word).map(PromptState::Ended),
        }
    }
}
