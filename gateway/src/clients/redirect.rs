//! Checks and compares the redirect addresses of clients.

use url::{Host, Url};

/// The maximum length of a redirect address in bytes.
const MAX_REDIRECT: usize = 512;

/// The schemes without a dot that apps with MCP clients are known to use. A scheme with a dot is named after a domain of the
/// app's maker (RFC 8252 section 7.1). Any other scheme may open a part of the operating system.
const KNOWN_APPS: &[&str] =
    &["claude", "cursor", "cursor-nightly", "vscode", "vscode-insiders", "vscodium", "warp", "windsurf", "zed"];

/// Whether a client may register this address. It is `https`, `http` on this machine's loopback, or of a scheme of an app
/// (RFC 8252 section 7). `apps` are further schemes, of the host's choice.
pub(super) fn is_acceptable(redirect: &str, apps: &[String]) -> bool {
    if redirect.len() > MAX_REDIRECT || !redirect.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    // Browsers differ in how they read a backslash and some other characters.
    if redirect.contains(['\\', '"', '<', '>', '`', '#']) {
        return false;
    }
    let Ok(url) = Url::parse(redirect) else { return false };
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    match url.scheme() {
        "https" => redirect.starts_with("https://") && url.host().is_some(),
        "http" => loopback(redirect).is_some(),
        scheme => scheme.contains('.') || KNOWN_APPS.contains(&scheme) || apps.iter().any(|app| app == scheme),
    }
}

/// Whether `asked` is the registered address. It is compared byte by byte, except for the port of a loopback address, which the
/// client chooses when it starts (RFC 8252 section 7.3).
pub(super) fn is_same(registered: &str, asked: &str) -> bool {
    match (loopback(registered), loopback(asked)) {
        (Some(registered), Some(asked)) => registered == asked,
        _ => registered == asked,
    }
}

/// Whether the address is on loopback, where a program on the person's machine listens.
pub(crate) fn is_loopback(redirect: &str) -> bool {
    loopback(redirect).is_some()
}

/// Whether the address leads to a program on the person's own machine. It may be any program there.
pub(crate) fn is_on_the_machine(redirect: &str) -> bool {
    Url::parse(redirect).is_ok_and(|url| match url.host() {
        _ if url.scheme() != "https" => true,
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}

/// The host and the rest of a loopback address, without its port. Nothing is decoded or normalized, so that the comparison stays
/// exact.
fn loopback(redirect: &str) -> Option<(&str, &str)> {
    let after = redirect.strip_prefix("http://")?;
    let host = ["127.0.0.1", "[::1]", "localhost"].into_iter().find(|host| after.starts_with(host))?;
    let rest = &after[host.len()..];
    let rest = match rest.strip_prefix(':') {
        Some(port) => {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            let is_port = port[..digits].parse::<u16>().is_ok_and(|port| port > 0);
            if !is_port {
                return None;
            }
            &port[digits..]
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_a_loopback_address_may_differ() {
        for (registered, asked) in [
            ("http://127.0.0.1/callback", "http://127.0.0.1:53211/callback"),
            ("http://127.0.0.1:1/callback", "http://127.0.0.1:53211/callback"),
            ("http://[::1]/callback?a=b", "http://[::1]:53211/callback?a=b"),
            ("http://localhost:8080", "http://localhost:9"),
            ("https://app.example/callback", "https://app.example/callback"),
            ("com.example.app:/callback", "com.example.app:/callback"),
        ] {
            assert!(is_same(registered, asked), "{asked}");
        }
        for (registered, asked) in [
            ("http://127.0.0.1/callback", "http://127.0.0.1:53211/callback/"),
            ("http://127.0.0.1/callback", "http://127.0.0.1:53211/callback?x=y"),
            ("http://127.0.0.1/callback", "http://127.0.0.1:53211/%63allback"),
            ("http://127.0.0.1/callback", "http://127.0.0.1:53211@evil.example/callback"),
            ("http://127.0.0.1/callback", "http://127.0.0.1.evil.example/callback"),
            ("http://127.0.0.1/callback", "http://localhost:53211/callback"),
            ("http://127.0.0.1/callback", "http://[::1]:53211/callback"),
            ("http://127.0.0.1/callback", "https://127.0.0.1/callback"),
            ("http://localhost/callback", "http://localhost.evil.example/callback"),
            ("https://app.example/callback", "https://app.example:444/callback"),
            ("https://app.example/callback", "https://app.example/callback/../evil"),
            ("https://app.example/callback", "HTTPS://app.example/callback"),
            ("https://app.example/callback", "https://app.example/callback#x"),
            ("https://app.example/callback", "https://app.example.evil.example/callback"),
        ] {
            assert!(!is_same(registered, asked), "{asked}");
        }
    }

    #[test]
    fn an_address_of_this_machine_is_known_as_such() {
        for here in
            ["http://127.0.0.1/cb", "https://localhost/cb", "https://127.0.0.2:8443/cb", "https://[::1]/cb", "a.b:/cb"]
        {
            assert!(is_on_the_machine(here), "{here}");
        }
        for away in ["https://app.example/cb", "https://localhost.example/cb", "https://127.0.0.1.example/cb"] {
            assert!(!is_on_the_machine(away), "{away}");
        }
    }

    #[test]
    fn an_address_that_leads_elsewhere_is_not_registered() {
        for good in [
            "https://app.example/callback",
            "http://127.0.0.1/callback",
            "http://localhost:3000/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "com.example.app:/callback",
        ] {
            assert!(is_acceptable(good, &[]), "{good}");
        }
        for bad in [
            "",
            "/callback",
            "http://app.example/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://127.0.0.1:70000/callback",
            "http://127.0.0.1:8080@evil.example/",
            "https://app.example/callback#fragment",
            "https://user:password@app.example/callback",
            "https:app.example/callback",
            "https://app.example\\@evil.example/callback",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "ms-appinstaller:?source=https://evil.example/x.appinstaller",
            "search-ms:query=x",
            "intent://evil.example/#Intent;end",
            "intent:x",
            "sms:+1",
            "itms-services://?action=download-manifest",
            "our-app://callback",
            "https://app.example/a b",
            "https://app.example/\u{202e}",
        ] {
            assert!(!is_acceptable(bad, &[]), "{bad}");
        }
        assert!(!is_acceptable(&format!("https://app.example/{}", "a".repeat(MAX_REDIRECT)), &[]));
        assert!(is_acceptable("our-app://callback", &["our-app".to_owned()]), "an app of the host's choice");
    }
}
