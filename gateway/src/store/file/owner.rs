//! The two threads that use the file, one for reads and one for changes. Work waits for them in bounded queues.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokenkeeper::engine::values::WallTime;
use tokio::sync::{mpsc, oneshot};

use super::Trouble;
use super::format::Entries;
use crate::store::{Expiring, Key, Revision, StoreTrouble, Swapped};

/// The maximum number of operations in each queue. A further one waits until there is room, or until it times out.
const QUEUE: usize = 1024;

/// The maximum number of changes that are written together.
const TOGETHER: usize = 64;

/// How long an operation waits for its answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// A change of one entry, with the arguments of [`GatewayStore::swap`](crate::store::GatewayStore::swap).
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) expected: Option<Revision>,
    pub(super) next: Option<Expiring>,
    pub(super) now: WallTime,
}

/// Work of the thread that reads. It gets `None` if the file is not open.
type Read = Box<dyn FnOnce(Option<&Entries>) + Send>;

/// Work of the thread that writes.
enum Order {
    Change(Box<Write>, oneshot::Sender<Result<Swapped, StoreTrouble>>),
    /// Opens the file anew, if it is not open.
    Open,
}

/// Starts the two threads, and sends work to them. After it is dropped, both threads do the work that waits, and then end.
pub(super) struct Owner {
    state: Mutex<Option<Queues>>,
    /// One receiver for each thread. It is closed when the thread ends.
    threads: tokio::sync::Mutex<Vec<oneshot::Receiver<()>>>,
}

/// The queues of the two threads.
#[derive(Clone)]
struct Queues {
    reads: mpsc::Sender<Read>,
    orders: mpsc::Sender<Order>,
}

/// The open file, which both threads use, or `None` after an error. A thread holds the lock only to take a handle.
type Opened = Arc<Mutex<Option<Arc<Entries>>>>;

impl Owner {
    /// Opens the file and starts the threads. `open` also opens it after an error.
    pub(super) fn start(open: impl Fn() -> Result<Entries, Trouble> + Send + 'static) -> Result<Self, Trouble> {
        let opened: Opened = Arc::new(Mutex::new(Some(Arc::new(open()?))));
        let (reads, read) = mpsc::channel(QUEUE);
        let (orders, ordered) = mpsc::channel(QUEUE);
        let (shared, ends) = (Arc::clone(&opened), [oneshot::channel(), oneshot::channel()]);
        let [(reader, reads_end), (writer, writes_end)] = ends;
        named("tokenkeeper-gateway-read", move || {
            let _ends = reader;
            answer(read, &shared);
        })?;
        named("tokenkeeper-gateway-write", move || {
            let _ends = writer;
            carry_out(ordered, &opened, open);
        })?;
        let threads = tokio::sync::Mutex::new(vec![reads_end, writes_end]);
        Ok(Self { state: Mutex::new(Some(Queues { reads, orders })), threads })
    }

    /// Sends `work` to the thread that reads, and waits for its result.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Entries) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreTrouble> {
        let queues = self.queues()?;
        let (sender, answer) = oneshot::channel();
        let work = move |entries: Option<&Entries>| {
            let result = entries.ok_or(Trouble::Io(std::io::ErrorKind::NotConnected)).and_then(work);
            let _ = sender.send(result);
        };
        let asked = async {
            queues.reads.send(Box::new(work)).await.map_err(|_| StoreTrouble)?;
            answer.await.map_err(|_| StoreTrouble)
        };
        within(asked).await?.map_err(|trouble| {
            tracing::warn!(?trouble, "the gateway's store was not read");
            // If the queue is full, the orders in it open the file as well.
            let _ = queues.orders.try_send(Order::Open);
            StoreTrouble
        })
    }

    /// Sends a change to the thread that writes, and waits for its result.
    pub(super) async fn write(&self, write: Write) -> Result<Swapped, StoreTrouble> {
        let queues = self.queues()?;
        let (sender, answer) = oneshot::channel();
        within(async {
            queues.orders.send(Order::Change(Box::new(write), sender)).await.map_err(|_| StoreTrouble)?;
            answer.await.map_err(|_| StoreTrouble)
        })
        .await?
    }

    /// Ends both threads, and waits for that.
    pub(super) async fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        for thread in self.threads.lock().await.iter_mut() {
            // The sender is dropped without a message when the thread ends.
            let _ = thread.await;
        }
    }

    fn queues(&self) -> Result<Queues, StoreTrouble> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreTrouble)
    }
}

/// Waits for the answer for at most [`TIMEOUT`]. After it, work that is in a queue is done all the same.
#[expect(clippy::disallowed_methods, reason = "a disk may hang, and a change of this store may be made all the same")]
async fn within<T>(work: impl Future<Output = Result<T, StoreTrouble>>) -> Result<T, StoreTrouble> {
    tokio::time::timeout(TIMEOUT, work).await.unwrap_or(Err(StoreTrouble))
}

/// Starts a thread with this name.
#[expect(clippy::disallowed_methods, reason = "threads of the store's own, which end with it")]
fn named(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Trouble> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)?)
}

/// Answers reads, on the thread that reads.
fn answer(mut reads: mpsc::Receiver<Read>, opened: &Opened) {
    while let Some(read) = reads.blocking_recv() {
        let entries = present(opened);
        // If the work panics, its sender is dropped, and the caller gets an error.
        let _ = catch_unwind(AssertUnwindSafe(|| read(entries.as_deref())));
    }
}

/// Carries changes out, on the thread that writes. Those that wait at the same time are written together.
fn carry_out(mut orders: mpsc::Receiver<Order>, opened: &Opened, open: impl Fn() -> Result<Entries, Trouble>) {
    let mut waiting = Vec::with_capacity(TOGETHER);
    while orders.blocking_recv_many(&mut waiting, TOGETHER) > 0 {
        let (mut writes, mut answers) = (Vec::new(), Vec::new());
        for order in waiting.drain(..) {
            if let Order::Change(write, answer) = order {
                writes.push(*write);
                answers.push(answer);
            }
        }
        let results = reopened(opened, &open).and_then(|entries| {
            let change = AssertUnwindSafe(|| entries.change(&writes));
            catch_unwind(change).unwrap_or(Err(Trouble::Damaged))
        });
        match results {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    let _ = answer.send(Ok(result));
                }
            }
            Err(trouble) => {
                tracing::warn!(?trouble, "the gateway's store was not written");
                // After an error of the disk, the database writes nothing until it is opened anew.
                opened.lock().unwrap_or_else(PoisonError::into_inner).take();
                for answer in answers {
                    let _ = answer.send(Err(StoreTrouble));
                }
            }
        }
    }
    opened.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// The open file, or `None` after an error.
fn present(opened: &Opened) -> Option<Arc<Entries>> {
    opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The open file. If it is not open, it is opened. Only the thread that writes calls this, and no lock is held meanwhile.
fn reopened(opened: &Opened, open: impl Fn() -> Result<Entries, Trouble>) -> Result<Arc<Entries>, Trouble> {
    if let Some(entries) = present(opened) {
        return Ok(entries);
    }
    let entries = Arc::new(open()?);
    *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&entries));
    Ok(entries)
}
