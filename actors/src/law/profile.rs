//! Law 10 as a table, from the result of a token request to its effect on the refresh token.
//!
//! A source reports neutral [`Evidence`], which the issuer's [`Profile`] judges. The default profile is strict. A
//! refresh token is in doubt unless the evidence is known to leave it unspent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::values::record::{Binding, DEFAULT_REQUEST_TIMEOUT, ProviderName, RenewalPlan, Subject};
use crate::values::{AccessToken, Reason, RefreshToken, Scopes, TokenKind, Validity};

/// The result of a token request, without a judgement of its effect on the refresh token.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// No byte left this machine.
    NotSent(NotSent),
    /// A usable answer (RFC 6749 section 5.1).
    Tokens(Box<Tokens>),
    /// A complete answer without a usable token, of any status.
    Refused(Refused),
    /// Bytes may have left, and no complete answer arrived.
    Lost(Lost),
}

/// The reason why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The connection was never established.
    Unreachable,
    /// The latest time to send had passed. The flight reads the record again before it tries again (law 1).
    TooLate,
    /// The request could not be built, for example because of an unusable key, an address that the host forbids, or a
    /// missing command.
    Unbuildable,
}

/// The reason why an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// None arrived in time.
    TimedOut,
    /// The connection broke during the request or the answer.
    Broken,
    /// The source was aborted inside this process.
    Aborted,
}

/// A usable answer of a token endpoint.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: AccessToken,
    /// How it is presented.
    pub kind: TokenKind,
    /// How long it lives, anchored at the start of the request.
    pub validity: Validity,
    /// The new refresh token; `None` keeps the old one (RFC 6749 section 6).
    pub refresh: Option<RefreshToken>,
    /// The scopes granted; `None` leaves them as they are.
    pub granted: Option<Scopes>,
    /// The subject of the answer, if it names one.
    pub subject: Option<Subject>,
    /// The binding of a repeatable source's tokens. Ignored for a refresh grant, whose binding is in its record.
    pub binding: Option<Box<Binding>>,
}

/// A complete answer without a usable token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status; 200 for an error, or an unreadable body, inside a success.
    pub status: u16,
    /// The `error` code (RFC 6749 section 5.2) or the provider's own, if one could be read. One word of bounded length,
    /// never free text.
    pub error: Option<String>,
    /// The server's `Retry-After`, in either of its forms.
    pub retry_after: Option<Duration>,
}

/// The properties of one issuer. All can be configured, and the default is strict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The treatment of a refresh token in doubt.
    pub in_doubt: InDoubt,
    /// The time-out of one token request. Default 30 s.
    pub request_timeout: Duration,
    /// Error codes that end the grant. Default `invalid_grant`.
    pub dead_words: Vec<String>,
    /// Statuses besides 429 that leave the refresh token unspent. Default none. Set 503 if the issuer's own gateway
    /// sends it.
    pub unspent_statuses: Vec<u16>,
    /// Whether a revocation ends only the lineage of the revoked refresh token, so that a superseded pair may be
    /// revoked. Default false, because at some servers a revocation ends the newer login too.
    pub revocation_confined: bool,
}

/// The profiles of providers by name, and the one of all other issuers. Plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles {
    fallback: Profile,
    named: BTreeMap<ProviderName, Profile>,
}

impl Profiles {
    /// Makes a table without named profiles. `fallback` applies to a plan without a provider.
    pub fn new(fallback: Profile) -> Self {
        Self { fallback, named: BTreeMap::new() }
    }

    /// Replaces the profile of plans without a provider by `fallback`.
    #[must_use]
    pub fn with_fallback(self, fallback: Profile) -> Self {
        Self { fallback, ..self }
    }

    /// Adds `profile` for the provider `name`. Replaces a profile of the same name.
    #[must_use]
    pub fn with(mut self, name: ProviderName, profile: Profile) -> Self {
        self.named.insert(name, profile);
        self
    }

    /// The profile of a grant that is renewed by `plan`.
    ///
    /// An unknown provider gets the strictest form of the fallback, because a replay there may cost more than one
    /// login. It has no replay, no status that leaves the token unspent, and no revocation of a superseded pair.
    pub fn of(&self, plan: &RenewalPlan) -> Profile {
        let mut profile = match &plan.provider {
            None => self.fallback.clone(),
            Some(name) => self.named.get(name).cloned().unwrap_or_else(|| Profile {
                in_doubt: InDoubt::NeverReplay,
                unspent_statuses: Vec::new(),
                revocation_confined: false,
                ..self.fallback.clone()
            }),
        };
        if plan.never_replay {
            profile.in_doubt = InDoubt::NeverReplay;
        }
        profile
    }
}

/// Makes a table with this profile for plans without a provider, and no other profile.
impl From<Profile> for Profiles {
    fn from(fallback: Profile) -> Self {
        Self::new(fallback)
    }
}

/// The treatment of a refresh token that was presented and whose answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// Present it once more. The mark counts the presentations of all processes and restarts, two in all.
    #[default]
    RetryOnce,
    /// Present it again within this time of its first presentation, the issuer's grace period for reuse.
    RetryWithin(Duration),
    /// Never present it again. A login is required.
    NeverReplay,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            in_doubt: InDoubt::default(),
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            dead_words: vec!["invalid_grant".to_owned()],
            unspent_statuses: Vec::new(),
            revocation_confined: false,
        }
    }
}

/// The effect of evidence on the refresh token that was presented.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// It was spent for these tokens.
    Usable(Box<Tokens>),
    /// It was not spent.
    Unspent(Trouble),
    /// It was not spent. The same request may be sent once more, with the nonce that the server asked for (RFC 9449
    /// section 8).
    NonceWanted,
    /// It was not spent, and the issuer does not accept the client.
    ClientRejected,
    /// It was not sent, because too much time had passed since the mark.
    SendAgain,
    /// It is dead.
    Dead,
    /// It may have been spent.
    InDoubt {
        /// The server's `Retry-After`, if an answer carried one.
        retry_after: Option<Duration>,
    },
}

/// The reason for the callers, with the server's `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason.
    pub reason: Reason,
    /// The server's `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    /// The value for `reason`, without a `Retry-After`.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None }
    }
}

impl Profile {
    /// Judges the effect of `evidence` on the presented refresh token.
    pub fn judge(&self, evidence: Evidence) -> Judgement {
        match evidence {
            Evidence::Tokens(tokens) => Judgement::Usable(tokens),
            Evidence::NotSent(NotSent::Unreachable) => Judgement::Unspent(Trouble::new(Reason::Unreachable)),
            Evidence::NotSent(NotSent::Unbuildable) => Judgement::Unspent(Trouble::new(Reason::RequestRefused)),
            Evidence::NotSent(NotSent::TooLate) => Judgement::SendAgain,
            Evidence::Lost(_) => Judgement::InDoubt { retry_after: None },
            Evidence::Refused(refused) => self.judge_refusal(&refused),
        }
    }

    /// Whether `refused` is a definite statement of the server that the refresh token is dead.
    fn is_dead(&self, refused: &Refused) -> bool {
        let definite = (200..500).contains(&refused.status) && refused.status != 429;
        definite && refused.error.as_ref().is_some_and(|error| self.dead_words.contains(error))
    }

    fn judge_refusal(&self, refused: &Refused) -> Judgement {
        let trouble = |reason| Trouble { reason, retry_after: refused.retry_after };
        if self.is_dead(refused) {
            return Judgement::Dead;
        }
        match (refused.status, refused.error.as_deref()) {
            (429, _) => Judgement::Unspent(trouble(Reason::Throttled)),
            (400..500, Some("use_dpop_nonce")) => Judgement::NonceWanted,
            (200..500, Some("invalid_client")) => Judgement::ClientRejected,
            (status, _) if self.unspent_statuses.contains(&status) => {
                Judgement::Unspent(trouble(Reason::ServerTrouble))
            }
            _ => Judgement::InDoubt { retry_after: refused.retry_after },
        }
    }
}

impl Refused {
    /// The reason for the callers of a repeatable source, which spends nothing.
    pub fn reason(&self) -> Reason {
        match self.status {
            429 => Reason::Throttled,
            200..300 | 500.. => Reason::ServerTrouble,
            _ => Reason::RequestRefused,
        }
    }
}
