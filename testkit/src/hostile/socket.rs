//! A connection's socket beneath `h2`, which allows inserting frames that `h2` does not send.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Clones share one socket. Writes are buffered at once, and sent on a flush. Whenever `h2` is not being polled, the
/// buffer therefore ends with a whole frame, and a frame from another source may follow. The client's window bounds the
/// memory.
#[derive(Clone)]
pub(super) struct SharedSocket(Arc<Mutex<SocketState>>);

struct SocketState {
    /// `None` after it was taken back.
    stream: Option<TcpStream>,
    /// The bytes that were read before this was created.
    read: BytesMut,
    written: BytesMut,
}

impl SharedSocket {
    pub(super) fn new(stream: TcpStream, read: BytesMut) -> Self {
        Self(Arc::new(Mutex::new(SocketState { stream: Some(stream), read, written: BytesMut::new() })))
    }

    /// Inserts a frame. Must not be called while `h2` is being polled.
    pub(super) fn insert_frame(&self, frame: &[u8]) {
        self.state().written.extend_from_slice(frame);
    }

    /// Sends the buffer, unless the client has left.
    pub(super) async fn flush(&self) {
        let _ = poll_fn(|cx| self.state().flush(cx)).await;
    }

    /// Takes the socket back. Nothing more is read or written through this.
    pub(super) fn take(&self) -> Option<TcpStream> {
        self.state().stream.take()
    }

    fn state(&self) -> MutexGuard<'_, SocketState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocketState {
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

impl AsyncRead for SharedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.read.is_empty() {
            return state.stream()?.poll_read(cx, buf);
        }
        let length = state.read.len().min(buf.remaining());
        buf.put_slice(&state.read.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.state().written.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        ready!(state.flush(cx))?;
        state.stream()?.poll_shutdown(cx)
    }
}
