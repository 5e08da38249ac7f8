//! A connection whose reads are counted.
//!
//! hyper reads as long as bytes are ready, and skips any number of informational answers (1xx). A server that floods a client
//! with them would occupy a thread of the host's tokio runtime. [`Bounded`] therefore lets other tasks run after each [`TURN`]
//! bytes, and fails when the peer has sent more than the [`Allowance`].

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use zeroize::Zeroizing;

/// The number of bytes after which the task yields to others. A wake from another source may cut one pause short, so others
/// run after at most twice as many bytes.
const TURN: usize = 64 * 1024;

/// The maximum number of bytes of one read.
const PIECE: usize = 16 * 1024;

/// The number of bytes that the peer may still send.
#[derive(Debug)]
pub(super) struct Allowance {
    bytes: AtomicUsize,
    exceeded: AtomicBool,
}

impl Allowance {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(bytes), exceeded: AtomicBool::new(false) })
    }

    /// Allows `bytes` from now on. The rest of the earlier allowance is forfeited.
    pub(super) fn reset(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether a read failed because the allowance was used up.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }
}

/// A connection that reads no more bytes than its [`Allowance`].
pub(super) struct Bounded<T> {
    connection: T,
    allowance: Arc<Allowance>,
    /// The buffer of one read, which is wiped because tokens pass through it.
    piece: Zeroizing<Vec<u8>>,
    /// The number of bytes read since other tasks could run.
    run: usize,
}

impl<T> Bounded<T> {
    pub(super) fn new(connection: T, allowance: &Arc<Allowance>) -> Self {
        Self { connection, allowance: Arc::clone(allowance), piece: Zeroizing::new(vec![0; PIECE]), run: 0 }
    }
}

/// The error when the peer has sent more than the allowance.
#[derive(Debug, thiserror::Error)]
#[error("the peer sent too much")]
struct TooMuch;

impl<T: Read + Unpin> Read for Bounded<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.run >= TURN {
            this.run = 0;
            // After `yield_now`, the tokio runtime polls its sockets and timers before it continues here. A plain wake would
            // only let tasks run that are ready already.
            return pin!(tokio::task::yield_now()).poll(cx).map(Ok);
        }
        let left = this.allowance.bytes.load(Ordering::Relaxed);
        if left == 0 {
            this.allowance.exceeded.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::other(TooMuch)));
        }
        let room = PIECE.min(left).min(buffer.remaining());
        let mut piece = ReadBuf::new(&mut this.piece[..room]);
        let Poll::Ready(outcome) = Pin::new(&mut this.connection).poll_read(cx, piece.unfilled()) else {
            this.run = 0;
            return Poll::Pending;
        };
        outcome?;
        let length = piece.filled().len();
        buffer.put_slice(piece.filled());
        this.allowance.bytes.store(left - length, Ordering::Relaxed);
        this.run += length;
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Bounded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, pieces)
    }
}

#[cfg(test)]
mod tests;
