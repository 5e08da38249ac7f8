//! Credentials of a host that used rmcp's own `AuthClient` (feature `import`).
//!
//! A refresh token has one owner. Take it over in this order, with no [`AuthClient`] or `AuthorizationManager` of the
//! host still running:
//!
//! 1. [`login`] reads the credentials.
//! 2. [`AuthSession::install`] stores them. The session owns the refresh token from then on.
//! 3. [`CredentialStore::clear`] removes them, so that no other program presents the same refresh token.
//!
//! Between processes, hold the guard of [`CredentialStore::acquire_refresh_guard`] over all three steps.
//!
//! [`AuthClient`]: rmcp::transport::auth::AuthClient
//! [`AuthSession::install`]: tokenkeeper::AuthSession::install

use std::time::{Duration, SystemTime};

use rmcp::transport::auth::{AuthError, CredentialStore, StoredCredentials};
use serde::Deserialize;
use tokenkeeper::issuers::IssuerSettings;
use tokenkeeper::{Login, LoginError};

/// The reason why credentials could not be taken over. The store was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The store could not be read.
    #[error("the credential store could not be read")]
    Store(#[source] AuthError),
    /// The store holds no tokens, so there is nothing to take over.
    #[error("the credential store holds no tokens: sign in")]
    Empty,
    /// The tokens are not in the form of a token response (RFC 6749 section 5.1).
    #[error("the stored tokens cannot be read: sign in")]
    Unreadable,
    /// The credentials name another issuer than the settings.
    #[error("the stored tokens are of another issuer than the settings: take the settings of {stored}")]
    OtherIssuer {
        /// The issuer that the credentials name.
        stored: String,
    },
    /// The settings are not acceptable.
    #[error(transparent)]
    Settings(#[from] LoginError),
}

/// Reads the credentials of an rmcp store as a [`Login`], for [`AuthSession::install`].
///
/// rmcp stores the client's identifier and, since 3.2, the issuer. `settings` adds the rest. It gets the stored credentials
/// and returns the settings of their authorization server, with its token endpoint and the client's secret if it has one.
///
/// The access token is taken over for the rest of its lifetime, if that is known. An expired token is not taken over.
///
/// ```
/// use rmcp::transport::auth::CredentialStore;
/// use tokenkeeper::issuers::{Client, IssuerSettings};
/// use tokenkeeper::{AuthSession, LoginError};
///
/// async fn take_over(store: &dyn CredentialStore, session: &AuthSession) -> Result<(), Box<dyn std::error::Error>> {
///     let login = tokenkeeper_rmcp::import::login(store, |stored| {
///         let client = Client::public(&stored.client_id);
///         IssuerSettings::new("https://as.example.com", "https://as.example.com/token", client)
///     })
///     .await?;
///     session.install(login).await?;
///     store.clear().await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`ImportError`]. The store is unchanged in every case.
///
/// # Cancellation
///
/// Safe to drop. Nothing was changed.
///
/// [`AuthSession::install`]: tokenkeeper::AuthSession::install
pub async fn login(
    store: &dyn CredentialStore,
    settings: impl FnOnce(&StoredCredentials) -> Result<IssuerSettings, LoginError>,
) -> Result<Login, ImportError> {
    let stored = store.load().await.map_err(ImportError::Store)?.ok_or(ImportError::Empty)?;
    let settings = settings(&stored)?;
    if let Some(issuer) = &stored.issuer
        && issuer.trim_end_matches('/') != settings.issuer().trim_end_matches('/')
    {
        return Err(ImportError::OtherIssuer { stored: issuer.clone() });
    }
    let response = stored.token_response.ok_or(ImportError::Empty)?;
    // rmcp does not export the trait that reads the response. Its serialized form is the one of RFC 6749.
    let tokens = serde_json::to_value(response).and_then(Tokens::deserialize).map_err(|_| ImportError::Unreadable)?;
    let lifetime = tokens.lifetime(stored.token_received_at);
    let mut login = Login::at(settings).granted(stored.granted_scopes);
    let is_renewable = tokens.refresh_token.is_some();
    if let Some(token) = tokens.refresh_token {
        login = login.refresh_token(token);
    }
    match lifetime {
        Lifetime::Left(span) => login = login.access_token(tokens.access_token, Some(span)),
        // A token of unknown lifetime is tried if there is no refresh token. It is used until a resource refuses it.
        Lifetime::Unknown if !is_renewable => login = login.access_token(tokens.access_token, None),
        Lifetime::Unknown | Lifetime::Over => {}
    }
    Ok(login)
}

/// A token response (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

enum Lifetime {
    Left(Duration),
    Over,
    Unknown,
}

impl Tokens {
    /// `received` is in seconds since 1970.
    fn lifetime(&self, received: Option<u64>) -> Lifetime {
        #[expect(clippy::disallowed_methods, reason = "the credentials have wall time, and the login begins now")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (Some(received), Some(lifetime), Ok(now)) = (received, self.expires_in, now) else {
            return Lifetime::Unknown;
        };
        let end = Duration::from_secs(received.saturating_add(lifetime));
        match end.checked_sub(now) {
            // If the clock was set back, the lifetime does not grow.
            Some(left) if !left.is_zero() => Lifetime::Left(left.min(Duration::from_secs(lifetime))),
            _ => Lifetime::Over,
        }
    }
}
