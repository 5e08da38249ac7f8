//! A login: the tokens that a session begins with.

use std::time::Duration;

use tokenkeeper_actors::law::ledger;
use tokenkeeper_actors::values::Moment;
use tokenkeeper_actors::values::record::{RefreshCredential, Subject};

use crate::grant::jwt_lifetime;
use crate::issuers::IssuerSettings;
use crate::{AccessToken, DpopKey, LoginError, RefreshToken, ResourceUri, Scopes, TokenKind, Validity};

/// Tokens that a person's sign-in, an import or a host's own flow brought, for [`AuthSession::install`].
///
/// A refresh token has one owner. After the login is installed, the session presents and replaces it, and no other
/// program may use it. An authorization server takes the second use of a single-use refresh token for theft.
///
/// ```
/// use std::time::Duration;
///
/// use tokenkeeper::Login;
/// use tokenkeeper::issuers::{Client, IssuerSettings};
///
/// let issuer = IssuerSettings::new("https://as.example.com", "https://as.example.com/token", Client::public("host"))?;
/// let login = Login::at(issuer)
///     .refresh_token("refresh-token-of-the-sign-in")
///     .access_token("access-token-of-the-sign-in", Some(Duration::from_secs(3_600)))
///     .granted(["tools:read", "tools:call"]);
/// # drop(login);
/// # Ok::<(), tokenkeeper::LoginError>(())
/// ```
///
/// [`AuthSession::install`]: crate::AuthSession::install
#[derive(Clone, Debug)]
pub struct Login {
    issuer: IssuerSettings,
    refresh: Option<RefreshToken>,
    access: Option<(AccessToken, Option<Duration>)>,
    requested: Scopes,
    granted: Scopes,
    subject: Option<Subject>,
    dpop_key: Option<DpopKey>,
}

impl Login {
    /// A login at this authorization server, without tokens yet.
    pub fn at(issuer: impl Into<IssuerSettings>) -> Self {
        Self {
            issuer: issuer.into(),
            refresh: None,
            access: None,
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
        }
    }

    /// The same login with this refresh token. Default: none, and the session ends with its access token.
    #[must_use]
    pub fn refresh_token(self, token: impl Into<RefreshToken>) -> Self {
        Self { refresh: Some(token.into()), ..self }
    }

    /// The same login with this access token, which lives for `lifetime` from the moment at which the login is
    /// installed. `None` if its lifetime is not known. The token is then used until a resource refuses it. Default: no
    /// access token, and the first caller refreshes.
    #[must_use]
    pub fn access_token(self, token: impl Into<AccessToken>, lifetime: Option<Duration>) -> Self {
        Self { access: Some((token.into(), lifetime)), ..self }
    }

    /// The same login with this ID token, for a session at an identity provider
    /// ([`IssuerSettings::identity_provider`]). It lives until its `exp`. Default: none, and the first caller refreshes.
    #[must_use]
    pub fn id_token(self, token: impl Into<AccessToken>) -> Self {
        Self { access: Some((token.into(), None)), ..self }
    }

    /// The same login, in which these scopes were requested. Default: the granted scopes.
    #[must_use]
    pub fn requested(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { requested: Scopes::new(scopes), ..self }
    }

    /// The same login, to which these scopes were granted. Default: none are known.
    #[must_use]
    pub fn granted(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { granted: Scopes::new(scopes), ..self }
    }

    /// The same login of this subject, as the issuer names it (`sub`). A refresh that answers for another subject parks
    /// the session. Default: not known.
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(Subject(subject.into())), ..self }
    }

    /// The same login, whose tokens are bound to this key (RFC 9449). Default: bearer tokens.
    #[must_use]
    pub fn dpop_key(self, key: impl Into<DpopKey>) -> Self {
        Self { dpop_key: Some(key.into()), ..self }
    }

    /// The login as the engine stores it, for a session with this MCP server.
    pub(crate) fn complete(
        self,
        server: Option<&ResourceUri>,
        now: Moment,
        credential: impl FnOnce(RefreshToken) -> RefreshCredential,
    ) -> Result<ledger::Login, LoginError> {
        if self.refresh.is_none() && self.access.is_none() {
            return Err(LoginError::NoToken);
        }
        if self.access.as_ref().is_some_and(|(token, _)| !token.is_well_formed()) {
            return Err(LoginError::MalformedToken { member: "access token" });
        }
        if self.refresh.as_ref().is_some_and(|token| !token.is_well_formed()) {
            return Err(LoginError::MalformedToken { member: "refresh token" });
        }
        let is_idp = self.issuer.is_identity_provider();
        // The lifetime of an ID token follows from its `exp`.
        let lifetime_of = |token: &AccessToken| jwt_lifetime(token.expose(), now.wall).filter(|_| is_idp);
        let access = self.access.map(|(token, lifetime)| {
            let lifetime = lifetime.or_else(|| lifetime_of(&token));
            (token, lifetime)
        });
        let kind = if self.dpop_key.is_some() { TokenKind::Dpop } else { TokenKind::Bearer };
        let (binding, renewal) = self.issuer.bind(server);
        Ok(ledger::Login {
            binding,
            renewal,
            // A login that names only its granted scopes counts as having requested them.
            requested: if self.requested.is_empty() { self.granted.clone() } else { self.requested },
            granted: self.granted,
            subject: self.subject,
            dpop_key: self.dpop_key,
            refresh: self.refresh.map(credential),
            access: access.map(|(token, lifetime)| ledger::LoginAccess {
                token,
                kind,
                validity: Validity::new(now, lifetime),
            }),
            at: now,
            begun_on: None,
        })
    }
}
