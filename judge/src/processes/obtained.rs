//! The tokens that this process obtained by its own token requests.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokenkeeper::engine::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper::engine::law::profile::{Evidence, NotSent};
use tokenkeeper::engine::ports::source::{NotRevoked, SourceConnection, TokenSource};
use tokenkeeper::engine::values::record::Grant;
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::{AccessToken, ServerIdentity};

/// The access tokens that token requests of this process brought, oldest first. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct ObtainedTokens(Arc<Mutex<Vec<AccessToken>>>);

impl ObtainedTokens {
    /// Returns whether a token request of this process brought this token, and forgets it and those before it.
    pub fn take(&self, token: &AccessToken) -> bool {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tokens.iter().position(|obtained| obtained == token);
        if let Some(index) = found {
            tokens.drain(..=index);
        }
        found.is_some()
    }

    /// Adds the token that a request brought, if it brought one.
    fn list(&self, evidence: Evidence) -> Evidence {
        if let Evidence::Tokens(tokens) = &evidence {
            let mut obtained = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            obtained.push(tokens.access.clone());
        }
        evidence
    }
}

/// The refresh grant, with a list of the tokens that it obtains.
#[derive(Debug)]
pub(super) struct ListingGrant {
    pub(super) grant: RefreshGrant,
    pub(super) obtained: ObtainedTokens,
}

#[async_trait]
impl TokenSource for ListingGrant {
    fn spending(&self) -> Spending {
        self.grant.spending()
    }

    async fn connect(
        &self,
        identity: &ServerIdentity,
        grant: &Grant,
    ) -> Result<Option<Box<dyn SourceConnection>>, NotSent> {
        let connection = self.grant.connect(identity, grant).await?;
        let listing =
            |connection| Box::new(ListingConnection { connection, obtained: self.obtained.clone() }) as Box<_>;
        Ok(connection.map(listing))
    }

    async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        self.obtained.list(self.grant.request(identity, request).await)
    }

    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked> {
        self.grant.revoke(identity, revocation).await
    }
}

/// A connection of a [`ListingGrant`].
#[derive(Debug)]
struct ListingConnection {
    connection: Box<dyn SourceConnection>,
    obtained: ObtainedTokens,
}

#[async_trait]
impl SourceConnection for ListingConnection {
    async fn request(self: Box<Self>, identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        let Self { connection, obtained } = *self;
        obtained.list(connection.request(identity, request).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_once_and_with_those_before_it() {
        let obtained = ObtainedTokens::default();
        let tokens = ["one", "two", "three"].map(AccessToken::new);
        obtained.0.lock().unwrap().extend(tokens.clone());
        assert!(!obtained.take(&AccessToken::new("another")));
        assert_eq!(
            [&tokens[1], &tokens[1], &tokens[0], &tokens[2]].map(|token| obtained.take(token)),
            [true, false, false, true]
        );
    }
}
