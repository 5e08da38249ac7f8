//! Connections that a handler can end, at once or in the middle of its answer, and that the server closes when they are
//! idle.
use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
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
pub struct Line(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    end: Option<End>,
    /// An answer was written, and no further request has arrived.
    idle: bool,
    /// The connection carried a request before the present one.
    kept: bool,
    /// The server closes the connection.
    closing: bool,
    /// Wakes the server's read.
    reader: Option<Waker>,
}

impl Line {
    pub fn end(&self, end: End) {
        self.0.lock().unwrap().end = Some(end);
    }

    /// Whether the connection of this request carried another one before it.
    pub fn is_kept(&self) -> bool {
        self.0.lock().unwrap().kept
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.remote_addr().clone()
    }
}

/// The open connections of a server, by a number of their own.
#[derive(Clone, Default)]
pub struct Open(Arc<Mutex<(u64, HashMap<u64, Line>)>>);

impl Open {
    fn add(&self, line: Line) -> u64 {
        let mut open = self.0.lock().unwrap();
        open.0 += 1;
        let number = open.0;
        open.1.insert(number, line);
        number
    }

    /// Closes the connections that are idle, in order (FIN), and returns when they are closed.
    pub async fn close_idle(&self) {
        let lines: Vec<Line> = self.0.lock().unwrap().1.values().cloned().collect();
        for Line(state) in lines {
            let mut state = state.lock().unwrap();
            state.closing |= state.idle;
            if state.closing
                && let Some(reader) = state.reader.take()
            {
                reader.wake();
            }
        }
        while self.0.lock().unwrap().1.values().any(|line| line.0.lock().unwrap().closing) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub struct Lines {
    pub listener: TcpListener,
    pub open: Open,
}

impl Listener for Lines {
    type Io = Wire;
    type Addr = Line;

    async fn accept(&mut self) -> (Wire, Line) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let line = Line::default();
                    let (number, open) = (self.open.add(line.clone()), self.open.clone());
                    return (Wire { stream, line: line.clone(), number, open }, line);
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
    number: u64,
    open: Open,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.open.0.lock().unwrap().1.remove(&self.number);
    }
}

impl State {
    /// The length of the next write to `stream`, at most `wanted`. An error if the connection ends here.
    fn allowed(&self, stream: &TcpStream, wanted: usize) -> io::Result<usize> {
        match self.end {
            None => Ok(wanted),
            Some(End { after: 0, reset }) => {
                if reset {
                    let _ = stream.set_zero_linger();
                }
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(End { after, .. }) => Ok(wanted.min(after)),
        }
    }

    fn written(&mut self, count: usize) {
        self.idle = true;
        if let Some(end) = &mut self.end {
            end.after -= count.min(end.after);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let line = self.line.clone();
        let mut state = line.0.lock().unwrap();
        if state.closing {
            // As if the client had ended it.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match read {
            Poll::Pending => state.reader = Some(cx.waker().clone()),
            Poll::Ready(_) if buf.filled().len() > before => {
                state.kept |= state.idle;
                state.idle = false;
            }
            Poll::Ready(_) => {}
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let line = self.line.clone();
        // Held until the write is noted, because the client may act on the answer at once.
        let mut state = line.0.lock().unwrap();
        let allowed = state.allowed(&self.stream, buf.len())?;
        let wrote = Pin::new(&mut self.stream).poll_write(cx, &buf[..allowed]);
        if let Poll::Ready(Ok(count)) = wrote {
            state.written(count);
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

#[cfg(test)]
mod tests {
    use crate::{env::Env, server};
    use std::time::Duration;

    /// After `close_idle` the next request needs a new connection. A request in flight is answered.
    #[tokio::test(flavor = "multi_thread")]
    async fn idle_connections_are_closed_and_others_are_not() {
        let env = Env::at(server::spawn().await);
        for closed in [false, true, false, true] {
            let seed = env.new_family("").await;
            // Uses the connection of the shared client.
            env.set(seed.fam, "delay_ms=200").await;
            if closed {
                env.close_idle().await;
            }
            let form = [("grant_type", "client_credentials")];
            let slow = env.http.post(env.token_url(seed.fam)).form(&form).send();
            let (answer, ()) = tokio::join!(slow, async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                env.close_idle().await;
            });
            assert_eq!(answer.unwrap().status(), 200);
            assert_eq!(env.stat(seed.fam).await.first_kept, !closed);
        }
    }
}
