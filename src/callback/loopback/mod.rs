//! A listener on loopback for the answer of a person's browser (RFC 8252 section 7.3).

mod answers;
mod body;
mod lingering;
mod page;
mod request;
mod serving;
mod sockets;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::LoginKey;

use answers::Answers;
use lingering::{Lingering, Open};
use request::Site;
use serving::{Times, serve};
use sockets::Sockets;

pub use answers::Received;
pub use page::Outcome;
pub use sockets::{HostForm, ListenError, LoopbackOptions};

/// The times of every listener. A browser that opens a connection in advance may use it within half a minute.
const TIMES: Times = Times { head: Duration::from_secs(30), linger: Duration::from_secs(5) };

/// A listener for the answers to logins, on both address families of loopback.
///
/// Only a GET request for its path with its own `Host` can bring an answer. Other requests get a response and change nothing.
/// The browser of an answer to an unknown login gets the page of a mismatch, and the wait goes on. The number of silent
/// connections is bounded, and no answer waits for them.
///
/// Dropping the listener closes it. If an answer has arrived, reloads of its page are answered for five more seconds, as
/// long as the tokio runtime runs.
#[derive(Debug)]
pub struct LoopbackListener {
    redirect_uri: String,
    port: u16,
    path: String,
    answers: Arc<Answers>,
    _open: Arc<Open>,
}

impl LoopbackListener {
    /// Binds the port, and begins to accept connections. A host binds before it begins the login, because the redirect address
    /// is a part of the request.
    ///
    /// # Errors
    ///
    /// [`ListenError::PortTaken`] if a port was required and another program listens there, [`ListenError::Path`] for an
    /// invalid path, and [`ListenError::Unavailable`] if the operating system refuses the socket.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its I/O and time drivers.
    ///
    /// # Cancellation
    ///
    /// Safe to drop.
    pub async fn bind(options: LoopbackOptions) -> Result<Self, ListenError> {
        Self::bind_with(options, TIMES).await
    }

    async fn bind_with(options: LoopbackOptions, times: Times) -> Result<Self, ListenError> {
        let Sockets { listeners, port, redirect_uri } = Sockets::open(&options).await?;
        let answers = Arc::new(Answers::default());
        let site = Site { port, path: options.path.clone() };
        let (open, dropped) = oneshot::channel();
        let open = Arc::new(open);
        let (lingering, released) = Lingering::new(port, &open);
        let serving = serve(listeners, site, answers.clone(), times, dropped, released);
        #[expect(clippy::disallowed_methods, reason = "the listener's drop ends the task")]
        tokio::spawn(async move {
            serving.await;
            drop(lingering);
        });
        Ok(Self { redirect_uri, port, path: options.path, answers, _open: open })
    }

    /// The redirect address to give to the authorization server, for example `http://127.0.0.1:53211/callback`.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether a browser that opens the address of `options` reaches this listener, in either form of the host.
    pub(crate) fn serves(&self, options: &LoopbackOptions) -> bool {
        options.port == Some(self.port) && options.path == self.path
    }

    /// Waits for the next answer to a login of `expected`. Each login's answer is returned once. Later requests with the same
    /// `state` get the page of the first request. One caller waits at a time, for all logins that the listener serves.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. No answer is lost.
    pub async fn next(&self, expected: &[LoginKey]) -> Received {
        self.answers.next(expected).await
    }
}
