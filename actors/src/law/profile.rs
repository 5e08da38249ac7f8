//! Law 10 as a table, from the result of a token request to its effect on the refresh token.
//!
//! A source reports neutral [`Evidence`], which the issuer's [`Profile`] judges. By the default
//! profile, a refresh token is in doubt unless the evidence is known to leave it unspent. It is then presented again until there
//! is a definite answer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::values::record::{
    Binding, DEFAULT_CONNECT_TIMEOUT, DEFAULT_REQUEST_TIMEOUT, ProviderName, RenewalPlan, Subject,
};
use crate::values::{AccessToken, Moment, Reason, RefreshToken, Scopes, TokenKind, Validity};

/// The result of a token request, without a judgement of its effect on the refresh token.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// No byte left this machine.
    NotSent(NotSent),
    /// There is no token, for a reason that the source knows. No refresh token was presented.
    Unavailable(Trouble),
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
    /// The connection was never established, because the server's certificate is not trusted or TLS failed otherwise.
    Untrusted,
    /// The latest time to send had passed. The flight reads the record again before it tries again (law 1).
    TooLate,
    /// The request could not be built, for example because of an unusable key or a missing command.
    Unbuildable,
    /// The address that the request would go to is not allowed (law 24).
    Forbidden,
}

/// The reason why an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// No answer arrived in time.
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
    /// The HTTP status. It is 200 for an error or an unreadable body in a successful answer.
    pub status: u16,
    /// The `error` code (RFC 6749 section 5.2) or the provider's own, if one could be read. One word of bounded length,
    /// never free text.
    pub error: Option<String>,
    /// The server's `Retry-After`, in either of its forms.
    pub retry_after: Option<Duration>,
}

/// The properties of one issuer. All can be configured. The default assumes nothing beyond the standards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The cost of presenting a refresh token again that was consumed. Default [`Reuse::EndsLineage`].
    pub reuse: Reuse,
    /// How long after its first presentation a consumed refresh token may be presented again without harm. Default
    /// `None`, which is unknown. It matters only if reuse [ends more](Reuse::EndsMore) than the lineage.
    pub grace: Option<Duration>,
    /// Whether a new refresh token makes the old one invalid. Default true. If the issuer sends no new one, or the old one stays
    /// valid beside it, no refresh token is spent, and a lost answer leaves no doubt.
    pub rotates: bool,
    /// How long a flight waits for a connection before it presents a refresh token. Default 10 s.
    pub connect_timeout: Duration,
    /// The time-out of one token request. Default 3 min, because an answer that is still to come may carry the only copy of
    /// a new refresh token. No caller waits longer than its own timeout.
    pub request_timeout: Duration,
    /// Error codes that end the grant. Default `invalid_grant`.
    pub dead_words: Vec<String>,
    /// Error codes that reject the client and leave the refresh token unspent. Default `invalid_client`.
    pub client_words: Vec<String>,
    /// Error codes that leave the refresh token unspent, because the issuer did not process the request. Default none.
    pub unspent_words: Vec<String>,
    /// Statuses besides 429 that leave the refresh token unspent. Default none. Add 503 if the issuer's own gateway sends it.
    pub unspent_statuses: Vec<u16>,
    /// Whether a revocation ends only the lineage of the revoked refresh token, so that the tokens of a flight
    /// that a newer login overtook may be revoked. Default false, because at some servers a revocation ends the newer login too.
    pub revocation_confined: bool,
}

/// The profiles of providers by name, and the one for all other issuers. Plain data.
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
    /// An unknown provider gets the strictest form of the fallback, because presenting a spent token there may cost
    /// more than one login. A token in doubt is never presented again, and no tokens are revoked beside a newer login.
    /// The fallback's `dead_words` are kept, because they only end a grant. Its other words are dropped, because they
    /// declare a token unspent.
    pub fn of(&self, plan: &RenewalPlan) -> Profile {
        let mut profile = match &plan.provider {
            None => self.fallback.clone(),
            Some(name) => self.named.get(name).cloned().unwrap_or_else(|| Profile {
                reuse: Reuse::EndsMore,
                connect_timeout: self.fallback.connect_timeout,
                request_timeout: self.fallback.request_timeout,
                dead_words: self.fallback.dead_words.clone(),
                ..Profile::default()
            }),
        };
        if plan.never_replay {
            profile.reuse = Reuse::EndsMore;
        }
        profile
    }
}

/// Makes a table with this profile for plans without a provider, and without named profiles.
impl From<Profile> for Profiles {
    fn from(fallback: Profile) -> Self {
        Self::new(fallback)
    }
}

/// The loss if a spent refresh token is presented again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// At most the lineage, which is lost anyway if the answer with its successor was lost. A refresh token in doubt is
    /// presented again until the server gives a definite answer.
    #[default]
    EndsLineage,
    /// More than the lineage, for example every session of the user. A refresh token in doubt is never presented again,
    /// except within the issuer's [grace period](Profile::grace). A login is required.
    EndsMore,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            reuse: Reuse::default(),
            grace: None,
            rotates: true,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            dead_words: vec!["invalid_grant".to_owned()],
            client_words: vec!["invalid_client".to_owned()],
            unspent_words: Vec::new(),
            unspent_statuses: Vec::new(),
            revocation_confined: false,
        }
    }
}

/// The effect of evidence on the refresh token that was presented.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// Tokens came. A refresh token that rotates is spent.
    Usable(Box<Tokens>),
    /// It was not spent.
    Unspent(Trouble),
    /// The refresh token was not spent. The same request may be sent once more, with the nonce that the server asked
    /// for (RFC 9449 section 8).
    NonceWanted,
    /// The refresh token was not spent, and the issuer does not accept the client.
    ClientRejected,
    /// The request was not sent, because too much time had passed since the mark.
    TooLate,
    /// The refresh token is dead.
    Dead,
    /// The refresh token may have been spent. The trouble is for the callers.
    InDoubt(Trouble),
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
            Evidence::Unavailable(trouble) => Judgement::Unspent(trouble),
            Evidence::NotSent(NotSent::Unreachable) => Judgement::Unspent(Trouble::new(Reason::Unreachable)),
            Evidence::NotSent(NotSent::Untrusted) => Judgement::Unspent(Trouble::new(Reason::Untrusted)),
            Evidence::NotSent(NotSent::Unbuildable | NotSent::Forbidden) => {
                Judgement::Unspent(Trouble::new(Reason::RequestRefused))
            }
            Evidence::NotSent(NotSent::TooLate) => Judgement::TooLate,
            Evidence::Lost(_) if !self.rotates => Judgement::Unspent(Trouble::new(Reason::ServerTrouble)),
            Evidence::Lost(_) => Judgement::InDoubt(Trouble::new(Reason::InDoubt)),
            Evidence::Refused(refused) => self.judge_refusal(&refused),
        }
    }

    fn judge_refusal(&self, refused: &Refused) -> Judgement {
        let trouble = |reason| Trouble { reason, retry_after: refused.retry_after };
        let word = refused.error.as_ref();
        let one_of = |words: &[String]| word.is_some_and(|word| words.contains(word));
        // The error code of a 5xx may come from a gateway, so it neither ends the grant nor rejects the client. Only
        // the profile's own words for an unspent token count there.
        match refused.status {
            429 => Judgement::Unspent(Trouble { reason: Reason::Throttled, retry_after: refused.throttle() }),
            200..500 if one_of(&self.dead_words) => Judgement::Dead,
            400..500 if word.is_some_and(|word| word == NONCE_WORD) => Judgement::NonceWanted,
            200..500 if one_of(&self.client_words) => Judgement::ClientRejected,
            status if self.unspent_statuses.contains(&status) || one_of(&self.unspent_words) => {
                Judgement::Unspent(trouble(Reason::ServerTrouble))
            }
            // The date of the proof may be wrong, because a clock is wrong. The source learns the server's time from
            // the answer, and uses it for the next presentation.
            400..500 if word.is_some_and(|word| word == PROOF_WORD) && self.rotates => {
                Judgement::InDoubt(trouble(Reason::ProofRefused))
            }
            400..500 if word.is_some_and(|word| word == PROOF_WORD) => {
                Judgement::Unspent(trouble(Reason::ProofRefused))
            }
            // The words of the standards stand for a lasting fault of the request, so the callers get that reason. Any
            // other answer may come from a gateway, and be temporary.
            _ if refused.is_of_the_request() && self.rotates => Judgement::InDoubt(trouble(Reason::RequestRefused)),
            _ if refused.is_of_the_request() => Judgement::Unspent(trouble(Reason::RequestRefused)),
            _ if self.rotates => Judgement::InDoubt(trouble(Reason::InDoubt)),
            _ => Judgement::Unspent(trouble(Reason::ServerTrouble)),
        }
    }

    /// Whether `word` has an effect on a judgement, as an error code of this profile or as one of the standards.
    pub fn knows(&self, word: &str) -> bool {
        let own = [&self.dead_words, &self.client_words, &self.unspent_words];
        [NONCE_WORD, PROOF_WORD].contains(&word)
            || REQUEST_WORDS.contains(&word)
            || own.into_iter().flatten().any(|own| own == word)
    }

    /// Whether a refresh token in doubt may be presented again, `delay` from `now` at the latest. Its first presentation was
    /// at `first`. If not, only a login helps.
    pub fn may_present_again(&self, first: &Moment, delay: Duration, now: &Moment) -> bool {
        match (self.reuse, self.grace) {
            (Reuse::EndsLineage, _) => true,
            (Reuse::EndsMore, Some(grace)) => is_within(first, grace, delay, now),
            (Reuse::EndsMore, None) => !self.rotates,
        }
    }
}

/// Whether a presentation that is sent after `delay` falls into the issuer's grace period, by the clock that shows more
/// time. After a reboot it never does, because the age of the first presentation is unknown.
fn is_within(first: &Moment, grace: Duration, delay: Duration, now: &Moment) -> bool {
    now.at_most_since(first).is_some_and(|age| age.saturating_add(delay) < grace)
}

/// The error code that asks for a nonce (RFC 9449 section 8).
const NONCE_WORD: &str = "use_dpop_nonce";

/// The error code for a proof of possession that is not accepted (RFC 9449 section 5).
const PROOF_WORD: &str = "invalid_dpop_proof";

/// Error codes of the standards for a request that is wrong in itself, so that repeating it does not help (RFC 6749 section
/// 5.2, RFC 8707 section 2). Any other code may stand for a temporary fault.
const REQUEST_WORDS: [&str; 5] =
    ["invalid_request", "invalid_scope", "invalid_target", "unauthorized_client", "unsupported_grant_type"];

impl Refused {
    /// Whether the server has refused the request in the words of the standards.
    fn is_of_the_request(&self) -> bool {
        let word = self.error.as_deref().unwrap_or_default();
        matches!(self.status, 400 | 401 | 403) && REQUEST_WORDS.contains(&word)
    }

    /// How long the server asks for no requests, of any identity. A 429 without a `Retry-After` counts as one second,
    /// so that the identities and processes that share a store do not all ask again at once.
    pub fn throttle(&self) -> Option<Duration> {
        const UNSTATED: Duration = Duration::from_secs(1);
        self.retry_after.or((self.status == 429).then_some(UNSTATED))
    }

    /// The reason for the callers of a repeatable source. Such a source has no refresh token to
    /// [judge](Profile::judge). A redirect counts as refused, because none is followed.
    pub fn reason(&self) -> Reason {
        match self.status {
            429 => Reason::Throttled,
            200..300 | 500.. => Reason::ServerTrouble,
            _ if self.error.as_deref() == Some(PROOF_WORD) => Reason::ProofRefused,
            _ => Reason::RequestRefused,
        }
    }
}
