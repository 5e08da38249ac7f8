//! The lifetime of an access token whose answer names none, by introspection (RFC 7662).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokenkeeper_actors::law::profile::Tokens;
use tokenkeeper_actors::values::record::Grant;
use tokenkeeper_actors::values::{ServerIdentity, Validity};

use super::answer::LONGEST;
use super::time::until;
use super::{BodyFormat, RefreshGrant, Signing, request, server_time};
use crate::http::{DEFAULT_ANSWER_MOST, Departure, Exchange, decode};

/// The time-out. It is short, because callers wait although the token is valid already.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The answer (RFC 7662 section 2.2). Some servers write the time as a text.
#[derive(Deserialize)]
struct Introspection {
    active: bool,
    exp: Option<Value>,
}

impl RefreshGrant {
    /// Adds the lifetime to `tokens` that the provider's introspection endpoint names. Nothing changes if it names none.
    ///
    /// The endpoint is asked only if the answer brought no refresh token, because a new refresh token must be stored without a
    /// further wait. It is asked only if the provider's row names the grant's own token endpoint, so that the client's secret
    /// goes to no other server.
    pub(super) async fn look_up_lifetime(&self, identity: &ServerIdentity, grant: &Grant, tokens: &mut Tokens) {
        let Some(endpoints) = self.providers.of(grant.renewal.provider.as_ref()).map(|facts| &facts.endpoints) else {
            return;
        };
        let is_own = endpoints.token.as_deref() == Some(grant.binding.token_endpoint.as_str());
        let Some(endpoint) = endpoints.introspection.as_deref().filter(|_| is_own) else { return };
        if tokens.refresh.is_some() || tokens.validity.lifetime().is_some() || !tokens.access.is_well_formed() {
            return;
        }
        let parameters = vec![("token", tokens.access.expose()), ("token_type_hint", "access_token")];
        let signing = Signing { issuer: &grant.binding.issuer.0, now: self.clock.now().wall };
        let request = request::build(endpoint, &grant.binding.client, parameters, BodyFormat::Form, signing);
        let Some(request) = request else { return };
        let reach = self.reach_of(&grant.renewal, identity);
        let (timeout, max_answer, departure) = (TIMEOUT, DEFAULT_ANSWER_MOST, Departure::at_any_time());
        let answer = self.http.send(Exchange { request, timeout, max_answer, departure, reach }).await;
        let Some(answer) = answer.ok().and_then(|answer| decode(answer, max_answer).ok()) else { return };
        let named = serde_json::from_slice::<Introspection>(answer.body().as_bytes());
        let named = named.ok().filter(|named| named.active && answer.status().is_success());
        let asked = tokens.validity.anchored();
        // Both times are the server's, if it names its own.
        let now = server_time(answer.headers()).unwrap_or(asked.wall);
        let left = named.and_then(|named| match named.exp? {
            Value::String(text) => until(&text, now),
            number => until(&number.to_string(), now),
        });
        if let Some(left) = left {
            tokens.validity = Validity::new(asked, Some(left.min(LONGEST)));
        }
    }
}
