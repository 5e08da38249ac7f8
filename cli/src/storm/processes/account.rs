//! What happened to the processes, what came of it, and what the laws say of that.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::super::arena::Tally;
use super::words::{Calls, Step};

/// A commit ends a doubt that is older than this: what another process had marked is not presented for longer than this
/// after its death. One that is younger is about an earlier token, and was only heard of later.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// What is counted while it goes on.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Account {
    /// Calls that the MCP server has answered.
    pub(super) calls: u64,
    /// Those of them that waited until it was clear what became of a refresh, or that somebody signed in.
    pub(super) held_up: u64,
    pub(super) longest_call_ms: u64,
    pub(super) failed_callers: u64,
    /// Why callers failed, and how many for each reason.
    pub(super) failures: BTreeMap<String, u64>,
    /// How often a process needed a new token.
    pub(super) expiries: u64,
    /// How often it got one that another process had obtained, or that a login brought. In all other cases its own token
    /// request had brought it.
    pub(super) adoptions: u64,
    /// Tokens that processes have stored.
    #[serde(skip)]
    pub(super) saved: u64,
    /// Tokens that the MCP server refused.
    pub(super) refused_tokens: u64,
    /// How often a login was required.
    pub(super) logins_required: u64,
    /// Those of them that the death of a process explains.
    pub(super) logins_explained: u64,
    /// How often somebody signed in although nothing required it.
    pub(super) logins_unasked: u64,
    pub(super) stopped: u64,
    pub(super) killed: u64,
    /// What those were doing that were killed, and how many of each.
    pub(super) killed_at: BTreeMap<Step, u64>,
    /// Processes that died without being killed, or did not end in good order.
    pub(super) died_otherwise: u64,
    /// How often `status` and `why` showed the home while it was in use.
    pub(super) looks: u64,
    /// Why they could not, or why it could not be swept.
    pub(super) unreadable: Vec<String>,
    /// Logins that were required because the server had ended the grant.
    #[serde(skip)]
    ended: u64,
    #[serde(skip)]
    doubts: Vec<(Duration, Step)>,
    #[serde(skip)]
    refused: std::collections::BTreeSet<String>,
}

impl Account {
    pub(super) fn called(&mut self, calls: Calls) {
        self.calls += calls.done;
        self.held_up += calls.held_up;
        self.longest_call_ms = self.longest_call_ms.max(calls.longest_ms);
    }

    pub(super) fn failed(&mut self, why: String) {
        self.failed_callers += 1;
        *self.failures.entry(why).or_default() += 1;
    }

    pub(super) fn token(&mut self, own: bool) {
        self.expiries += 1;
        self.adoptions += u64::from(!own);
    }

    pub(super) fn refused(&mut self, token: String) {
        self.refused.insert(token);
        self.refused_tokens = self.refused.len() as u64;
    }

    /// `status` or `why` has shown the home, or could not.
    pub(super) fn seen(&mut self, seen: Result<(), String>) {
        match seen {
            Ok(()) => self.looks += 1,
            Err(why) => self.unreadable(why),
        }
    }

    pub(super) fn unreadable(&mut self, why: String) {
        if !self.unreadable.contains(&why) {
            self.unreadable.push(why);
        }
    }

    /// A process was killed.
    pub(super) fn died(&mut self, at: Duration, step: Step) {
        self.killed += 1;
        *self.killed_at.entry(step).or_default() += 1;
        if step.leaves_a_doubt() {
            self.doubts.push((at, step));
        }
    }

    /// A process has stored a new token.
    pub(super) fn saved(&mut self, at: Duration) {
        self.saved += 1;
        self.doubts.retain(|(died, _)| at.saturating_sub(*died) < SETTLED_AFTER);
    }

    /// A login was required for this reason: whether a death explains it (law 10).
    pub(super) fn login_required(&mut self, reason: &str, never_replay: bool) -> bool {
        let lost = self.doubts.iter().any(|(_, step)| step.loses_an_answer());
        let explained = match (reason, never_replay) {
            // A marked token is not presented again.
            ("maybe_consumed", true) => !self.doubts.is_empty(),
            // It was presented again, and was spent.
            ("grant_ended", false) => lost,
            // It was presented again, and whoever did that died as well.
            ("maybe_consumed", false) => self.doubts.len() > 1,
            _ => false,
        };
        self.logins_required += 1;
        self.ended += u64::from(reason == "grant_ended");
        self.logins_explained += u64::from(explained);
        explained
    }

    /// Somebody has signed in: what was in doubt before matters no more.
    pub(super) fn signed_in(&mut self) {
        self.doubts.clear();
    }

    fn dead(&self, which: impl Fn(Step) -> bool) -> u64 {
        self.killed_at.iter().filter(|(step, _)| which(**step)).map(|(_, count)| count).sum()
    }

    /// How many spent refresh tokens may have been presented: at most one for each answer that a process took along when
    /// it died, and that the server had given.
    fn replays_allowed(&self, tally: &Tally, never_replay: bool) -> u64 {
        if never_replay {
            return 0;
        }
        self.dead(Step::loses_an_answer).min(tally.rotations.saturating_sub(self.saved))
    }
}

/// How it was held.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Circumstances {
    /// The MCP server, as the home knows it.
    pub(super) server: String,
    pub(super) processes: u32,
    pub(super) callers: u32,
    pub(super) seconds: f64,
    pub(super) lifetime_seconds: f64,
    pub(super) kills: bool,
    pub(super) never_replay: bool,
    pub(super) seed: u64,
    pub(super) interrupted: bool,
}

/// Everything, as the last line of `--json` has it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    #[serde(flatten)]
    pub(super) circumstances: Circumstances,
    #[serde(flatten)]
    pub(super) account: Account,
    /// Refreshes that the server counted.
    pub(super) token_requests: u64,
    /// The most that there may have been in this time.
    pub(super) token_requests_allowed: u64,
    /// Those whose token a caller of the same process got.
    pub(super) token_requests_used: u64,
    /// Those that the server answered with a token that no caller of the same process got: the process was killed or
    /// ended first, or a login replaced the session.
    pub(super) token_requests_unused: u64,
    /// Those that brought no token: the refresh token was spent, or the process was killed before the request was whole.
    pub(super) token_requests_in_vain: u64,
    /// The most that were with the server at once.
    pub(super) most_concurrent: u64,
    /// Spent refresh tokens presented, as the server counted.
    pub(super) replays: u64,
    pub(super) replays_allowed: u64,
    pub(super) chains_revoked: u64,
    /// What broke; empty where every law held.
    pub(super) broken: Vec<String>,
}

impl Verdict {
    pub(super) fn new(circumstances: Circumstances, account: Account, tally: &Tally) -> Self {
        let replays_allowed = account.replays_allowed(tally, circumstances.never_replay);
        // One for each three quarters of a lifetime, over all processes; and what only happened because of something else:
        // logins, doubts, tokens that were refused before they were over.
        let paced = circumstances.seconds / (0.75 * circumstances.lifetime_seconds);
        let besides = account.logins_required
            + account.logins_unasked
            + account.dead(Step::leaves_a_doubt)
            + account.refused_tokens;
        let used = account.expiries - account.adoptions;
        let mut verdict = Self {
            circumstances,
            account,
            token_requests: tally.token_requests,
            token_requests_allowed: paced as u64 + 1 + besides,
            token_requests_used: used,
            token_requests_unused: tally.rotations.saturating_sub(used),
            token_requests_in_vain: tally.token_requests.saturating_sub(tally.rotations),
            most_concurrent: tally.most_concurrent,
            replays: tally.replays,
            replays_allowed,
            chains_revoked: tally.chains_revoked,
            broken: Vec::new(),
        };
        verdict.broken = verdict.judge();
        verdict
    }

    fn judge(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut law = |held: bool, otherwise: String| {
            if !held {
                broken.push(otherwise);
            }
        };
        let Self { circumstances, account, token_requests, most_concurrent, replays, replays_allowed, .. } = self;
        let most = self.token_requests_allowed;
        law(*most_concurrent <= 1, format!("token requests at once: {most_concurrent}"));
        law(*token_requests <= most, format!("token requests: {token_requests}, at most {most} allowed"));
        law(replays <= replays_allowed, format!("replays: {replays}, at most {replays_allowed} allowed"));
        let twice = replays.saturating_sub(self.chains_revoked);
        law(twice == 0, format!("refresh tokens of dead chains that were presented once more: {twice}"));
        let unexplained = account.logins_required - account.logins_explained;
        law(unexplained == 0, format!("logins required without a death that explains them: {unexplained}"));
        let unfounded = account.ended.saturating_sub(*replays);
        law(unfounded == 0, format!("grants that the server ended though no spent token was presented: {unfounded}"));
        let failed = account.failed_callers;
        law(failed == 0, format!("callers that failed: {failed} ({})", words(&account.failures)));
        let died = account.died_otherwise;
        law(died == 0, format!("processes that died, or did not end in good order: {died}"));
        let unreadable = &account.unreadable;
        law(unreadable.is_empty(), format!("the home could not be read: {}", unreadable.join(", ")));
        let held_up = account.held_up;
        law(circumstances.kills || held_up == 0, format!("calls held up though nobody was killed: {held_up}"));
        broken
    }
}

/// Each reason, with how often.
fn words(failures: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = failures.iter().map(|(why, count)| format!("{why} {count}")).collect();
    each.join(", ")
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
