//! The endpoints that may receive secrets.

use http::Uri;
use tokenkeeper_actors::values::ResourceUri;
use url::Url;

use crate::http::reach::is_loopback;

/// Returns the URI of an endpoint that may receive secrets: `https`, or `http` on loopback (RFC 8252 section 8.3),
/// without credentials and without a fragment (RFC 6749 section 3.2).
pub(super) fn allowed(endpoint: &str) -> Option<Uri> {
    // The URL parser repairs some text silently, and other parsers repair it in another way. A URL that receives secrets
    // is as exact as that of a resource.
    ResourceUri::parse(endpoint).ok()?;
    let url = Url::parse(endpoint).ok()?;
    let safe = match url.scheme() {
        "https" => url.host().is_some(),
        "http" => url.host().is_some_and(|host| is_loopback(&host)),
        _ => false,
    };
    if safe { url.as_str().parse().ok() } else { None }
}

/// Whether a token or revocation endpoint may receive secrets: `https`, or `http` on loopback (RFC 8252 section 8.3),
/// without credentials and without a fragment (RFC 6749 section 3.2), in the exact form that [`ResourceUri::parse`]
/// demands. [`RefreshGrant`] sends nothing to any other endpoint.
///
/// [`RefreshGrant`]: super::RefreshGrant
pub fn may_receive_secrets(endpoint: &str) -> bool {
    allowed(endpoint).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_tls_or_stay_on_this_machine() {
        for good in [
            "https://as.example.com/token",
            "https://as.example.com:8443/token?tenant=1",
            "HTTPS://AS.example.com/token",
            "http://127.0.0.1:3000/token",
            "http://127.9.9.9/token",
            "http://[::1]:3000/token",
            "http://localhost:3000/token",
        ] {
            assert!(allowed(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "token",
            "/token",
            "http://as.example.com/token",
            "http://localhost.example.com/token",
            "http://10.0.0.1/token",
            "http://[::ffff:127.0.0.1]/token",
            "http://[2001:db8::1]/token",
            "https://user@as.example.com/token",
            "https://user:pass@as.example.com/token",
            "https://as.example.com/token#fragment",
            "https:\\\\as.example.com/token",
            "https:/as.example.com/token",
            "https:as.example.com/token",
            "https:///as.example.com/token",
            "https://as.example.com\\token",
            "https://localhost\\@as.example.com/token",
            "https://@as.example.com/token",
            "https://as.example\n.com/token",
            " https://as.example.com/token",
            "https://as.example.com/to ken",
            "https://",
            "ftp://127.0.0.1/token",
            "file:///token",
            "data:,token",
        ] {
            assert_eq!(allowed(bad), None, "{bad}");
        }
    }
}
