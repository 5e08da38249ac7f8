//! The names under which the [effect observer](super::EffectObserver) sees the effects of login attempts.

use crate::law::ledger::Change;
use crate::law::login::LoginEffect;

/// The name of a login attempt's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LoginEffectName {
    /// Tries to take a claim.
    Claim,
    /// Renews a claim.
    Renew,
    /// Ends a claim.
    EndClaim,
    /// Reads the record.
    Load,
    /// Prepares the prompt.
    Prepare,
    /// Stores the pending login.
    Put,
    /// Reads a pending login and leaves it in the store.
    Peek,
    /// Takes a pending login out of the store.
    Take,
    /// Removes a pending login that will not be used.
    Discard,
    /// Writes the prompt into the record.
    Ask,
    /// Gets ready to show the prompt.
    Show,
    /// Judges a person's answer.
    Judge,
    /// Writes into the record that an answer is being redeemed.
    Answer,
    /// Presents the code.
    Redeem,
    /// Asks whether the person has answered.
    Poll,
    /// Reserves the refresh token.
    Reserve,
    /// Stores the login.
    Install,
    /// Writes into the record how the prompt ended.
    EndPrompt,
    /// Revokes tokens.
    Revoke,
    /// Reports to the session.
    Report,
}

impl LoginEffectName {
    /// Every effect an attempt can have.
    pub const ALL: [LoginEffectName; 20] = [
        LoginEffectName::Claim,
        LoginEffectName::Renew,
        LoginEffectName::EndClaim,
        LoginEffectName::Load,
        LoginEffectName::Prepare,
        LoginEffectName::Put,
        LoginEffectName::Peek,
        LoginEffectName::Take,
        LoginEffectName::Discard,
        LoginEffectName::Ask,
        LoginEffectName::Show,
        LoginEffectName::Judge,
        LoginEffectName::Answer,
        LoginEffectName::Redeem,
        LoginEffectName::Poll,
        LoginEffectName::Reserve,
        LoginEffectName::Install,
        LoginEffectName::EndPrompt,
        LoginEffectName::Revoke,
        LoginEffectName::Report,
    ];

    /// The stable name of the effect, in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            LoginEffectName::Claim => "claim",
            LoginEffectName::Renew => "renew",
            LoginEffectName::EndClaim => "end_claim",
            LoginEffectName::Load => "load",
            LoginEffectName::Prepare => "prepare",
            LoginEffectName::Put => "put",
            LoginEffectName::Peek => "peek",
            LoginEffectName::Take => "take",
            LoginEffectName::Discard => "discard",
            LoginEffectName::Ask => "ask",
            LoginEffectName::Show => "show",
            LoginEffectName::Judge => "judge",
            LoginEffectName::Answer => "answer",
            LoginEffectName::Redeem => "redeem",
            LoginEffectName::Poll => "poll",
            LoginEffectName::Reserve => "reserve",
            LoginEffectName::Install => "install",
            LoginEffectName::EndPrompt => "end_prompt",
            LoginEffectName::Revoke => "revoke",
            LoginEffectName::Report => "report",
        }
    }
}

impl LoginEffect {
    /// The effect's name.
    pub fn name(&self) -> LoginEffectName {
        match self {
            LoginEffect::Claim { .. } => LoginEffectName::Claim,
            LoginEffect::Renew { .. } => LoginEffectName::Renew,
            LoginEffect::EndClaim(_) => LoginEffectName::EndClaim,
            LoginEffect::Load(_) => LoginEffectName::Load,
            LoginEffect::Prepare(..) => LoginEffectName::Prepare,
            LoginEffect::Put(..) => LoginEffectName::Put,
            LoginEffect::Peek(..) => LoginEffectName::Peek,
            LoginEffect::Take(..) => LoginEffectName::Take,
            LoginEffect::Discard(_) => LoginEffectName::Discard,
            LoginEffect::Show(..) => LoginEffectName::Show,
            LoginEffect::Judge(..) => LoginEffectName::Judge,
            LoginEffect::Redeem(..) => LoginEffectName::Redeem,
            LoginEffect::Poll(..) => LoginEffectName::Poll,
            LoginEffect::Reserve(..) => LoginEffectName::Reserve,
            LoginEffect::Revoke(_) => LoginEffectName::Revoke,
            LoginEffect::Report(_) => LoginEffectName::Report,
            LoginEffect::Change(_, change) => match change {
                Change::Prompt { .. } => LoginEffectName::Ask,
                Change::AnswerPrompt { .. } => LoginEffectName::Answer,
                Change::EndPrompt { .. } => LoginEffectName::EndPrompt,
                // The attempt writes nothing else.
                _ => LoginEffectName::Install,
            },
        }
    }
}
