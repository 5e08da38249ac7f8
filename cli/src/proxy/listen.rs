//! HTTP for hosts that take a URL (`--listen`). Requests pass unchanged, and get the session's token.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use subtle::ConstantTimeEq;
use tokenkeeper::OperationKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::exit;
use super::logins::BackgroundLogins;
use super::notes::NoteWriter;
use crate::failure::Failure;
use crate::home::Interruptions;
use crate::remedy::Remedy;
use crate::wire::MAX_MESSAGE;
use crate::wire::http::{McpRequest, McpWire};
use crate::wire::message::McpMessage;
use crate::wire::unanswered::Unanswered;

/// The maximum number of connections that are served at the same time. Further ones are closed.
const MAX_CONNECTIONS: usize = 256;

/// The length of a capability, in bytes.
const CAPABILITY: usize = 32;

/// The headers of a request that are not passed on. They are those of a connection (RFC 9110 section 7.6.1), those that the
/// wire sets itself, and those that are meant for this proxy only.
const NOT_SENT: [HeaderName; 15] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
    HeaderName::from_static("keep-alive"),
];

/// Headers of the server's answer that the client does not get. A challenge would make it sign in by itself.
const NOT_RETURNED: [HeaderName; 7] = [
    header::WWW_AUTHENTICATE,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
    header::SET_COOKIE,
    HeaderName::from_static("keep-alive"),
];

/// The address at which the proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenAddress {
    /// An address of loopback.
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err("write the path of the socket after unix:"),
            Some(path) if cfg!(unix) => Ok(Self::Unix(path.into())),
            Some(_) => Err("this system has no such sockets"),
            None => {
                let address: SocketAddr = text.parse().map_err(|_| "write 127.0.0.1:PORT or unix:PATH")?;
                // At any other address, the secret path would travel over a network.
                address
                    .ip()
                    .is_loopback()
                    .then_some(Self::Tcp(address))
                    .ok_or("only an address of loopback is listened at")
            }
        }
    }
}

/// Everything that the connections share.
struct PassThrough {
    wire: McpWire,
    logins: BackgroundLogins,
    remedy: Remedy,
    /// The path that requests must have. `None` for sockets, whose peers are known.
    path: Option<String>,
    /// The hosts that requests may name. `None` for sockets.
    hosts: Option<Vec<String>>,
}

/// Listens at `address` until a signal ends the proxy, and prints the address.
pub(super) async fn run(
    wire: McpWire,
    logins: BackgroundLogins,
    remedy: Remedy,
    address: &ListenAddress,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut interruptions = Interruptions::new()?;
    let mut connections = JoinSet::new();
    let (ending, end) = watch::channel(());
    let notes = NoteWriter::of_process()?;
    let pass = PassThrough { wire, logins, remedy, path: None, hosts: None };
    match address {
        ListenAddress::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let (bound, path) = (listener.local_addr()?, format!("/{}", capability()?));
            let hosts = vec![bound.to_string(), format!("localhost:{}", bound.port())];
            writeln!(out, "http://{bound}{path}")?;
            out.flush()?;
            let pass = Arc::new(PassThrough { path: Some(path), hosts: Some(hosts), ..pass });
            work(&mut connections, &pass, notes);
            let accepting = async {
                loop {
                    // A connection that failed before it was accepted does not affect the others.
                    if let Ok((stream, _)) = listener.accept().await {
                        let _ = stream.set_nodelay(true);
                        serve(&mut connections, &pass, stream, end.clone());
                    }
                }
            };
            until(accepting, &mut interruptions).await;
        }
        #[cfg(unix)]
        ListenAddress::Unix(path) => {
            let listener = socket(path).await?;
            writeln!(out, "unix:{}", path.display())?;
            out.flush()?;
            let (pass, us) = (Arc::new(pass), rustix::process::geteuid().as_raw());
            work(&mut connections, &pass, notes);
            let accepting = async {
                loop {
                    if let Ok((stream, _)) = listener.accept().await
                        && stream.peer_cred().is_ok_and(|peer| peer.uid() == us)
                    {
                        serve(&mut connections, &pass, stream, end.clone());
                    }
                }
            };
            until(accepting, &mut interruptions).await;
            let _ = std::fs::remove_file(path);
        }
        #[cfg(not(unix))]
        ListenAddress::Unix(_) => return Err(Failure::Usage("this system has no such sockets".to_owned())),
    }
    ending.send_replace(());
    // The first task makes logins, and never ends by itself.
    #[expect(clippy::disallowed_methods, reason = "it bounds the end of the process")]
    let _ = tokio::time::timeout(exit::ANSWERS, async {
        while connections.len() > 1 && connections.join_next().await.is_some() {}
    })
    .await;
    connections.shutdown().await;
    Ok(())
}

async fn until(accepting: impl Future<Output = ()>, interruptions: &mut Interruptions) {
    tokio::select! {
        () = accepting => {}
        () = interruptions.next() => {}
    }
}

/// Binds a socket that only this user may connect to. A socket at which no process listens any more is replaced.
#[cfg(unix)]
async fn socket(path: &PathBuf) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    use tokio::net::{UnixListener, UnixStream};
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            match UnixStream::connect(path).await {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                _ => return Err(error),
            }
            UnixListener::bind(path)?
        }
        listener => listener?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// 256 random bits in base16, as the secret part of a URL.
fn capability() -> io::Result<String> {
    let mut bits = [0; CAPABILITY];
    #[expect(clippy::disallowed_methods, reason = "the capability is drawn once, and handed to the host")]
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    Ok(base16ct::lower::encode_string(&bits))
}

/// Starts the task that makes logins.
#[expect(clippy::disallowed_methods, reason = "a task of the proxy, which ends with it")]
fn work(tasks: &mut JoinSet<()>, pass: &Arc<PassThrough>, notes: NoteWriter) {
    let pass = Arc::clone(pass);
    tasks.spawn(async move {
        pass.logins.work(pass.wire.session(), &notes, None).await;
        std::future::pending().await
    });
}

/// Serves a connection until its end, or until its last answer once `end` changes.
#[expect(clippy::disallowed_methods, reason = "a task of the proxy, which ends with it")]
fn serve<S>(connections: &mut JoinSet<()>, pass: &Arc<PassThrough>, stream: S, mut end: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    while connections.try_join_next().is_some() {}
    if connections.len() > MAX_CONNECTIONS {
        return;
    }
    let pass = Arc::clone(pass);
    connections.spawn(async move {
        let answer = service_fn(move |request| {
            let pass = Arc::clone(&pass);
            async move { Ok::<_, Infallible>(pass.answer(request).await) }
        });
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection);
        tokio::select! {
            _ = &mut connection => {}
            _ = end.changed() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    });
}

impl PassThrough {
    async fn answer(&self, request: Request<Incoming>) -> Response<reqwest::Body> {
        let (head, body) = request.into_parts();
        if let Some(status) = self.refused(&head) {
            return plain(status);
        }
        let Some(body) = read(body).await else { return plain(StatusCode::PAYLOAD_TOO_LARGE) };
        let mut headers = head.headers;
        for name in NOT_SENT {
            headers.remove(name);
        }
        let message = McpMessage::read(body.clone());
        let operation = message.as_ref().map_or_else(|| head.method.to_string(), McpMessage::operation);
        let request = McpRequest { method: head.method, headers, body, operation: OperationKey::of(&operation) };
        match self.wire.send(&request, &AtomicBool::default()).await {
            Ok(answer) => {
                let (status, mut headers) = (answer.status, answer.headers.clone());
                for name in NOT_RETURNED {
                    headers.remove(name);
                }
                let mut response = Response::new(answer.into_body());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                response
            }
            Err(error) => {
                let reason = Unanswered::from(error);
                if reason.is_login_required() {
                    let is_first = message.as_ref().is_some_and(|message| message.method == "initialize");
                    self.logins.begin(is_first, false);
                }
                let id = message.and_then(|message| message.id);
                self.unanswered(&reason, id.as_deref().unwrap_or("null"))
            }
        }
    }

    /// The status for a request that must not be passed on. `None` if the request may be passed on.
    fn refused(&self, head: &http::request::Parts) -> Option<StatusCode> {
        let path = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        if self.path.as_deref().is_some_and(|known| !bool::from(known.as_bytes().ct_eq(path.as_bytes()))) {
            return Some(StatusCode::NOT_FOUND);
        }
        // A request of a web page has an `Origin`. If the page's host name resolves to loopback (DNS rebinding), that name is
        // in `Host`, and is not known here.
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let is_known = self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|known| known == host));
        if !is_known || head.headers.contains_key(header::ORIGIN) {
            return Some(StatusCode::FORBIDDEN);
        }
        let is_method = [Method::POST, Method::GET, Method::DELETE].contains(&head.method);
        (!is_method).then_some(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// The answer to a request that the server has not answered. No client begins a login because of its status.
    fn unanswered(&self, reason: &Unanswered, id: &str) -> Response<reqwest::Body> {
        let status = match reason {
            Unanswered::Call(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        let mut response = Response::new(reason.answer(id, &self.remedy).into());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }
}

fn plain(status: StatusCode) -> Response<reqwest::Body> {
    let mut response = Response::new(reqwest::Body::from(Vec::new()));
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::new();
    response
}

/// Reads a body. `None` if it is too large or breaks off.
async fn read(body: Incoming) -> Option<Bytes> {
    let (mut body, mut read) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            if read.len() + data.len() > MAX_MESSAGE {
                return None;
            }
            read.extend_from_slice(&data);
        }
    }
    Some(read.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_sockets_are_listened_at() {
        assert_eq!("127.0.0.1:0".parse::<ListenAddress>(), Ok(ListenAddress::Tcp(([127, 0, 0, 1], 0).into())));
        assert!(matches!("[::1]:80".parse::<ListenAddress>(), Ok(ListenAddress::Tcp(_))));
        for text in ["0.0.0.0:80", "192.168.1.1:80", "localhost:80", "80", "unix:", ""] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        #[cfg(unix)]
        assert_eq!("unix:/a b".parse::<ListenAddress>(), Ok(ListenAddress::Unix("/a b".into())));
    }

    #[test]
    fn capabilities_are_long_and_differ() {
        let (one, other) = (capability().unwrap(), capability().unwrap());
        assert!(one.len() == 64 && one != other);
    }
}
