//! The relay between a client on standard input and output and a server.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, Id, JoinSet};

use super::desk::Desk;
use super::exchange::Progress;
use super::exit::{self, End, Ends};
use super::lane::{Lane, Order};
use super::notes::Notes;
use super::refusal::{Commands, Refusal, unreadable};
use super::session::Session;
use super::stdio::{Line, Output};
use crate::wire::envelope::{self, Kind, is_same_id};
use crate::wire::http::Wire;
use crate::wire::message::Message;
use crate::wire::tools::{Filter, Tools};

/// How many requests are on their way side by side.
const MAX_SIDE_BY_SIDE: usize = 64;

/// How many requests wait for their turn.
const MAX_WAITING: usize = 4096;

/// How many messages are in hand, until no more are read.
const MAX_IN_HAND: usize = 10_000;

/// How long the messages behind a notification or an answer wait for its end.
const IN_ORDER: Duration = Duration::from_secs(5);

/// Everything that the tasks of a proxy share.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) wire: Wire,
    pub(super) output: Output,
    pub(super) notes: Notes,
    pub(super) session: Session,
    pub(super) tools: Mutex<Tools>,
    pub(super) filter: Filter,
    pub(super) desk: Desk,
    pub(super) commands: Commands,
    /// The revision of the client's first request on the wire of 2026-07-28.
    pub(super) modern: OnceLock<String>,
    /// Whether the server has answered any request with success.
    pub(super) has_served: AtomicBool,
    /// Whether a request failed because a login is required.
    pub(super) lacked_login: AtomicBool,
}

impl Relay {
    pub(super) fn new(
        wire: Wire,
        output: Output,
        notes: Notes,
        filter: Filter,
        desk: Desk,
        commands: Commands,
    ) -> Self {
        Self {
            wire,
            output,
            notes,
            session: Session::new(),
            tools: Mutex::default(),
            filter,
            desk,
            commands,
            modern: OnceLock::new(),
            has_served: AtomicBool::default(),
            lacked_login: AtomicBool::default(),
        }
    }

    /// Whether no request ever succeeded, and one failed because a login is required.
    pub(super) fn never_signed_in(&self) -> bool {
        self.lacked_login.load(Ordering::Relaxed) && !self.has_served.load(Ordering::Relaxed)
    }
}

/// Relays messages until the client or the system ends it. A `ping` is sent after each `ping` span.
pub(super) async fn run(relay: &Arc<Relay>, mut input: Receiver<Line>, ping: Option<Duration>) -> io::Result<()> {
    let mut background = JoinSet::new();
    let shared = Arc::clone(relay);
    start(&mut background, async move { shared.stand().await });
    let shared = Arc::clone(relay);
    start(&mut background, async move { shared.desk.work(shared.wire.session(), &shared.notes).await });
    if let Some(span) = ping {
        let shared = Arc::clone(relay);
        start(&mut background, async move { shared.ping(span).await });
    }
    let mut ends = Ends::new(relay.output.clone())?;
    let mut hall = Hall::new(Arc::clone(relay));
    let end = loop {
        hall.go();
        tokio::select! {
            line = input.recv(), if hall.tasks.len() < MAX_IN_HAND => match line {
                Some(Line::Message(bytes)) => hall.take(&bytes),
                Some(Line::TooLong) => hall.reply(unreadable("the message is longer than 32 MiB")),
                None => break End::Asked,
            },
            () = hall.next() => {}
            end = ends.next() => break end,
        }
    };
    hall.end(end, &mut ends).await;
    background.shutdown().await;
    #[expect(clippy::disallowed_methods, reason = "it bounds the end of the process")]
    let _ = tokio::time::timeout(exit::DELETE, relay.end_session()).await;
    Ok(())
}

/// The messages of the client that wait or are on their way.
struct Hall {
    relay: Arc<Relay>,
    lane: Lane<Message>,
    tasks: JoinSet<()>,
    flights: BTreeMap<Id, Flight>,
    release: UnboundedSender<Id>,
    released: UnboundedReceiver<Id>,
}

/// A message on its way.
struct Flight {
    message: Message,
    order: Order,
    progress: Arc<Progress>,
    abort: AbortHandle,
}

impl Hall {
    fn new(relay: Arc<Relay>) -> Self {
        let (release, released) = unbounded_channel();
        let lane = Lane::new(MAX_SIDE_BY_SIDE);
        Self { relay, lane, tasks: JoinSet::new(), flights: BTreeMap::new(), release, released }
    }

    /// Takes a line, which is a message or a batch.
    fn take(&mut self, line: &Bytes) {
        let Some(parts) = envelope::messages(line) else {
            return self.reply(unreadable("the line is not a message of JSON-RPC"));
        };
        for part in parts {
            if let Some(message) = Message::read(line.slice_ref(part)) {
                self.admit(message);
            }
        }
    }

    /// Puts a message behind the others, unless it needs no way.
    fn admit(&mut self, message: Message) {
        if let Some(revision) = &message.revision {
            self.relay.modern.get_or_init(|| revision.clone());
        }
        let order = match (message.kind, &*message.method) {
            (Kind::Request, "subscriptions/listen") => Order::Unbounded,
            (Kind::Request, "initialize") | (Kind::Notification | Kind::Response, _) => Order::Serial,
            (Kind::Request, _) => Order::Parallel,
        };
        let id = message.id.as_deref().unwrap_or("null");
        match &message.cancels {
            Some(cancelled) if self.cancel(cancelled) => {}
            _ if message.tool().is_some_and(|tool| !self.relay.filter.admits(tool)) => {
                self.reply(Refusal::Excluded.answer(id, &self.relay.commands));
            }
            _ if order != Order::Serial && self.lane.waiting() >= MAX_WAITING => {
                self.reply(Refusal::TooMany.answer(id, &self.relay.commands));
            }
            _ => self.lane.push(order, message),
        }
    }

    /// Cancels a request of the client. Returns whether the server need not be asked to, because the request has not left, or
    /// because the end of its connection is the cancellation (2026-07-28).
    fn cancel(&mut self, id: &str) -> bool {
        let is_meant = |message: &Message| message.id.as_deref().is_some_and(|known| is_same_id(known, id));
        if self.lane.remove(is_meant).is_some() {
            return true;
        }
        let relay = &self.relay;
        let Some(flight) = self.flights.values().find(|flight| is_meant(&flight.message)) else {
            // It was answered meanwhile.
            return relay.modern.get().is_some() && !relay.session.has_begun();
        };
        flight.progress.is_cancelled.store(true, Ordering::Relaxed);
        let is_over = flight.message.revision.is_some() || !flight.progress.has_left.load(Ordering::Relaxed);
        if is_over {
            flight.abort.abort();
        }
        is_over
    }

    /// Lets the messages go that may go now.
    fn go(&mut self) {
        while let Some((order, message)) = self.lane.start() {
            let (relay, progress) = (Arc::clone(&self.relay), Arc::new(Progress::default()));
            let (sent, shared, release) = (message.clone(), Arc::clone(&progress), self.release.clone());
            let abort = start(&mut self.tasks, async move {
                match sent.kind {
                    Kind::Request => relay.request(&sent, &shared).await,
                    _ => released_after(IN_ORDER, &release, relay.notify(&sent, &shared)).await,
                }
            });
            self.flights.insert(abort.id(), Flight { message, order, progress, abort });
        }
    }

    /// Waits for the end of a task, or until a message is not waited for any more.
    async fn next(&mut self) {
        tokio::select! {
            biased;
            Some(id) = self.released.recv() => {
                if let Some(flight) = self.flights.get(&id)
                    && !flight.progress.is_released.swap(true, Ordering::Relaxed)
                {
                    self.lane.done(flight.order);
                }
            }
            Some(done) = self.tasks.join_next_with_id() => {
                let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                if let Some(flight) = self.flights.remove(&id)
                    && !flight.progress.is_released.load(Ordering::Relaxed)
                {
                    self.lane.done(flight.order);
                }
            }
            else => std::future::pending().await,
        }
    }

    /// Writes a line without waiting for the room.
    fn reply(&mut self, line: Vec<u8>) {
        let output = self.relay.output.clone();
        start(&mut self.tasks, async move { output.send(&line).await });
    }

    /// Whether nothing is in hand that ends by itself.
    fn is_idle(&self) -> bool {
        let endless = self.flights.values().filter(|flight| flight.order == Order::Unbounded).count();
        self.lane.is_idle() && self.tasks.len() == endless
    }

    /// Waits for the answers that are on their way, and answers the requests that have none by then.
    async fn end(mut self, end: End, ends: &mut Ends) {
        if end == End::Asked {
            let answers = async {
                while !self.is_idle() {
                    self.next().await;
                    self.go();
                }
            };
            tokio::select! {
                () = within(exit::ANSWERS, answers) => {}
                // Another signal, or the end of the output.
                _ = ends.next() => {}
            }
        }
        self.tasks.abort_all();
        while let Some(done) = self.tasks.join_next_with_id().await {
            if let Ok((id, ())) = done {
                self.flights.remove(&id);
            }
        }
        let is_unanswered = |flight: &Flight| {
            let is_expected = !flight.progress.is_cancelled.load(Ordering::Relaxed) && flight.order != Order::Unbounded;
            is_expected && !flight.progress.is_answered.load(Ordering::Relaxed)
        };
        let flights = self.flights.into_values().filter(is_unanswered).map(|flight| flight.message);
        let unanswered: Vec<_> =
            self.lane.clear().chain(flights).filter(|message| message.kind == Kind::Request).collect();
        let last = async {
            for message in unanswered {
                let id = message.id.as_deref().unwrap_or("null");
                self.relay.output.send(&Refusal::Ending.answer(id, &self.relay.commands)).await;
            }
            self.relay.output.flush().await;
        };
        within(exit::LAST_LINES, last).await;
    }
}

/// Waits for `work`, and reports after `span` that the messages behind it may go.
async fn released_after(span: Duration, release: &UnboundedSender<Id>, work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    #[expect(clippy::disallowed_methods, reason = "the message goes on when the span is over")]
    if tokio::time::timeout(span, &mut work).await.is_err() {
        let _ = release.send(tokio::task::id());
        work.await;
    }
}

/// Waits for `work` for at most `span`.
#[expect(clippy::disallowed_methods, reason = "it bounds the end of the process")]
async fn within(span: Duration, work: impl Future<Output = ()>) {
    let _ = tokio::time::timeout(span, work).await;
}

#[expect(clippy::disallowed_methods, reason = "tasks of the relay, which end with it")]
fn start(tasks: &mut JoinSet<()>, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tasks.spawn(work)
}
