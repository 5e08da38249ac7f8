//! The addresses that names may resolve to, for a request to public addresses.
//!
//! reqwest asks its resolver once for each connection, and connects to the addresses of that answer. A check in the resolver
//! thus leaves no time in which a name could change its address (DNS rebinding). reqwest asks no resolver for address
//! literals, which [`Reach::permits`](crate::http::Reach::permits) checks before.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::http::reach::is_public;

/// A resolver that answers with public addresses, or not at all.
#[derive(Clone)]
pub(super) struct Guard {
    resolver: Arc<dyn Resolve>,
    /// The check of an address. It is [`is_public`], except in tests, which can connect only to the loopback.
    allows: fn(IpAddr) -> bool,
}

impl Guard {
    pub(super) fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, allows: is_public }
    }

    /// A guard of the operating system's resolver.
    pub(super) fn over_the_system() -> Self {
        Self::new(Arc::new(System))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (addresses, allows) = (self.resolver.resolve(name), self.allows);
        Box::pin(async move {
            // One address that is out of reach makes the whole name unusable. A name with a public and a private address is an
            // attack or a mistake.
            let addresses: Option<Vec<_>> =
                addresses.await?.map(|at| allows(at.ip()).then(|| SocketAddr::new(at.ip(), 0))).collect();
            // Port 0 stands for the port of the request.
            Ok(Box::new(addresses.ok_or(OutOfReach)?.into_iter()) as Addrs)
        })
    }
}

/// The error for a name that resolves to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to an address that is not public")]
pub(super) struct OutOfReach;

/// The operating system's resolver.
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
