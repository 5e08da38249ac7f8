//! The running look-ups. Each key has one task, which owns its state and outlives its callers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::spawner::Spawner;
use tokio::sync::{mpsc, oneshot};

use super::error::DiscoveryError;
use super::lookup::{Answer, Asked, Found, Freshness, Lookup, Order};

/// The maximum number of look-ups. Beyond it, the oldest is forgotten. Its callers are answered all the same.
const MAX_KEYS: usize = 1024;

/// The longest sleep (law 14).
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Fetches the document of a key.
#[async_trait]
pub(crate) trait Find<K>: Send + Sync + 'static {
    type Value: Send + Sync + 'static;

    /// Fetches once.
    async fn find(&self, key: &K, order: Order<Self::Value>) -> Result<Found<Self::Value>, DiscoveryError>;
}

/// The ports of the tasks.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawner: Arc<dyn Spawner>,
}

/// The directory of the running look-ups.
///
/// It is locked to find or start a task, and never while a document is fetched. Its senders are the tasks' only ones, so all
/// tasks end when it is dropped.
pub(crate) struct Lookups<K, V>(Mutex<Directory<K, V>>);

struct Directory<K, V> {
    tasks: BTreeMap<K, TaskEntry<V>>,
    /// The number of the next task.
    next: u64,
}

struct TaskEntry<V> {
    number: u64,
    mailbox: mpsc::UnboundedSender<Message<V>>,
}

enum Message<V> {
    Ask { named: Option<String>, freshness: Freshness, reply: Reply<V> },
    Note { named: String },
    Doubt,
}

type Reply<V> = oneshot::Sender<Answer<V>>;

impl<K, V> Default for Lookups<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Directory { tasks: BTreeMap::new(), next: 0 }))
    }
}

impl<K, V> fmt::Debug for Lookups<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").field("len", &self.lock().tasks.len()).finish()
    }
}

impl<K, V> Lookups<K, V> {
    /// Every change of the directory is complete before anything can panic.
    fn lock(&self) -> MutexGuard<'_, Directory<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord + Send + Sync + 'static, V: Send + Sync + 'static> Lookups<K, V> {
    /// Asks for the document of `key`. Callers at the same time share one fetch, and dropping this future cancels nothing for
    /// the others.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        finder: &Arc<impl Find<K, Value = V>>,
        ports: &Ports,
        key: K,
        named: Option<String>,
        freshness: Freshness,
    ) -> Answer<V> {
        let (reply, answer) = oneshot::channel();
        self.deliver(finder, ports, key, Message::Ask { named, freshness, reply });
        answer.await.unwrap_or(Err(DiscoveryError::Aborted))
    }

    /// Passes a challenge to the look-up of `key`, if there is one.
    pub(crate) fn note(&self, key: &K, named: String) {
        if let Some(entry) = self.lock().tasks.get(key) {
            // A task that has ended has nothing to drop.
            let _ = entry.mailbox.send(Message::Note { named });
        }
    }

    /// Doubts the documents of the keys that `are_doubted`.
    pub(crate) fn doubt(&self, are_doubted: impl Fn(&K) -> bool) {
        for (_, entry) in self.lock().tasks.iter().filter(|(key, _)| are_doubted(key)) {
            // A task that has ended keeps nothing.
            let _ = entry.mailbox.send(Message::Doubt);
        }
    }

    fn deliver(self: &Arc<Self>, finder: &Arc<impl Find<K, Value = V>>, ports: &Ports, key: K, message: Message<V>) {
        let mut directory = self.lock();
        let message = match directory.tasks.get(&key) {
            Some(entry) => match entry.mailbox.send(message) {
                Ok(()) => return,
                // Its tokio runtime was dropped, or it panicked.
                Err(mpsc::error::SendError(message)) => message,
            },
            None => message,
        };
        if directory.tasks.len() >= MAX_KEYS {
            let oldest = directory.tasks.iter().min_by_key(|(_, entry)| entry.number).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| directory.tasks.remove(&oldest));
        }
        let number = directory.next;
        directory.next += 1;
        let (mailbox, messages) = mpsc::unbounded_channel();
        let _ = mailbox.send(message);
        directory.tasks.insert(key.clone(), TaskEntry { number, mailbox });
        drop(directory);
        let task = Task {
            key,
            number,
            directory: Arc::downgrade(self),
            finder: Arc::clone(finder),
            clock: Arc::clone(&ports.clock),
            messages,
            lookup: Lookup::default(),
            fetch: None,
        };
        ports.spawner.spawn(Box::pin(task.run()));
    }

    /// The number of look-ups in memory.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().tasks.len()
    }
}

type Fetch<V> = Pin<Box<dyn Future<Output = Result<Found<V>, DiscoveryError>> + Send>>;

/// The owner of one look-up.
struct Task<K, V, F> {
    key: K,
    number: u64,
    directory: Weak<Lookups<K, V>>,
    finder: Arc<F>,
    clock: Arc<dyn Clock>,
    messages: mpsc::UnboundedReceiver<Message<V>>,
    lookup: Lookup<V, Reply<V>>,
    fetch: Option<Fetch<V>>,
}

enum Event<V> {
    Message(Message<V>),
    /// The directory has let go of the task.
    Released,
    Fetched(Result<Found<V>, DiscoveryError>),
    Tick,
}

impl<K, V, F> Task<K, V, F>
where
    K: Clone + Ord + Send + Sync + 'static,
    V: Send + Sync + 'static,
    F: Find<K, Value = V>,
{
    async fn run(mut self) {
        let mut is_released = false;
        while !(is_released && self.fetch.is_none()) {
            match self.next(is_released).await {
                Event::Message(message) => self.take(message),
                Event::Released => is_released = true,
                Event::Fetched(result) => {
                    let ended = self.lookup.end(result, self.clock.now().elapsed);
                    self.fetch = ended.next.map(|order| self.begin(order));
                    for waiter in ended.waiters {
                        // A caller may have gone.
                        let _ = waiter.send(ended.answer.clone());
                    }
                }
                Event::Tick => {}
            }
            if self.is_over() && self.leave() {
                return;
            }
        }
    }

    async fn next(&mut self, is_released: bool) -> Event<V> {
        let pause = self.lookup.ends_at().map(|end| end.since(self.clock.now().elapsed).min(MAX_SLEEP));
        let Self { messages, fetch, .. } = self;
        let fetched = async {
            match fetch {
                Some(fetch) => fetch.await,
                None => pending().await,
            }
        };
        let tick = async {
            #[expect(clippy::disallowed_methods, reason = "this is the driver that keeps the timer of the machine")]
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => pending().await,
            }
        };
        tokio::select! {
            // Callers that came before the answer share it.
            biased;
            message = messages.recv(), if !is_released => message.map_or(Event::Released, Event::Message),
            result = fetched => Event::Fetched(result),
            () = tick => Event::Tick,
        }
    }

    fn take(&mut self, message: Message<V>) {
        let now = self.clock.now().elapsed;
        match message {
            Message::Note { named } => self.lookup.note(&named, now),
            Message::Doubt => self.lookup.doubt(now),
            Message::Ask { named, freshness, reply } => {
                match self.lookup.ask(reply, named.as_deref(), freshness, now) {
                    Asked::Answered(reply, answer) => drop(reply.send(answer)),
                    Asked::Waits => {}
                    Asked::Begins(order) => self.fetch = Some(self.begin(order)),
                }
            }
        }
    }

    fn begin(&self, order: Order<V>) -> Fetch<V> {
        let (finder, key) = (Arc::clone(&self.finder), self.key.clone());
        let fetch = async move { finder.find(&key, order).await };
        Box::pin(fetch)
    }

    fn is_over(&self) -> bool {
        self.fetch.is_none() && self.lookup.ends_at().is_some_and(|end| end <= self.clock.now().elapsed)
    }

    /// Removes the task from the directory. Returns false if a caller has come meanwhile. The directory is locked while a
    /// caller sends, so none can come afterwards.
    fn leave(&self) -> bool {
        let Some(lookups) = self.directory.upgrade() else { return true };
        let mut directory = lookups.lock();
        if !self.messages.is_empty() {
            return false;
        }
        if directory.tasks.get(&self.key).is_some_and(|entry| entry.number == self.number) {
            directory.tasks.remove(&self.key);
        }
        true
    }
}
