//! The relay between a client on standard input and output and a server.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, Id, JoinSet};

use super::exchange::SendState;
use super::exit::{self, EndKind, EndSignals};
use super::lane::{SendLane, SendOrder};
use super::logins::BackgroundLogins;
use super::notes::NoteWriter;
use super::session::ClientMcpSession;
use super::stdio::{InputLine, StdinReader, StdoutWriter};
use crate::remedy::Remedy;
use crate::wire::envelope::{self, MessageKind, is_same_id};
use crate::wire::http::McpWire;
use crate::wire::message::McpMessage;
use crate::wire::tools::{KnownTools, ToolFilter};
use crate::wire::unanswered::{Unanswered, unreadable};

/// The maximum number of requests that are sent side by side.
const MAX_SIDE_BY_SIDE: usize = 64;

/// The maximum number of requests that wait for their turn.
const MAX_WAITING: usize = 4096;

/// The number of unfinished messages above which no more lines are read.
const MAX_IN_HAND: usize = 10_000;

/// The maximum time that the messages after a notification or an answer wait for its end.
const IN_ORDER: Duration = Duration::from_secs(5);

/// Everything that the tasks of a proxy share.
#[derive(Debug)]
pub(super) struct MessageRelay {
    pub(super) wire: McpWire,
    pub(super) output: StdoutWriter,
    pub(super) notes: NoteWriter,
    pub(super) session: ClientMcpSession,
    pub(super) tools: Mutex<KnownTools>,
    pub(super) filter: ToolFilter,
    pub(super) logins: BackgroundLogins,
    /// The advice for errors that a person has to resolve.
    pub(super) remedy: Remedy,
    /// The revision of the client's first request on the wire of 2026-07-28.
    pub(super) modern: OnceLock<String>,
    /// Whether the server has answered any request with success.
    pub(super) has_served: AtomicBool,
    /// Whether a request failed because a login is required.
    pub(super) lacked_login: AtomicBool,
}

impl MessageRelay {
    pub(super) fn new(
        wire: McpWire,
        output: StdoutWriter,
        notes: NoteWriter,
        filter: ToolFilter,
        logins: BackgroundLogins,
        remedy: Remedy,
    ) -> Self {
        Self {
            wire,
            output,
            notes,
            session: ClientMcpSession::new(),
            tools: Mutex::default(),
            filter,
            logins,
            remedy,
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
pub(super) async fn run(relay: &Arc<MessageRelay>, mut input: StdinReader, ping: Option<Duration>) -> io::Result<()> {
    let mut background = JoinSet::new();
    let shared = Arc::clone(relay);
    start(&mut background, async move { shared.stand().await });
    let shared = Arc::clone(relay);
    start(&mut background, async move {
        shared.logins.work(shared.wire.session(), &shared.notes, Some(&shared.output)).await
    });
    if let Some(span) = ping {
        let shared = Arc::clone(relay);
        start(&mut background, async move { shared.ping(span).await });
    }
    let mut ends = EndSignals::new(relay.output.clone())?;
    let mut dispatch = Dispatch::new(Arc::clone(relay));
    let end = loop {
        dispatch.go();
        tokio::select! {
            line = input.next(), if dispatch.tasks.len() < MAX_IN_HAND => match line {
                Some(InputLine::Message(bytes)) => dispatch.take(&bytes),
                Some(InputLine::TooLong) => dispatch.reply(unreadable("the message is longer than 32 MiB")),
                None => break EndKind::Asked,
            },
            () = dispatch.next() => {}
            end = ends.next() => break end,
        }
    };
    dispatch.end(end, &mut ends).await;
    background.shutdown().await;
    #[expect(clippy::disallowed_methods, reason = "it bounds the end of the process")]
    let _ = tokio::time::timeout(exit::DELETE, relay.end_session()).await;
    Ok(())
}

/// The messages of the client that wait or are being sent.
struct Dispatch {
    relay: Arc<MessageRelay>,
    lane: SendLane<McpMessage>,
    tasks: JoinSet<()>,
    sent: BTreeMap<Id, SentMessage>,
    release: UnboundedSender<Id>,
    released: UnboundedReceiver<Id>,
}

/// A message that is being sent.
struct SentMessage {
    message: McpMessage,
    order: SendOrder,
    progress: Arc<SendState>,
    abort: AbortHandle,
}

impl Dispatch {
    fn new(relay: Arc<MessageRelay>) -> Self {
        let (release, released) = unbounded_channel();
        let lane = SendLane::new(MAX_SIDE_BY_SIDE);
        Self { relay, lane, tasks: JoinSet::new(), sent: BTreeMap::new(), release, released }
    }

    /// Takes a line, which is a message or a batch.
    fn take(&mut self, line: &Bytes) {
        let Some(parts) = envelope::messages(line) else {
            return self.reply(unreadable("the line is not a message of JSON-RPC"));
        };
        for part in parts {
            if let Some(message) = McpMessage::read(line.slice_ref(part)) {
                self.admit(message);
            }
        }
    }

    /// Queues a message after the others, unless it is answered or dropped here.
    fn admit(&mut self, message: McpMessage) {
        if let Some(revision) = &message.revision {
            self.relay.modern.get_or_init(|| revision.clone());
        }
        let order = match (message.kind, &*message.method) {
            (MessageKind::Request, "subscriptions/listen") => SendOrder::Unbounded,
            (MessageKind::Request, "initialize") | (MessageKind::Notification | MessageKind::Response, _) => {
                SendOrder::Serial
            }
            (MessageKind::Request, _) => SendOrder::Parallel,
        };
        let id = message.id.as_deref().unwrap_or("null");
        match &message.cancels {
            Some(cancelled) if self.cancel(cancelled) => {}
            _ if message.tool().is_some_and(|tool| !self.relay.filter.admits(tool)) => {
                self.reply(Unanswered::Excluded.answer(id, &self.relay.remedy));
            }
            _ if order != SendOrder::Serial && self.lane.waiting() >= MAX_WAITING => {
                self.reply(Unanswered::TooMany.answer(id, &self.relay.remedy));
            }
            _ => self.lane.push(order, message),
        }
    }

    /// Cancels a request of the client. Returns whether the server needs no notification, because the request was not sent, or
    /// because the end of its connection cancels it (2026-07-28).
    fn cancel(&mut self, id: &str) -> bool {
        let is_meant = |message: &McpMessage| message.id.as_deref().is_some_and(|known| is_same_id(known, id));
        if self.lane.remove(is_meant).is_some() {
            return true;
        }
        let relay = &self.relay;
        let Some(sent) = self.sent.values().find(|sent| is_meant(&sent.message)) else {
            // The request was answered meanwhile.
            return relay.modern.get().is_some() && !relay.session.has_begun();
        };
        sent.progress.is_cancelled.store(true, Ordering::Relaxed);
        let is_over = sent.message.revision.is_some() || !sent.progress.has_left.load(Ordering::Relaxed);
        if is_over {
            sent.abort.abort();
        }
        is_over
    }

    /// Sends the messages that may be sent now.
    fn go(&mut self) {
        while let Some((order, message)) = self.lane.start() {
            let (relay, progress) = (Arc::clone(&self.relay), Arc::new(SendState::default()));
            let (sent, shared, release) = (message.clone(), Arc::clone(&progress), self.release.clone());
            let abort = start(&mut self.tasks, async move {
                match sent.kind {
                    MessageKind::Request => relay.request(&sent, &shared).await,
                    _ => released_after(IN_ORDER, &release, relay.notify(&sent, &shared)).await,
                }
            });
            self.sent.insert(abort.id(), SentMessage { message, order, progress, abort });
        }
    }

    /// Waits until a task ends, or until later messages no longer wait for a message.
    async fn next(&mut self) {
        tokio::select! {
            biased;
            Some(id) = self.released.recv() => {
                if let Some(sent) = self.sent.get(&id)
                    && !sent.progress.is_released.swap(true, Ordering::Relaxed)
                {
                    self.lane.done(sent.order);
                }
            }
            Some(done) = self.tasks.join_next_with_id() => {
                let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                if let Some(sent) = self.sent.remove(&id)
                    && !sent.progress.is_released.load(Ordering::Relaxed)
                {
                    self.lane.done(sent.order);
                }
            }
            else => std::future::pending().await,
        }
    }

    /// Writes a line in a separate task, so that this one does not wait for room in the output.
    fn reply(&mut self, line: Vec<u8>) {
        let output = self.relay.output.clone();
        start(&mut self.tasks, async move { output.send(&line).await });
    }

    /// Whether no message is unfinished, apart from requests without an end.
    fn is_idle(&self) -> bool {
        let endless = self.sent.values().filter(|sent| sent.order == SendOrder::Unbounded).count();
        self.lane.is_idle() && self.tasks.len() == endless
    }

    /// Waits for outstanding answers for a while, and then answers the remaining requests with an error.
    async fn end(mut self, end: EndKind, ends: &mut EndSignals) {
        if end == EndKind::Asked {
            let answers = async {
                while !self.is_idle() {
                    self.next().await;
                    self.go();
                }
            };
            tokio::select! {
                () = within(exit::ANSWERS, answers) => {}
                // A further signal, or a broken output, ends the wait.
                _ = ends.next() => {}
            }
        }
        self.tasks.abort_all();
        while let Some(done) = self.tasks.join_next_with_id().await {
            if let Ok((id, ())) = done {
                self.sent.remove(&id);
            }
        }
        let is_unanswered = |sent: &SentMessage| {
            let is_expected = !sent.progress.is_cancelled.load(Ordering::Relaxed) && sent.order != SendOrder::Unbounded;
            is_expected && !sent.progress.is_answered.load(Ordering::Relaxed)
        };
        let sent = self.sent.into_values().filter(is_unanswered).map(|sent| sent.message);
        let unanswered: Vec<_> =
            self.lane.clear().chain(sent).filter(|message| message.kind == MessageKind::Request).collect();
        let last = async {
            for message in unanswered {
                let id = message.id.as_deref().unwrap_or("null");
                self.relay.output.send(&Unanswered::Ending.answer(id, &self.relay.remedy)).await;
            }
            self.relay.output.flush().await;
        };
        within(exit::LAST_LINES, last).await;
    }
}

/// Waits for `work`. After `span`, `release` reports that the messages after it may be sent.
async fn released_after(span: Duration, release: &UnboundedSender<Id>, work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    #[expect(clippy::disallowed_methods, reason = "the message itself continues after the time-out")]
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
