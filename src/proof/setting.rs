//! The setting for tokens that are bound to a key.

/// Whether a login asks for tokens that are bound to a key of the session (DPoP, RFC 9449). A bound token that is stolen
/// without the key is useless.
///
/// A session whose login asked for bound tokens never falls back. If the server issues a bearer token instead, the login ends
/// with [`LoginReason::NotBound`](crate::LoginReason::NotBound). A later login of the session asks for bound tokens as well,
/// unless the session is opened with [`Off`](Self::Off).
///
/// Proofs need the feature `dpop`. Without it, [`WhereAnnounced`](Self::WhereAnnounced) asks for bearer tokens, and a login with
/// [`Required`](Self::Required) fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dpop {
    /// The login asks for bearer tokens.
    #[default]
    Off,
    /// The login asks for bound tokens at an authorization server whose metadata lists ES256
    /// (`dpop_signing_alg_values_supported`), and for bearer tokens elsewhere. A resource that requires bound tokens
    /// (`dpop_bound_access_tokens_required`) never gets bearer tokens.
    WhereAnnounced,
    /// The login asks for bound tokens, even if the server does not announce them, and accepts no others.
    Required,
}

/// The announcements of the two servers of a login.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced<'a> {
    /// The algorithms of the authorization server.
    pub(crate) server: Option<&'a [String]>,
    /// The algorithms of the resource (RFC 9728 section 2).
    pub(crate) resource: Option<&'a [String]>,
    /// Whether the resource accepts only bound tokens.
    pub(crate) is_required: bool,
}

impl Dpop {
    /// Whether a login asks for bound tokens. `None` if bound tokens are required but cannot be requested.
    pub(crate) fn asks(self, announced: Announced<'_>, supported: bool) -> Option<bool> {
        let lists = |algorithms: &[String]| algorithms.iter().any(|algorithm| algorithm == "ES256");
        let fits_resource = announced.resource.is_none_or(lists);
        let possible = supported && fits_resource && announced.server.is_none_or(lists);
        match self {
            Self::Off => Some(false),
            Self::WhereAnnounced if announced.server.is_some() && possible => Some(true),
            Self::WhereAnnounced if announced.is_required => possible.then_some(true),
            Self::WhereAnnounced => Some(false),
            Self::Required => possible.then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_asks_for_bound_tokens_as_the_setting_and_the_servers_say() {
        let (es, other) = (Some(vec!["RS256".to_owned(), "ES256".to_owned()]), Some(vec!["RS256".to_owned()]));
        let asks = |setting: Dpop, server: &Option<Vec<String>>, resource: &Option<Vec<String>>, is_required| {
            let announced = Announced { server: server.as_deref(), resource: resource.as_deref(), is_required };
            [setting.asks(announced, true), setting.asks(announced, false)]
        };
        let (yes, no, never) = (Some(true), Some(false), None);
        for (setting, server, resource, is_required, expected) in [
            (Dpop::Off, &es, &es, true, [no, no]),
            (Dpop::WhereAnnounced, &es, &None, false, [yes, no]),
            (Dpop::WhereAnnounced, &None, &es, false, [no, no]),
            (Dpop::WhereAnnounced, &other, &None, false, [no, no]),
            (Dpop::WhereAnnounced, &es, &other, false, [no, no]),
            (Dpop::WhereAnnounced, &es, &es, true, [yes, never]),
            (Dpop::WhereAnnounced, &None, &None, true, [yes, never]),
            (Dpop::WhereAnnounced, &other, &None, true, [never, never]),
            (Dpop::Required, &es, &es, false, [yes, never]),
            (Dpop::Required, &None, &None, false, [yes, never]),
            (Dpop::Required, &other, &None, false, [never, never]),
            (Dpop::Required, &es, &other, false, [never, never]),
        ] {
            assert_eq!(asks(setting, server, resource, is_required), expected, "{setting:?} {server:?} {resource:?}");
        }
    }
}
