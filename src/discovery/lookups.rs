//! The running look-ups of metadata documents. Each key, which names a resource or a server, has one task, which owns its
//! state and outlives its callers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokenkeeper_actors::values::ElapsedTime;
use tokio::sync::oneshot;

use super::error::DiscoveryError;
use super::lookup::{Answer, Asked, Ended, FetchOrder, Found, Freshness, Lookup};
use crate::keyed::{KeyedTasks, Machine, Ports, Worker};

/// The maximum number of look-ups. Beyond it, the oldest look-up is forgotten, but its callers are still answered.
const MAX_KEYS: usize = 1024;

/// Fetches the document of a key.
#[async_trait]
pub(crate) trait Find<K>: Send + Sync + 'static {
    type Value: Send + Sync + 'static;

    /// Fetches once.
    async fn find(&self, key: &K, order: FetchOrder<Self::Value>) -> Result<Found<Self::Value>, DiscoveryError>;
}

/// The directory of the running look-ups. All of them end when it is dropped.
pub(crate) struct Lookups<K, V: Send + Sync + 'static>(Arc<KeyedTasks<K, Task<V>>>);

/// The machine of one look-up, with the answers that it has decided.
pub(crate) struct Task<V> {
    lookup: Lookup<V, Reply<V>>,
    ended: Option<(Vec<Reply<V>>, Answer<V>)>,
}

/// A message to the task of a look-up.
pub(crate) enum Message<V> {
    /// A caller asks for the document.
    Ask { named: Option<String>, freshness: Freshness, reply: Reply<V> },
    /// A challenge named the metadata at this URL ([`Lookup::note`]).
    Note { named: String },
    /// The document in memory was of no use ([`Lookup::doubt`]).
    Doubt,
}

type Reply<V> = oneshot::Sender<Answer<V>>;

impl<K, V: Send + Sync + 'static> Default for Lookups<K, V> {
    fn default() -> Self {
        Self(Arc::new(KeyedTasks::new(MAX_KEYS)))
    }
}

impl<K, V: Send + Sync + 'static> fmt::Debug for Lookups<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").field("len", &self.0.len()).finish()
    }
}

impl<K: Clone + Ord + Send + Sync + 'static, V: Send + Sync + 'static> Lookups<K, V> {
    /// Asks for the document of `key`. Callers at the same time share one fetch, and dropping this future cancels nothing for
    /// the others.
    pub(crate) async fn ask<F: Find<K, Value = V>>(
        &self,
        finder: &Arc<F>,
        ports: &Ports,
        key: K,
        named: Option<String>,
        freshness: Freshness,
    ) -> Answer<V> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Ask { named, freshness, reply };
        self.0.deliver(finder, ports, key, message, || Task { lookup: Lookup::default(), ended: None });
        answer.await.unwrap_or(Err(DiscoveryError::Aborted))
    }

    /// Passes a challenge to the look-up of `key`, if there is one.
    pub(crate) fn note(&self, key: &K, named: String) {
        self.0.send(key, Message::Note { named });
    }

    /// Passes to each look-up whose key `are_doubted` that its document was of no use ([`Lookup::doubt`]).
    pub(crate) fn doubt(&self, are_doubted: impl Fn(&K) -> bool) {
        self.0.send_to(are_doubted, || Message::Doubt);
    }

    /// The number of look-ups in memory.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K, V, F> Worker<K, Task<V>> for F
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    F: Find<K, Value = V>,
{
    async fn fetch(self: Arc<Self>, key: K, order: FetchOrder<V>) -> Result<Found<V>, DiscoveryError> {
        self.find(&key, order).await
    }
}

impl<V: Send + Sync + 'static> Machine for Task<V> {
    type Message = Message<V>;
    type Order = FetchOrder<V>;
    type Outcome = Result<Found<V>, DiscoveryError>;
    type Published = ();

    fn take(&mut self, message: Message<V>, now: ElapsedTime) -> Option<FetchOrder<V>> {
        match message {
            Message::Note { named } => self.lookup.note(&named, now),
            Message::Doubt => self.lookup.doubt(now),
            Message::Ask { named, freshness, reply } => {
                match self.lookup.ask(reply, named.as_deref(), freshness, now) {
                    Asked::Answered(reply, answer) => drop(reply.send(answer)),
                    Asked::Waits => {}
                    Asked::Begins(order) => return Some(order),
                }
            }
        }
        None
    }

    fn broken_off() -> Self::Outcome {
        Err(DiscoveryError::Aborted)
    }

    fn end(&mut self, outcome: Self::Outcome, now: ElapsedTime) -> Option<FetchOrder<V>> {
        let Ended { waiters, answer, next } = self.lookup.end(outcome, now);
        self.ended = Some((waiters, answer));
        next
    }

    fn answer(&mut self) {
        let Some((waiters, answer)) = self.ended.take() else { return };
        for waiter in waiters {
            // The caller may have dropped its future.
            let _ = waiter.send(answer.clone());
        }
    }

    fn published(&self) -> Option<()> {
        None
    }

    fn ends_at(&self) -> Option<ElapsedTime> {
        self.lookup.ends_at()
    }
}
