//! The userinfo endpoint (OpenID Connect Core section 5.3).

use std::time::Duration;

use serde_json::{Value, json};

use super::site::Site;
use super::{LoginGrant, LoginServer};
use crate::hostile::Grant;
use crate::hostile::authority::Authority;
use crate::hostile::reply::Reply;

/// The path of the endpoint.
pub(super) const PATH: &str = "/userinfo";

impl LoginServer {
    /// The further claims of the userinfo endpoint from now on. See [`LoginServerBuilder::userinfo`](super::LoginServerBuilder::userinfo).
    pub fn userinfo(&self, claims: Value) {
        self.site(|site| site.settings.userinfo = Some(claims));
    }

    /// A first grant to the server's public client, as a login of `subject` obtains it. See [`HostileAs::grant`].
    ///
    /// [`HostileAs::grant`]: crate::hostile::HostileAs::grant
    pub fn grant_as(&self, subject: &str) -> Grant {
        let grant = self.hostile.grant();
        let (client, subject) = (grant.binding.client.id.clone(), subject.to_owned());
        self.site(|site| site.grants.add(LoginGrant { chain: grant.chain, client, subject }));
        grant
    }
}

impl Site {
    /// The answer to a request with this access token.
    pub(in crate::hostile) fn userinfo(&self, authority: &Authority, access: Option<&str>, now: Duration) -> Reply {
        let Some(access) = access.and_then(|access| authority.live(access, now)) else {
            return Reply::empty(401).with("www-authenticate", "Bearer error=\"invalid_token\"");
        };
        let of_grant = access.origin.and_then(|(chain, _)| self.grants.subject(chain));
        let subject = of_grant.unwrap_or(&self.settings.subject);
        let mut claims = json!({
            "sub": subject,
            "name": format!("The person {subject}"),
            "email": format!("{subject}@example.com"),
            "email_verified": true,
        });
        for (name, value) in self.settings.userinfo.iter().filter_map(Value::as_object).flatten() {
            claims[name] = value.clone();
        }
        Reply::json(200, &claims).with("cache-control", "no-store")
    }
}
