//! The scopes of a request (MCP authorization, "Scope Selection Strategy" and "Refresh Tokens").

use tokenkeeper_actors::values::Scopes;

/// The scope that asks for a refresh token (OpenID Connect Core section 11).
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

/// The places that name scopes. The first place that names any is used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScopeSources<'a> {
    /// The scopes that the caller or the present grant wants.
    pub(super) wanted: Option<&'a Scopes>,
    /// The scopes of the resource's last challenge.
    pub(super) challenged: Option<&'a Scopes>,
    /// `scopes_supported` of the resource.
    pub(super) resource: Option<&'a Scopes>,
    /// `scopes_supported` of the authorization server.
    pub(super) server: Option<&'a Scopes>,
}

impl ScopeSources<'_> {
    /// The scopes to ask for. Empty if the parameter is to be left out.
    ///
    /// `offline_access` is added where the authorization server lists it, and beside other scopes only. Alone, it would
    /// replace the scopes that the server grants by default.
    pub(super) fn select(self) -> Scopes {
        let named = [self.wanted, self.challenged, self.resource];
        let Some(scopes) = named.into_iter().flatten().find(|scopes| !scopes.is_empty()) else {
            return Scopes::default();
        };
        let has_offline = |scopes: &Scopes| scopes.iter().any(|scope| scope == OFFLINE_ACCESS);
        let adds_offline = self.server.is_some_and(has_offline) && !has_offline(scopes);
        Scopes::new(scopes.iter().chain(adds_offline.then_some(OFFLINE_ACCESS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::new(text.split_whitespace())
    }

    #[test]
    fn the_first_place_that_names_any_decides() {
        let (wanted, challenged, resource) = (scopes("w"), scopes("c d"), scopes("r"));
        let all = ScopeSources {
            wanted: Some(&wanted),
            challenged: Some(&challenged),
            resource: Some(&resource),
            server: None,
        };
        let none = Scopes::default();
        assert_eq!(all.select(), wanted);
        assert_eq!(ScopeSources { wanted: Some(&none), ..all }.select(), challenged);
        assert_eq!(ScopeSources { wanted: None, challenged: Some(&none), ..all }.select(), resource);
        assert_eq!(ScopeSources { wanted: None, challenged: None, resource: None, ..all }.select(), none);
    }

    #[test]
    fn a_refresh_token_is_asked_for_where_the_server_lists_the_scope_and_never_alone() {
        let (wanted, lists) = (scopes("tools"), scopes("tools offline_access"));
        fn asked(wanted: Option<&Scopes>, server: Option<&Scopes>) -> Scopes {
            ScopeSources { wanted, server, ..ScopeSources::default() }.select()
        }
        assert_eq!(asked(Some(&wanted), Some(&lists)), lists);
        assert_eq!(asked(Some(&lists), Some(&lists)), lists);
        assert_eq!(asked(Some(&wanted), Some(&wanted)), wanted);
        assert_eq!(asked(Some(&wanted), None), wanted);
        assert_eq!(asked(None, Some(&lists)), Scopes::default());
    }
}
