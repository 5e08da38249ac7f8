//! The user contexts of all sessions of a runtime, each of which has a task.

use std::fmt;
use std::sync::Arc;

use tokenkeeper_actors::ports::spawner::Spawner;
use tokenkeeper_actors::runtime::ServedLogin;
use tokenkeeper_actors::system::{Entropy, HostSpawner};
use tokenkeeper_actors::values::ServerIdentity;
use tokio::sync::oneshot;

use super::cache::Kept;
use super::context::UserContext;
use super::error::UserError;
use super::options::UserOptions;
use super::providers::UserProviders;
use super::stats::{Counters, UserStats};
use super::task::{Message, Source, UserTask, UserWorker};
use crate::keyed::{KeyedTasks, Ports};

/// The maximum number of sessions whose user is kept. Beyond it, the oldest entry is removed.
const MAX_ENTRIES: usize = 65_536;

/// The user contexts of all sessions of a runtime.
pub(crate) struct Users {
    tasks: Arc<KeyedTasks<ServerIdentity, UserTask>>,
    worker: Arc<UserWorker>,
    pub(super) providers: Arc<UserProviders>,
    /// Where the fetches run. `None` for the tokio runtime of the caller.
    spawner: Option<Arc<dyn Spawner>>,
    /// The options of callers that give none.
    pub(super) options: UserOptions,
    counters: Arc<Counters>,
    entropy: Entropy,
}

impl Users {
    pub(crate) fn new(
        providers: UserProviders,
        spawner: Option<Arc<dyn Spawner>>,
        options: UserOptions,
        entropy: Entropy,
    ) -> Self {
        let (tasks, worker, counters) = (Arc::new(KeyedTasks::new(MAX_ENTRIES)), Arc::new(UserWorker), Arc::default());
        Self { tasks, worker, providers: Arc::new(providers), spawner, options, counters, entropy }
    }

    /// The context of this login, if there is one that is fresh enough.
    pub(super) fn at_hand(
        &self,
        identity: &ServerIdentity,
        options: &UserOptions,
        login: impl FnOnce() -> Option<ServedLogin>,
    ) -> Option<UserContext> {
        let clock = &self.providers.clock;
        let now = clock.coarse().unwrap_or_else(|| clock.now()).elapsed;
        let read = |kept: &Kept| kept.fresh(options, login(), now).cloned();
        let context = self.tasks.published(identity, read)?;
        self.counters.hits.add(1);
        tracing::trace!(%identity, event = "hit", "user");
        Some(context)
    }

    /// Asks the task of `identity`, which answers all callers with the same fetch.
    pub(super) async fn ask(
        &self,
        identity: &ServerIdentity,
        source: Arc<dyn Source>,
        options: UserOptions,
    ) -> Result<UserContext, UserError> {
        let spawner = match &self.spawner {
            Some(spawner) => Arc::clone(spawner),
            None => Arc::new(HostSpawner::current().map_err(|_| UserError::Aborted)?),
        };
        let ports = Ports { clock: Arc::clone(&self.providers.clock), spawner };
        let (reply, answer) = oneshot::channel();
        let message = Message::Ask { source, options, reply };
        let begin = || UserTask::new(identity.clone(), Arc::clone(&self.counters), self.entropy.clone());
        self.tasks.deliver(&self.worker, &ports, identity.clone(), message, begin);
        #[expect(
            clippy::disallowed_methods,
            reason = "the time-out bounds only the caller's wait, and the fetch goes on"
        )]
        let answer = tokio::time::timeout(options.timeout, answer).await;
        match answer {
            Ok(answer) => answer.unwrap_or(Err(UserError::Aborted)),
            Err(_) => Err(UserError::DeadlinePassed),
        }
    }

    /// Removes the user of `identity` from the memory, because of a logout. No call returns it any more in any case.
    pub(crate) fn forget(&self, identity: &ServerIdentity) {
        self.tasks.withdraw(identity, Message::Forget);
    }

    pub(super) fn stats(&self) -> UserStats {
        self.counters.stats(self.tasks.len())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("kept", &self.tasks.len()).finish_non_exhaustive()
    }
}
