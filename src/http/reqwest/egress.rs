//! The way in which the client connects to a server whose URL another server named.

use std::fmt;
use std::sync::Arc;

use reqwest::ClientBuilder;
use reqwest::dns::Resolve;
use url::Url;

use super::guard::Guard;

/// The way of a [`ReqwestClient`](super::ReqwestClient) to servers that other servers name, for requests with the reach
/// [`Public`](crate::http::Reach::Public) or [`PublicOrLoopback`](crate::http::Reach::PublicOrLoopback).
///
/// Every variant checks address literals in URLs. No variant uses proxies of the environment (`HTTPS_PROXY`, the system's
/// settings) or of the client's builder, because a proxy resolves names itself, from its own place in the network. Cheap to
/// clone.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Egress {
    /// Directly. The operating system resolves the name once, and each of its addresses must be public.
    #[default]
    Direct,
    /// Directly, with the host's own resolver in place of the operating system's. The addresses are checked in the same way.
    /// The ports of its answers are ignored.
    Resolver(Arc<dyn Resolve>),
    /// Through this proxy (`http`, `https` or `socks5h`, with the features of reqwest that these need), which the host uses
    /// as its egress guard. The proxy resolves the names, and decides about their addresses. The URL may contain a user
    /// name and a password.
    Proxy(Url),
}

impl Egress {
    /// Configures the client for URLs that servers named.
    pub(super) fn apply(self, builder: ClientBuilder) -> Result<ClientBuilder, reqwest::Error> {
        let builder = builder.no_proxy();
        match self {
            Self::Direct => Ok(builder.dns_resolver(Guard::over_the_system())),
            Self::Resolver(resolver) => Ok(builder.dns_resolver(Guard::new(resolver))),
            Self::Proxy(proxy) => Ok(builder.proxy(reqwest::Proxy::all(proxy)?)),
        }
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The proxy's URL may contain a password.
        f.write_str(match self {
            Self::Direct => "Direct",
            Self::Resolver(_) => "Resolver(..)",
            Self::Proxy(_) => "Proxy(..)",
        })
    }
}
