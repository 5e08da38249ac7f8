//! The HTTP client of the commands.

use std::env;
use std::io;
use std::time::Duration;

use tokenkeeper::http::{Egress, ReqwestBuildError, ReqwestClient};
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
