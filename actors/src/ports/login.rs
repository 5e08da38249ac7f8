//! The login source, the port that speaks OAuth with the authorization server while a person signs in. The attempt machine
//! in [`law::login`](crate::law::login) decides when it is called.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::store::PendingLogin;
use crate::law::ledger::LoginAccess;
use crate::values::record::{Binding, Grant, RenewalPlan, Subject};
use crate::values::{
    AttemptId, Callback, DpopKey, LoginKey, LoginMethod, LoginOffer, LoginReason, RefreshToken, Scopes, ServerIdentity,
    WallTime,
};

/// Prepares prompts (requests to a person to sign in), reads the answers, and redeems codes for tokens.
///
/// Shared by all identities. A login source keeps nothing between its calls. A later call may happen in another process, so
/// everything that it needs is in the pending login.
#[async_trait]
pub trait LoginSource: fmt::Debug + Send + Sync + 'static {
    /// Finds the authorization server, registers a client there if needed, and prepares the prompt.
    ///
    /// # Errors
    ///
    /// The reason why no person can be asked.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the preparation. A registration that was made until then is harmless.
    async fn prepare(&self, identity: &ServerIdentity, preparation: Preparation) -> Result<Prepared, LoginReason>;

    /// Returns the prompt to show for a pending login, the same one each time. It is also called for a login that another
    /// process had prepared before it died.
    ///
    /// # Errors
    ///
    /// [`LoginReason::UnknownLogin`] if this process cannot receive the answer, for example because the callback address
    /// belongs to another host.
    fn offer(&self, pending: &PendingLogin) -> Result<LoginOffer, LoginReason>;

    /// Judges a person's answer and returns the authorization code. Checks `state` and `iss` before anything else in the
    /// answer. Sends nothing to the authorization server.
    ///
    /// # Errors
    ///
    /// [`LoginReason::Denied`] if the person or the server declined, [`LoginReason::Forged`] for an answer that belongs to
    /// another login or issuer, or cannot be read.
    async fn read(&self, pending: &PendingLogin, callback: &Callback) -> Result<AuthorizationCode, LoginReason>;

    /// Presents the code, at most once, and reports the result.
    ///
    /// # Cancellation
    ///
    /// The caller never drops this future once it was polled, except at the end of the process.
    async fn redeem(&self, identity: &ServerIdentity, redemption: Redemption) -> Redeemed;

    /// Asks once whether the person has entered the code of a device login (RFC 8628 section 3.4).
    async fn poll(&self, identity: &ServerIdentity, pending: &PendingLogin) -> Polled;
}

/// The login to prepare.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// The attempt that the login belongs to.
    pub attempt: AttemptId,
    /// The scopes to ask for, including those that are kept from the grant. Empty to let the server choose.
    pub scopes: Scopes,
    /// The scopes among them that the callers ask for. If the login goes to another issuer than the grant's, only these
    /// are meaningful.
    pub wished: Scopes,
    /// How to ask.
    pub method: LoginMethod,
    /// The latest time at which the prompt expires, by the wall clock. The source returns an earlier time if the server
    /// sets one.
    pub expires: WallTime,
    /// The grant that the login is to replace, if there is one. A step-up uses the issuer and the client of this grant.
    pub grant: Option<Box<Grant>>,
    /// Whether the login extends that grant (step-up), rather than begin anew.
    pub extends: bool,
}

/// A prompt that is ready to be shown.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The key of the pending login, which the answer carries as a digest of its `state`.
    pub key: LoginKey,
    /// When the prompt expires.
    pub expires: WallTime,
    /// The data that [`offer`](LoginSource::offer), [`read`](LoginSource::read) and [`redeem`](LoginSource::redeem) need.
    pub sealed: SecretSlice<u8>,
}

/// An authorization code.
#[derive(Clone, Debug)]
pub struct AuthorizationCode(SecretString);

impl AuthorizationCode {
    /// Wraps the code.
    pub fn new(code: impl Into<String>) -> Self {
        Self(SecretString::from(code.into()))
    }

    /// The code itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A code to present.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// The pending login that the code belongs to.
    pub pending: PendingLogin,
    /// The code.
    pub code: AuthorizationCode,
    /// How long the request may take, from the first byte sent to the last one read.
    pub timeout: Duration,
}

/// The result of a redemption.
#[derive(Clone, Debug)]
pub enum Redeemed {
    /// The tokens.
    Issued(Box<IssuedLogin>),
    /// No byte left this machine, so the code may be presented.
    NotSent,
    /// The server refused the code, or the client.
    Refused(LoginReason),
    /// Bytes may have left, and no complete answer arrived. The code is not presented again.
    Lost,
}

/// The answer to a poll.
#[derive(Clone, Debug)]
pub enum Polled {
    /// The person has not answered, or the poll failed. The attempt polls again after the same pause.
    Pending,
    /// The server asks for slower polls (`slow_down`). Each further pause is five seconds longer (RFC 8628 section 3.5).
    SlowDown,
    /// The tokens.
    Issued(Box<IssuedLogin>),
    /// The login is over without tokens.
    Ended(LoginReason),
}

/// The tokens of a login, as the server issued them.
#[derive(Clone, Debug)]
pub struct IssuedLogin {
    /// The issuer, client and resource that they belong to.
    pub binding: Binding,
    /// The scopes that were requested.
    pub requested: Scopes,
    /// The scopes that were granted.
    pub granted: Scopes,
    /// The person who signed in, if the server named one.
    pub subject: Option<Subject>,
    /// The key the tokens are bound to, if they are.
    pub dpop_key: Option<DpopKey>,
    /// The source that renews them, and the provider whose profile applies.
    pub renewal: RenewalPlan,
    /// The refresh token, if one was issued.
    pub refresh: Option<RefreshToken>,
    /// The access token, if one was issued.
    pub access: Option<LoginAccess>,
}
