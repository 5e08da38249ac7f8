//! The addresses that a request may connect to (law 24).
//!
//! A URL that a server names may point into the network of the machine that fetches it (server-side request forgery). Its
//! parts are checked before the request, and so is each address that its name resolves to. The URL parser turns each odd
//! form of an address (`127.1`, `2130706433`, `0x7f.1`) into the address itself, so the checks see no odd forms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use iprfc::RFC6890;
use tokenkeeper_actors::values::ResourceUri;
use url::{Host, Url};

/// The addresses that a request may connect to (law 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any address, because the host or the person has named the URL.
    Any,
    /// Only public addresses, because a server has named the URL. No proxy of the environment is used, because the proxy
    /// would resolve the name.
    Public,
    /// Public addresses and this machine's loopback, because the session's own server is on the loopback. The loopback is
    /// an address literal, or the name `localhost`. Other names that resolve to a loopback address are refused, because
    /// only a server that attacks this machine has such a name (DNS rebinding).
    PublicOrLoopback,
}

impl Reach {
    /// The reach of URLs that servers name for `resource`. They may lead to the loopback only if the resource itself is on the
    /// loopback.
    pub fn beside(resource: &ResourceUri) -> Self {
        if resource.is_loopback() { Self::PublicOrLoopback } else { Self::Public }
    }

    /// Checks the parts of `url`, without a name resolution. An [`HttpClient`](super::HttpClient) that
    /// [enforces](super::HttpClient::enforces_reach) the reach makes this check before each request, and then checks the
    /// addresses of the name.
    ///
    /// [`Any`](Reach::Any) demands the scheme `https` or `http` and a host, and neither credentials nor a fragment. Its callers
    /// decide whether `http` may carry their request. The other reaches demand `https`, or `http` to the loopback if that is
    /// within the reach. If the host is an address literal, it must be within the reach.
    ///
    /// # Errors
    ///
    /// The first [`UnsafeUrl`] that was found. It does not repeat the URL.
    pub fn permits(self, url: &Url) -> Result<(), UnsafeUrl> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(UnsafeUrl::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UnsafeUrl::Credentials);
        }
        if url.fragment().is_some() {
            return Err(UnsafeUrl::Fragment);
        }
        let host = url.host().ok_or(UnsafeUrl::NoHost)?;
        match self {
            Self::Any => return Ok(()),
            Self::PublicOrLoopback if is_loopback(&host) => return Ok(()),
            Self::Public | Self::PublicOrLoopback => {}
        }
        if url.scheme() != "https" {
            return Err(UnsafeUrl::NotEncrypted);
        }
        match host {
            Host::Domain(name) if is_local_name(name) => Err(UnsafeUrl::NotPublic),
            Host::Domain(_) => Ok(()),
            Host::Ipv4(address) if is_public_v4(address) => Ok(()),
            Host::Ipv6(address) if is_public_v6(address) => Ok(()),
            Host::Ipv4(_) | Host::Ipv6(_) => Err(UnsafeUrl::NotPublic),
        }
    }
}

/// The reason why no request is sent to a URL. The text completes a sentence about the URL and does not repeat it, because a
/// URL may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsafeUrl {
    /// The scheme is neither `https` nor `http`.
    #[error("its scheme is neither https nor http; only URLs that begin with https:// can be used")]
    Scheme,
    /// The scheme is `http`, and the host is not the loopback that is allowed here.
    #[error("it is not encrypted; a URL that a server names must begin with https://")]
    NotEncrypted,
    /// The URL contains a user name or a password.
    #[error("it contains a user name or a password; remove the part before the @")]
    Credentials,
    /// The URL has a fragment.
    #[error("it has a fragment; remove the part from the # on")]
    Fragment,
    /// The URL names no host.
    #[error("it names no host; use an absolute URL")]
    NoHost,
    /// The host is an address that is not public, or a name of this machine.
    #[error(
        "it leads to an address that is not public (loopback, private, link-local or reserved), which a server must not \
         name; if the server is trusted, configure the URL yourself"
    )]
    NotPublic,
}

/// Whether `host` is an address literal of this machine's loopback, or exactly `localhost` (RFC 8252 section 8.3).
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether `name` is one of the names that mean this machine (RFC 6761 section 6.3). The URL parser has lowered its case.
fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether `address` belongs to the public internet, so that a URL that a server names may lead there.
///
/// If a translator would connect to an IPv4 address within an IPv6 address (mapped, NAT64), the IPv4 address decides.
#[cfg_attr(not(feature = "reqwest"), allow(dead_code, reason = "only a client resolves names"))]
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The address of Azure's virtual host, which each virtual machine reaches. It lies in a public range.
const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether the address is outside multicast and outside the IANA registry of special-purpose addresses (RFC 6890), which
/// does not list multicast.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !RFC6890.contains(&address) && !address.is_multicast() && address != AZURE_HOST
}

/// Whether the address is within global unicast (`2000::/3`, RFC 4291 section 2.4) and outside the IANA registry. Addresses
/// in all other ranges are not routed in public, although the registry does not list each of them (`fec0::/10`,
/// `::127.0.0.1`). The registry lists 6to4 and Teredo, whose addresses contain an IPv4 address that a relay would connect to.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped().or_else(|| translated(address)) {
        Some(inner) => is_public_v4(inner),
        None => address.segments()[0] & 0xe000 == 0x2000 && !RFC6890.contains(&address),
    }
}

/// The IPv4 address that a NAT64 translator would connect to (`64:ff9b::/96`, RFC 6052 section 2.1). In a network that has only
/// IPv6, DNS64 answers with such an address for each host that has only IPv4.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests;
