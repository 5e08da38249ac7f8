//! The authorization request (RFC 6749 section 4.1.1), with PKCE, the resource indicator and pushed requests.

use tokenkeeper_actors::values::Scopes;
use url::Url;

use super::proof_key;
use super::scopes::OFFLINE_ACCESS;

/// The contents of an authorization request.
#[derive(Clone, Copy)]
pub(super) struct AuthorizationRequest<'a> {
    pub(super) client_id: &'a str,
    pub(super) redirect_uri: &'a str,
    pub(super) scopes: &'a Scopes,
    pub(super) state: &'a str,
    pub(super) verifier: &'a str,
    /// The resource, exactly as its metadata publishes it (RFC 8707 section 2).
    pub(super) resource: Option<&'a str>,
    /// The thumbprint of the key that the code is to be bound to (RFC 9449 section 10).
    pub(super) proof_key: Option<&'a str>,
    /// The account for which the person is to sign in.
    pub(super) login_hint: Option<&'a str>,
    /// The parameter and the separator of the scopes.
    pub(super) scope_form: (&'a str, &'a str),
    /// Further parameters of the host and of the provider.
    pub(super) extra: &'a [(String, String)],
}

impl AuthorizationRequest<'_> {
    /// The parameters, for the query or for a pushed request (RFC 9126).
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        let mut all: Vec<(&str, String)> = vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.client_id.to_owned()),
            ("redirect_uri", self.redirect_uri.to_owned()),
            ("state", self.state.to_owned()),
            ("code_challenge", proof_key::challenge(self.verifier)),
            ("code_challenge_method", "S256".to_owned()),
        ];
        all.extend(self.resource.map(|resource| ("resource", resource.to_owned())));
        all.extend(self.proof_key.map(|thumbprint| ("dpop_jkt", thumbprint.to_owned())));
        all.extend(self.login_hint.map(|hint| ("login_hint", hint.to_owned())));
        let (scope_parameter, separator) = self.scope_form;
        if !self.scopes.is_empty() {
            all.push((scope_parameter, self.scopes.iter().collect::<Vec<_>>().join(separator)));
        }
        // OpenID Connect Core section 11 requires this prompt beside `offline_access`. A server may ignore the scope
        // without it.
        let has_prompt = self.extra.iter().any(|(name, _)| name == "prompt");
        if !has_prompt && self.scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
            all.push(("prompt", "consent".to_owned()));
        }
        let is_free = |name: &str| all.iter().all(|(taken, _)| *taken != name);
        let extra: Vec<_> = self.extra.iter().filter(|(name, _)| is_free(name)).cloned().collect();
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(extra).collect()
    }
}

/// The parameters that are removed from a query in the endpoint's URL, even if the request was pushed.
const OWN: [&str; 11] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "scope",
    "dpop_jkt",
    "request",
    "request_uri",
];

/// The address of the authorization page with these parameters. A query in the endpoint's URL stays (RFC 6749 section 3.1),
/// except for parameters of the request itself. They must not be repeated, and servers disagree about which of two they
/// read. Returns `None` for an endpoint that is no URL.
pub(super) fn page(endpoint: &str, parameters: &[(String, String)]) -> Option<String> {
    let mut url = Url::parse(endpoint).ok()?;
    let is_ours = |name: &str| OWN.contains(&name) || parameters.iter().any(|(own, _)| own == name);
    if url.query_pairs().any(|(name, _)| is_ours(&name)) {
        let others: Vec<_> = url.query_pairs().filter(|(name, _)| !is_ours(name)).collect();
        let others: Vec<_> = others.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    url.query_pairs_mut().extend_pairs(parameters);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A request for `scopes`, without anything optional.
    fn request(scopes: &Scopes) -> AuthorizationRequest<'_> {
        AuthorizationRequest {
            client_id: "host",
            redirect_uri: "http://127.0.0.1:4000/callback",
            scopes,
            state: "st",
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            resource: Some("https://mcp.example.com/mcp"),
            proof_key: None,
            login_hint: None,
            scope_form: ("scope", " "),
            extra: &[],
        }
    }

    fn sent(request: AuthorizationRequest<'_>) -> BTreeMap<String, String> {
        let all = request.parameters();
        let count = all.len();
        let map: BTreeMap<_, _> = all.into_iter().collect();
        assert_eq!(map.len(), count, "no parameter comes twice");
        map
    }

    fn owned<const N: usize>(parameters: [(&str, &str); N]) -> [(String, String); N] {
        parameters.map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    #[test]
    fn it_has_pkce_the_resource_and_no_scope_where_none_is_named() {
        let wanted = [
            ("client_id", "host"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("redirect_uri", "http://127.0.0.1:4000/callback"),
            ("resource", "https://mcp.example.com/mcp"),
            ("response_type", "code"),
            ("state", "st"),
        ];
        assert_eq!(sent(request(&Scopes::default())), owned(wanted).into());
    }

    #[test]
    fn a_refresh_token_is_asked_for_with_consent() {
        let scopes = Scopes::new(["tools", "offline_access"]);
        let asked = sent(request(&scopes));
        assert_eq!((asked["scope"].as_str(), asked["prompt"].as_str()), ("tools offline_access", "consent"));
        let extra = owned([("prompt", "select_account")]);
        assert_eq!(sent(AuthorizationRequest { extra: &extra, ..request(&scopes) })["prompt"], "select_account");
    }

    #[test]
    fn a_host_adds_parameters_and_replaces_none() {
        let extra = owned([("audience", "a"), ("state", "forged"), ("redirect_uri", "https://evil.example")]);
        let scopes = Scopes::default();
        let hint = Some("ann@example.com");
        let asked = sent(AuthorizationRequest { extra: &extra, login_hint: hint, ..request(&scopes) });
        assert_eq!((asked["audience"].as_str(), asked["login_hint"].as_str()), ("a", "ann@example.com"));
        assert_eq!((asked["state"].as_str(), asked["redirect_uri"].as_str()), ("st", "http://127.0.0.1:4000/callback"));
    }

    #[test]
    fn the_query_of_the_endpoint_stays() {
        let parameters = [("scope".to_owned(), "a b&c".to_owned())];
        let page = page("https://as.example.com/authorize?tenant=1", &parameters).unwrap();
        assert_eq!(page, "https://as.example.com/authorize?tenant=1&scope=a+b%26c");
        assert_eq!(super::page("authorize", &parameters), None);
    }
}
