//! The sign-on of a person at an identity provider (OpenID Connect Core section 3.1). The lease of its session is the ID token.

use std::sync::Arc;

use serde::Deserialize;
use tokenkeeper_actors::law::ledger::LoginAccess;
use tokenkeeper_actors::values::record::RenewalPlan;
use tokenkeeper_actors::values::{
    AccessToken, IdpIssuer, LoginReason, Moment, ProviderName, Scopes, ServerIdentity, Target,
};
use tokenkeeper_actors::values::{TokenKind, Validity};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::discovery::{Discovered, Discovery, ProtectedResource};
use crate::grant::MAX_ID_TOKEN;
use crate::grant::jwt_lifetime;
use crate::http::Reach;
use crate::issuers::providers::Providers;
use crate::machine::idp_session;

/// The scope without which a server issues no ID token (OpenID Connect Core section 3.1.2.1).
pub(super) const OPENID: &str = "openid";

/// The member of a token endpoint's answer that is read here.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Answer {
    #[serde(default)]
    id_token: Option<String>,
}

/// The issuer of the identity provider, if `identity` is with one.
pub(super) fn issuer(identity: &ServerIdentity) -> Option<&IdpIssuer> {
    match identity.target() {
        Target::Idp { issuer } => Some(issuer),
        _ => None,
    }
}

/// The renewal plan of a login of `identity` at `issuer`. It names the provider, whose profile applies, and limits the
/// reach of requests.
pub(super) fn renewal_at(providers: &Providers, identity: &ServerIdentity, issuer: &str, reach: Reach) -> RenewalPlan {
    let plan = RenewalPlan {
        provider: providers.of_issuer(issuer),
        server_named: reach != Reach::Any,
        ..RenewalPlan::default()
    };
    match identity.target() {
        Target::Idp { .. } => RenewalPlan { source: idp_session(), ..plan },
        // The session's target names the provider, whose row may list no host to recognize it by.
        Target::Api { provider } => {
            RenewalPlan { provider: ProviderName::new(provider.as_str().to_owned()).ok(), ..plan }
        }
        _ => plan,
    }
}

/// The scopes of a sign-on, which asks for an ID token in any case.
pub(super) fn scopes(scopes: Scopes) -> Scopes {
    let has_openid = scopes.iter().any(|scope| scope == OPENID);
    if has_openid { scopes } else { Scopes::new(std::iter::once(OPENID).chain(scopes.iter())) }
}

/// The ID token in a token endpoint's answer, whose request began at `asked`. `None` if there is no ID token that can be
/// used.
pub(super) fn id_token(answer: &[u8], asked: Moment) -> Option<LoginAccess> {
    let token = serde_json::from_slice::<Answer>(answer).ok()?.id_token.take()?;
    let token = Some(token).filter(|token| token.len() <= MAX_ID_TOKEN).map(AccessToken::new)?;
    let validity = Validity::new(asked, jwt_lifetime(token.expose(), asked.wall));
    token.is_well_formed().then_some(LoginAccess { token, kind: TokenKind::Bearer, validity })
}

/// Finds the metadata of an identity provider, and the reach of its URLs. The host or the person has named the provider, so its
/// endpoints may be anywhere.
pub(super) async fn discover(discovery: &Discovery, issuer: &IdpIssuer) -> Result<(Discovered, Reach), LoginReason> {
    let reach = discovery.reach_setting().unwrap_or(Reach::Any);
    let server = discovery.server_anew(issuer.as_str(), reach).await.map_err(|error| {
        tracing::info!(issuer = issuer.as_str(), %error, "the identity provider cannot be used");
        error.reason()
    })?;
    // An identity provider has no resource metadata. This stand-in fills its place, and none of it is sent.
    let resource = ProtectedResource::unpublished(issuer.as_str(), server.issuer.clone());
    Ok((Discovered { resource, server: Arc::unwrap_or_clone(server) }, reach))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use tokenkeeper_actors::values::WallTime;

    use super::*;

    #[test]
    fn a_sign_on_always_asks_for_an_id_token() {
        let asked = |text: &str| scopes(Scopes::new(text.split_whitespace())).iter().collect::<Vec<_>>().join(" ");
        assert_eq!(asked(""), "openid");
        assert_eq!(asked("email"), "openid email");
        assert_eq!(asked("email openid"), "email openid");
    }

    #[test]
    fn the_id_token_is_the_lease_and_lives_until_its_end() {
        let asked = Moment { wall: WallTime::from_millis(1_700_000_000_000), ..Moment::default() };
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"iat":1700000000,"exp":1700000600}"#));
        let access = id_token(format!(r#"{{"access_token":"at","id_token":"{token}"}}"#).as_bytes(), asked).unwrap();
        assert_eq!(access.token.expose(), token);
        assert_eq!(access.validity.lifetime(), Some(Duration::from_secs(600)));
        for none in [r#"{"access_token":"at"}"#, r#"{"id_token":""}"#, r#"{"id_token":7}"#, r#"{"id_token":"a\nb"}"#] {
            assert!(id_token(none.as_bytes(), asked).is_none(), "{none}");
        }
    }
}
