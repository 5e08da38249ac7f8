//! The sockets of a listener, one port in both address families.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;
use url::{Host, Url};

use super::lingering;

/// The maximum number of attempts to find a port that is free in both address families. The system chooses a port that is
/// free in one of them.
const MAX_TRIES: usize = 8;

/// The maximum length of a path.
const MAX_PATH: usize = 128;

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopbackOptions {
    /// The required port, for a client that is registered with that port only. Default: any free port.
    pub port: Option<u16>,
    /// A port that is used if it is free, for example that of an earlier login. Default: none.
    pub preferred: Option<u16>,
    /// The path of the redirect address (`/callback`).
    pub path: String,
    /// The form of the host in the redirect address.
    pub host: HostForm,
}

/// The form of the host in the redirect address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostForm {
    /// `127.0.0.1`, with which a server must allow any port (RFC 8252 section 7.3).
    #[default]
    Ipv4Literal,
    /// `localhost`, for the few servers that accept nothing else.
    Localhost,
}

/// The reason why a listener cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another program listens on the required port.
    #[error("port {port} is taken by another program: end that program, or choose another port")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The path is invalid.
    #[error("the callback path must begin with `/`, and consist of at most {MAX_PATH} letters, digits, and `/-._~`")]
    Path,
    /// The operating system refused to listen on loopback, or on this port.
    #[error("this machine refuses a listener on loopback ({0}): choose another port, or paste the address by hand")]
    Unavailable(ErrorKind),
}

impl Default for LoopbackOptions {
    fn default() -> Self {
        Self { port: None, preferred: None, path: "/callback".to_owned(), host: HostForm::default() }
    }
}

impl LoopbackOptions {
    /// The options of the listener whose redirect address was `uri`, for a host that resumes a login after a restart. `None` if
    /// no listener can have that address.
    pub fn of_redirect_uri(uri: &str) -> Option<Self> {
        let url = Url::parse(uri).ok().filter(|url| url.scheme() == "http")?;
        let host = match url.host()? {
            Host::Ipv4(Ipv4Addr::LOCALHOST) => HostForm::Ipv4Literal,
            Host::Domain("localhost") => HostForm::Localhost,
            _ => return None,
        };
        let options = Self { port: url.port_or_known_default(), preferred: None, path: url.path().to_owned(), host };
        (options.redirect_uri(options.port?) == uri && is_path(&options.path)).then_some(options)
    }

    pub(super) fn redirect_uri(&self, port: u16) -> String {
        let host = match self.host {
            HostForm::Ipv4Literal => "127.0.0.1",
            HostForm::Localhost => "localhost",
        };
        format!("http://{host}:{port}{}", self.path)
    }
}

/// Whether a redirect address may have this path.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_PATH
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
}

/// The sockets of a listener.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) port: u16,
    pub(super) redirect_uri: String,
}

impl Sockets {
    /// Opens the port that `options` ask for.
    pub(super) async fn open(options: &LoopbackOptions) -> Result<Self, ListenError> {
        if !is_path(&options.path) {
            return Err(ListenError::Path);
        }
        let opened = match (options.port.filter(|port| *port != 0), options.preferred.filter(|port| *port != 0)) {
            (Some(port), _) => open_port(port, options.host).await.map_err(|error| of_port(port, &error))?,
            (None, Some(port)) => match open_port(port, options.host).await {
                Ok(listeners) => listeners,
                Err(_) => open_any(options.host).await?,
            },
            (None, None) => open_any(options.host).await?,
        };
        let (listeners, port) = opened;
        Ok(Self { listeners, port, redirect_uri: options.redirect_uri(port) })
    }
}

/// The error for a required port that could not be bound.
fn of_port(port: u16, error: &io::Error) -> ListenError {
    match error.kind() {
        ErrorKind::AddrInUse => ListenError::PortTaken { port },
        kind => ListenError::Unavailable(kind),
    }
}

/// Opens any port that is free in both address families.
async fn open_any(host: HostForm) -> Result<(Vec<TcpListener>, u16), ListenError> {
    let mut kind = ErrorKind::AddrInUse;
    for _ in 0..MAX_TRIES {
        match open(0, host).await {
            Ok(opened) => return Ok(opened),
            Err(error) => kind = error.kind(),
        }
    }
    Err(ListenError::Unavailable(kind))
}

/// Opens this port. If a dropped listener of this process still holds it, that listener is asked to give it up first.
async fn open_port(port: u16, host: HostForm) -> io::Result<(Vec<TcpListener>, u16)> {
    lingering::release(port).await;
    open(port, host).await
}

/// Binds `port`, or any port for 0, in both address families. IPv6 may be missing. If another program has the port in IPv6,
/// the listener uses IPv4 alone. This is an error if the redirect address names `localhost`, which a browser may resolve to
/// IPv6.
async fn open(port: u16, host: HostForm) -> io::Result<(Vec<TcpListener>, u16)> {
    let v4 = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let port = v4.local_addr()?.port();
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
        Ok(v6) => Ok((vec![v4, v6], port)),
        Err(error) if error.kind() == ErrorKind::AddrInUse && host == HostForm::Localhost => Err(error),
        Err(_) => Ok((vec![v4], port)),
    }
}
