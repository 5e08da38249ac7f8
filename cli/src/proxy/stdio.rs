//! Standard input and output, as lines.
//!
//! A thread reads and a thread writes, because both may block for ever, and the end of the process must not wait for them.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::wire::MAX_MESSAGE;
use crate::wire::envelope::line;

/// How many lines are read ahead.
const AHEAD: usize = 64;

/// How many bytes may wait to be written. A client that does not read stops the server by this.
const MAX_WAITING: usize = 4 << 20;

/// A line of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    Message(Bytes),
    /// It was longer than [`MAX_MESSAGE`], and left out.
    TooLong,
}

/// Reads the lines of standard input until it ends. Blank lines are left out.
pub(super) fn input() -> io::Result<Receiver<InputLine>> {
    let (sender, receiver) = channel(AHEAD);
    thread("stdin", move || {
        let mut input = io::stdin().lock();
        while let Ok(Some(line)) = next(&mut input) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// The next line that is not blank. `None` at the end.
fn next(input: &mut impl BufRead) -> io::Result<Option<InputLine>> {
    let (mut line, mut is_too_long) = (Vec::new(), false);
    loop {
        let part = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            part => part?,
        };
        let end = part.iter().position(|byte| *byte == b'\n');
        let taken = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
        is_too_long |= line.len() + taken.len() > MAX_MESSAGE;
        if is_too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(taken);
        }
        let (is_over, length) = (part.is_empty(), end.map_or(part.len(), |end| end + 1));
        input.consume(length);
        if end.is_none() && !is_over {
            continue;
        }
        if is_too_long {
            return Ok(Some(InputLine::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(InputLine::Message(line.into())));
        }
        if is_over {
            return Ok(None);
        }
    }
}

/// The lines to be written to standard output. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct StdoutWriter {
    items: UnboundedSender<OutputItem>,
    room: Arc<Semaphore>,
    broken: watch::Receiver<bool>,
}

#[derive(Debug)]
enum OutputItem {
    /// A line, with its share of the room.
    Line(Vec<u8>, OwnedSemaphorePermit),
    /// Is answered when everything before it was written.
    Flush(oneshot::Sender<()>),
}

impl StdoutWriter {
    /// Writes to the process's standard output.
    pub(super) fn of_process() -> io::Result<Self> {
        Self::new(stdout()?)
    }

    fn new(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, receiver) = unbounded_channel();
        let (is_broken, broken) = watch::channel(false);
        thread("stdout", move || {
            if write(receiver, &mut output).is_err() {
                is_broken.send_replace(true);
            }
        })?;
        Ok(Self { items, room: Arc::new(Semaphore::new(MAX_WAITING)), broken })
    }

    /// Writes a message as a line, once there is room for it. After the output has broken, it is dropped.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. The line was then not written, and no part of it.
    pub(super) async fn send(&self, message: &[u8]) {
        let share = u32::try_from(message.len().min(MAX_WAITING)).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(share).await {
            let _ = self.items.send(OutputItem::Line(line(message), permit));
        }
    }

    /// Waits until everything so far was written, or the output has broken.
    pub(super) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.items.send(OutputItem::Flush(done)).is_ok() {
            let _ = is_done.await;
        }
    }

    /// Waits until the output has broken, because the client has closed it.
    pub(super) async fn broken(&self) {
        let mut broken = self.broken.clone();
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

/// Standard output without the buffer of [`io::stdout`], whose lock another thread holds.
#[cfg(unix)]
fn stdout() -> io::Result<impl Write + Send + 'static> {
    use std::os::fd::AsFd;
    Ok(std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Standard output without the buffer of [`io::stdout`], whose lock another thread holds.
#[cfg(windows)]
fn stdout() -> io::Result<impl Write + Send + 'static> {
    use std::os::windows::io::AsHandle;
    Ok(std::fs::File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread, because the runtime would wait for a read or write at its end"
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
        let bytes = [&b"{\"a\":1}\r\n\n \t\n"[..], &long, b"\n{}"].concat();
        let mut input = io::BufReader::with_capacity(7, &*bytes);
        let mut lines = Vec::new();
        while let Some(line) = next(&mut input).unwrap() {
            lines.push(line);
        }
        let message = |text: &'static [u8]| InputLine::Message(Bytes::from_static(text));
        assert_eq!(lines, [message(b"{\"a\":1}\r"), InputLine::TooLong, message(b"{}")]);
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
