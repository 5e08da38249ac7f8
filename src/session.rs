//! The session, which is a host's handle on the state of one server identity.

use std::sync::Arc;

use tokenkeeper_actors::runtime;
use tokenkeeper_actors::values;
use tokenkeeper_actors::values::record::Issuer;

use crate::authorization::AuthorizationLogins;
use crate::discovery::{Challenge, Freshness};
use crate::oauth::OAuth;
use crate::proof::Prover;

use crate::{
    Account, ChallengeKey, ConfigureError, Dpop, IdentityError, Lease, LoggedOut, Login, LoginError, LogoutError,
    OperationKey, ProviderName, Reason, RenewalPlan, ServerIdentity, SessionState, StateWatch, Target, TokenError,
    TokenOptions,
};

/// A handle on the session of one server identity. Cheap to clone; all handles of an identity are on one session.
///
/// # Concurrency
///
/// All methods take `&self`, and none holds a lock over an await. Every future is `Send` and safe to drop at any await.
/// Dropping it cancels the caller's own request only. A token request that has begun goes on and is stored. Handles
/// survive every restart of the session's actor.
///
/// After [`invalidate`](Self::invalidate) has returned, no [`token`](Self::token) of any task returns the invalidated
/// lease or an older one (law 6).
///
/// Dropping handles ends nothing. A session lives in its runtime, sleeps while it is not used, and ends with
/// [`AuthRuntime::shutdown`](crate::AuthRuntime::shutdown). Only a session whose identity has never signed in is removed from
/// the memory once it has no handle.
#[derive(Clone, Debug)]
pub struct AuthSession {
    pub(crate) engine: runtime::AuthSession,
    /// The parts of the runtime over its engine. `None` for a session of the engine or the testkit.
    pub(crate) oauth: Option<Arc<OAuth>>,
}

impl AuthSession {
    /// The runtime's own logins over HTTP, if it has them.
    pub(crate) fn logins(&self) -> Option<&Arc<AuthorizationLogins>> {
        self.oauth.as_ref()?.logins.as_ref()
    }

    /// The proofs of possession of the runtime, if it has them.
    pub(crate) fn proofs(&self) -> Option<&Prover> {
        Some(&self.oauth.as_ref()?.proofs)
    }

    /// The identity that the session belongs to.
    pub fn identity(&self) -> &ServerIdentity {
        self.engine.identity()
    }

    /// Returns a lease that is fit for use now.
    ///
    /// While the published lease is fresh this takes no message, no lock and no allocation (law 16). Otherwise the
    /// session's actor answers, with a stored token or with the outcome of the one refresh that all callers share.
    ///
    /// # Errors
    ///
    /// The [`TokenError`] holds the reason why there is no token. It comes after 30 s at the latest
    /// ([`token_with`](Self::token_with) takes another time-out).
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    #[inline]
    pub async fn token(&self) -> Result<Lease, TokenError> {
        match self.engine.token().await {
            Ok(lease) => Ok(lease.into()),
            Err(error) => Err(self.with_page(error)),
        }
    }

    /// Returns a lease as `options` ask for it. Otherwise like [`token`](Self::token).
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token), after `options.timeout` at the latest, and at once if waiting cannot help.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    pub async fn token_with(&self, options: TokenOptions) -> Result<Lease, TokenError> {
        match self.engine.token_with(options).await {
            Ok(lease) => Ok(lease.into()),
            Err(error) => Err(self.with_page(error)),
        }
    }

    /// Returns the published lease while it is fresh, without a future. Returns `None` if [`token`](Self::token) has to ask the
    /// session's actor.
    #[inline]
    pub fn at_hand(&self) -> Option<Lease> {
        self.engine.at_hand().map(Lease::from)
    }

    /// Waits until no login is required, whether it is made here or by another process on the store. Returns at once
    /// if none is required.
    ///
    /// `Ok` does not mean that there is a token now, because the server may be down. The next [`token`](Self::token) shows
    /// that. There is no time-out.
    ///
    /// # Errors
    ///
    /// [`ShuttingDown`](crate::Reason::ShuttingDown) when the runtime ends, and
    /// [`NotRunning`](crate::Reason::NotRunning) if it has no supervision tree when the wait begins.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await.
    pub async fn signed_in(&self) -> Result<(), TokenError> {
        Ok(self.engine.signed_in().await?)
    }

    /// Reports that the resource refused `lease` (401) for `operation` with `challenge`. The lease is not handed out
    /// again.
    ///
    /// `Ok` means that a further [`token`](Self::token) and one more attempt make sense. A refusal of a lease that has
    /// been replaced meanwhile changes nothing.
    ///
    /// # Errors
    ///
    /// [`WrongSession`](crate::Reason::WrongSession) if another session handed the lease out, or if the session's record
    /// was lost since. Nothing changes then.
    ///
    /// [`ResourceRefuses`](crate::Reason::ResourceRefuses) if the lease was itself minted because of a refusal, so that
    /// refreshing is known not to help (law 11). Other callers keep the lease then. Otherwise the reason why the
    /// session cannot be reached.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. Once polled, the refusal is noted.
    pub async fn invalidate(
        &self,
        lease: &Lease,
        operation: OperationKey,
        challenge: ChallengeKey,
    ) -> Result<(), TokenError> {
        Ok(self.engine.invalidate(lease.engine(), operation, challenge).await?)
    }

    /// Stores a login and serves it from then on. It replaces the session's previous login and begins a new epoch (law 12).
    /// If the session's target is a provider's API and the login names no provider, it gets that provider.
    ///
    /// # Errors
    ///
    /// [`LoginError::NoToken`] for a login without any token, [`LoginError::MalformedToken`] for one with a token that
    /// cannot be one, and [`LoginError::Refused`] if the session could not store it or its refresh token is used elsewhere.
    /// Nothing was changed then, unless the store timed out.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the login is stored.
    pub async fn install(&self, login: Login) -> Result<(), LoginError> {
        let mut login =
            login.complete(self.identity().resource(), self.engine.now(), |token| self.engine.credential(token))?;
        if let Target::Api { provider } = self.identity().target()
            && login.renewal.provider.is_none()
        {
            // The session is with that provider. A refresh in another form than the provider's could use up the refresh token.
            login.renewal.provider = ProviderName::new(provider.as_str().to_owned()).ok();
        }
        self.engine.install(login).await?;
        Ok(())
    }

    /// Changes the source that renews the session, and the provider whose profile applies.
    ///
    /// Use it for a session that was stored with the wrong plan or with none, such as a login that was imported without its
    /// provider. It changes only the plan in the record. Every process on the store follows the new plan at its next
    /// refresh. The runtime need not have the source that the plan names; a refresh then fails with
    /// [`SourceMissing`](crate::Reason::SourceMissing).
    ///
    /// # Errors
    ///
    /// [`ConfigureError::Marked`] if source or spending would change while the refresh token is presented or in doubt,
    /// and the other [`ConfigureError`]s. Nothing was changed then, unless the store timed out.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the plan is stored.
    pub async fn configure(&self, plan: RenewalPlan) -> Result<(), ConfigureError> {
        self.engine.configure(plan).await.map(drop)
    }

    /// Logs out. Nothing is served from now on, the record is cleared to a tombstone, and the tokens are revoked at the server
    /// (RFC 7009). The result reports whether that was done. The server's answer is waited for up to 3 s
    /// ([`Policy::revocation_timeout`](crate::Policy::revocation_timeout)).
    ///
    /// # Errors
    ///
    /// [`LogoutError::NotDurable`] if the store cannot be written. This process then serves nothing any more and keeps
    /// trying.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the logout goes on.
    pub async fn logout(&self) -> Result<LoggedOut, LogoutError> {
        let logged_out = self.engine.logout().await;
        if let Some(oauth) = &self.oauth {
            oauth.users.forget(self.identity());
        }
        logged_out
    }

    /// Logs out an account that will not be used again, and removes what the store has of it: its record, its journal and its
    /// pending logins. Nothing is revoked at the server, because some servers would end newer sessions of the same person too.
    /// Afterwards the account is as if it had never signed in.
    ///
    /// An account that may be used again is [logged out](Self::logout) instead. Its record then stays as a tombstone, with the
    /// numbers by which every process tells a new session from an old one. Names of accounts that are forgotten should therefore be
    /// random. If such a name is used again all the same, a process that knows the earlier session could take the new one for it.
    ///
    /// # Errors
    ///
    /// [`LogoutError::Superseded`] if a login came in between, which stays. [`LogoutError::NotDurable`] if the store cannot be
    /// written. This process then serves nothing of the account any more, and the call can be repeated.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Once polled, the logout goes on. The record may stay, and the call can be repeated.
    pub async fn forget(&self) -> Result<(), LogoutError> {
        let forgotten = self.engine.forget().await;
        if let Some(oauth) = &self.oauth {
            oauth.users.forget(self.identity());
        }
        forgotten
    }

    /// Like [`forget`](Self::forget), but only if the store has no login of the account. Returns whether there was none. It is for
    /// logins that were begun and not completed, once they cannot be completed any more.
    ///
    /// # Errors
    ///
    /// Those of [`forget`](Self::forget), except for a login that came in between, which stays.
    ///
    /// # Cancellation
    ///
    /// As [`forget`](Self::forget).
    pub async fn forget_unless_signed_in(&self) -> Result<bool, LogoutError> {
        self.engine.forget_unless_signed_in().await
    }

    /// Reports a challenge of the resource (`WWW-Authenticate` of a 401 or 403), before the refused lease is
    /// [invalidated](Self::invalidate). If it names metadata, the document is read again, at most once a minute (RFC 9728
    /// section 5.2). A grant whose issuer the resource lists no more is parked then, and needs a login (law 13). The next login
    /// uses what was found.
    ///
    /// This call neither invalidates a lease nor asks a person. Metadata that cannot be fetched changes nothing.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. The document is read nevertheless.
    pub async fn challenged(&self, challenge: &Challenge) {
        let (Some(logins), Some(resource)) = (self.logins(), self.identity().resource()) else { return };
        let discovery = logins.discovery();
        discovery.noted_challenge(resource, challenge);
        if challenge.resource_metadata().is_some()
            && let Ok(published) = discovery.resource(resource, Some(challenge), Freshness::Cached).await
        {
            self.issuers_listed(discovery.issuers_of(&published));
        }
    }

    /// Reports the issuers that the resource lists now (RFC 9728 section 3.2). A grant whose issuer is not among them
    /// is parked. Nothing more is served from it until a login is accepted (law 13).
    pub fn issuers_listed(&self, issuers: impl IntoIterator<Item = impl Into<String>>) {
        self.engine.issuers_listed(issuers.into_iter().map(|issuer| Issuer(issuer.into())).collect());
    }

    /// The engine's error, with the page that a person has to open. This is out of line, because a larger future would make
    /// every hit slower.
    #[cold]
    #[inline(never)]
    fn with_page(&self, error: values::TokenError) -> TokenError {
        let oauth = self.oauth.as_ref().filter(|_| error.reason() == Reason::SignOnRequired);
        let page = oauth.and_then(|oauth| oauth.machine.interaction_url(self.identity()));
        TokenError::from(error).with_interaction(page)
    }

    /// The session's state as of its last event.
    pub fn state(&self) -> SessionState {
        self.engine.state()
    }

    /// Follows the session's state.
    pub fn watch(&self) -> StateWatch {
        self.engine.watch()
    }
}

/// Converts sessions of the engine and of the testkit, which have no logins over HTTP.
impl From<runtime::AuthSession> for AuthSession {
    fn from(session: runtime::AuthSession) -> Self {
        Self { engine: session, oauth: None }
    }
}

/// The session to open, which is an account at a target.
///
/// ```
/// use tokenkeeper::SessionSpec;
///
/// let work = SessionSpec::mcp("https://mcp.example.com/mcp")?.account("work")?;
/// assert_eq!(work.identity().key(), "mcp:https://mcp.example.com/mcp#work");
/// # Ok::<(), tokenkeeper::IdentityError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    identity: ServerIdentity,
    renewal: Option<RenewalPlan>,
    pub(crate) dpop: Option<Dpop>,
}

impl SessionSpec {
    /// The default account at the MCP server with this URL. Spellings of one URL are one session (RFC 8707 section 2).
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadResource`] if the URL names no MCP server.
    pub fn mcp(url: &str) -> Result<Self, IdentityError> {
        Ok(ServerIdentity::new(Account::default(), Target::mcp(url)?).into())
    }

    /// The default account at the identity provider with this issuer identifier. The lease of the session is the ID token, from
    /// which other sessions' tokens are obtained ([`machine`](crate::machine)).
    ///
    /// # Errors
    ///
    /// [`IdentityError`] if the text is no issuer identifier.
    pub fn idp(issuer: &str) -> Result<Self, IdentityError> {
        Ok(ServerIdentity::new(Account::default(), Target::idp(issuer)?).into())
    }

    /// The default account at the API of the provider with this name, such as `github`. It is no MCP resource. A login uses the
    /// endpoints in the provider's row of the [table of providers](crate::issuers::providers) and a client that is registered
    /// there, and requests go to the URLs that the row lists ([`destination`](AuthSession::destination)).
    ///
    /// ```
    /// use tokenkeeper::SessionSpec;
    ///
    /// let work = SessionSpec::provider("github")?.account("work")?;
    /// assert_eq!(work.identity().key(), "api:github#work");
    /// # Ok::<(), tokenkeeper::IdentityError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadProvider`] if no provider can have this name.
    pub fn provider(name: &str) -> Result<Self, IdentityError> {
        Ok(ServerIdentity::new(Account::default(), Target::api(name)?).into())
    }

    /// The same target under another account. `label` is the host's own name for the person or tenant.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] if the label is empty, longer than 256 bytes, or contains control characters.
    pub fn account(self, label: impl Into<String>) -> Result<Self, IdentityError> {
        let identity = ServerIdentity::new(Account::new(label)?, self.identity.target().clone());
        Ok(Self { identity, ..self })
    }

    /// The same session, renewed by `plan` while it has no record, for a source that needs no login. A stored record
    /// has a plan of its own, which is used instead. Default: the refresh grant, so that a session without a record needs a
    /// login.
    #[must_use]
    pub fn renewal(self, plan: RenewalPlan) -> Self {
        Self { renewal: Some(plan), ..self }
    }

    /// The same session, whose logins ask for tokens that are bound to a key of the session, or not (DPoP, RFC 9449). The
    /// setting applies to all handles of the identity until the session is opened with another setting. Default: the setting
    /// of the runtime's [`LoginSettings`](crate::LoginSettings::dpop).
    #[must_use]
    pub fn dpop(self, dpop: Dpop) -> Self {
        Self { dpop: Some(dpop), ..self }
    }

    /// The identity that names the session.
    pub fn identity(&self) -> &ServerIdentity {
        &self.identity
    }
}

impl From<ServerIdentity> for SessionSpec {
    fn from(identity: ServerIdentity) -> Self {
        Self { identity, renewal: None, dpop: None }
    }
}

impl From<SessionSpec> for runtime::SessionSpec {
    fn from(spec: SessionSpec) -> Self {
        let opened = Self::new(spec.identity);
        match spec.renewal {
            Some(plan) => opened.renewal(plan),
            None => opened,
        }
    }
}
