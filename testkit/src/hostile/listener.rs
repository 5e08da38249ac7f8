//! Accepts connections, and detects their protocol by the first bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::clock::{pause, start};
use super::dispatcher::Dispatcher;
use super::http1::Http1;
use super::http2;

/// The first bytes of an HTTP/2 connection (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Accepts connections until the task ends. They end with it.
pub(super) async fn listen(listener: TcpListener, dispatcher: Arc<Dispatcher>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    dispatcher.connected();
                    start(&mut connections, serve(Arc::clone(&dispatcher), stream));
                }
                // Most likely the process is out of descriptors. Some come back when clients leave.
                Err(_) => pause(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(dispatcher: Arc<Dispatcher>, mut stream: TcpStream) {
    // The halves of an answer should arrive when they are sent. If the option fails, they arrive a little later.
    let _ = stream.set_nodelay(true);
    let mut read = BytesMut::new();
    match speaks_http2(&mut stream, &mut read).await {
        Ok(true) => {
            dispatcher.count(|counts| counts.http2_connections += 1);
            http2::serve(dispatcher, stream, read).await;
        }
        Ok(false) => Http1::new(dispatcher, stream, read).serve().await,
        // It was reset before its first byte.
        Err(_) => {}
    }
}

async fn speaks_http2(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<bool> {
    loop {
        let seen = read.len().min(PREFACE.len());
        if read[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(false);
        }
    }
}
