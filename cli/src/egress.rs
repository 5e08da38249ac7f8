//! The HTTP client of the commands.

use std::env;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::http::{
    Body, Egress, Exchange, HttpClient, HttpConnection, HttpError, NotSent, Reach, ReqwestBuildError, ReqwestClient,
};
use tokio::sync::OnceCell;
use url::Url;

use crate::failure::Failure;

/// The variable that names the proxy for URLs that servers name. The proxy of `HTTPS_PROXY` is used only for URLs that the
/// person named, because a proxy resolves names itself, and could reach private addresses in its network.
pub(crate) const PROXY: &str = "TOKENKEEPER_PROXY";

/// The time-out of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client with the proxy that the environment names.
pub(crate) fn client() -> Result<ReqwestClient, Failure> {
    client_over(proxy_of_environment()?).map_err(|error| Failure::Failed(io::Error::other(error)))
}

/// A client with the proxy that the environment names, which is built when it is first used. Building one reads the system's
/// certificates three times, which takes longer than the whole command if its token is good.
pub(crate) fn deferred_client() -> Result<DeferredClient, Failure> {
    let proxy = proxy_of_environment()?;
    Ok(DeferredClient::new(move || client_over(proxy.clone())))
}

type Build = dyn Fn() -> Result<ReqwestClient, ReqwestBuildError> + Send + Sync;

/// A client that is built when it is first used. `Debug` does not show its proxy, which may have a password.
pub(crate) struct DeferredClient {
    build: Box<Build>,
    built: OnceCell<ReqwestClient>,
    /// Whether a note has explained to the person why the client could not be built.
    told: AtomicBool,
}

impl DeferredClient {
    fn new(build: impl Fn() -> Result<ReqwestClient, ReqwestBuildError> + Send + Sync + 'static) -> Self {
        Self { build: Box::new(build), built: OnceCell::new(), told: AtomicBool::new(false) }
    }

    /// The client, built if necessary. If that fails, nothing is sent, and the next request tries again, because the cause may
    /// pass, such as a lack of file descriptors.
    async fn built(&self) -> Result<&ReqwestClient, NotSent> {
        let built = self.built.get_or_try_init(async || (self.build)()).await;
        built.map_err(|error| {
            if !self.told.swap(true, Ordering::Relaxed) {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                let _ = writeln!(io::stderr(), "note: {error}{cause}");
            }
            NotSent::Unreachable
        })
    }
}

#[async_trait]
impl HttpClient for DeferredClient {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        self.built().await.map_err(HttpError::NotSent)?.send(exchange).await
    }

    async fn connect(&self, uri: &http::Uri, reach: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        self.built().await?.connect(uri, reach).await
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

/// A client that uses `proxy` for URLs that servers name.
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

/// The proxy with this URL. No error repeats the text, because it may contain a password.
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
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

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

    #[tokio::test]
    async fn a_client_that_could_not_be_built_is_built_again() {
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&attempts);
        let client = DeferredClient::new(move || {
            let no_header = if counted.fetch_add(1, Ordering::Relaxed) < 2 { "\n" } else { "agent" };
            ReqwestClient::with(|| reqwest::Client::builder().user_agent(no_header))
        });
        let uri = http::Uri::from_static("http://127.0.0.1:1/");
        for built in [1, 2, 3, 3] {
            let refused = client.connect(&uri, Reach::Any).await.err();
            assert_eq!((refused, attempts.load(Ordering::Relaxed)), (Some(NotSent::Unreachable), built));
        }
        assert!(client.built.initialized());
    }
}
