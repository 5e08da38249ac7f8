//! The events of a stream, for its reader and for one that resumes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::answer::Broken;
use super::settings::Cut;

/// The events of one stream. It has one reader at a time.
pub(super) struct EventLog {
    /// The number of the stream in its session, which is part of its events' identifiers.
    number: u64,
    state: watch::Sender<Written>,
}

#[derive(Default)]
struct Written {
    /// The data of the events. An empty one only carries its identifier.
    events: Vec<Arc<str>>,
    has_ended: bool,
    /// The number of the present reader. Any other stops.
    reader: u64,
    /// How the reader before the present one stops.
    stop: Stop,
}

/// How a reader's answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    /// Properly.
    #[default]
    End,
    /// With the connection.
    Break,
}

/// The present reader of a log.
pub(super) struct EventReader {
    state: watch::Receiver<Written>,
    number: u64,
    /// The position of the next event.
    next: usize,
    reader: u64,
}

/// The form of a stream's events.
#[derive(Clone, Copy)]
pub(super) struct EventForm {
    pub(super) has_ids: bool,
    pub(super) retry: Option<Duration>,
}

impl EventLog {
    /// An empty log. With `has_ids` it begins with an empty event, so that it can be resumed from its begin.
    pub(super) fn new(number: u64, has_ids: bool) -> Arc<Self> {
        let log = Self { number, state: watch::Sender::default() };
        if has_ids {
            log.push_empty();
        }
        Arc::new(log)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn push(&self, message: &Value) {
        self.add(message.to_string().into());
    }

    /// Adds an event without data, which tells an identifier to resume from.
    pub(super) fn push_empty(&self) {
        self.add("".into());
    }

    /// Ends the stream, for present and later readers.
    pub(super) fn end(&self) {
        self.state.send_modify(|written| written.has_ended = true);
    }

    /// Stops the present reader. The log stays, and may be read again.
    pub(super) fn stop_reader(&self, stop: Stop) {
        self.state.send_modify(|written| {
            written.reader += 1;
            written.stop = stop;
        });
    }

    /// Reads from this position on. The reader before stops.
    pub(super) fn read_from(&self, next: usize) -> EventReader {
        self.stop_reader(Stop::End);
        let state = self.state.subscribe();
        let reader = state.borrow().reader;
        EventReader { state, number: self.number, next, reader }
    }

    /// The position after the last event.
    pub(super) fn len(&self) -> usize {
        self.state.borrow().events.len()
    }

    /// The last event.
    pub(super) fn last(&self) -> Option<Arc<str>> {
        self.state.borrow().events.last().cloned()
    }

    fn add(&self, event: Arc<str>) {
        self.state.send_modify(|written| written.events.push(event));
    }
}

impl EventReader {
    /// The next event with its position, or how the stream ends.
    async fn next(&mut self) -> Result<(usize, Arc<str>), Stop> {
        let (next, reader) = (self.next, self.reader);
        let has_news = |written: &Written| written.reader != reader || written.events.len() > next || written.has_ended;
        // The log lives as long as its session or its request. Without it the stream has ended.
        let Ok(written) = self.state.wait_for(has_news).await else { return Err(Stop::End) };
        if written.reader != reader {
            return Err(written.stop);
        }
        let event = written.events.get(next).cloned().ok_or(Stop::End)?;
        drop(written);
        self.next += 1;
        Ok((next, event))
    }
}

/// Sends the events of a stream until it ends. Returns whether all were sent.
pub(super) async fn send(
    mut reader: EventReader,
    form: EventForm,
    cut: Option<Cut>,
    out: mpsc::Sender<Result<Bytes, Broken>>,
) -> bool {
    let mut text = form.retry.map(|retry| format!("retry: {}\n", retry.as_millis())).unwrap_or_default();
    if !text.is_empty() && !form.has_ids {
        text.push('\n');
    }
    loop {
        let (position, data) = match reader.next().await {
            Ok(event) => event,
            Err(Stop::End) => return true,
            Err(Stop::Break) => {
                let _ = out.send(Err(Broken)).await;
                return false;
            }
        };
        if data.is_empty() && cut == Some(Cut::WithoutId) {
            continue;
        }
        if form.has_ids && cut != Some(Cut::WithoutId) {
            text.push_str(&format!("id: {}-{position}\n", reader.number));
        }
        text.push_str(&format!("data: {data}\n\n"));
        let is_cut = cut.is_some() && !data.is_empty();
        if is_cut {
            text.truncate(text.len() - data.len() / 2 - 2);
        }
        // The client has left if this fails.
        if out.send(Ok(std::mem::take(&mut text).into())).await.is_err() {
            return false;
        }
        if is_cut {
            let _ = out.send(Err(Broken)).await;
            return false;
        }
        if cut == Some(Cut::EndsAfterId) {
            return false;
        }
    }
}
