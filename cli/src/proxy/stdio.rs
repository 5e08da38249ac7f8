//! Standard input and output, as lines.
//!
//! A read or write that may block is made on a separate thread, because the end of the process must not wait for it.

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::wire::MAX_MESSAGE;
use crate::wire::envelope::line;

/// The maximum number of parts of the input that a thread reads ahead.
const AHEAD: usize = 16;

/// The maximum number of bytes that wait to be written. When a client does not read, this limit stops reading from the server.
const MAX_WAITING: usize = 4 << 20;

/// A line of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    Message(Bytes),
    /// The line was longer than [`MAX_MESSAGE`], and was skipped.
    TooLong,
}

/// The lines of standard input. Blank lines are left out.
#[derive(Debug)]
pub(super) struct StdinReader {
    source: Source,
    lines: LineSplitter,
    has_ended: bool,
}

/// The source of the bytes.
#[derive(Debug)]
enum Source {
    /// A pipe, which is read without a thread.
    #[cfg(target_os = "linux")]
    Pipe(super::pipes::PipeInput),
    /// A thread, because a read may block for ever.
    Thread(Receiver<Vec<u8>>),
}

impl StdinReader {
    pub(super) fn of_process() -> io::Result<Self> {
        Ok(Self { source: Source::of_process()?, lines: LineSplitter::default(), has_ended: false })
    }

    /// The next line. `None` at the end.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. No line is lost.
    pub(super) async fn next(&mut self) -> Option<InputLine> {
        loop {
            if let Some(line) = self.lines.ready.pop_front() {
                return Some(line);
            }
            if self.has_ended {
                return None;
            }
            let bytes = match &mut self.source {
                #[cfg(target_os = "linux")]
                Source::Pipe(input) => input.read().await.unwrap_or_default(),
                Source::Thread(parts) => parts.recv().await.unwrap_or_default(),
            };
            self.has_ended = bytes.is_empty();
            self.lines.feed(if self.has_ended { b"\n" } else { &bytes });
        }
    }
}

impl Source {
    fn of_process() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(input) = super::pipes::PipeInput::of_process() {
            return Ok(Self::Pipe(input));
        }
        let (sender, parts) = channel(AHEAD);
        thread("stdin", move || {
            let mut input = io::stdin().lock();
            loop {
                let part = match input.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    part => part.unwrap_or_default().to_vec(),
                };
                input.consume(part.len());
                if part.is_empty() || sender.blocking_send(part).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Thread(parts))
    }
}

/// Splits bytes into lines. The bytes may arrive in pieces of any length.
#[derive(Debug, Default)]
struct LineSplitter {
    /// The line that has begun.
    line: Vec<u8>,
    is_too_long: bool,
    ready: VecDeque<InputLine>,
}

impl LineSplitter {
    fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n");
            let taken = text.unwrap_or(part);
            self.is_too_long |= self.line.len() + taken.len() > MAX_MESSAGE;
            if self.is_too_long {
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(taken);
            }
            if text.is_none() {
                return;
            }
            let line = std::mem::take(&mut self.line);
            if std::mem::take(&mut self.is_too_long) {
                self.ready.push_back(InputLine::TooLong);
            } else if !line.trim_ascii().is_empty() {
                self.ready.push_back(InputLine::Message(line.into()));
            }
        }
    }
}

/// The lines to be written to standard output. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct StdoutWriter {
    items: UnboundedSender<OutputItem>,
    room: Arc<Semaphore>,
    broken: watch::Sender<bool>,
    /// The output, if it is a pipe or a socket. Short lines are written to it at once while nothing waits.
    #[cfg(target_os = "linux")]
    ready: Option<Arc<super::pipes::ReadyOutput>>,
}

#[derive(Debug)]
enum OutputItem {
    /// A line, with the permit for its bytes.
    Line(Vec<u8>, OwnedSemaphorePermit),
    /// Answered when all lines before it were written.
    Flush(oneshot::Sender<()>),
}

impl StdoutWriter {
    /// Writes to the process's standard output.
    pub(super) fn of_process() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsFd;
            let ready = super::pipes::ReadyOutput::new(io::stdout().as_fd().try_clone_to_owned()?);
            Ok(Self { ready: ready.map(Arc::new), ..Self::new(stdout()?)? })
        }
        #[cfg(not(target_os = "linux"))]
        Self::new(stdout()?)
    }

    fn new(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, receiver) = unbounded_channel();
        let broken = watch::Sender::new(false);
        let is_broken = broken.clone();
        thread("stdout", move || {
            if write(receiver, &mut output).is_err() {
                is_broken.send_replace(true);
            }
        })?;
        Ok(Self {
            items,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            broken,
            #[cfg(target_os = "linux")]
            ready: None,
        })
    }

    /// Writes a message as a line, once there is room for it. After the output has broken, it is dropped.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. No part of the line was then written.
    pub(super) async fn send(&self, message: &[u8]) {
        let share = u32::try_from(message.len().min(MAX_WAITING)).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(share).await else { return };
        let mut line = line(message);
        let written = self.write_at_once(&line, permit.num_permits());
        if written < line.len() {
            line.drain(..written);
            let _ = self.items.send(OutputItem::Line(line, permit));
        }
    }

    /// Writes a part of a line at once, if no other line waits. Returns the length of the part.
    #[cfg(target_os = "linux")]
    fn write_at_once(&self, line: &[u8], share: usize) -> usize {
        let is_only_one = self.room.available_permits() + share == MAX_WAITING;
        let ready = self.ready.as_ref().filter(|_| is_only_one && !*self.broken.borrow());
        ready.map_or(Ok(0), |ready| ready.write(line)).unwrap_or_else(|_| {
            self.broken.send_replace(true);
            line.len()
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn write_at_once(&self, _line: &[u8], _share: usize) -> usize {
        0
    }

    /// Waits until all lines so far were written, or the output has broken.
    pub(super) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.items.send(OutputItem::Flush(done)).is_ok() {
            let _ = is_done.await;
        }
    }

    /// Waits until the output has broken, because the client has closed it.
    pub(super) async fn broken(&self) {
        let mut broken = self.broken.subscribe();
        let _ = broken.wait_for(|is_broken| *is_broken).await;
    }
}

fn write(mut items: UnboundedReceiver<OutputItem>, output: &mut impl Write) -> io::Result<()> {
    while let Some(item) = items.blocking_recv() {
        match item {
            OutputItem::Line(line, _share) => output.write_all(&line)?,
            OutputItem::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
    Ok(())
}

/// Standard output without the buffer and the lock of [`io::stdout`].
#[cfg(unix)]
fn stdout() -> io::Result<impl Write + Send + 'static> {
    use std::os::fd::AsFd;
    Ok(std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Standard output without the buffer and the lock of [`io::stdout`].
#[cfg(windows)]
fn stdout() -> io::Result<impl Write + Send + 'static> {
    use std::os::windows::io::AsHandle;
    Ok(std::fs::File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread, because the tokio runtime would wait for a read or write when it ends"
)]
fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn lines_are_bounded_and_blank_ones_left_out() {
        let long = vec![b'x'; MAX_MESSAGE + 1];
        let bytes = [&b"{\"a\":1}\r\n\n \t\n"[..], &long, b"\n{}\n{"].concat();
        let mut lines = LineSplitter::default();
        for part in bytes.chunks(7) {
            lines.feed(part);
        }
        let message = |text: &'static [u8]| InputLine::Message(Bytes::from_static(text));
        assert_eq!(lines.ready, [message(b"{\"a\":1}\r"), InputLine::TooLong, message(b"{}")]);
        assert_eq!(lines.line, b"{");
    }

    /// Blocks at each write until the test takes it.
    struct Slow(mpsc::SyncSender<usize>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_stops_the_senders() {
        let (taken, writes) = mpsc::sync_channel(0);
        let output = StdoutWriter::new(Slow(taken)).unwrap();
        let message = vec![b'1'; MAX_WAITING / 2];
        output.send(&message).await;
        output.send(&message).await;
        {
            let mut third = std::pin::pin!(output.send(b"3"));
            let is_waiting = std::future::poll_fn(|cx| std::task::Poll::Ready(third.as_mut().poll(cx).is_pending()));
            assert!(is_waiting.await);
            assert_eq!(writes.recv().unwrap(), message.len() + 1);
            third.await;
        }
        assert_eq!(writes.recv().unwrap(), message.len() + 1);
        assert_eq!(writes.recv().unwrap(), 2);
        output.flush().await;
        drop(writes);
        output.send(b"lost").await;
        output.broken().await;
        output.flush().await;
        output.send(&message).await;
    }
}
