//! Law 10 as a table: what happened on the wire, and what it means for the refresh token.
//!
//! A source reports neutral [`Evidence`]; the issuer's [`Profile`] judges it. The default profile is strict: whatever
//! is not known to leave the refresh token unspent puts it in doubt.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::values::record::{Binding, DEFAULT_REQUEST_TIMEOUT, ProviderName, RenewalPlan, Subject};
use crate::values::{AccessToken, Reason, RefreshToken, Scopes, TokenKind, Validity};

/// What a token request met. Neutral: it says what happened, not what it means.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// No byte left this machine.
    NotSent(NotSent),
    /// A usable answer (RFC 6749 section 5.1).
    Tokens(Box<Tokens>),
    /// A complete answer that is no usable token, whatever its status.
    Refused(Refused),
    /// Bytes may have left, and no complete answer came.
    Lost(Lost),
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The connection was never established.
    Unreachable,
    /// The time to send by had passed. The flight re-reads before it tries again (law 1).
    TooLate,
    /// The request could not be built here: an unusable key, an address the host forbids, a command that is missing.
    Unbuildable,
}

/// Why an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// None came in time.
    TimedOut,
    /// The connection broke, within the request or the answer.
    Broken,
    /// The source broke off inside this process.
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
    /// Who the answer is for, where it says so.
    pub subject: Option<Subject>,
    /// Where a repeatable source's tokens belong. Ignored for a refresh grant, whose binding is its record's.
    pub binding: Option<Box<Binding>>,
}

/// A complete answer that brought no usable token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status; 200 for an error, or something unreadable, inside a success.
    pub status: u16,
    /// The `error` code (RFC 6749 section 5.2) or the provider's own, if one could be read. A bounded word, never free
    /// text.
    pub error: Option<String>,
    /// The server's `Retry-After`, in either of its forms.
    pub retry_after: Option<Duration>,
}

/// What is known and configured of one issuer. Data, overridable; the default is strict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What to do about a refresh token in doubt.
    pub in_doubt: InDoubt,
    /// How long one token request may take. Default 30 s.
    pub request_timeout: Duration,
    /// Error words that end the grant. Default `invalid_grant`.
    pub dead_words: Vec<String>,
    /// Statuses that leave the refresh token unspent, besides 429. Default none; 503 where an issuer's own gateway
    /// answers it.
    pub unspent_statuses: Vec<u16>,
    /// Whether revoking a refresh token ends that lineage alone, so that dropping a superseded pair may revoke it.
    /// Default false: at some servers it ends the newer login too.
    pub revocation_confined: bool,
}

/// The profiles of providers by name, and the one of all other issuers. Plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles {
    fallback: Profile,
    named: BTreeMap<ProviderName, Profile>,
}

impl Profiles {
    /// No named profile; `fallback` applies to a plan without a provider.
    pub fn new(fallback: Profile) -> Self {
        Self { fallback, named: BTreeMap::new() }
    }

    /// The same, with `fallback` for a plan without a provider.
    #[must_use]
    pub fn with_fallback(self, fallback: Profile) -> Self {
        Self { fallback, ..self }
    }

    /// The same, with `profile` for the provider `name`. A name that is there gets the new profile.
    #[must_use]
    pub fn with(mut self, name: ProviderName, profile: Profile) -> Self {
        self.named.insert(name, profile);
        self
    }

    /// The profile of a grant that is renewed by `plan`.
    ///
    /// A provider that is not known here gets the strictest reading of the fallback, because at such a provider a replay
    /// may cost more than one login: no replay, no status that leaves the token unspent, no revocation of a superseded
    /// pair.
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

/// Sets the profile of a plan without a provider, and knows no other.
impl From<Profile> for Profiles {
    fn from(fallback: Profile) -> Self {
        Self::new(fallback)
    }
}

/// What to do about a refresh token that was presented and whose answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// Present it once more: two presentations in all, counted in the mark over all processes and restarts.
    #[default]
    RetryOnce,
    /// Present it again within this time of its first presentation: the issuer's grace period for reuse.
    RetryWithin(Duration),
    /// Never: a login is needed.
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

/// What evidence means for the refresh token that was presented.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// It was spent, and here is what for.
    Usable(Box<Tokens>),
    /// It was not spent.
    Unspent(Trouble),
    /// It was not spent, and the same request may go out once more, with the nonce the server asked for (RFC 9449
    /// section 8).
    NonceWanted,
    /// It was not spent; the issuer does not know the client.
    ClientRejected,
    /// It was not sent, because too much time had passed since the mark.
    SendAgain,
    /// It is dead.
    Dead,
    /// Nobody knows.
    InDoubt {
        /// The server's `Retry-After`, if there was an answer to carry it.
        retry_after: Option<Duration>,
    },
}

/// What callers are told, and for how long the issuer wants to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason.
    pub reason: Reason,
    /// The server's `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    /// Trouble for `reason`, with no `Retry-After`.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None }
    }
}

impl Profile {
    /// Judges what happened to a presented refresh token.
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

    /// Whether `refused` is the server's definite word that the refresh token is dead.
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
    /// What callers are told where nothing was spent because nothing could be.
    pub fn reason(&self) -> Reason {
        match self.status {
            429 => Reason::Throttled,
            200..300 | 500.. => Reason::ServerTrouble,
            _ => Reason::RequestRefused,
        }
    }
}
