//! The task of one session's user context, which owns the machine of `cache` and outlives the callers.

use std::sync::Arc;

use async_trait::async_trait;
use tokenkeeper_actors::runtime::ServedLogin;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::{ElapsedTime, ServerIdentity};
use tokio::sync::oneshot;

use super::cache::{Answer, Asked, Cache, Ended, Failure, Kept, Served};
use super::context::UserContext;
use super::error::UserError;
use super::options::UserOptions;
use super::stats::Counters;
use crate::keyed::{Machine, Worker};

/// The session of a caller, with access to its provider.
#[async_trait]
pub(crate) trait Source: Send + Sync + 'static {
    /// The session's login at this time, if it has one.
    fn login(&self) -> Option<ServedLogin>;

    /// Asks the provider for the person once.
    async fn fetch(&self) -> Result<UserContext, Failure>;
}

/// Carries out the fetches of all tasks.
#[derive(Debug)]
pub(crate) struct UserWorker;

impl Worker<ServerIdentity, UserTask> for UserWorker {
    async fn fetch(self: Arc<Self>, _: ServerIdentity, source: Arc<dyn Source>) -> Result<UserContext, Failure> {
        source.fetch().await
    }
}

/// The machine of one session's user, with the answers that it has decided.
pub(crate) struct UserTask {
    identity: ServerIdentity,
    cache: Cache<Reply>,
    /// The session, while it is asked for a token. A task that only keeps a context holds no part of the runtime.
    source: Option<Arc<dyn Source>>,
    answers: Vec<(Reply, Answer)>,
    counters: Arc<Counters>,
    entropy: Entropy,
}

/// A message of a caller.
pub(crate) enum Message {
    Ask {
        source: Arc<dyn Source>,
        options: UserOptions,
        reply: Reply,
    },
    /// The session was logged out.
    Forget,
}

pub(crate) type Reply = oneshot::Sender<Answer>;

impl UserTask {
    pub(crate) fn new(identity: ServerIdentity, counters: Arc<Counters>, entropy: Entropy) -> Self {
        Self { identity, cache: Cache::default(), source: None, answers: Vec::new(), counters, entropy }
    }

    /// The order for a fetch, which is counted.
    fn order(&self) -> Option<Arc<dyn Source>> {
        self.counters.fetches.add(1);
        self.source.clone()
    }

    /// Handles the question of a caller. Returns the fetch to begin, if any.
    fn ask(
        &mut self,
        source: Arc<dyn Source>,
        options: UserOptions,
        reply: Reply,
        now: ElapsedTime,
    ) -> Option<Arc<dyn Source>> {
        let login = source.login();
        self.cache.forget_gone(Reply::is_closed);
        let (counters, identity) = (Arc::clone(&self.counters), &self.identity);
        match self.cache.ask(reply, options, login, now) {
            Asked::Answered(reply, answer, served) => {
                let (counter, event) = match served {
                    Served::Fresh => (&counters.hits, "hit"),
                    Served::Stale => (&counters.stale, "stale"),
                    Served::Remembered => (&counters.failure_hits, "failure hit"),
                    Served::TurnedAway => (&counters.turned_away, "turned away"),
                };
                counter.add(1);
                if served == Served::Stale {
                    counters.failure_hits.add(1);
                }
                tracing::debug!(%identity, event, "user");
                // The caller may have dropped its future.
                let _ = reply.send(answer);
                None
            }
            Asked::Waits => {
                counters.coalesced.add(1);
                tracing::debug!(%identity, event = "coalesced", "user");
                None
            }
            Asked::Begins => {
                counters.misses.add(1);
                tracing::debug!(%identity, event = "miss", "user");
                self.source = Some(source);
                self.order()
            }
        }
    }
}

impl Machine for UserTask {
    type Message = Message;
    type Order = Arc<dyn Source>;
    type Outcome = Result<UserContext, Failure>;
    type Published = Kept;

    fn take(&mut self, message: Message, now: ElapsedTime) -> Option<Arc<dyn Source>> {
        match message {
            Message::Ask { source, options, reply } => self.ask(source, options, reply, now),
            Message::Forget => {
                self.cache.forget();
                None
            }
        }
    }

    fn broken_off() -> Self::Outcome {
        Err(Failure { error: UserError::Aborted, login: None })
    }

    fn end(&mut self, outcome: Self::Outcome, now: ElapsedTime) -> Option<Arc<dyn Source>> {
        let login = self.source.as_ref().and_then(|source| source.login());
        let error = outcome.as_ref().err().map(|failure| failure.error.clone());
        let Ended { answers, is_superseded, begins } = self.cache.end(outcome, login, now, self.entropy.jitter());
        let (counters, identity) = (&self.counters, &self.identity);
        if is_superseded {
            counters.superseded.add(1);
            tracing::debug!(%identity, event = "superseded", "user");
        } else if let Some(error) = error {
            counters.failures.add(1);
            tracing::debug!(%identity, event = "failed", %error, "user");
        } else {
            tracing::debug!(%identity, event = "fetched", "user");
        }
        let stale = answers.iter().filter(|(_, _, served)| *served == Served::Stale).count();
        if stale > 0 {
            counters.stale.add(u64::try_from(stale).unwrap_or(u64::MAX));
            tracing::debug!(%identity, event = "stale", callers = stale, "user");
        }
        self.answers = answers.into_iter().map(|(reply, answer, _)| (reply, answer)).collect();
        if begins {
            return self.order();
        }
        self.source = None;
        None
    }

    fn answer(&mut self) {
        for (reply, answer) in std::mem::take(&mut self.answers) {
            // The caller may have dropped its future.
            let _ = reply.send(answer);
        }
    }

    fn published(&self) -> Option<Kept> {
        self.cache.kept().cloned()
    }

    fn ends_at(&self) -> Option<ElapsedTime> {
        self.cache.ends_at()
    }
}

/// Counts the entry as removed from the memory.
impl Drop for UserTask {
    fn drop(&mut self) {
        self.counters.cleaned.add(1);
        tracing::debug!(identity = %self.identity, event = "cleaned", "user");
    }
}
