//! A door before a server. While it is shut, no connection to the server can be established.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use url::Url;

use crate::scene::until;
use crate::within::within;

/// A forwarder to a server on a port of its own, shut at first.
pub(crate) struct Door {
    address: SocketAddr,
    /// Reserves the port without listening.
    bolt: Mutex<Option<TcpSocket>>,
    /// Listens, and forwards connections to the server.
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Door {
    pub(crate) fn new() -> Self {
        let bolt = bolt("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { address: bolt.local_addr().unwrap(), bolt: Mutex::new(Some(bolt)), keeper: Mutex::default() }
    }

    /// The URL `there` with this door's address.
    pub(crate) fn before(&self, there: &str) -> String {
        let mut url = Url::parse(there).unwrap();
        url.set_ip_host(self.address.ip()).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    pub(crate) async fn shut(&self) {
        if let Some(keeper) = self.keeper.lock().await.take() {
            keeper.abort();
            drop(within("the door's end", keeper).await);
            // Where a process is just being started, that has it open, too, for as long as it is not itself yet.
            let mut bolted = self.bolt.lock().await;
            until("nobody listens", || {
                *bolted = bolt(self.address).ok();
                bolted.is_some()
            })
            .await;
        }
    }

    /// Opens the door, if it is shut, to the server at `there`.
    pub(crate) async fn open(&self, there: &str) {
        let Some(bolt) = self.bolt.lock().await.take() else { return };
        let listener = bolt.listen(64).unwrap();
        let server = Url::parse(there).unwrap().socket_addrs(|| None).unwrap()[0];
        let keeper = tokio::spawn(async move {
            while let Ok((mut visitor, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut visitor, &mut server).await
                });
            }
        });
        *self.keeper.lock().await = Some(keeper);
    }
}

fn bolt(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections from the time when the door was open may linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
