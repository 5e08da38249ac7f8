//! Look-ups of names and trial connections, which explain why a server cannot be reached. No token and no request of OAuth
//! is sent.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokenkeeper::engine::law::profile::NotSent;
use tokenkeeper::http::{HttpError, Reach};
use tokio::net::{TcpStream, lookup_host};
use url::{Host, Url};

use super::environment::Environment;

/// The time-out of a look-up, and that of a trial connection.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The maximum number of addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// The cause of a connection that could not be established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The name has no address.
    NoSuchName,
    /// An address of the name is not public, and a server named the URL.
    OutOfReach(IpAddr),
    /// Nothing listens at the port.
    Refused,
    /// The address does not answer.
    Silent,
    /// The peer accepts a connection, and closes it before a request.
    Closed,
    /// The connection of this variable's proxy failed.
    Proxy(&'static str),
    /// TLS failed.
    Tls(TlsFault),
    /// The cause was not found.
    Unknown,
}

/// The cause of a TLS connection that could not be established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFault {
    /// The certificate is too old.
    Expired,
    /// The certificate is not valid yet, or this machine's clock is behind.
    NotYetValid,
    /// The certificate is for another name.
    OtherName,
    /// No trusted certificate has signed it.
    UnknownIssuer,
    /// The certificate is that of an authority.
    OfAuthority,
    /// The peer does not speak TLS.
    NoTls,
    /// The peer closes the connection during the handshake.
    Ended,
    /// Another cause.
    Other,
}

/// The addresses of a host, even those out of reach.
pub(super) async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, Cause> {
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host() {
        Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Domain(_)) => {}
        None => return Err(Cause::Unknown),
    }
    let found = within(lookup_host((url.host_str().unwrap_or_default(), port))).await;
    match found {
        Some(Ok(found)) => Ok(found.collect()),
        Some(Err(_)) => Err(Cause::NoSuchName),
        None => Err(Cause::Unknown),
    }
}

/// The first address that is out of reach. The command does not connect to such an address.
pub(super) fn out_of_reach(url: &Url, addresses: &[SocketAddr], reach: Reach) -> Option<IpAddr> {
    // Literals and `localhost` are checked together with the URL.
    let is_literal = !matches!(url.host(), Some(Host::Domain(name)) if name != "localhost");
    if reach == Reach::Any || is_literal {
        return None;
    }
    let is_public = |address: &SocketAddr| {
        let literal = match address.ip() {
            IpAddr::V4(address) => format!("https://{address}/"),
            IpAddr::V6(address) => format!("https://[{address}]/"),
        };
        Url::parse(&literal).is_ok_and(|url| Reach::Public.permits(&url).is_ok())
    };
    addresses.iter().find(|address| !is_public(address)).map(SocketAddr::ip)
}

/// Finds the cause of `error` at `url`. `None` if the error explains itself.
pub(super) async fn cause(error: HttpError, url: &str, reach: Reach, environment: &Environment) -> Option<Cause> {
    let HttpError::NotSent(failure @ (NotSent::Unreachable | NotSent::Untrusted | NotSent::Forbidden)) = error else {
        return None;
    };
    let url = Url::parse(url).ok()?;
    if let Some(variable) = environment.proxy_for(&url, reach) {
        return Some(Cause::Proxy(variable));
    }
    let found = match addresses(&url).await {
        Ok(found) => found,
        Err(cause) => return Some(cause),
    };
    if let Some(address) = out_of_reach(&url, &found, reach) {
        return Some(Cause::OutOfReach(address));
    }
    match failure {
        NotSent::Untrusted => Some(Cause::Tls(tls_fault(&url, &found).await)),
        NotSent::Unreachable => Some(connect(&found).await),
        _ => None,
    }
}

async fn connect(addresses: &[SocketAddr]) -> Cause {
    let mut cause = Cause::Unknown;
    for address in addresses.iter().take(MAX_ADDRESSES) {
        cause = match within(TcpStream::connect(address)).await {
            Some(Ok(_)) => return Cause::Closed,
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Cause::Refused,
            Some(Err(_)) | None => Cause::Silent,
        };
    }
    cause
}

/// Connects once more, only to these addresses, and reads the reason from the error. If TLS works this time, an empty
/// request is sent to the host's root.
async fn tls_fault(url: &Url, addresses: &[SocketAddr]) -> TlsFault {
    let root = url.join("/").unwrap_or_else(|_| url.clone());
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(TIMEOUT)
        .resolve_to_addrs(url.host_str().unwrap_or_default(), addresses);
    let Ok(client) = builder.build() else { return TlsFault::Other };
    match client.head(root).send().await {
        Ok(_) => TlsFault::Other,
        Err(error) => {
            let causes = std::iter::successors(Some(&error as &dyn Error), |cause| (*cause).source());
            TlsFault::of(&causes.map(|cause| format!("{cause} {cause:?}")).collect::<String>())
        }
    }
}

impl TlsFault {
    /// Reads the text of a TLS library's error. Its types are not known here.
    fn of(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["expired"]) {
            Self::Expired
        } else if has(&["notvalidyet", "not valid yet"]) {
            Self::NotYetValid
        } else if has(&["notvalidforname", "not valid for name", "hostname mismatch"]) {
            Self::OtherName
        } else if has(&["unknownissuer", "unknown issuer", "self-signed", "self signed"]) {
            Self::UnknownIssuer
        } else if has(&["causedasendentity"]) {
            Self::OfAuthority
        } else if has(&["invalidcontenttype", "corrupt message", "wrong version number"]) {
            Self::NoTls
        } else if has(&["handshake eof", "connection reset", "unexpectedeof"]) {
            Self::Ended
        } else {
            Self::Other
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it bounds a look-up or a trial connection, which carries nothing that could be lost"
)]
async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(TIMEOUT, work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_tls_failure_is_read() {
        for (text, fault) in [
            ("invalid peer certificate: certificate expired: verification time 1", TlsFault::Expired),
            ("InvalidCertificate(NotValidYet)", TlsFault::NotYetValid),
            ("invalid peer certificate: certificate not valid for name \"a\"", TlsFault::OtherName),
            ("invalid peer certificate: UnknownIssuer", TlsFault::UnknownIssuer),
            ("received corrupt message of type InvalidContentType", TlsFault::NoTls),
            ("Other(OtherError(CaUsedAsEndEntity))", TlsFault::OfAuthority),
            ("tls handshake eof", TlsFault::Ended),
            ("something else", TlsFault::Other),
        ] {
            assert_eq!(TlsFault::of(text), fault, "{text}");
        }
    }

    #[test]
    fn a_name_must_lead_to_public_addresses() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found =
            |url: &str, texts: &[&str], reach| out_of_reach(&Url::parse(url).unwrap(), &addresses(texts), reach);
        let mixed = ["93.184.216.34:443", "10.1.2.3:443"];
        let private = Some("10.1.2.3".parse().unwrap());
        assert_eq!(found("https://as.example/token", &mixed, Reach::Public), private);
        assert_eq!(found("https://as.example/token", &mixed, Reach::PublicOrLoopback), private);
        assert_eq!(found("https://as.example/token", &mixed, Reach::Any), None);
        assert_eq!(found("https://as.example/token", &mixed[..1], Reach::Public), None);
        let loopback = ["127.0.0.1:443", "[::1]:443"];
        assert!(found("https://as.example/token", &loopback, Reach::PublicOrLoopback).is_some());
        assert_eq!(found("http://localhost/token", &loopback, Reach::PublicOrLoopback), None);
    }
}
