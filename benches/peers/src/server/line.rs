//! Connections that a handler can end, at once or in the middle of its answer.
use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// After this many bytes more.
    pub after: usize,
    /// With a reset (RST) instead of an orderly end (FIN).
    pub reset: bool,
}

/// A handler's handle on the connection of its request.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<Mutex<Option<End>>>);

impl Line {
    pub fn end(&self, end: End) {
        *self.0.lock().unwrap() = Some(end);
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.remote_addr().clone()
    }
}

pub struct Lines(pub TcpListener);

impl Listener for Lines {
    type Io = Wire;
    type Addr = Line;

    async fn accept(&mut self) -> (Wire, Line) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let line = Line::default();
                    return (Wire { stream, line: line.clone() }, line);
                }
                // Too many open files, for example.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Line> {
        Ok(Line::default())
    }
}

/// A TCP connection that ends as its [`Line`] says.
pub struct Wire {
    stream: TcpStream,
    line: Line,
}

impl Wire {
    /// The length of the next write, at most `wanted`. An error if the connection ends here.
    fn allowed(&self, wanted: usize) -> io::Result<usize> {
        match *self.line.0.lock().unwrap() {
            None => Ok(wanted),
            Some(End { after: 0, reset }) => {
                if reset {
                    let _ = self.stream.set_zero_linger();
                }
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(End { after, .. }) => Ok(wanted.min(after)),
        }
    }

    fn written(&self, count: usize) {
        if let Some(end) = &mut *self.line.0.lock().unwrap() {
            end.after -= count.min(end.after);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let allowed = self.allowed(buf.len())?;
        let wrote = Pin::new(&mut self.stream).poll_write(cx, &buf[..allowed]);
        if let Poll::Ready(Ok(count)) = wrote {
            self.written(count);
        }
        wrote
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
