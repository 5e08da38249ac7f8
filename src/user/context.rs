//! The person who is signed in, as the provider describes them.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokenkeeper_actors::runtime::ServedLogin;
use tokenkeeper_actors::values::WallTime;

use crate::Generation;

/// The person who is signed in to a session, as the provider describes them. Cheap to clone; clones share one value.
///
/// It is immutable. [`user`](crate::AuthSession::user) returns another context once this one is too old, and at once after a
/// login or a logout.
///
/// Its texts come from the provider, and may contain anything but control characters. They are for display, and for decisions
/// in which the host trusts the provider. Claims of an access token are read as the issuer sent them to this process, over
/// TLS, and their signature is not verified.
///
/// `Debug` shows no text of the person.
#[derive(Clone, PartialEq, Eq)]
pub struct UserContext(Arc<Parts>);

/// The parts of a [`UserContext`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) subject: String,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) email_verified: Option<bool>,
    pub(crate) groups: Vec<String>,
    pub(crate) has_more_groups: bool,
    pub(crate) claims: Value,
    pub(crate) generation: Generation,
    /// The time at which the login was completed.
    pub(crate) signed_in: Option<WallTime>,
    pub(crate) fetched_at: WallTime,
}

impl UserContext {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The person's identifier at the provider. It is not empty. It is unique only within the provider.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The name for display, if the provider gives one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The e-mail address, if the provider gives one. [`is_email_verified`](Self::is_email_verified) states whether it is the
    /// person's.
    pub fn email(&self) -> Option<&str> {
        self.0.email.as_deref()
    }

    /// Whether the provider has verified that the e-mail address is the person's. `None` if the provider does not state it.
    pub fn is_email_verified(&self) -> Option<bool> {
        self.0.email_verified
    }

    /// The groups and roles, in the provider's order. Empty if the provider names none, and also if it names them elsewhere
    /// ([`has_more_groups`](Self::has_more_groups)).
    pub fn groups(&self) -> &[String] {
        &self.0.groups
    }

    /// Whether the person has groups that [`groups`](Self::groups) does not list. Providers leave groups out of a token if there
    /// are too many, Entra ID beyond 200. More than 1,024 are not kept here. A host that decides by a group asks the provider's API
    /// then.
    pub fn has_more_groups(&self) -> bool {
        self.0.has_more_groups
    }

    /// All claims, in one object with a member for each answer. The members have the names of the mapping's
    /// [requests](crate::user::UserMapping::requests), and `access_token` or `id_token` for the claims of a token.
    pub fn claims(&self) -> &Value {
        &self.0.claims
    }

    /// The generation of the lease that the claims were fetched with. A refresh does not change it.
    pub fn generation(&self) -> Generation {
        self.0.generation
    }

    /// The time at which the provider was asked, by the wall clock.
    pub fn fetched_at(&self) -> WallTime {
        self.0.fetched_at
    }

    /// The login that the context belongs to.
    pub(crate) fn login(&self) -> ServedLogin {
        ServedLogin { epoch: self.0.generation.epoch, signed_in: self.0.signed_in }
    }
}

impl fmt::Debug for UserContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserContext")
            .field("generation", &format_args!("{}", self.0.generation))
            .field("fetched_at", &self.0.fetched_at)
            .field("groups", &self.0.groups.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokenkeeper_actors::values::Epoch;

    use super::*;

    #[test]
    fn debug_shows_no_claim() {
        let context = UserContext::new(Parts {
            subject: "private-subject".to_owned(),
            name: Some("private-name".to_owned()),
            email: Some("private@example.com".to_owned()),
            groups: vec!["private-group".to_owned()],
            claims: serde_json::json!({ "userinfo": { "phone": "private" } }),
            generation: Generation::stored(Epoch::new(3), 7),
            ..Parts::default()
        });
        let shown = format!("{context:?}");
        assert!(!shown.contains("private") && shown.contains("3.7") && shown.contains("groups: 1"), "{shown}");
    }
}
