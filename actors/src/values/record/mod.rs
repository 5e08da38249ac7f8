//! The record. It holds everything that is stored of one server identity. After a restart, its tokens can be renewed from
//! the record alone, without discovery of the server's metadata.
//!
//! A record is a plain value. [`ledger`](crate::law::ledger) decides which writes apply to it, and
//! [`format`](mod@format) is its stored form.

pub mod format;
mod mark;
mod plan;
mod prompt;
mod view;

pub use mark::{Mark, MarkState};
pub use plan::{NameError, ProviderName, RenewalPlan, SourceName, Spending};
pub use prompt::{Prompt, PromptEnd, PromptState};
pub use view::{MarkView, Renewal, View};

use std::collections::VecDeque;
use std::time::Duration;

use super::digest::{DigestKey, KeyedDigest};
use super::lease::{Cause, Lease, LeaseParts, Scopes, TokenKind};
use super::lifetime::Validity;
use super::lineage::{Epoch, FlightId, Generation, Revision, Version};
use super::reason::Reason;
use super::secret::{AccessToken, ClientSecret, DpopKey, RefreshToken};
use super::time::{Moment, WallTime};

/// The stored data of one identity. `epoch`, `revision` and `number` never restart, not even through a logout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Grows with each login that installs and each logout that commits.
    pub epoch: Epoch,
    /// Grows with each write.
    pub revision: Revision,
    /// The highest token number assigned or reserved so far.
    pub number: u64,
    /// Refresh tokens that the server has refused or replaced, or that may have been spent when their grant ended.
    /// They are never presented or installed again.
    pub dead: DeadDigests,
    /// The credential, or its tombstone.
    pub content: Content,
    /// The last prompt of this epoch, if any. A prompt is a request to a person to sign in.
    pub prompt: Option<Prompt>,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No login was ever installed. The record exists because a person was asked to sign in.
    Vacant,
    /// The identity was logged out.
    Tombstone,
    /// A login was installed. The server may have ended it since.
    Grant(Box<Grant>),
}

/// A credential of one login, bound to one issuer and one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The issuer, the client and the endpoints that the grant is bound to.
    pub binding: Binding,
    /// The scopes that were requested.
    pub requested: Scopes,
    /// The scopes that were granted. A refresh that names no scopes keeps them.
    pub granted: Scopes,
    /// The signed-in subject, if the server named one.
    pub subject: Option<Subject>,
    /// The time at which the login was completed, by the wall clock. The grant's age counts from it. `None` if no
    /// person signed in, and in a record of an older format.
    pub signed_in: Option<WallTime>,
    /// The key the tokens are bound to (RFC 9449), if they are.
    pub dpop_key: Option<DpopKey>,
    /// The source that renews the grant, and the provider whose profile applies.
    pub renewal: RenewalPlan,
    /// The means of renewal.
    pub refresh: Refresh,
    /// The newest access token, if there is one.
    pub access: Option<Access>,
    /// Set when the grant waits for a person. It is neither served nor renewed until a login replaces it.
    pub parked: Option<Parked>,
    /// Whether the server has ever replaced a refresh token of this login. If so, an answer to a repeated presentation
    /// that brings no new refresh token does not end the doubt.
    pub rotated: bool,
}

/// The binding of a grant (law 13). It changes only with a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The authorization server's issuer identifier, compared byte by byte (RFC 8414 section 3.3).
    pub issuer: Issuer,
    /// The registration used there.
    pub client: Client,
    /// The address for token requests.
    pub token_endpoint: String,
    /// The address for revocations (RFC 7009), if the server offers it.
    pub revocation_endpoint: Option<String>,
    /// The `resource` of every token request (RFC 8707), exactly as it was sent the first time. `None` for targets that
    /// are not an MCP resource.
    pub resource: Option<String>,
}

/// An authorization server's issuer identifier. It is not normalised, so two spellings are two issuers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issuer(pub String);

/// The signed-in subject, as the issuer names it. It is compared and never interpreted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(pub String);

/// A client registration at one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client identifier.
    pub id: String,
    /// The secret, for a confidential client.
    pub secret: Option<ClientSecret>,
    /// The method by which the client authenticates at the token endpoint. It is fixed in advance and never probed.
    pub auth: ClientAuth,
    /// The time at which the secret expires (RFC 7591 section 3.2.1), or `None` if it does not expire.
    pub secret_expires_at: Option<WallTime>,
}

/// `token_endpoint_auth_method` (RFC 7591 section 2). Each request uses exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// A public client: `client_id` in the body.
    #[default]
    None,
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `private_key_jwt` (RFC 7523).
    PrivateKeyJwt,
}

/// The means of renewing a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The server issued no refresh token, or the source needs none.
    None,
    /// A refresh token is held.
    Held(Held),
    /// The server ended the grant by refusing the refresh token with this digest. The access token may still be valid
    /// for some time.
    Ended(KeyedDigest),
}

/// A refresh token that the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The token with its digest.
    pub credential: RefreshCredential,
    /// The time at which it arrived or was last presented with success. An inactivity window counts from here.
    pub since: Moment,
    /// The mark, set while the token is being presented or may have been spent.
    pub mark: Option<Mark>,
}

/// A refresh token with its digest under the store's key.
#[derive(Clone, Debug)]
pub struct RefreshCredential {
    token: RefreshToken,
    digest: KeyedDigest,
}

impl RefreshCredential {
    /// Makes a credential of `token` under the store's `key`.
    pub fn new(token: RefreshToken, key: &DigestKey) -> Self {
        let digest = key.digest(&token);
        Self { token, digest }
    }

    /// A credential as a store kept it. `digest` is the one that [`new`](Self::new) computed when `token` arrived. Whether
    /// the two belong together cannot be checked without the store's key, so only [`format::decode`] uses this function.
    pub(in crate::values::record) fn from_stored(token: RefreshToken, digest: KeyedDigest) -> Self {
        Self { token, digest }
    }

    /// The token.
    pub fn token(&self) -> &RefreshToken {
        &self.token
    }

    /// Its digest.
    pub fn digest(&self) -> KeyedDigest {
        self.digest
    }
}

/// Two credentials are equal when their digests are.
impl PartialEq for RefreshCredential {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for RefreshCredential {}

/// A stored access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The token.
    pub token: AccessToken,
    /// How the token is presented.
    pub kind: TokenKind,
    /// Its lifetime.
    pub validity: Validity,
    /// The token's number within the identity's history.
    pub number: u64,
    /// The cause for which the token was minted.
    pub cause: Cause,
    /// The flight that brought it, or `None` when a login did.
    pub flight: Option<FlightId>,
}

/// The reason why a grant waits for a person. The old grant stays in the record until a login replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parked {
    /// `invalid_client`. The registration is gone or its secret is wrong. The refresh token is never carried to a new
    /// client.
    ClientRejected,
    /// The resource no longer lists the bound issuer.
    IssuerChanged,
    /// The server's answer was for another subject.
    SubjectChanged,
}

impl Parked {
    /// The reason in the callers' errors.
    pub const fn reason(self) -> Reason {
        match self {
            Parked::ClientRejected => Reason::ClientRejected,
            Parked::IssuerChanged => Reason::IssuerChanged,
            Parked::SubjectChanged => Reason::SubjectChanged,
        }
    }
}

/// The digests of refresh tokens that must not be used again, because they were refused, replaced or perhaps spent,
/// oldest first.
///
/// It contains the last sixteen, and in addition each dead token that one of the last 64 logins came with. A host may
/// import the same token from its configuration at every start. Such a token is therefore remembered for longer, even if it
/// was replaced many times since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadDigests {
    dead: VecDeque<KeyedDigest>,
    logins: VecDeque<KeyedDigest>,
}

impl DeadDigests {
    /// The number of dead digests that are kept without having come with a login.
    const KEPT: usize = 16;

    /// The number of logins whose tokens are known.
    const LOGINS: usize = 64;

    /// Adds `digest` as the newest. Keeps at most sixteen digests that no known login came with, and drops the oldest of
    /// these.
    pub fn remember(&mut self, digest: KeyedDigest) {
        self.forget(&digest);
        self.dead.push_back(digest);
        self.drop_oldest();
    }

    /// Removes `digest`, because the server has issued that token again.
    pub fn forget(&mut self, digest: &KeyedDigest) {
        self.dead.retain(|known| known != digest);
    }

    /// Notes that a login came with the token of `digest`. That token is not dead yet. Once it is dead, its digest stays
    /// known. Keeps the notes of the last 64 logins.
    pub fn came_with_login(&mut self, digest: KeyedDigest) {
        self.logins.retain(|known| *known != digest);
        self.logins.push_back(digest);
        if self.logins.len() > Self::LOGINS {
            self.logins.pop_front();
            self.drop_oldest();
        }
    }

    /// Whether `digest` is known to be dead.
    pub fn contains(&self, digest: &KeyedDigest) -> bool {
        self.dead.contains(digest)
    }

    /// The dead digests, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &KeyedDigest> {
        self.dead.iter()
    }

    /// The digests of the tokens that logins came with, dead or not, oldest first.
    pub fn logins(&self) -> impl Iterator<Item = &KeyedDigest> {
        self.logins.iter()
    }

    fn drop_oldest(&mut self) {
        let Self { dead, logins } = self;
        let others = dead.iter().filter(|digest| !logins.contains(digest)).count();
        let mut beyond = others.saturating_sub(Self::KEPT);
        dead.retain(|digest| {
            let drops = beyond > 0 && !logins.contains(digest);
            beyond -= usize::from(drops);
            !drops
        });
    }
}

impl FromIterator<KeyedDigest> for DeadDigests {
    fn from_iter<I: IntoIterator<Item = KeyedDigest>>(digests: I) -> Self {
        let mut dead = Self::default();
        digests.into_iter().for_each(|digest| dead.remember(digest));
        dead
    }
}

impl Record {
    /// The place of this record in the identity's history.
    pub fn version(&self) -> Version {
        Version { epoch: self.epoch, revision: self.revision }
    }

    /// The grant. `None` for a tombstone, and if no login was ever installed.
    pub fn grant(&self) -> Option<&Grant> {
        match &self.content {
            Content::Vacant | Content::Tombstone => None,
            Content::Grant(grant) => Some(grant),
        }
    }

    /// The refresh token held, if any.
    pub fn held(&self) -> Option<&Held> {
        match &self.grant()?.refresh {
            Refresh::Held(held) => Some(held),
            Refresh::None | Refresh::Ended(_) => None,
        }
    }

    /// The stored access token as a lease, even an expired one. A token that no header can carry counts as expired.
    pub fn lease(&self) -> Option<Lease> {
        let grant = self.grant()?;
        let access = grant.access.as_ref()?;
        let validity = match access.token.is_well_formed() {
            true => access.validity,
            false => Validity::new(access.validity.anchored(), Some(Duration::from_millis(1))),
        };
        Some(Lease::new(LeaseParts {
            token: access.token.clone(),
            kind: access.kind,
            generation: Generation::stored(self.epoch, access.number),
            scopes: grant.granted.clone(),
            validity,
            cause: access.cause,
            proof_key: grant.dpop_key.clone(),
        }))
    }

    /// The view of this record that a session keeps. It has no refresh token.
    pub fn view(&self) -> View {
        View::of(self)
    }
}

/// The default time-out of one token request, from the first byte sent to the last one read. Some servers have been
/// seen to answer after more than two minutes.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(180);

/// The default time-out of a connection to a token endpoint.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
