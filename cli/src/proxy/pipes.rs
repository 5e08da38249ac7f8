//! Standard input and output on the thread of the tokio runtime, if that cannot block it.
//!
//! The descriptors stay in blocking mode, because other processes may share them. A pipe is opened anew for reading, and the
//! kernel is asked before each write whether it would block.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::net::{SendFlags, send};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// The maximum number of bytes of one read.
const PART: usize = 64 * 1024;

/// The maximum length of a line that a write to a pipe takes completely or not at all (`PIPE_BUF` of pipe(7)).
const ATOMIC: usize = 4096;

/// A pipe that is read without a thread.
#[derive(Debug)]
pub(super) struct PipeInput(Receiver);

impl PipeInput {
    /// Standard input. `None` if it is no pipe that this process may open.
    pub(super) fn of_process() -> Option<Self> {
        Self::open("/proc/self/fd/0".as_ref())
    }

    fn open(path: &Path) -> Option<Self> {
        OpenOptions::new().open_receiver(path).ok().map(Self)
    }

    /// Waits for bytes, and reads those that have arrived. Returns an empty vector at the end.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. No byte is lost.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(PART);
        self.0.read_buf(&mut bytes).await?;
        Ok(bytes)
    }
}

/// A pipe or socket that takes short lines without a thread.
#[derive(Debug)]
pub(super) enum ReadyOutput {
    Pipe(OwnedFd),
    Socket(OwnedFd),
}

impl ReadyOutput {
    /// Returns `None` for other kinds of files.
    pub(super) fn new(output: OwnedFd) -> Option<Self> {
        match FileType::from_raw_mode(fstat(&output).ok()?.st_mode) {
            FileType::Fifo => Some(Self::Pipe(output)),
            FileType::Socket => Some(Self::Socket(output)),
            _ => None,
        }
    }

    /// Writes the part of a short line that does not block, and returns its length.
    ///
    /// # Errors
    ///
    /// If the other side has closed it.
    pub(super) fn write(&self, line: &[u8]) -> io::Result<usize> {
        let written = match self {
            _ if line.len() > ATOMIC => Ok(0),
            Self::Pipe(pipe) if is_ready(pipe) => rustix::io::write(pipe, line),
            Self::Pipe(_) => Ok(0),
            Self::Socket(socket) => send(socket, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
        };
        match written {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            written => Ok(written?),
        }
    }
}

/// Whether a write would not block. A write that fails does not block either.
fn is_ready(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_sockets_are_written_until_they_are_full() {
        let (reader, writer) = std::io::pipe().unwrap();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        for (output, reader) in [(writer.into(), OwnedFd::from(reader)), (one.into(), other.into())] {
            let output = ReadyOutput::new(output).unwrap();
            let line = [b'x'; ATOMIC];
            assert_eq!(output.write(&[b'x'; ATOMIC + 1]).unwrap(), 0);
            let written: usize = std::iter::from_fn(|| Some(output.write(&line).unwrap()).filter(|n| *n > 0)).sum();
            assert!(written >= ATOMIC, "{written}");
            drop(reader);
            assert!(output.write(&line).is_err());
        }
        assert!(ReadyOutput::new(tempfile::tempfile().unwrap().into()).is_none());
    }

    #[tokio::test]
    async fn a_pipe_is_read_to_its_end() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut input = PipeInput::open(format!("/proc/self/fd/{}", reader.as_raw_fd()).as_ref()).unwrap();
        writer.write_all(b"ab").unwrap();
        assert_eq!(input.read().await.unwrap(), b"ab");
        {
            let mut waiting = std::pin::pin!(input.read());
            let is_pending = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
            assert!(is_pending.await);
        }
        drop(writer);
        assert_eq!(input.read().await.unwrap(), b"");
        assert!(PipeInput::open("/proc/self/exe".as_ref()).is_none());
    }
}
