//! The effect observer, which is called before and after each effect of each flight and each login attempt. An effect is one
//! piece of work that a state machine asks its driver to do.

mod login;

pub use login::LoginEffectName;

use std::fmt;

use crate::law::flight::FlightEffect;
use crate::values::{AttemptId, FlightId, ServerIdentity};

/// Observes the effects of flights and login attempts, for traces, and for tests that stop a process at a named effect.
///
/// Called in the task of the flight or the attempt, in order. An observer may block there, which delays that task. It cannot
/// change the effects.
pub trait EffectObserver: fmt::Debug + Send + Sync + 'static {
    /// `effect` is about to be carried out.
    fn before(&self, identity: &ServerIdentity, flight: FlightId, effect: EffectName);

    /// `effect` has been carried out. If it has an answer, the answer has arrived.
    fn after(&self, identity: &ServerIdentity, flight: FlightId, effect: EffectName);

    /// `effect` of a login attempt is about to be carried out. Observes nothing by default.
    fn before_login(&self, _identity: &ServerIdentity, _attempt: AttemptId, _effect: LoginEffectName) {}

    /// `effect` of a login attempt has been carried out. Observes nothing by default.
    fn after_login(&self, _identity: &ServerIdentity, _attempt: AttemptId, _effect: LoginEffectName) {}
}

/// The name of a flight's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EffectName {
    /// Asks for a permit.
    AskPermit,
    /// Returns the permit.
    ReturnPermit,
    /// Reports a throttle to the issuer's limiter, and keeps the permit.
    Throttle,
    /// Reads the record.
    Load,
    /// Tries to claim.
    Claim,
    /// Renews the claim.
    Renew,
    /// Ends the claim.
    EndClaim,
    /// Writes the mark.
    Mark,
    /// Withdraws the mark.
    Withdraw,
    /// Stores the tokens.
    Commit,
    /// Stores that the grant ended.
    End,
    /// Stores that the refresh token is spent and its successor lost.
    Spent,
    /// Writes any other change of the record, such as a tombstone or the parking of the grant.
    Close,
    /// Connects to the token endpoint.
    Connect,
    /// Sends the token request.
    Send,
    /// Revokes tokens.
    Revoke,
    /// Reports to the session.
    Report,
}

impl EffectName {
    /// Every effect a flight can have.
    pub const ALL: [EffectName; 17] = [
        EffectName::AskPermit,
        EffectName::ReturnPermit,
        EffectName::Throttle,
        EffectName::Load,
        EffectName::Claim,
        EffectName::Renew,
        EffectName::EndClaim,
        EffectName::Mark,
        EffectName::Withdraw,
        EffectName::Commit,
        EffectName::End,
        EffectName::Spent,
        EffectName::Close,
        EffectName::Connect,
        EffectName::Send,
        EffectName::Revoke,
        EffectName::Report,
    ];

    /// The stable name of the effect, in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            EffectName::AskPermit => "ask_permit",
            EffectName::ReturnPermit => "return_permit",
            EffectName::Throttle => "throttle",
            EffectName::Load => "load",
            EffectName::Claim => "claim",
            EffectName::Renew => "renew",
            EffectName::EndClaim => "end_claim",
            EffectName::Mark => "mark",
            EffectName::Withdraw => "withdraw",
            EffectName::Commit => "commit",
            EffectName::End => "end",
            EffectName::Spent => "spent",
            EffectName::Close => "close",
            EffectName::Connect => "connect",
            EffectName::Send => "send",
            EffectName::Revoke => "revoke",
            EffectName::Report => "report",
        }
    }
}

impl FlightEffect {
    /// The effect's name.
    pub fn name(&self) -> EffectName {
        use crate::law::ledger::Change;
        match self {
            FlightEffect::AskPermit { .. } => EffectName::AskPermit,
            FlightEffect::ReturnPermit { .. } => EffectName::ReturnPermit,
            FlightEffect::Throttle(_) => EffectName::Throttle,
            FlightEffect::Load(_) => EffectName::Load,
            FlightEffect::Claim { .. } => EffectName::Claim,
            FlightEffect::Renew { .. } => EffectName::Renew,
            FlightEffect::EndClaim { .. } => EffectName::EndClaim,
            FlightEffect::Connect(..) => EffectName::Connect,
            FlightEffect::Send { .. } => EffectName::Send,
            FlightEffect::Revoke(_) => EffectName::Revoke,
            FlightEffect::Report(_) => EffectName::Report,
            FlightEffect::Change(_, change) => match change {
                Change::Mark { .. } => EffectName::Mark,
                Change::Withdraw { .. } => EffectName::Withdraw,
                Change::Commit(_) | Change::Install(_) => EffectName::Commit,
                Change::End { .. } => EffectName::End,
                Change::Spent { .. } => EffectName::Spent,
                Change::Park { .. }
                | Change::Unpark { .. }
                | Change::Clear { .. }
                | Change::Configure { .. }
                | Change::Discard { .. }
                | Change::Prompt { .. }
                | Change::AnswerPrompt { .. }
                | Change::EndPrompt { .. } => EffectName::Close,
            },
        }
    }
}
