//! What the parent and its processes tell each other: one JSON value a line, over pipes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokenkeeper::engine::ports::observer::EffectName;

/// What a process is to do; the first line it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) home: PathBuf,
    /// The MCP server, as the sessions are named after it.
    pub(super) resource: String,
    pub(super) callers: u32,
    pub(super) never_replay: bool,
    /// Whether half of its callers may speak HTTP/2 with the MCP server.
    pub(super) http2: bool,
    /// What its callers' pauses are drawn from.
    pub(super) seed: u64,
}

/// What a process is told afterwards. When its pipe closes, it ends at once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// Somebody has signed in: this is the epoch of that login.
    Login(u64),
    /// The next flight that comes to this point stays there.
    Arm(Point),
    /// No flight is to stay anywhere. One that stays already goes on staying.
    Disarm,
    /// It is over: callers finish their calls, or leave at once, and the runtime ends in good order.
    End { at_once: bool },
}

/// What a process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// A flight has come so far.
    Step(Step),
    /// A flight stays at the point that was armed.
    Stays,
    /// A caller was given a token that no caller of this process had before. `own`: a refresh of this process obtained
    /// it.
    Token { own: bool },
    /// The MCP server refused this token (its generation).
    Refused(String),
    /// Its callers are told that a login is required, and have been for a while since the login of this epoch.
    LoginRequired { epoch: u64, reason: String },
    /// What its callers have done since it said so last.
    Calls(Calls),
    /// A caller got nothing, for this reason.
    Failed(String),
    /// It has ended; whether in good order, with nothing unsaved.
    Ended { clean: bool },
}

/// What callers have done.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Calls {
    /// Calls that the MCP server has answered.
    pub(super) done: u64,
    /// Those of them that had to wait until it was clear what became of a refresh, or that somebody signed in.
    pub(super) held_up: u64,
    /// The longest of them took this long.
    pub(super) longest_ms: u64,
}

/// How far the flight of a process has come with its refresh token, as far as is known from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// There is none, or it has marked nothing, or its mark is settled.
    #[default]
    Idle,
    /// The mark may be written.
    Marking,
    /// It is written, and no byte has left.
    Marked,
    /// Bytes may have left.
    Sending,
    /// The answer is here, and nowhere else.
    Answered,
    /// It may be stored.
    Saving,
    /// It is stored.
    Saved,
}

impl Step {
    /// Every step at which a death leaves a doubt behind.
    pub(super) const DOUBTFUL: [Step; 5] = [Step::Marking, Step::Marked, Step::Sending, Step::Answered, Step::Saving];

    /// Whether whoever dies here leaves a mark behind, or may do so.
    pub(super) fn leaves_a_doubt(self) -> bool {
        Self::DOUBTFUL.contains(&self)
    }

    /// Whether whoever dies here takes an answer along, or may do so.
    pub(super) fn loses_an_answer(self) -> bool {
        matches!(self, Self::Sending | Self::Answered | Self::Saving)
    }
}

/// A point on a flight's way: just before an effect is carried out, or just after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) after: bool,
    pub(super) effect: Effect,
}

/// The effects that every ordinary flight has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Effect {
    Load,
    Claim,
    Mark,
    Send,
    Commit,
    EndClaim,
    Report,
}

impl Effect {
    pub(super) const ALL: [Effect; 7] =
        [Effect::Load, Effect::Claim, Effect::Mark, Effect::Send, Effect::Commit, Effect::EndClaim, Effect::Report];

    pub(super) fn name(self) -> EffectName {
        match self {
            Effect::Load => EffectName::Load,
            Effect::Claim => EffectName::Claim,
            Effect::Mark => EffectName::Mark,
            Effect::Send => EffectName::Send,
            Effect::Commit => EffectName::Commit,
            Effect::EndClaim => EffectName::EndClaim,
            Effect::Report => EffectName::Report,
        }
    }
}
