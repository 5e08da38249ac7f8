//! The counts of a soak, and the laws that they break.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::messages::{CallCounts, FlightStage};
use super::prober::Look;
use crate::target::TargetCounts;

/// A commit settles the doubts that are older than this. A commit that follows a death sooner may be of an earlier token,
/// and was reported late.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// The counts of a soak.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct SoakCounts {
    /// Calls that the MCP server has answered.
    pub(super) calls: u64,
    /// Answered calls that waited for a login.
    pub(super) held_up: u64,
    pub(super) longest_call_ms: u64,
    pub(super) failed_callers: u64,
    /// The number of failed callers for each reason.
    pub(super) failures: BTreeMap<String, u64>,
    /// The number of times that a process needed a new token.
    pub(super) expiries: u64,
    /// Those times at which it took over a token of another process or of a login. At all others its own token request
    /// had brought the token.
    pub(super) adoptions: u64,
    /// Tokens that processes stored.
    #[serde(skip)]
    pub(super) saved: u64,
    /// Tokens that the MCP server refused.
    pub(super) refused_tokens: u64,
    /// Logins that were required.
    pub(super) logins_required: u64,
    /// Required logins that the death of a process explains.
    pub(super) logins_explained: u64,
    /// Logins that were not required.
    pub(super) logins_unasked: u64,
    /// Processes that were stopped.
    pub(super) stopped: u64,
    /// Processes that were killed.
    pub(super) killed: u64,
    /// The killed processes by the stage of their flight.
    pub(super) killed_at: BTreeMap<FlightStage, u64>,
    /// Processes that died without being killed, or did not save everything.
    pub(super) died_otherwise: u64,
    /// Times at which `status` or `why` showed the home while it was in use.
    pub(super) looks: u64,
    /// Times at which the parent swept and read the home meanwhile.
    pub(super) home_reads: u64,
    /// Reasons why the home could not be shown, swept or read.
    pub(super) unreadable: Vec<String>,
    /// Required logins for the reason that the server had ended the grant.
    #[serde(skip)]
    ended: u64,
    #[serde(skip)]
    doubts: Vec<(Duration, FlightStage)>,
    #[serde(skip)]
    refused: std::collections::BTreeSet<String>,
}

impl SoakCounts {
    pub(super) fn add_calls(&mut self, calls: CallCounts) {
        self.calls += calls.answered;
        self.held_up += calls.held_up;
        self.longest_call_ms = self.longest_call_ms.max(calls.longest_ms);
    }

    pub(super) fn add_failure(&mut self, reason: String) {
        self.failed_callers += 1;
        *self.failures.entry(reason).or_default() += 1;
    }

    pub(super) fn add_token(&mut self, own: bool) {
        self.expiries += 1;
        self.adoptions += u64::from(!own);
    }

    pub(super) fn add_refused(&mut self, token: String) {
        self.refused.insert(token);
        self.refused_tokens = self.refused.len() as u64;
    }

    /// Counts a look at the home.
    pub(super) fn add_look(&mut self, look: Look, result: Result<(), String>) {
        match (look, result) {
            (Look::Command, Ok(())) => self.looks += 1,
            (Look::Read, Ok(())) => self.home_reads += 1,
            (_, Err(reason)) => self.add_unreadable(reason),
        }
    }

    pub(super) fn add_unreadable(&mut self, reason: String) {
        if !self.unreadable.contains(&reason) {
            self.unreadable.push(reason);
        }
    }

    /// Counts a killed process, by the stage of its flight.
    pub(super) fn add_killed(&mut self, at: Duration, stage: FlightStage) {
        self.killed += 1;
        *self.killed_at.entry(stage).or_default() += 1;
        if stage.leaves_a_doubt() {
            self.doubts.push((at, stage));
        }
    }

    /// Counts a token that a process stored.
    pub(super) fn add_saved(&mut self, at: Duration) {
        self.saved += 1;
        self.doubts.retain(|(died, _)| at.saturating_sub(*died) < SETTLED_AFTER);
    }

    /// Counts a required login, and returns whether a death explains it (law 10).
    pub(super) fn add_required_login(&mut self, reason: &str, never_replay: bool) -> bool {
        let lost = self.doubts.iter().any(|(_, stage)| stage.loses_an_answer());
        let explained = match (reason, never_replay) {
            // The marked token is not presented again.
            ("maybe_consumed", true) => !self.doubts.is_empty(),
            // The marked token was presented again, and had been spent.
            ("grant_ended", false) => lost,
            _ => false,
        };
        self.logins_required += 1;
        self.ended += u64::from(reason == "grant_ended");
        self.logins_explained += u64::from(explained);
        explained
    }

    /// Ends all doubts, as a login does.
    pub(super) fn end_doubts(&mut self) {
        self.doubts.clear();
    }

    fn killed_at(&self, stages: impl Fn(FlightStage) -> bool) -> u64 {
        self.killed_at.iter().filter(|(stage, _)| stages(**stage)).map(|(_, count)| count).sum()
    }

    /// The maximum number of presented spent refresh tokens. It is one for each answer that the server had given and
    /// that was lost with a process.
    fn replays_allowed(&self, target: &TargetCounts, never_replay: bool) -> u64 {
        if never_replay {
            return 0;
        }
        self.killed_at(FlightStage::loses_an_answer).min(target.rotations.saturating_sub(self.saved))
    }
}

/// The setting of a soak.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SoakSetting {
    /// The URL of the MCP server.
    pub(super) server: String,
    pub(super) processes: u32,
    pub(super) callers: u32,
    pub(super) seconds: f64,
    pub(super) lifetime_seconds: f64,
    pub(super) kills: bool,
    pub(super) faults: bool,
    pub(super) never_replay: bool,
    pub(super) seed: u64,
    pub(super) interrupted: bool,
}

/// The verdict of a soak: its setting, its counts and the broken laws. Serialized, it is the last line of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct SoakVerdict {
    #[serde(flatten)]
    pub(super) setting: SoakSetting,
    #[serde(flatten)]
    pub(super) counts: SoakCounts,
    /// Refreshes, by the server's count.
    pub(super) token_requests: u64,
    /// The most refreshes that there may have been in this time.
    pub(super) token_requests_allowed: u64,
    /// Token requests whose token a caller of the same process got.
    pub(super) token_requests_used: u64,
    /// Token requests whose token no caller of the same process got, because the process was killed or ended first, or a
    /// login replaced the session.
    pub(super) token_requests_unused: u64,
    /// Token requests without a token, because the refresh token was spent, or the process was killed before the request
    /// was complete.
    pub(super) token_requests_in_vain: u64,
    /// The most refreshes in flight at once.
    pub(super) most_concurrent: u64,
    pub(super) most_concurrent_allowed: u64,
    /// The faults that have struck.
    pub(super) faults_struck: u64,
    /// Spent refresh tokens presented, by the server's count.
    pub(super) replays: u64,
    pub(super) replays_allowed: u64,
    pub(super) chains_revoked: u64,
    /// The broken laws. Empty where every law held.
    pub broken: Vec<String>,
}

impl SoakVerdict {
    pub(super) fn new(setting: SoakSetting, counts: SoakCounts, target: &TargetCounts) -> Self {
        let replays_allowed = counts.replays_allowed(target, setting.never_replay);
        // One for each three quarters of a lifetime, over all processes, and one more for each login, each doubt, each
        // fault and each token that was refused before it expired.
        let paced = setting.seconds / (0.75 * setting.lifetime_seconds);
        let besides = counts.logins_required
            + counts.logins_unasked
            + counts.killed_at(FlightStage::leaves_a_doubt)
            + counts.refused_tokens
            + target.faults;
        // The server may still have the request of a killed process when the next process presents the token.
        let orphans = counts.killed_at(|stage| stage == FlightStage::Sending);
        let used = counts.expiries - counts.adoptions;
        let mut verdict = Self {
            setting,
            counts,
            token_requests: target.token_requests,
            token_requests_allowed: paced as u64 + 1 + besides,
            token_requests_used: used,
            token_requests_unused: target.rotations.saturating_sub(used),
            token_requests_in_vain: target.token_requests.saturating_sub(target.rotations),
            most_concurrent: target.most_concurrent,
            most_concurrent_allowed: 1 + u64::from(orphans > 0),
            faults_struck: target.faults,
            replays: target.replays,
            replays_allowed,
            chains_revoked: target.chains_revoked,
            broken: Vec::new(),
        };
        verdict.broken = verdict.broken_laws();
        verdict
    }

    fn broken_laws(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut law = |held: bool, otherwise: String| {
            if !held {
                broken.push(otherwise);
            }
        };
        let Self { setting, counts, token_requests, most_concurrent, replays, replays_allowed, .. } = self;
        let max = self.token_requests_allowed;
        law(*most_concurrent <= self.most_concurrent_allowed, format!("token requests at once: {most_concurrent}"));
        law(*token_requests <= max, format!("token requests: {token_requests}, at most {max} allowed"));
        law(replays <= replays_allowed, format!("replays: {replays}, at most {replays_allowed} allowed"));
        let twice = replays.saturating_sub(self.chains_revoked);
        law(twice == 0, format!("refresh tokens of dead chains that were presented once more: {twice}"));
        let unexplained = counts.logins_required - counts.logins_explained;
        law(unexplained == 0, format!("logins required without a death that explains them: {unexplained}"));
        let unfounded = counts.ended.saturating_sub(*replays);
        law(unfounded == 0, format!("grants that the server ended though no spent token was presented: {unfounded}"));
        let failed = counts.failed_callers;
        law(failed == 0, format!("callers that failed: {failed} ({})", reasons(&counts.failures)));
        let died = counts.died_otherwise;
        law(died == 0, format!("processes that died, or did not end in good order: {died}"));
        let unreadable = &counts.unreadable;
        law(unreadable.is_empty(), format!("the home could not be read: {}", unreadable.join(", ")));
        let held_up = counts.held_up;
        law(
            setting.kills || held_up == 0,
            format!("calls that waited for a login though no process was killed: {held_up}"),
        );
        broken
    }
}

/// Each reason with its number.
fn reasons(failures: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = failures.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    each.join(", ")
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
