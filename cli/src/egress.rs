//! The HTTP client of the commands.

use std::env;
use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::http::{
    Body, Egress, Exchange, HttpClient, HttpConnection, HttpError, NotSent, Reach, ReqwestBuildError, ReqwestClient,
};
use url::Url;

use crate::failure::Failure;

/// The variable that names the proxy for addresses that servers name. Those of `HTTPS_PROXY` are used for the addresses that
/// the person named alone, because a proxy looks names up by itself, and would reach what is private in its network.
pub(crate) const PROXY: &str = "TOKENKEEPER_PROXY";

/// The time-out of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that goes the way that the environment names.
pub(crate) fn client() -> Result<ReqwestClient, Failure> {
    client_over(proxy_of_environment()?).map_err(|error| Failure::Failed(io::Error::other(error)))
}

/// A client that goes the way that the environment names, and is built when it is first used. Building one reads the system's
/// certificates three times, which takes longer than a command whose token is good.
pub(crate) fn deferred_client() -> Result<DeferredClient, Failure> {
    Ok(DeferredClient { proxy: proxy_of_environment()?, built: OnceLock::new() })
}

/// A client that is built when it is first used. `Debug` shows nothing of its proxy, which may have a password.
pub(crate) struct DeferredClient {
    proxy: Option<Url>,
    built: OnceLock<Option<ReqwestClient>>,
}

impl DeferredClient {
    /// A client that cannot be built sends nothing.
    fn built(&self) -> Result<&ReqwestClient, NotSent> {
        let built = self.built.get_or_init(|| client_over(self.proxy.clone()).ok());
        built.as_ref().ok_or(NotSent::Unbuildable)
    }
}

#[async_trait]
impl HttpClient for DeferredClient {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        self.built().map_err(HttpError::NotSent)?.send(exchange).await
    }

    async fn connect(&self, uri: &http::Uri, reach: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        self.built()?.connect(uri, reach).await
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

impl fmt::Debug for DeferredClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredClient").finish_non_exhaustive()
    }
}

/// A client that goes through `proxy` to addresses that servers name.
pub(crate) fn client_over(proxy: Option<Url>) -> Result<ReqwestClient, ReqwestBuildError> {
    let configured = || reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
    match proxy {
        Some(proxy) => ReqwestClient::with_egress(configured, Egress::Proxy(proxy)),
        None => ReqwestClient::with(configured),
    }
}

/// The proxy that [`PROXY`] names.
pub(crate) fn proxy_of_environment() -> Result<Option<Url>, Failure> {
    proxy(env::var(PROXY).unwrap_or_default().trim())
}

/// The proxy of this text, which may contain a password, so that no error repeats it.
fn proxy(text: &str) -> Result<Option<Url>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(Some).ok_or_else(|| {
        Failure::Usage(format!("{PROXY} names no proxy: set it to a URL such as http://proxy.example.com:3128"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url() {
        assert!(proxy("").unwrap().is_none());
        assert!(proxy("http://user:secret@proxy.example.com:3128").unwrap().is_some());
        for text in ["proxy.example.com:3128", "socks5://proxy.example.com", "http://", "secret"] {
            let error = proxy(text).unwrap_err().to_string();
            assert!(error.contains(PROXY) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
