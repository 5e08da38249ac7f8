//! The target of a server identity, which is what its tokens are for.

use std::fmt;
use std::sync::Arc;

use super::super::resource::{canonical, show};
use super::{IdentityError, ResourceUri, Shown};

/// The counterpart of a session. Its tokens are presented there.
///
/// `Display` and `Debug` are safe to log, and so is the output of its parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Target {
    /// An MCP server. Its tokens are for this resource (RFC 8707).
    Mcp(ResourceUri),
    /// A provider's API that is not an MCP server.
    Api {
        /// The provider.
        provider: Provider,
    },
    /// The session at an identity provider from which cross-application access starts.
    Idp {
        /// The identity provider's issuer.
        issuer: IdpIssuer,
    },
}

/// The name of an API's provider, such as `github`. It has 1 to 64 lower-case letters, digits, dots, hyphens and
/// underscores, the first of them a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provider(Arc<str>);

/// An identity provider's issuer identifier (RFC 8414 section 2, OpenID Connect Discovery section 3). It is an
/// absolute URL in ASCII, without query, fragment or credentials, of at most 8 KiB. It is kept and compared byte by
/// byte, so two spellings are two issuers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdpIssuer(Arc<str>);

impl Target {
    /// The MCP server at `uri`, in any spelling.
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadResource`] when [`ResourceUri::parse`] refuses it.
    pub fn mcp(uri: &str) -> Result<Self, IdentityError> {
        Ok(Self::Mcp(ResourceUri::parse(uri)?))
    }

    /// The API of the provider with this name.
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadProvider`] when [`Provider::new`] refuses it.
    pub fn api(provider: &str) -> Result<Self, IdentityError> {
        Ok(Self::Api { provider: Provider::new(provider)? })
    }

    /// The session at the identity provider with this issuer identifier.
    ///
    /// # Errors
    ///
    /// An [`IdentityError`] when [`IdpIssuer::new`] refuses it.
    pub fn idp(issuer: &str) -> Result<Self, IdentityError> {
        Ok(Self::Idp { issuer: IdpIssuer::new(issuer)? })
    }

    /// The first half of an identity's key. No name contains a `#`.
    pub(super) fn kind_and_name(&self) -> (&'static str, &str) {
        match self {
            Target::Mcp(resource) => ("mcp", resource.as_str()),
            Target::Api { provider } => ("api", provider.as_str()),
            Target::Idp { issuer } => ("idp", issuer.as_str()),
        }
    }

    pub(super) fn from_kind_and_name(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "mcp" => Self::mcp(name).ok(),
            "api" => Self::api(name).ok(),
            "idp" => Self::idp(name).ok(),
            _ => None,
        }
    }

    /// The form for logs, without spaces. An MCP server, the usual target, is shown as its URL alone.
    pub(super) fn shown(&self) -> Shown {
        match self {
            Target::Mcp(resource) => resource.shown(),
            Target::Api { provider } => {
                let mut shown = Shown::with_room(Shown::TARGET);
                shown.push("api:");
                shown.push(provider.as_str());
                shown
            }
            Target::Idp { issuer } => {
                let mut shown = show(issuer.as_str());
                shown.text.insert_str(0, "idp:");
                shown
            }
        }
    }
}

impl Provider {
    /// The maximum length of a name, in bytes.
    const MAX_BYTES: usize = 64;

    /// The provider with this name.
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadProvider`] when the name breaks the rules of the type.
    pub fn new(name: &str) -> Result<Self, IdentityError> {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = name.len() <= Self::MAX_BYTES
            && name.as_bytes().first().is_some_and(alphanumeric)
            && name.bytes().all(|byte| alphanumeric(&byte) || matches!(byte, b'.' | b'-' | b'_'));
        if good { Ok(Self(name.into())) } else { Err(IdentityError::BadProvider) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IdpIssuer {
    /// The issuer with this identifier.
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadIssuer`] when it is not a possible issuer's URL, and [`IdentityError::StrangeIssuer`] when
    /// it has a query or characters outside ASCII.
    pub fn new(issuer: &str) -> Result<Self, IdentityError> {
        canonical(issuer).map_err(IdentityError::BadIssuer)?;
        if issuer.is_ascii() && !issuer.contains('?') {
            Ok(Self(issuer.into()))
        } else {
            Err(IdentityError::StrangeIssuer)
        }
    }

    /// The identifier, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown().text)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// This form is safe to log. A path segment that looks like a key is left out.
impl fmt::Display for IdpIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.0).text)
    }
}

impl fmt::Debug for IdpIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdpIssuer({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::resource::ResourceError;
    use super::*;

    #[test]
    fn a_provider_has_a_plain_name() {
        for name in ["github", "7digital", "a.b-c_d", &"x".repeat(64)] {
            assert_eq!(Provider::new(name).unwrap().as_str(), name);
        }
        for name in ["", "GitHub", ".github", "git hub", "git#hub", "git:hub", "gïthub", &"x".repeat(65)] {
            assert_eq!(Provider::new(name), Err(IdentityError::BadProvider), "{name}");
        }
        assert_eq!(Target::api("github").unwrap().to_string(), "api:github");
        assert_eq!(Provider::new("github").unwrap().to_string(), "github");
        let longest = "x".repeat(64);
        assert_eq!(Target::api(&longest).unwrap().to_string(), format!("api:{longest}"));
    }

    #[test]
    fn an_issuer_is_kept_to_the_byte() {
        for issuer in
            ["https://accounts.example.com", "https://accounts.example.com/", "HTTPS://Example.com:443/a/../b"]
        {
            assert_eq!(IdpIssuer::new(issuer).unwrap().as_str(), issuer);
        }
        assert_ne!(Target::idp("https://a.example"), Target::idp("https://a.example/"));
    }

    #[test]
    fn what_is_no_issuer_is_refused() {
        assert_eq!(IdpIssuer::new("a.example"), Err(IdentityError::BadIssuer(ResourceError::NotAbsolute)));
        assert_eq!(IdpIssuer::new("https://u:p@a.example"), Err(IdentityError::BadIssuer(ResourceError::Credentials)));
        assert_eq!(IdpIssuer::new("https://a.example/#"), Err(IdentityError::BadIssuer(ResourceError::Fragment)));
        assert_eq!(IdpIssuer::new("https://a.example/?"), Err(IdentityError::StrangeIssuer));
        assert_eq!(IdpIssuer::new("https://ä.example"), Err(IdentityError::StrangeIssuer));
    }

    #[test]
    fn a_target_shows_what_it_is_and_no_key() {
        let key = "0123456789abcdefghij";
        let shown = |target: Result<Target, IdentityError>| format!("{:?}", target.unwrap());
        assert_eq!(shown(Target::mcp("https://a.example/mcp")), "Target(https://a.example/mcp)");
        assert_eq!(shown(Target::mcp(&format!("https://a.example/{key}/mcp"))), "Target(https://a.example/…/mcp)");
        assert_eq!(shown(Target::idp(&format!("https://a.example/{key}"))), "Target(idp:https://a.example/…)");
        let issuer = IdpIssuer::new(&format!("https://a.example/{key}")).unwrap();
        assert_eq!(format!("{issuer} {issuer:?}"), "https://a.example/… IdpIssuer(https://a.example/…)");
    }
}
