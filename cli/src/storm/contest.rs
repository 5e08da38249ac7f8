//! One contestant's storm: rounds in which the access token dies and everybody wants a new one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use tokenkeeper::AccessToken;

use super::arena::{ANSWER_DELAY, Arena, Grant, LIFETIME, Sighting};
use super::arguments::{Arguments, By};
use super::clock::{Stopwatch, StormClock, millis};
use super::faults::Weather;
use super::score::{Chain, Score};
use super::wire::Wire;

/// How callers come by a token.
pub(super) trait Contestant: Send + Sync + 'static {
    /// What a caller uses.
    type Token: Send + Sync;
    /// What a caller has in hand that found its token dead.
    type Found: Send + Sync;

    /// Somebody signs in.
    fn sign_in(&self, grant: Grant) -> impl Future<Output = io::Result<()>> + Send;

    /// The token there is, renewed if it is expired.
    fn token(&self, wire: &Wire) -> impl Future<Output = Result<Self::Token, Trouble>> + Send;

    /// What a caller has in hand that looks and finds the token expired.
    fn expired(&self) -> Self::Found;

    /// What a caller has in hand whose token was refused.
    fn refused(token: Self::Token) -> Self::Found;

    /// A token in place of the dead one.
    fn renewed(&self, found: Self::Found, wire: &Wire) -> impl Future<Output = Result<Self::Token, Trouble>> + Send;

    /// Waits until nothing is under way any more: a storm that puts clocks forward by a day between a token's arrival
    /// and the report of it would show nothing that can happen.
    fn settled(&self) -> impl Future<Output = ()> + Send;

    /// What is presented.
    fn bearer(token: &Self::Token) -> &AccessToken;
}

/// Why a caller failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// A fixed word.
    pub(super) word: &'static str,
    /// Whether a person must sign in.
    pub(super) login_required: bool,
}

/// What came of a storm.
pub(super) struct Outcome {
    pub(super) score: Score,
    /// What was seen at the token endpoint in the first round.
    pub(super) seen: Vec<Sighting>,
}

/// What came of one round.
pub(super) struct Round {
    pub(super) number: u32,
    pub(super) weather: Weather,
    pub(super) token_requests: u64,
    pub(super) replays: u64,
    pub(super) failed: u64,
}

/// Where it is held.
pub(super) struct Setting<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) arena: Arena,
    pub(super) wires: Arc<[Wire; 2]>,
    pub(super) clock: Arc<StormClock>,
}

/// Between refusals: longer than a refusal is remembered, or than any pause after failures.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(600);

/// Holds a storm for this contestant, and tells of each round.
pub(super) async fn hold<C: Contestant>(
    contestant: &Arc<C>,
    mut setting: Setting<'_>,
    mut tell: impl FnMut(&Round) -> io::Result<()>,
) -> io::Result<Outcome> {
    let Arguments { callers, rounds, by, faults, seed, .. } = *setting.arguments;
    let (mut reasons, mut over, mut seen) = (BTreeMap::new(), Vec::new(), Vec::new());
    let (mut failed, mut sign_ins, mut lost, mut unprovoked) = (0, 0, 0, 0);
    let mut signed_in = false;
    let mut well = true;
    for number in 1..=rounds {
        if !signed_in {
            contestant.sign_in(setting.arena.grant().await?).await?;
            well = true;
            sign_ins += 1;
        }
        let weather = if faults { Weather::of(seed, number) } else { Weather::Calm };
        setting.arena.brew(weather);
        if number == 1 {
            setting.arena.watch();
        }
        contestant.settled().await;
        pass_time(&setting, by).await?;
        let before = setting.arena.tally().await?;
        let answers = all_at_once(contestant, &setting, by, callers).await;
        let after = setting.arena.tally().await?;
        if number == 1 {
            seen = setting.arena.seen();
        }
        let found = answers.iter().map(|answer| answer.found).min().unwrap_or_default();
        let answered = answers.iter().map(|answer| answer.answered).max().unwrap_or_default();
        over.push(millis(answered.saturating_sub(found)) - millis(ANSWER_DELAY));

        let troubles: Vec<Trouble> = answers.into_iter().filter_map(|answer| answer.came_to.err()).collect();
        for trouble in &troubles {
            *reasons.entry(trouble.word).or_insert(0) += 1;
        }
        let round = Round {
            number,
            weather,
            token_requests: after.token_requests - before.token_requests,
            replays: after.replays - before.replays,
            failed: troubles.len() as u64,
        };
        failed += round.failed;
        lost += u64::from(weather.loses());
        if well && !weather.hurts() {
            unprovoked += round.failed;
        }
        well = troubles.is_empty();
        signed_in = after.alive && !troubles.iter().any(|trouble| trouble.login_required);
        tell(&round)?;
    }
    let tally = setting.arena.tally().await?;
    setting.arena.close().await?;
    let chain = if tally.chains_revoked == 0 && tally.alive { Chain::Alive } else { Chain::Revoked };
    let score = Score {
        callers,
        expiries: rounds,
        token_requests: tally.token_requests,
        failed_callers: failed,
        replays: tally.replays,
        chain,
        ms_over_server: median(over),
        most_concurrent: tally.most_concurrent,
        chains_revoked: tally.chains_revoked,
        sign_ins,
        answers_lost: lost,
        failed_unprovoked: unprovoked,
        failures: reasons,
    };
    Ok(Outcome { score, seen })
}

/// The access token dies.
async fn pass_time(setting: &Setting<'_>, by: By) -> io::Result<()> {
    match by {
        By::Expiry => {
            setting.clock.advance(LIFETIME);
            setting.arena.expire().await
        }
        By::Refusal => {
            setting.clock.advance(BETWEEN_REFUSALS);
            setting.arena.refuse().await
        }
    }
}

/// One caller's answer, with the times at which it found the token dead and was given another.
struct Answer {
    found: Duration,
    answered: Duration,
    came_to: Result<(), Trouble>,
}

async fn all_at_once<C: Contestant>(contestant: &Arc<C>, setting: &Setting<'_>, by: By, callers: u32) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(callers as usize));
    let resource: Arc<str> = setting.arena.resource().into();
    let watch = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let call = Call {
            contestant: Arc::clone(contestant),
            wires: Arc::clone(&setting.wires),
            wire: caller as usize % 2,
            resource: Arc::clone(&resource),
            everybody: Arc::clone(&barrier),
            watch,
        };
        #[expect(clippy::disallowed_methods, reason = "the callers, all of whom are waited for")]
        tasks.spawn(call.make(by));
    }
    tasks.join_all().await
}

/// A caller's errand.
struct Call<C> {
    contestant: Arc<C>,
    wires: Arc<[Wire; 2]>,
    wire: usize,
    resource: Arc<str>,
    /// Nobody asks for a token before everybody has found theirs dead, and nobody uses a new one before everybody was
    /// answered.
    everybody: Arc<Barrier>,
    watch: Stopwatch,
}

impl<C: Contestant> Call<C> {
    async fn make(self, by: By) -> Answer {
        let wire = &self.wires[self.wire];
        let found = match by {
            By::Expiry => Found::Dead(self.contestant.expired()),
            By::Refusal => self.present(wire).await,
        };
        self.everybody.wait().await;
        let found_at = self.watch.read();
        let token = match found {
            Found::Dead(found) => self.contestant.renewed(found, wire).await.map(Some),
            Found::Nothing(came_to) => came_to.map(|()| None),
        };
        let answered = self.watch.read();
        // What is measured is how long tokens take: no call competes with those who still wait.
        self.everybody.wait().await;
        let came_to = match token {
            Ok(Some(token)) => match wire.call(&self.resource, C::bearer(&token)).await {
                Ok(200) => Ok(()),
                // Its chain has been revoked meanwhile, as a rule.
                Ok(401) => Err(REFUSED_AGAIN),
                Ok(_) => Err(UNEXPECTED),
                Err(_) => Err(UNREACHED),
            },
            Ok(None) => Ok(()),
            Err(trouble) => Err(trouble),
        };
        Answer { found: found_at, answered, came_to }
    }

    /// Presents what it holds.
    async fn present(&self, wire: &Wire) -> Found<C::Found> {
        let token = match self.contestant.token(wire).await {
            Ok(token) => token,
            Err(trouble) => return Found::Nothing(Err(trouble)),
        };
        match wire.call(&self.resource, C::bearer(&token)).await {
            Ok(401) => Found::Dead(C::refused(token)),
            // The last round left no token, so that this one is new.
            Ok(200) => Found::Nothing(Ok(())),
            Ok(_) => Found::Nothing(Err(UNEXPECTED)),
            Err(_) => Found::Nothing(Err(UNREACHED)),
        }
    }
}

/// What a caller finds before anybody asks for a new token.
enum Found<F> {
    /// Its token is dead.
    Dead(F),
    /// Nothing that a new token is wanted for.
    Nothing(Result<(), Trouble>),
}

const REFUSED_AGAIN: Trouble = Trouble { word: "new_token_refused", login_required: false };
const UNREACHED: Trouble = Trouble { word: "mcp_server_unreached", login_required: false };
const UNEXPECTED: Trouble = Trouble { word: "mcp_server_unexpected", login_required: false };

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
