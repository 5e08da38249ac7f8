//! The rounds of one contestant. In each the access token dies, and all callers want a new one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::AccessToken;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::arguments::{Arguments, By, Faults};
use super::faults::RequestFault;
use super::score::{ChainState, ContestScore};
use crate::clock::{OffsetClock, Stopwatch, millis};
use crate::target::{ANSWER_DELAY, EndpointEvent, TargetLogin, TargetServer};
use crate::transport::Transport;

/// The lifetime of access tokens, which pass by as clocks are put forward.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The time between refusals. It is longer than a session remembers a refusal, and than any pause after failures.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(600);

/// A way to get tokens.
pub(super) trait Contestant: Send + Sync + 'static {
    /// A token as callers get it.
    type Token: Send + Sync;
    /// A caller's record of its dead token.
    type Dead: Send + Sync;

    /// Stores a login.
    fn sign_in(&self, login: TargetLogin) -> impl Future<Output = io::Result<()>> + Send;

    /// Returns the current token, renewed if it is expired.
    fn token(&self, transport: &Transport) -> impl Future<Output = Result<Self::Token, CallerFailure>> + Send;

    /// The record of a caller that finds the current token expired.
    fn expired(&self) -> Self::Dead;

    /// The record of a caller whose token was refused.
    fn refused(token: Self::Token) -> Self::Dead;

    /// Returns a token in place of the dead one.
    fn renew(
        &self,
        dead: Self::Dead,
        transport: &Transport,
    ) -> impl Future<Output = Result<Self::Token, CallerFailure>> + Send;

    /// Waits until no refresh is in flight. Clocks that jump by a day between a token's arrival and its report would
    /// stage a situation that cannot happen.
    fn wait_idle(&self) -> impl Future<Output = ()> + Send;

    /// The token that is presented to the MCP server.
    fn bearer(token: &Self::Token) -> &AccessToken;
}

/// Why a caller failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallerFailure {
    /// A fixed word.
    pub(super) reason: &'static str,
    pub(super) login_required: bool,
}

/// The result of all rounds.
pub(super) struct ContestResult {
    pub(super) score: ContestScore,
    /// The events of the first round.
    pub(super) events: Vec<EndpointEvent>,
}

/// The result of one round.
pub(super) struct RoundResult {
    pub(super) number: u32,
    /// The fault of the first token request. With passing faults, which strike any request, it is none.
    pub(super) fault: RequestFault,
    /// The number of faults that have struck.
    pub(super) faults: u64,
    pub(super) token_requests: u64,
    pub(super) replays: u64,
    pub(super) failed: u64,
}

/// The surroundings of a contestant.
pub(super) struct Setting<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) target: TargetServer,
    pub(super) transports: Arc<[Transport; 2]>,
    pub(super) clock: Arc<OffsetClock>,
}

/// Runs all rounds of this contestant, and calls `show` after each.
pub(super) async fn run<C: Contestant>(
    contestant: &Arc<C>,
    mut setting: Setting<'_>,
    mut show: impl FnMut(&RoundResult) -> io::Result<()>,
) -> io::Result<ContestResult> {
    let Arguments { callers, rounds, by, faults, seed, .. } = *setting.arguments;
    let (mut reasons, mut overheads, mut events) = (BTreeMap::new(), Vec::new(), Vec::new());
    let (mut failed, mut sign_ins, mut lost, mut unprovoked) = (0, 0, 0, 0);
    let mut signed_in = false;
    if faults == Some(Faults::Passing) {
        setting.target.inject_passing_faults(seed);
    }
    for number in 1..=rounds {
        if !signed_in {
            contestant.sign_in(setting.target.sign_in().await?).await?;
            sign_ins += 1;
        }
        let mut fault = RequestFault::None;
        if faults == Some(Faults::Any) {
            fault = RequestFault::drawn(seed, number);
            setting.target.inject_fault(fault);
        }
        if number == 1 {
            setting.target.record();
        }
        contestant.wait_idle().await;
        end_token(&setting, by).await?;
        let before = setting.target.counts().await?;
        let results = all_at_once(contestant, &setting, by, callers).await;
        let after = setting.target.counts().await?;
        if number == 1 {
            events = setting.target.recorded();
        }
        let found = results.iter().map(|result| result.found).min().unwrap_or_default();
        let answered = results.iter().map(|result| result.answered).max().unwrap_or_default();
        overheads.push(millis(answered.saturating_sub(found)) - millis(ANSWER_DELAY));

        let failures: Vec<CallerFailure> = results.into_iter().filter_map(|result| result.outcome.err()).collect();
        for failure in &failures {
            *reasons.entry(failure.reason).or_insert(0) += 1;
        }
        let round = RoundResult {
            number,
            fault,
            faults: after.faults - before.faults,
            token_requests: after.token_requests - before.token_requests,
            replays: after.replays - before.replays,
            failed: failures.len() as u64,
        };
        failed += round.failed;
        lost += u64::from(fault.loses_answer());
        if !fault.loses_answer() {
            unprovoked += round.failed;
        }
        signed_in = after.alive && !failures.iter().any(|failure| failure.login_required);
        show(&round)?;
    }
    let counts = setting.target.counts().await?;
    setting.target.close().await?;
    let chain = if counts.chains_revoked == 0 && counts.alive { ChainState::Alive } else { ChainState::Revoked };
    let score = ContestScore {
        callers,
        expiries: rounds,
        token_requests: counts.token_requests,
        failed_callers: failed,
        replays: counts.replays,
        chain,
        ms_over_server: median(overheads),
        most_concurrent: counts.most_concurrent,
        chains_revoked: counts.chains_revoked,
        sign_ins,
        answers_lost: lost,
        faults: counts.faults,
        failed_unprovoked: unprovoked,
        failures: reasons,
    };
    Ok(ContestResult { score, events })
}

/// Ends the life of the access token.
async fn end_token(setting: &Setting<'_>, by: By) -> io::Result<()> {
    match by {
        By::Expiry => {
            setting.clock.advance(LIFETIME);
            setting.target.expire(LIFETIME).await
        }
        By::Refusal => {
            setting.clock.advance(BETWEEN_REFUSALS);
            setting.target.refuse().await
        }
    }
}

/// The result of one caller, with the times at which it found its token dead and was answered.
struct CallerResult {
    found: Duration,
    answered: Duration,
    outcome: Result<(), CallerFailure>,
}

async fn all_at_once<C: Contestant>(
    contestant: &Arc<C>,
    setting: &Setting<'_>,
    by: By,
    callers: u32,
) -> Vec<CallerResult> {
    let barrier = Arc::new(Barrier::new(callers as usize));
    let resource: Arc<str> = setting.target.resource().into();
    let watch = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for index in 0..callers {
        let caller = Caller {
            contestant: Arc::clone(contestant),
            transports: Arc::clone(&setting.transports),
            transport: index as usize % 2,
            resource: Arc::clone(&resource),
            barrier: Arc::clone(&barrier),
            watch,
        };
        #[expect(clippy::disallowed_methods, reason = "the callers, all of whom are joined")]
        tasks.spawn(caller.run(by));
    }
    tasks.join_all().await
}

/// A caller.
struct Caller<C> {
    contestant: Arc<C>,
    transports: Arc<[Transport; 2]>,
    transport: usize,
    resource: Arc<str>,
    /// Callers ask for a token when all have found theirs dead, and use it when all were answered.
    barrier: Arc<Barrier>,
    watch: Stopwatch,
}

impl<C: Contestant> Caller<C> {
    async fn run(self, by: By) -> CallerResult {
        let transport = &self.transports[self.transport];
        let found = match by {
            By::Expiry => Found::Dead(self.contestant.expired()),
            By::Refusal => self.present(transport).await,
        };
        self.barrier.wait().await;
        let found_at = self.watch.read();
        let token = match found {
            Found::Dead(dead) => self.contestant.renew(dead, transport).await.map(Some),
            Found::NotDead(outcome) => outcome.map(|()| None),
        };
        let answered = self.watch.read();
        // Only the time to get a token is measured, so calls do not compete with callers that wait for one.
        self.barrier.wait().await;
        let outcome = match token {
            Ok(Some(token)) => match transport.call(&self.resource, C::bearer(&token)).await {
                Ok(200) => Ok(()),
                // As a rule its chain has been revoked.
                Ok(401) => Err(REFUSED_AGAIN),
                Ok(_) => Err(UNEXPECTED),
                Err(_) => Err(UNREACHED),
            },
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        CallerResult { found: found_at, answered, outcome }
    }

    /// Presents the current token to the MCP server.
    async fn present(&self, transport: &Transport) -> Found<C::Dead> {
        let token = match self.contestant.token(transport).await {
            Ok(token) => token,
            Err(failure) => return Found::NotDead(Err(failure)),
        };
        match transport.call(&self.resource, C::bearer(&token)).await {
            Ok(401) => Found::Dead(C::refused(token)),
            // The round before left no token, so this one is new.
            Ok(200) => Found::NotDead(Ok(())),
            Ok(_) => Found::NotDead(Err(UNEXPECTED)),
            Err(_) => Found::NotDead(Err(UNREACHED)),
        }
    }
}

/// A caller's finding before any caller asks for a new token.
enum Found<D> {
    /// Its token is dead.
    Dead(D),
    /// It needs no new token.
    NotDead(Result<(), CallerFailure>),
}

const REFUSED_AGAIN: CallerFailure = CallerFailure { reason: "new_token_refused", login_required: false };
const UNREACHED: CallerFailure = CallerFailure { reason: "mcp_server_unreached", login_required: false };
const UNEXPECTED: CallerFailure = CallerFailure { reason: "mcp_server_unexpected", login_required: false };

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or_default();
    let median = if values.len() % 2 == 1 {
        upper
    } else {
        (values.get(middle.wrapping_sub(1)).copied().unwrap_or_default() + upper) / 2.0
    };
    (median * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
