//! The connections of a resource.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::resource;
use super::state::Shared;
use crate::hostile::clock::{pause, start};

/// The connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// A listener on a free port.
pub(super) fn bind() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the task ends. They end with it.
pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    shared.count(|counts| counts.connections += 1);
                    start(&mut connections, serve(Arc::clone(&shared), stream));
                }
                // Most likely the process is out of descriptors. Some come back when clients leave.
                Err(_) => pause(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    // If the option fails, events arrive a little later.
    let _ = stream.set_nodelay(shared.settings().has_nodelay);
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(resource::serve(&shared, request).await) }
    });
    // A client that leaves is no concern of the server.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
