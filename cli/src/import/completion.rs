//! Adds the members of a login that another program does not keep, by discovery.

use std::io;
use std::sync::Arc;

use tokenkeeper::ServerIdentity;
use tokenkeeper::discovery::{AuthorizationServer, Discovered, Discovery};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::http::Reach;
use url::Url;

use super::bundle::{Bundle, Resource};
use crate::failure::Failure;
use crate::paint::harmless;
use crate::{egress, home, login};

/// Adds the authorization server of `identity` to the login from `place`. `issuer` is the one that gave the tokens, as the
/// program or the person names it. A refresh token is sent to no other issuer (law 13).
///
/// # Errors
///
/// The failure of discovery, or [`Failure::Refused`] if the issuer is not known or the MCP server names another one.
pub(super) fn complete(
    bundle: &mut Bundle,
    identity: &ServerIdentity,
    issuer: Option<&str>,
    place: &str,
) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::new().map_err(io::Error::other)?);
    let (found, reach) = home::block_on(async {
        let discovery = Discovery::new(Arc::new(egress::client()?), clock);
        let found = login::discover(&discovery, identity, issuer).await.map_err(|error| {
            Failure::not_discovered(error, identity)
                .after(&format!("the tokens are in {place}, and their authorization server cannot be found"))
        })?;
        let reach = identity.resource().map_or(Reach::Public, |resource| discovery.reach_for(resource));
        Ok((found, reach))
    })?;
    let Discovered { resource, server, .. } = found;
    match issuer {
        Some(issuer) if !is_same(issuer, &server.issuer) => {
            return Err(Failure::Refused(format!(
                "the tokens in {place} are of {}, and the server names {} now: sign in with tokenkeeper login",
                harmless(issuer),
                harmless(&server.issuer)
            )));
        }
        Some(_) => {}
        None => {
            let found = harmless(&server.issuer);
            return Err(Failure::Refused(format!(
                "it is not known which authorization server gave the tokens in {place}, and a refresh token goes to no other \
                 one: the server names {found} now, so add --issuer {found} if you signed in there"
            )));
        }
    }
    if bundle.client_secret.is_some() && bundle.token_endpoint_auth_method.is_none() {
        bundle.token_endpoint_auth_method = Some(method(&server).to_owned());
    }
    bundle.is_server_named = reach != Reach::Any;
    bundle.issuer = Some(server.issuer);
    bundle.token_endpoint = Some(server.token_endpoint);
    bundle.revocation_endpoint = server.revocation_endpoint;
    bundle.resource = Some(Resource::Url(resource.resource));
    Ok(())
}

/// Whether the two texts name one issuer. Some programs store an issuer with the slash of an empty path, and some without
/// it.
fn is_same(one: &str, other: &str) -> bool {
    let is_slash_of = |longer: &str, shorter: &str| {
        longer.strip_suffix('/') == Some(shorter) && Url::parse(longer).is_ok_and(|url| url.path() == "/")
    };
    one == other || is_slash_of(one, other) || is_slash_of(other, one)
}

/// The method by which a client with a secret authenticates, if the program does not keep the method. A server without a
/// list offers `client_secret_basic` (RFC 8414 section 2).
fn method(server: &AuthorizationServer) -> &'static str {
    let offers = |method| server.auth_methods.as_ref().is_none_or(|all| all.iter().any(|offered| offered == method));
    if !offers("client_secret_basic") && offers("client_secret_post") {
        "client_secret_post"
    } else {
        "client_secret_basic"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_slash_of_an_empty_path_is_forgiven() {
        for (one, other, same) in [
            ("https://as.example", "https://as.example/", true),
            ("https://as.example/t", "https://as.example/t", true),
            ("https://as.example/t", "https://as.example/t/", false),
            ("https://as.example", "https://as.example//", false),
            ("https://as.example", "https://as.example.evil/", false),
        ] {
            assert_eq!((is_same(one, other), is_same(other, one)), (same, same), "{one} {other}");
        }
    }
}
