//! The counts of a storm, and the laws that they break.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arguments::{By, Faults};

/// The counts of one contestant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ContestScore {
    pub(super) callers: u32,
    pub(super) expiries: u32,
    /// Refreshes, by the server's count.
    pub(super) token_requests: u64,
    /// Callers that ended a round without the MCP server's answer.
    pub(super) failed_callers: u64,
    /// Spent refresh tokens presented, by the server's count.
    pub(super) replays: u64,
    pub(super) chain: ChainState,
    /// The time from the first caller that found its token dead until the last answer, less the server's delay. The
    /// median of all rounds.
    pub(super) ms_over_server: f64,
    /// The most refreshes in flight at once.
    pub(super) most_concurrent: u64,
    pub(super) chains_revoked: u64,
    /// The number of logins.
    pub(super) sign_ins: u64,
    /// Rounds in which the refresh token was spent and the answer lost, at a server without a grace period.
    pub(super) answers_lost: u64,
    /// Faults that have struck.
    pub(super) faults: u64,
    /// Callers that failed in a round in which no such answer was lost.
    #[serde(skip)]
    pub(super) failed_unprovoked: u64,
    /// The number of failed callers for each reason.
    pub(super) failures: BTreeMap<&'static str, u64>,
}

/// Whether the chain of refresh tokens outlived the storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChainState {
    Alive,
    /// The last chain ended, or one before it.
    Revoked,
}

impl ChainState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Revoked => "revoked",
        }
    }
}

/// The last line of `--json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StormSummary {
    pub(super) naive: ContestScore,
    pub(super) tokenkeeper: ContestScore,
    pub(super) by: By,
    pub(super) faults: Option<Faults>,
    pub(super) seed: u64,
    pub(super) server_delay_ms: u64,
    /// The broken laws.
    pub(super) broken: Vec<String>,
}

/// The most token requests for one expiry.
const MAX_REQUESTS: u64 = 8;

/// Returns the laws that this score breaks.
pub(super) fn broken_laws(score: &ContestScore, faults: Option<Faults>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut law = |held: bool, otherwise: String| {
        if !held {
            broken.push(otherwise);
        }
    };
    let ContestScore { expiries, token_requests, failed_callers, replays, most_concurrent, answers_lost, .. } = *score;
    law(most_concurrent <= 1, format!("token requests at once: {most_concurrent}"));
    if faults.is_some() {
        let max = MAX_REQUESTS * u64::from(expiries);
        law(token_requests <= max, format!("token requests for {expiries} expiries: {token_requests}"));
    }
    if faults == Some(Faults::Any) {
        law(replays <= answers_lost, format!("replays: {replays}, with answers lost: {answers_lost}"));
        let late = score.failures.get("deadline_passed").copied().unwrap_or_default();
        law(late == 0, format!("callers not answered in time: {late}"));
        let unprovoked = score.failed_unprovoked;
        law(unprovoked == 0, format!("callers that failed though no answer was lost: {unprovoked}"));
    } else {
        if faults.is_none() {
            let each = token_requests == u64::from(expiries);
            law(each, format!("token requests for {expiries} expiries: {token_requests}"));
        }
        law(failed_callers == 0, format!("callers that failed: {failed_callers}"));
        law(replays == 0, format!("replays: {replays}"));
        law(score.chain == ChainState::Alive, "the chain was revoked".to_owned());
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> ContestScore {
        ContestScore {
            callers: 4,
            expiries: 3,
            token_requests: 3,
            failed_callers: 0,
            replays: 0,
            chain: ChainState::Alive,
            ms_over_server: 1.0,
            most_concurrent: 1,
            chains_revoked: 0,
            sign_ins: 1,
            answers_lost: 0,
            faults: 0,
            failed_unprovoked: 0,
            failures: BTreeMap::new(),
        }
    }

    #[test]
    fn without_faults_nothing_is_forgiven() {
        assert!(broken_laws(&clean(), None).is_empty());
        for (broken, says) in [
            (ContestScore { token_requests: 4, ..clean() }, "token requests for 3 expiries: 4"),
            (ContestScore { token_requests: 2, ..clean() }, "token requests for 3 expiries: 2"),
            (ContestScore { most_concurrent: 2, ..clean() }, "token requests at once: 2"),
            (ContestScore { failed_callers: 1, ..clean() }, "callers that failed: 1"),
            (ContestScore { replays: 1, ..clean() }, "replays: 1"),
            (ContestScore { chain: ChainState::Revoked, ..clean() }, "the chain was revoked"),
        ] {
            assert_eq!(broken_laws(&broken, None), [says]);
        }
    }

    #[test]
    fn with_passing_faults_only_further_requests_are_forgiven() {
        let more = ContestScore { token_requests: 24, faults: 5, ..clean() };
        assert!(broken_laws(&more, Some(Faults::Passing)).is_empty());
        for (broken, says) in [
            (ContestScore { token_requests: 25, ..more.clone() }, "token requests for 3 expiries: 25"),
            (ContestScore { most_concurrent: 2, ..more.clone() }, "token requests at once: 2"),
            (ContestScore { failed_callers: 1, ..more.clone() }, "callers that failed: 1"),
            (ContestScore { replays: 1, ..more.clone() }, "replays: 1"),
            (ContestScore { chain: ChainState::Revoked, ..more }, "the chain was revoked"),
        ] {
            assert_eq!(broken_laws(&broken, Some(Faults::Passing)), [says]);
        }
    }

    #[test]
    fn with_any_faults_a_replay_and_a_failure_need_a_lost_answer() {
        let any = Some(Faults::Any);
        let stormy = ContestScore { failed_callers: 8, chain: ChainState::Revoked, token_requests: 5, ..clean() };
        assert!(broken_laws(&ContestScore { replays: 1, answers_lost: 1, ..stormy.clone() }, any).is_empty());
        let late = BTreeMap::from([("deadline_passed", 2)]);
        for (broken, says) in [
            (ContestScore { replays: 2, answers_lost: 1, ..stormy.clone() }, "replays: 2, with answers lost: 1"),
            (ContestScore { token_requests: 25, ..stormy.clone() }, "token requests for 3 expiries: 25"),
            (ContestScore { most_concurrent: 3, ..stormy.clone() }, "token requests at once: 3"),
            (ContestScore { failures: late, ..stormy.clone() }, "callers not answered in time: 2"),
            (ContestScore { failed_unprovoked: 4, ..stormy }, "callers that failed though no answer was lost: 4"),
        ] {
            assert_eq!(broken_laws(&broken, any), [says]);
        }
    }
}
