//! The messages between the parent and its workers.

use serde::{Deserialize, Serialize};

use crate::processes::{FlightPoint, HomeIdentity};

/// The first message to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WorkerSetup {
    pub(super) shared: HomeIdentity,
    pub(super) callers: u32,
    /// Whether half of its callers speak HTTP/2 with the MCP server.
    pub(super) http2: bool,
    /// The seed of its callers' pauses.
    pub(super) seed: u64,
}

/// The messages to a worker. When its standard input ends, it exits at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum WorkerRequest {
    /// The setup.
    Start(WorkerSetup),
    /// A login of this epoch has been installed.
    Login(u64),
    /// The next flight that reaches this point is to be held there.
    Arm(FlightPoint),
    /// No flight is to be held. One that is held already stays held.
    Disarm,
    /// The worker is to end: callers finish their calls, or are dropped, and the runtime shuts down.
    End { at_once: bool },
}

/// The messages of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum WorkerReport {
    /// A flight has reached this stage.
    Stage(FlightStage),
    /// A flight is held at the armed point.
    Held,
    /// A caller was given a token that no caller of this process had before. `own`: a token request of this process
    /// brought it.
    Token { own: bool },
    /// The MCP server refused the token of this generation.
    Refused(String),
    /// Callers have got errors that require a login for a while. The last login known here was of this epoch.
    LoginRequired { epoch: u64, reason: String },
    /// The calls since the last report.
    Calls(CallCounts),
    /// A caller failed for this reason.
    Failed(String),
    /// The worker has ended. `clean`: everything is saved.
    Ended { clean: bool },
}

/// The calls of a worker's callers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct CallCounts {
    /// Calls that the MCP server has answered.
    pub(super) answered: u64,
    /// Answered calls that waited for a login.
    pub(super) held_up: u64,
    /// The longest call in milliseconds.
    pub(super) longest_ms: u64,
}

/// How far the flight of a worker has come with its refresh token, as far as its parent knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FlightStage {
    /// There is no flight, or it has no mark, or its mark is settled.
    #[default]
    Idle,
    /// The mark is being written.
    Marking,
    /// The mark is written, and no byte has left.
    Marked,
    /// Bytes may have left.
    Sending,
    /// The answer is here, and nowhere else.
    Answered,
    /// The answer is being stored.
    Saving,
    /// The answer is stored.
    Saved,
}

impl FlightStage {
    /// The stages at which a death leaves a doubt.
    pub(super) const DOUBTFUL: [FlightStage; 5] =
        [FlightStage::Marking, FlightStage::Marked, FlightStage::Sending, FlightStage::Answered, FlightStage::Saving];

    /// Whether a death at this stage leaves a mark, or may do so.
    pub(super) fn leaves_a_doubt(self) -> bool {
        Self::DOUBTFUL.contains(&self)
    }

    /// Whether a death at this stage loses an answer, or may do so.
    pub(super) fn loses_an_answer(self) -> bool {
        matches!(self, Self::Sending | Self::Answered | Self::Saving)
    }
}
