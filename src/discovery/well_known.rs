//! The URLs at which metadata is looked for, in order (RFC 9728 section 3.1, RFC 8414 section 3.1, OpenID Connect Discovery
//! section 4).

use tokenkeeper_actors::values::ResourceUri;
use url::Url;

const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// A place for a resource's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourcePlace {
    /// The URL of the document.
    pub(crate) url: Url,
    /// The identifier that the URL was built from, which the document must name.
    pub(crate) identifier: String,
}

/// The places for the metadata of `resource`, first the place for its path, and then the place for its origin.
///
/// The query is left out, as in the `resource` parameter, because it may hold a key.
pub(crate) fn resource_places(resource: &ResourceUri) -> Vec<ResourcePlace> {
    let Ok(url) = Url::parse(resource.without_query()) else { return Vec::new() };
    let root = ResourcePlace { url: at(&url, PROTECTED_RESOURCE), identifier: origin(&url) };
    let path = url.path();
    if path == "/" {
        return vec![root];
    }
    let inserted = at(&url, &[PROTECTED_RESOURCE, path].concat());
    vec![ResourcePlace { url: inserted, identifier: resource.without_query().to_owned() }, root]
}

/// The places for the metadata of the authorization server `issuer`. The well-known path is inserted before the issuer's
/// path, for OAuth and then for OpenID Connect, and at last appended to it.
pub(crate) fn issuer_places(issuer: &Url) -> Vec<Url> {
    // Both RFC 8414 section 3.1 and OpenID Connect remove the last slash.
    let path = issuer.path().strip_suffix('/').unwrap_or(issuer.path());
    let mut places =
        vec![at(issuer, &[AUTHORIZATION_SERVER, path].concat()), at(issuer, &[OPENID_CONFIGURATION, path].concat())];
    if !path.is_empty() {
        places.push(at(issuer, &[path, OPENID_CONFIGURATION].concat()));
    }
    places
}

/// The places for the OpenID configuration of `issuer`.
pub(crate) fn openid_places(issuer: &Url) -> Vec<Url> {
    issuer_places(issuer).split_off(1)
}

/// The endpoints of a server of 2025-03-26 without any metadata. They are at the origin of the MCP server.
pub(crate) struct DefaultEndpoints {
    pub(crate) authorization: String,
    pub(crate) token: String,
    pub(crate) registration: String,
}

impl DefaultEndpoints {
    /// The endpoints at `origin`, which has no path.
    pub(crate) fn at(origin: &Url) -> Self {
        Self {
            authorization: at(origin, "/authorize").into(),
            token: at(origin, "/token").into(),
            registration: at(origin, "/register").into(),
        }
    }
}

/// The origin of `url` in canonical form, without a slash.
pub(crate) fn origin(url: &Url) -> String {
    let root = at(url, "/");
    root.as_str().strip_suffix('/').unwrap_or(root.as_str()).to_owned()
}

/// `path` at the origin of `url`.
fn at(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_resource(resource: &str) -> Vec<(String, String)> {
        let places = resource_places(&ResourceUri::parse(resource).unwrap());
        places.into_iter().map(|place| (place.url.into(), place.identifier)).collect()
    }

    fn of_issuer(issuer: &str) -> Vec<String> {
        issuer_places(&Url::parse(issuer).unwrap()).into_iter().map(String::from).collect()
    }

    /// The path comes first, and then the root (MCP authorization, "Protected Resource Metadata Discovery Requirements").
    #[test]
    fn a_resource_is_looked_for_at_its_path_and_then_at_the_root() {
        let root = ("https://a.example/.well-known/oauth-protected-resource", "https://a.example");
        let inserted = ("https://a.example/.well-known/oauth-protected-resource/v1/mcp", "https://a.example/v1/mcp");
        let owned = |places: &[(&str, &str)]| -> Vec<_> {
            places.iter().map(|(url, identifier)| ((*url).to_owned(), (*identifier).to_owned())).collect()
        };
        assert_eq!(of_resource("https://a.example/v1/mcp"), owned(&[inserted, root]));
        assert_eq!(of_resource("https://a.example/v1/mcp?key=secret"), owned(&[inserted, root]));
        assert_eq!(of_resource("https://A.example/"), owned(&[root]));
        let slash = ("https://a.example/.well-known/oauth-protected-resource/mcp/", "https://a.example/mcp/");
        assert_eq!(of_resource("https://a.example/mcp/"), owned(&[slash, root]));
        let local = "http://[::1]:8080/.well-known/oauth-protected-resource";
        assert_eq!(of_resource("http://[::1]:8080"), owned(&[(local, "http://[::1]:8080")]));
    }

    /// MCP authorization, "Authorization Server Metadata Discovery".
    #[test]
    fn an_issuer_with_a_path_has_three_places_in_order() {
        let three = [
            "https://as.example/.well-known/oauth-authorization-server/a/b",
            "https://as.example/.well-known/openid-configuration/a/b",
            "https://as.example/a/b/.well-known/openid-configuration",
        ];
        assert_eq!(of_issuer("https://as.example/a/b"), three);
        assert_eq!(of_issuer("https://as.example/a/b/"), three);
    }

    #[test]
    fn an_issuer_without_a_path_has_two_places() {
        let two = [
            "https://as.example:8443/.well-known/oauth-authorization-server",
            "https://as.example:8443/.well-known/openid-configuration",
        ];
        assert_eq!(of_issuer("https://as.example:8443"), two);
        assert_eq!(of_issuer("https://as.example:8443/"), two);
    }

    #[test]
    fn default_endpoints_are_at_the_origin() {
        let origin = Url::parse("https://a.example/mcp?x#y").unwrap();
        let endpoints = DefaultEndpoints::at(&origin);
        assert_eq!(endpoints.authorization, "https://a.example/authorize");
        assert_eq!(endpoints.token, "https://a.example/token");
        assert_eq!(endpoints.registration, "https://a.example/register");
        assert_eq!(super::origin(&origin), "https://a.example");
    }
}
