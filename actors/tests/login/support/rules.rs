//! The rules by which effects that a test names are carried out.

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::login::LoginEffect;
use tokenkeeper_actors::ports::store::ClaimScope;
use tokenkeeper_actors::values::StoreFault;

/// The way in which an effect is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It waits until the test releases it.
    Hold,
    /// It is carried out, and its answer waits until the test delivers it.
    AnswerLate,
    /// It is carried out, and its answer is a time-out.
    LoseAnswer,
    /// It is not carried out, and its answer is this fault.
    Fail(StoreFault),
    /// It is carried out, and its answer arrives twice.
    AnswerTwice,
}

/// The name of an effect in the tests.
pub(crate) fn name(effect: &LoginEffect) -> &'static str {
    match effect {
        LoginEffect::Claim { scope: ClaimScope::Login, .. } => "claim",
        LoginEffect::Claim { .. } => "claim spend",
        LoginEffect::Renew { .. } => "renew",
        LoginEffect::EndClaim(_) => "end claim",
        LoginEffect::Load(_) => "load",
        LoginEffect::Prepare(..) => "prepare",
        LoginEffect::Put(..) => "put",
        LoginEffect::Peek(..) => "peek",
        LoginEffect::Take(..) => "take",
        LoginEffect::Discard(_) => "discard",
        LoginEffect::Show(..) => "show",
        LoginEffect::Judge(..) => "judge",
        LoginEffect::Redeem(..) => "redeem",
        LoginEffect::Poll(..) => "poll",
        LoginEffect::Reserve(..) => "reserve",
        LoginEffect::Change(_, Change::Prompt { .. }) => "prompt",
        LoginEffect::Change(_, Change::AnswerPrompt { .. }) => "answer",
        LoginEffect::Change(_, Change::EndPrompt { .. }) => "end",
        LoginEffect::Change(..) => "install",
        LoginEffect::Revoke(_) => "revoke",
        LoginEffect::Report(_) => "report",
    }
}
