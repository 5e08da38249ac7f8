//! A connection's socket beneath `h2`, into which frames can be slipped that `h2` does not send.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Clones are the same line. It takes whatever is written at once, and sends it when it is flushed: so whenever `h2` is
/// not at work, what was written ends with a whole frame, and the next may be somebody else's. Memory is bounded by the
/// client's window.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Ends>>);

struct Ends {
    /// `None` once it was taken back.
    stream: Option<TcpStream>,
    /// Read before there was a line.
    read: BytesMut,
    written: BytesMut,
}

impl Line {
    pub(super) fn new(stream: TcpStream, read: BytesMut) -> Self {
        Self(Arc::new(Mutex::new(Ends { stream: Some(stream), read, written: BytesMut::new() })))
    }

    /// Slips in a frame. Not while `h2` is at work.
    pub(super) fn say(&self, frame: &[u8]) {
        self.ends().written.extend_from_slice(frame);
    }

    /// Sends what was written, as far as there is somebody to read it.
    pub(super) async fn flush(&self) {
        let _ = poll_fn(|cx| self.ends().flush(cx)).await;
    }

    /// Takes the socket back. Nothing more is read or written here.
    pub(super) fn take(&self) -> Option<TcpStream> {
        self.ends().stream.take()
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            let Self { stream: Some(stream), written, .. } = self else { break };
            let sent = ready!(Pin::new(stream).poll_write(cx, written))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written.advance(sent);
        }
        self.stream()?.poll_flush(cx)
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.ends();
        if ends.read.is_empty() {
            return ends.stream()?.poll_read(cx, buf);
        }
        let length = ends.read.len().min(buf.remaining());
        buf.put_slice(&ends.read.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.ends().written.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ends().flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.ends();
        ready!(ends.flush(cx))?;
        ends.stream()?.poll_shutdown(cx)
    }
}
