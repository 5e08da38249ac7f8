//! Redirect addresses: their kinds, and which registered address stands for a wanted one.

use tokenkeeper_actors::values::issuer::ApplicationType;
use url::{Host, Url};

/// The purpose of a registration, by the way in which the person's answer arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A listener on this machine.
    Loopback,
    /// A route of the host.
    Hosted,
    /// A device login, which has no redirect address.
    Device,
}

impl Purpose {
    /// The purpose of a login with this redirect address, or `None` for an address that no login may use. It is `https`, or
    /// `http` on loopback, without credentials and fragment (RFC 6749 section 3.1.2, MCP authorization).
    pub(super) fn of(redirect: Option<&str>) -> Option<Self> {
        let Some(redirect) = redirect else { return Some(Self::Device) };
        if redirect.len() > LONGEST || !crate::grant::may_receive_secrets(redirect) {
            return None;
        }
        Some(if redirect.starts_with("http:") { Self::Loopback } else { Self::Hosted })
    }

    /// `application_type` (OpenID Connect Registration section 2).
    pub(super) const fn application_type(self) -> ApplicationType {
        match self {
            Self::Loopback | Self::Device => ApplicationType::Native,
            Self::Hosted => ApplicationType::Web,
        }
    }
}

/// The longest redirect address, in bytes.
const LONGEST: usize = 1024;

/// The hosts of loopback redirect addresses. A listener takes all of them on one port.
const HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Returns the same loopback address by name instead of by literal, or by literal instead of by name, or `None` for an
/// address that is not on loopback.
pub(super) fn other_form(redirect: &str) -> Option<String> {
    let (host, rest) = on_loopback(redirect)?;
    let other = if host == "localhost" { "127.0.0.1" } else { "localhost" };
    Some(format!("http://{other}{rest}"))
}

/// The ports that a registered address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// The port of the address itself.
    Exact,
    /// All ports if it is a loopback address by IP literal (RFC 8252 section 7.3), and else its own port.
    AnyOfLiterals,
}

/// Returns the address for a login that wants `wanted`. This is `wanted` itself if it is among `registered`. Otherwise it is
/// the same address under another name of the loopback. Returns `None` if neither is registered.
pub(super) fn among(registered: &[String], wanted: &str, ports: Ports) -> Option<String> {
    let is_registered = |form: &str| registered.iter().any(|known| stands_for(known, form, ports));
    if is_registered(wanted) {
        return Some(wanted.to_owned());
    }
    let (_, rest) = on_loopback(wanted)?;
    HOSTS.iter().map(|host| format!("http://{host}{rest}")).find(|form| is_registered(form))
}

/// Whether the registered address `known` stands for the address `form`.
fn stands_for(known: &str, form: &str, ports: Ports) -> bool {
    known == form
        || ports == Ports::AnyOfLiterals
            && is_literal(known)
            && without_port(known).is_some_and(|known| Some(known) == without_port(form))
}

/// The host of a loopback address, and the rest of the address after the host.
fn on_loopback(redirect: &str) -> Option<(&'static str, &str)> {
    let rest = redirect.strip_prefix("http://")?;
    HOSTS.into_iter().find_map(|host| {
        let rest = rest.strip_prefix(host)?;
        (rest.is_empty() || rest.starts_with([':', '/', '?'])).then_some((host, rest))
    })
}

/// Whether the address is on loopback and named by IP literal.
fn is_literal(redirect: &str) -> bool {
    on_loopback(redirect).is_some_and(|(host, _)| host != "localhost")
}

/// Whether the address names a port.
pub(super) fn has_port(redirect: &str) -> bool {
    Url::parse(redirect).is_ok_and(|url| url.port().is_some())
}

/// The host of an address, and the part after its port.
fn without_port(redirect: &str) -> Option<(Host<String>, String)> {
    let url = Url::parse(redirect).ok()?;
    let rest = &url[url::Position::AfterPort..];
    Some((url.host()?.to_owned(), rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_address_is_https_or_on_loopback() {
        assert_eq!(Purpose::of(None), Some(Purpose::Device));
        for loopback in ["http://127.0.0.1:5000/callback", "http://localhost:5000/callback", "http://[::1]:5000/"] {
            assert_eq!(Purpose::of(Some(loopback)), Some(Purpose::Loopback), "{loopback}");
        }
        for hosted in ["https://host.example.com/callback", "https://localhost:5000/callback"] {
            assert_eq!(Purpose::of(Some(hosted)), Some(Purpose::Hosted), "{hosted}");
        }
        let long = format!("https://host.example.com/{}", "a".repeat(LONGEST));
        for bad in ["", "http://host.example.com/callback", "com.example.host:/callback", "javascript:alert(1)", &long]
        {
            assert_eq!(Purpose::of(Some(bad)), None, "{bad}");
        }
        let types = [Purpose::Loopback, Purpose::Hosted, Purpose::Device].map(Purpose::application_type);
        assert_eq!(types, [ApplicationType::Native, ApplicationType::Web, ApplicationType::Native]);
    }

    #[test]
    fn a_loopback_address_has_another_form() {
        for (one, other) in [
            ("http://127.0.0.1:5000/callback", Some("http://localhost:5000/callback")),
            ("http://localhost:5000/callback", Some("http://127.0.0.1:5000/callback")),
            ("http://[::1]:5000/callback", Some("http://localhost:5000/callback")),
            ("http://127.0.0.1", Some("http://localhost")),
            ("http://localhost.example.com/callback", None),
            ("https://localhost/callback", None),
            ("https://host.example.com/callback", None),
        ] {
            assert_eq!(other_form(one).as_deref(), other, "{one}");
        }
    }

    #[test]
    fn a_registered_address_stands_for_itself_or_for_the_ports_of_its_literal() {
        let exact = |registered: &str, wanted| among(&[registered.to_owned()], wanted, Ports::Exact);
        let any = |registered: &str, wanted| among(&[registered.to_owned()], wanted, Ports::AnyOfLiterals);
        let wanted = "http://127.0.0.1:5000/callback";
        assert_eq!(exact(wanted, wanted).as_deref(), Some(wanted));
        let named = "http://localhost:5000/callback";
        assert_eq!(exact(named, wanted).as_deref(), Some(named));
        assert_eq!(any(named, wanted).as_deref(), Some(named));
        for other in ["http://127.0.0.1:5001/callback", "http://127.0.0.1:5000/other", "http://127.0.0.1/callback"] {
            assert_eq!(exact(other, wanted), None, "{other}");
        }
        for literal in ["http://127.0.0.1/callback", "http://127.0.0.1:3000/callback"] {
            assert_eq!(any(literal, wanted).as_deref(), Some(wanted), "{literal}");
        }
        assert_eq!(any("http://[::1]/callback", wanted).as_deref(), Some("http://[::1]:5000/callback"));
        for other in [
            "http://localhost/callback",
            "http://localhost:3000/callback",
            "http://127.0.0.1/other",
            "http://127.0.0.1/callback?a",
            "https://host.example.com/callback",
        ] {
            assert_eq!(any(other, wanted), None, "{other}");
        }
        let hosted = "https://host.example.com/callback";
        assert_eq!(any(hosted, hosted).as_deref(), Some(hosted));
        assert_eq!(any(hosted, "https://host.example.com:444/callback"), None);
        assert_eq!(among(&[], wanted, Ports::AnyOfLiterals), None);
    }

    #[test]
    fn a_port_is_seen() {
        assert!(has_port("http://127.0.0.1:5000/callback"));
        assert!(!has_port("http://127.0.0.1/callback") && !has_port("nothing"));
    }
}
