//! The user context of one session, as a pure machine. Many callers ask for it, and it is fetched once and kept for a while.
//!
//! It is a machine of its own beside the session's. A fetch asks the session for a token as any caller does, and the session
//! never waits for a fetch, so that no deadlock is possible.

use std::mem;
use std::time::Duration;

use tokenkeeper_actors::runtime::ServedLogin;
use tokenkeeper_actors::values::{ElapsedTime, Jitter};

use super::context::UserContext;
use super::error::UserError;
use super::options::{MAX_KEPT, UserOptions};
use crate::Reason;

/// The share of a context's maximum age by which it may be renewed earlier, as a divisor. The share is one tenth.
const SPREAD: u32 = 10;

/// The maximum number of times that a fetch is begun again for the same callers, because a login or a logout came first.
const MAX_RESTARTS: u32 = 2;

/// The maximum number of callers that wait for one session's user.
pub(super) const MAX_WAITERS: usize = 65_536;

/// The pause after the first failure that may pass by itself. It doubles with each further one.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after a failure that may pass by itself.
const MAX_TROUBLE_PAUSE: Duration = Duration::from_secs(60);

/// The pause after the first failure that a repeated request would not mend. It doubles with each further one.
const REFUSAL_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause after any failure, also if the provider asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(10 * 60);

/// The answer to a caller.
pub(crate) type Answer = Result<UserContext, UserError>;

/// A fetch that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: UserError,
    /// The login whose token was used. `None` if the session had none, or it is not known.
    pub(crate) login: Option<ServedLogin>,
}

/// How a caller was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// With a context that is fresh enough, or with the failure of a fetch.
    Fresh,
    /// With a context that is too old, because the provider could not be asked.
    Stale,
    /// With a recent failure.
    Remembered,
    /// With an error, because too many callers wait.
    TurnedAway,
}

/// The decision about a caller that asks.
#[derive(Debug)]
pub(crate) enum Asked<W> {
    /// The caller gets this answer at once.
    Answered(W, Answer, Served),
    /// The caller waits for the fetch that is under way.
    Waits,
    /// The caller waits for a fetch, which is to begin.
    Begins,
}

/// The decisions at the end of a fetch.
#[derive(Debug)]
pub(crate) struct Ended<W> {
    /// The callers to answer.
    pub(crate) answers: Vec<(W, Answer, Served)>,
    /// Whether the result was dropped, because a login or a logout came first.
    pub(crate) is_superseded: bool,
    /// Whether another fetch is to begin, for callers that still wait.
    pub(crate) begins: bool,
}

/// The state of one session's user. `W` is a waiting caller.
#[derive(Debug)]
pub(crate) struct Cache<W> {
    kept: Option<Kept>,
    state: State<W>,
    /// The number of consecutive failures.
    failures: u32,
    /// The longest time for which a caller so far could get the context.
    usable_for: Duration,
}

/// The state of the fetches.
#[derive(Debug)]
enum State<W> {
    Idle,
    Fetching {
        waiters: Vec<(W, UserOptions)>,
        /// The time at which the fetch began.
        since: ElapsedTime,
        restarts: u32,
    },
    /// The failure is forgotten from `until` on, and at once if the session has another login.
    Failed {
        error: UserError,
        login: Option<ServedLogin>,
        since: ElapsedTime,
        until: ElapsedTime,
    },
}

/// A context with its age.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    context: UserContext,
    /// The time at which its fetch began, from which its age is counted.
    at: ElapsedTime,
    /// The random part of the share in [`SPREAD`] by which the context is renewed earlier.
    spread: Jitter,
}

impl Kept {
    /// The context, if it is fresh enough for `options` and belongs to `login`.
    pub(crate) fn fresh(
        &self,
        options: &UserOptions,
        login: Option<ServedLogin>,
        now: ElapsedTime,
    ) -> Option<&UserContext> {
        let max_age = options.max_age.min(MAX_KEPT);
        self.usable(max_age.saturating_sub(self.spread.of(max_age / SPREAD)), login, now)
    }

    /// The context, if it is younger than `age` and belongs to `login`.
    fn usable(&self, age: Duration, login: Option<ServedLogin>, now: ElapsedTime) -> Option<&UserContext> {
        (login == Some(self.context.login()) && now.since(self.at) < age).then_some(&self.context)
    }
}

/// Whether a failure with the token of one login holds for the other login too. The times of the logins are compared only if both
/// are known. The login of a context is compared exactly instead, so that after a store was emptied, a login whose time is not
/// known does not bring back the person of an earlier login.
fn same(one: Option<ServedLogin>, other: Option<ServedLogin>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(&other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

impl<W> Default for Cache<W> {
    fn default() -> Self {
        Self { kept: None, state: State::Idle, failures: 0, usable_for: Duration::ZERO }
    }
}

impl<W> Cache<W> {
    /// Handles the question of a caller. `login` is the session's login at this time, if it has one.
    pub(crate) fn ask(
        &mut self,
        waiter: W,
        options: UserOptions,
        login: Option<ServedLogin>,
        now: ElapsedTime,
    ) -> Asked<W> {
        self.usable_for = self.usable_for.max(options.usable_for());
        if let Some(context) = self.kept.as_ref().and_then(|kept| kept.fresh(&options, login, now)) {
            return Asked::Answered(waiter, Ok(context.clone()), Served::Fresh);
        }
        match &mut self.state {
            State::Fetching { waiters, .. } if waiters.len() >= MAX_WAITERS => {
                return Asked::Answered(waiter, Err(UserError::TooManyWaiters), Served::TurnedAway);
            }
            State::Fetching { waiters, .. } => {
                waiters.push((waiter, options));
                return Asked::Waits;
            }
            State::Failed { error, login: failed, since, until } if *until > now && same(*failed, login) => {
                let error = error.clone().later(now.since(*since));
                let (answer, served) = self.in_trouble(error, &options, login, now);
                return Asked::Answered(
                    waiter,
                    answer,
                    if served == Served::Fresh { Served::Remembered } else { served },
                );
            }
            State::Failed { .. } | State::Idle => {}
        }
        self.state = State::Fetching { waiters: vec![(waiter, options)], since: now, restarts: 0 };
        Asked::Begins
    }

    /// Removes the waiting callers that have dropped their futures, before the limit turns others away.
    pub(crate) fn forget_gone(&mut self, is_gone: impl Fn(&W) -> bool) {
        if let State::Fetching { waiters, .. } = &mut self.state
            && waiters.len() >= MAX_WAITERS
        {
            waiters.retain(|(waiter, _)| !is_gone(waiter));
        }
    }

    /// Forgets the context, for example because the session was logged out. A fetch that is under way goes on, and its result
    /// is dropped if its login is no longer the session's.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
        if let State::Failed { .. } = self.state {
            self.state = State::Idle;
        }
    }

    /// Handles the end of the fetch. `login` is the session's login at this time, if it has one.
    pub(crate) fn end(
        &mut self,
        result: Result<UserContext, Failure>,
        login: Option<ServedLogin>,
        now: ElapsedTime,
        jitter: Jitter,
    ) -> Ended<W> {
        let State::Fetching { waiters, since, restarts } = mem::replace(&mut self.state, State::Idle) else {
            return Ended { answers: Vec::new(), is_superseded: false, begins: false };
        };
        let is_superseded = match &result {
            Ok(context) => login != Some(context.login()),
            // A login was installed after the session had no token.
            Err(Failure { error, login: None }) => {
                error.reason().is_some_and(Reason::is_login_required) && login.is_some()
            }
            Err(Failure { login: used, .. }) => !same(*used, login),
        };
        self.kept.take_if(|kept| login != Some(kept.context.login()));
        if is_superseded && restarts < MAX_RESTARTS && !waiters.is_empty() {
            self.state = State::Fetching { waiters, since: now, restarts: restarts + 1 };
            return Ended { answers: Vec::new(), is_superseded, begins: true };
        }
        let answer = match result {
            Ok(_) if is_superseded => Err(UserError::Superseded),
            Ok(context) => {
                self.failures = 0;
                self.kept = Some(Kept { context: context.clone(), at: since, spread: jitter });
                Ok(context)
            }
            Err(failure) => {
                self.failed(&failure, login, now, jitter);
                Err(failure.error)
            }
        };
        let answered = waiters.into_iter().map(|(waiter, options)| match &answer {
            Ok(context) => (waiter, Ok(context.clone()), Served::Fresh),
            Err(error) => {
                let (answer, served) = self.in_trouble(error.clone(), &options, login, now);
                (waiter, answer, served)
            }
        });
        Ended { answers: answered.collect(), is_superseded, begins: false }
    }

    /// Remembers a failure, so that the provider is not asked again at once.
    fn failed(&mut self, failure: &Failure, login: Option<ServedLogin>, now: ElapsedTime, jitter: Jitter) {
        let Failure { error, login: used } = failure;
        let Some(pause) = error.pause(self.failures) else {
            // Such an error is not remembered, because the next caller may get another answer at once.
            self.failures = 0;
            return;
        };
        self.failures = self.failures.saturating_add(1);
        let pause = pause.saturating_add(jitter.of(pause / 4)).min(MAX_PAUSE);
        self.state = State::Failed { error: error.clone(), login: used.or(login), since: now, until: now.after(pause) };
    }

    /// The answer to a caller if the provider cannot be asked.
    fn in_trouble(
        &self,
        error: UserError,
        options: &UserOptions,
        login: Option<ServedLogin>,
        now: ElapsedTime,
    ) -> (Answer, Served) {
        let kept = self.kept.as_ref().filter(|_| error.is_transient() && !options.stale_if_error.is_zero());
        match kept.and_then(|kept| kept.usable(options.usable_for(), login, now)) {
            Some(context) => (Ok(context.clone()), Served::Stale),
            None => (Err(error), Served::Fresh),
        }
    }

    /// The context that callers may take without a message, if it is fresh enough for them.
    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// The time from which nothing here could be the answer to a caller, so that the cache may be dropped. `None` while a fetch is
    /// under way.
    pub(crate) fn ends_at(&self) -> Option<ElapsedTime> {
        let failed = match &self.state {
            State::Fetching { .. } => return None,
            State::Idle => ElapsedTime::default(),
            // The count of failures outlives the pause, so that the next pause is longer.
            State::Failed { since, until, .. } => until.after(until.since(*since)),
        };
        let kept = self.kept.as_ref().map(|kept| kept.at.after(self.usable_for));
        Some(kept.map_or(failed, |kept| kept.max(failed)))
    }
}

impl UserError {
    /// The pause before the provider is asked again after this failure, which follows `failures` others. `None` if the
    /// failure is not remembered, because the next caller may have another answer at once.
    fn pause(&self, failures: u32) -> Option<Duration> {
        let doubled = |first: Duration, max: Duration| Some(first.saturating_mul(1 << failures.min(8)).min(max));
        match self {
            Self::Token(_) | Self::Superseded | Self::NoRuntime | Self::TooManyWaiters => None,
            _ if self.is_transient() => {
                let pause = doubled(TROUBLE_PAUSE, MAX_TROUBLE_PAUSE);
                self.retry_after().map_or(pause, |asked| Some(asked.clamp(TROUBLE_PAUSE, MAX_PAUSE)))
            }
            _ => doubled(REFUSAL_PAUSE, MAX_PAUSE),
        }
    }

    /// The same error, as it is when the time `passed` is over. The rest of a pause is shorter by then.
    fn later(self, passed: Duration) -> Self {
        match self {
            Self::ServerTrouble { status, retry_after } => {
                Self::ServerTrouble { status, retry_after: retry_after.map(|asked| asked.saturating_sub(passed)) }
            }
            error => error,
        }
    }
}

#[cfg(test)]
mod tests;
