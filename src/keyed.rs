//! Tasks by key, which drive the look-ups that callers share (user contexts, and the metadata that discovery reads). Each task
//! owns the machine of one key and its running fetch, and outlives its callers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::task::Poll;
use std::time::Duration;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::spawner::Spawner;
use tokenkeeper_actors::values::ElapsedTime;
use tokio::sync::mpsc;

/// The longest sleep (law 14). A suspend of the computer is noticed within this time.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// A machine that a task drives. It has no I/O and no clock.
pub(crate) trait Machine: Send + 'static {
    /// A message of a caller.
    type Message: Send + 'static;
    /// The instruction to begin a fetch.
    type Order: Send + 'static;
    /// The result of a fetch.
    type Outcome: Send + 'static;
    /// The value that callers read without a message.
    type Published: Send + Sync + 'static;

    /// Takes a message. Returns the fetch to begin, if any. At most one is under way at a time.
    fn take(&mut self, message: Self::Message, now: ElapsedTime) -> Option<Self::Order>;

    /// The outcome that stands for a fetch that panicked.
    fn broken_off() -> Self::Outcome;

    /// Handles the end of the fetch. Returns the next fetch, if one is to begin.
    fn end(&mut self, outcome: Self::Outcome, now: ElapsedTime) -> Option<Self::Order>;

    /// Sends the answers that the end of a fetch has decided. It is called after the value was published, so that a caller
    /// finds the value once it was answered.
    fn answer(&mut self);

    /// The value that callers may read without a message from now on.
    fn published(&self) -> Option<Self::Published>;

    /// The time from which the machine holds nothing that a caller could get, so that its task may end. `None` while a fetch is
    /// under way.
    fn ends_at(&self) -> Option<ElapsedTime>;
}

/// Makes the fetches of all machines in a directory.
pub(crate) trait Worker<K, M: Machine>: Send + Sync + 'static {
    /// Fetches once.
    fn fetch(self: Arc<Self>, key: K, order: M::Order) -> impl Future<Output = M::Outcome> + Send + 'static;
}

/// The ports of the tasks.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawner: Arc<dyn Spawner>,
}

/// The directory of the running tasks.
///
/// It is locked to find, start or end a task and to publish a value, and never while anything is fetched. It holds the only
/// senders to the tasks, so all tasks end when it is dropped.
pub(crate) struct KeyedTasks<K, M: Machine> {
    /// The maximum number of tasks. Beyond it, the oldest task is removed from the directory. The callers of that task are
    /// still answered.
    max: usize,
    directory: RwLock<Directory<K, M>>,
}

/// The content of [`KeyedTasks`].
struct Directory<K, M: Machine> {
    tasks: BTreeMap<K, TaskEntry<M>>,
    /// The keys, sorted by the numbers of their tasks, so that the oldest task is the first.
    by_age: BTreeMap<u64, K>,
    /// The number of the next task.
    next: u64,
}

/// The directory's entry of one task.
struct TaskEntry<M: Machine> {
    /// Tells the task from a later one of the same key.
    number: u64,
    mailbox: mpsc::UnboundedSender<M::Message>,
    published: Option<M::Published>,
}

impl<K, M: Machine> fmt::Debug for KeyedTasks<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedTasks").field("len", &self.len()).finish()
    }
}

impl<K, M: Machine> KeyedTasks<K, M> {
    /// An empty directory of at most `max` tasks.
    pub(crate) fn new(max: usize) -> Self {
        let directory = Directory { tasks: BTreeMap::new(), by_age: BTreeMap::new(), next: 0 };
        Self { max, directory: RwLock::new(directory) }
    }

    /// The number of tasks.
    pub(crate) fn len(&self) -> usize {
        self.read().tasks.len()
    }

    // A panic of another thread does no harm, because every change of the directory is complete before anything can panic.
    fn read(&self) -> RwLockReadGuard<'_, Directory<K, M>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory<K, M>> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord, M: Machine> Directory<K, M> {
    /// Removes the task with this number, unless another task has its key by now.
    fn remove(&mut self, key: &K, number: u64) {
        if self.tasks.get(key).is_some_and(|entry| entry.number == number) {
            self.tasks.remove(key);
            self.by_age.remove(&number);
        }
    }
}

impl<K: Clone + Ord + Send + Sync + 'static, M: Machine> KeyedTasks<K, M> {
    /// Reads the value that the task of `key` has published, without a message.
    pub(crate) fn published<T>(&self, key: &K, read: impl FnOnce(&M::Published) -> Option<T>) -> Option<T> {
        read(self.read().tasks.get(key)?.published.as_ref()?)
    }

    /// Takes back the value that the task of `key` has published, and sends `message` to that task. Nothing happens if
    /// there is no task.
    pub(crate) fn withdraw(&self, key: &K, message: M::Message) {
        if let Some(entry) = self.write().tasks.get_mut(key) {
            entry.published = None;
            // The send fails if the task has ended. Then there is nothing to change.
            let _ = entry.mailbox.send(message);
        }
    }

    /// Sends `message` to the task of `key`, if there is one.
    pub(crate) fn send(&self, key: &K, message: M::Message) {
        if let Some(entry) = self.read().tasks.get(key) {
            // The send fails if the task has ended. Then there is nothing to change.
            let _ = entry.mailbox.send(message);
        }
    }

    /// Sends a message to the tasks of all keys for which `are_meant` is true.
    pub(crate) fn send_to(&self, are_meant: impl Fn(&K) -> bool, message: impl Fn() -> M::Message) {
        for (_, entry) in self.read().tasks.iter().filter(|(key, _)| are_meant(key)) {
            // The send fails if the task has ended. Then there is nothing to change.
            let _ = entry.mailbox.send(message());
        }
    }

    /// Sends a message to the task of `key`. If there is no task, starts one with the machine that `begin` makes.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        worker: &Arc<impl Worker<K, M>>,
        ports: &Ports,
        key: K,
        message: M::Message,
        begin: impl FnOnce() -> M,
    ) {
        let message = match self.read().tasks.get(&key) {
            Some(entry) => match entry.mailbox.send(message) {
                Ok(()) => return,
                Err(mpsc::error::SendError(message)) => message,
            },
            None => message,
        };
        let mut directory = self.write();
        // Another caller may have started the task meanwhile.
        let message = match directory.tasks.get(&key) {
            Some(entry) => match entry.mailbox.send(message) {
                Ok(()) => return,
                // The tokio runtime of the task was dropped, or the task panicked.
                Err(mpsc::error::SendError(message)) => {
                    let number = entry.number;
                    directory.by_age.remove(&number);
                    message
                }
            },
            None => message,
        };
        if directory.tasks.len() >= self.max
            && let Some((_, oldest)) = directory.by_age.pop_first()
        {
            directory.tasks.remove(&oldest);
        }
        let number = directory.next;
        directory.next += 1;
        let (mailbox, messages) = mpsc::unbounded_channel();
        let _ = mailbox.send(message);
        directory.tasks.insert(key.clone(), TaskEntry { number, mailbox, published: None });
        directory.by_age.insert(number, key.clone());
        drop(directory);
        let task = Task {
            entry: OwnEntry { key, number, directory: Arc::downgrade(self) },
            worker: Arc::clone(worker),
            clock: Arc::clone(&ports.clock),
            messages,
            machine: begin(),
            fetch: None,
        };
        ports.spawner.spawn(Box::pin(task.run()));
    }
}

/// A running fetch.
type Fetch<O> = Pin<Box<dyn Future<Output = O> + Send>>;

/// A task's own entry in the directory. It is removed with the task, also if the task panics or its tokio runtime is dropped.
struct OwnEntry<K: Ord, M: Machine> {
    key: K,
    number: u64,
    directory: Weak<KeyedTasks<K, M>>,
}

impl<K: Ord, M: Machine> Drop for OwnEntry<K, M> {
    fn drop(&mut self) {
        if let Some(tasks) = self.directory.upgrade() {
            tasks.write().remove(&self.key, self.number);
        }
    }
}

/// The task that owns one machine.
struct Task<K: Ord, M: Machine, W> {
    entry: OwnEntry<K, M>,
    worker: Arc<W>,
    clock: Arc<dyn Clock>,
    messages: mpsc::UnboundedReceiver<M::Message>,
    machine: M,
    fetch: Option<Fetch<M::Outcome>>,
}

/// An event that a task waits for.
enum Event<M: Machine> {
    Message(M::Message),
    /// The directory has removed the task, so no further message comes.
    Released,
    Fetched(M::Outcome),
    /// The machine may have come to its end ([`Machine::ends_at`]).
    Tick,
}

impl<K, M, W> Task<K, M, W>
where
    K: Clone + Ord + Send + Sync + 'static,
    M: Machine,
    W: Worker<K, M>,
{
    async fn run(mut self) {
        let mut is_released = false;
        while !(is_released && self.fetch.is_none()) {
            match self.next(is_released).await {
                Event::Message(message) => {
                    if let Some(order) = self.machine.take(message, self.clock.now().elapsed) {
                        self.fetch = Some(self.begin(order));
                    }
                }
                Event::Released => is_released = true,
                Event::Fetched(outcome) => {
                    let next = self.machine.end(outcome, self.clock.now().elapsed);
                    self.fetch = next.map(|order| self.begin(order));
                    self.publish();
                    self.machine.answer();
                }
                Event::Tick => {}
            }
            if self.is_over() && self.leave() {
                return;
            }
        }
    }

    /// Waits for the next event.
    async fn next(&mut self, is_released: bool) -> Event<M> {
        let pause = self.machine.ends_at().map(|end| end.since(self.clock.now().elapsed).min(MAX_SLEEP));
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
            // Messages are read first, so that callers that came before the result of a fetch share it.
            biased;
            message = messages.recv(), if !is_released => message.map_or(Event::Released, Event::Message),
            outcome = fetched => Event::Fetched(outcome),
            () = tick => Event::Tick,
        }
    }

    /// Begins a fetch, whose panics become an outcome.
    fn begin(&self, order: M::Order) -> Fetch<M::Outcome> {
        let mut fetch = Box::pin(Arc::clone(&self.worker).fetch(self.entry.key.clone(), order));
        Box::pin(poll_fn(move |context| {
            // A fetch calls code of the host, which may panic. A fetch that has panicked is not polled again.
            let polled = catch_unwind(AssertUnwindSafe(|| fetch.as_mut().poll(context)));
            polled.unwrap_or_else(|_| Poll::Ready(M::broken_off()))
        }))
    }

    /// Publishes the machine's value, unless the directory has removed the task.
    fn publish(&self) {
        let OwnEntry { key, number, directory } = &self.entry;
        let Some(tasks) = directory.upgrade() else { return };
        let mut directory = tasks.write();
        if let Some(entry) = directory.tasks.get_mut(key).filter(|entry| entry.number == *number) {
            entry.published = self.machine.published();
        }
    }

    /// Whether the machine has come to its end, and no fetch runs.
    fn is_over(&self) -> bool {
        self.fetch.is_none() && self.machine.ends_at().is_some_and(|end| end <= self.clock.now().elapsed)
    }

    /// Removes the task from the directory. Returns false if a message has come meanwhile. Callers send while they hold the
    /// directory's lock, so no message can come after the removal.
    fn leave(&self) -> bool {
        let Some(tasks) = self.entry.directory.upgrade() else { return true };
        let mut directory = tasks.write();
        if !self.messages.is_empty() {
            return false;
        }
        directory.remove(&self.entry.key, self.entry.number);
        true
    }
}
