//! The names of the sources that every runtime has, as records keep them.

use std::borrow::Cow;

use tokenkeeper_actors::values::SourceName;

pub(super) const CLIENT_CREDENTIALS: &str = "client_credentials";
pub(super) const JWT_BEARER: &str = "jwt_bearer";
pub(super) const TOKEN_EXCHANGE: &str = "token_exchange";
pub(super) const ID_JAG: &str = "id_jag";
pub(super) const EXEC: &str = "exec";
pub(super) const STATIC_TOKEN: &str = "static_token";

const ALL: [&str; 6] = [CLIENT_CREDENTIALS, JWT_BEARER, TOKEN_EXCHANGE, ID_JAG, EXEC, STATIC_TOKEN];

/// The names of the sources that each runtime has beside the refresh grant, as records keep them.
pub fn sources() -> impl Iterator<Item = SourceName> {
    machine_sources().chain([idp_session(), idp_refresh_token()])
}

/// The names of the sources of [`MachineGrant`](super::MachineGrant).
pub(crate) fn machine_sources() -> impl Iterator<Item = SourceName> {
    ALL.into_iter().map(name)
}

/// The name of the source of sessions at identity providers, whose lease is the ID token.
pub(crate) fn idp_session() -> SourceName {
    name("idp_session")
}

/// The name of the source of sessions at identity providers whose refresh token is exchanged.
pub(crate) fn idp_refresh_token() -> SourceName {
    name("idp_refresh_token")
}

pub(super) fn name(name: &'static str) -> SourceName {
    // A test checks that all names are valid.
    SourceName::new(Cow::Borrowed(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_a_name_of_its_own() {
        let mut names: Vec<_> = sources().map(|name| name.to_string()).collect();
        assert_eq!(names.len(), 8);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
        assert!(!names.contains(&SourceName::REFRESH_TOKEN.to_string()));
    }
}
