//! The members of the current format, and the conversion of a record to them. `read` converts back.
//!
//! Each type and member is the stored form of the type and field of that name in `values::record`, which documents it.
//! `_ms` stands for milliseconds. Text is a word of `words`, a digest or id in hexadecimal, or the value itself.
//!
//! Members are written in the order of the fields. All but `logins`, `server_named` and `settings` must be present when a
//! record is read, because a record whose `mark` member is missing must not be read as one without a mark. A member without
//! a value is written as `null`.
//!
//! `serde(borrow)` is on each member that contains a secret, so that no secret is copied while it is read. Flattening
//! and internally tagged enums are not used, because serde buffers those, and the buffer would hold secrets.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::CURRENT;
use super::secret::{Secret, hex};
use super::words::Word;
use crate::values::{FlightId, KeyedDigest, Moment, Scopes, WallTime, record};

pub(super) type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record<'a> {
    pub(super) format: u32,
    pub(super) epoch: u64,
    pub(super) revision: u64,
    pub(super) number: u64,
    pub(super) dead: Vec<Text<'a>>,
    /// The digests of the refresh tokens that logins came with. Absent if none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) logins: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) content: Content<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) prompt: Option<Prompt<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content<'a> {
    Vacant,
    Tombstone,
    #[serde(borrow)]
    Grant(Box<Grant<'a>>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant<'a> {
    #[serde(borrow)]
    pub(super) binding: Binding<'a>,
    pub(super) requested: Vec<Text<'a>>,
    pub(super) granted: Vec<Text<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) subject: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) dpop_key: Option<Secret<'a>>,
    #[serde(borrow)]
    pub(super) renewal: RenewalPlan<'a>,
    #[serde(borrow)]
    pub(super) refresh: Refresh<'a>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) access: Option<Access<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) parked: Option<Text<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) signed_in_ms: Option<u64>,
    pub(super) rotated: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binding<'a> {
    pub(super) issuer: Text<'a>,
    #[serde(borrow)]
    pub(super) client: Client<'a>,
    pub(super) token_endpoint: Text<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) revocation_endpoint: Option<Text<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) resource: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client<'a> {
    pub(super) id: Text<'a>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) secret: Option<Secret<'a>>,
    pub(super) auth: Text<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) secret_expires_at_ms: Option<u64>,
}

/// The renewal plan, with the source that renews the grant and the provider whose profile applies.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewalPlan<'a> {
    pub(super) source: Text<'a>,
    pub(super) spending: Text<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) provider: Option<Text<'a>>,
    /// Whether a token in doubt is never presented again.
    pub(super) never_replay: bool,
    /// Absent if the host named the endpoints, as in records of older formats.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) server_named: bool,
    /// Absent if the source has no settings, as in records of older formats.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) settings: Option<Secret<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refresh<'a> {
    None,
    #[serde(borrow)]
    Held(Box<Held<'a>>),
    /// The digest of the refused refresh token.
    Ended(Text<'a>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held<'a> {
    #[serde(borrow)]
    pub(super) token: Secret<'a>,
    pub(super) digest: Text<'a>,
    pub(super) since: At<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) mark: Option<Mark<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark<'a> {
    pub(super) flight: Text<'a>,
    pub(super) digest: Text<'a>,
    pub(super) presentations: u32,
    pub(super) number: u64,
    pub(super) first: At<'a>,
    pub(super) latest: At<'a>,
    pub(super) timeout_ms: u64,
    pub(super) state: Text<'a>,
}

/// An access token. `anchored` and `lifetime_ms` are its validity.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access<'a> {
    #[serde(borrow)]
    pub(super) token: Secret<'a>,
    pub(super) kind: Text<'a>,
    pub(super) anchored: At<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) lifetime_ms: Option<u64>,
    pub(super) number: u64,
    pub(super) cause: Text<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) flight: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prompt<'a> {
    pub(super) attempt: Text<'a>,
    pub(super) key: Text<'a>,
    pub(super) state: Text<'a>,
    pub(super) at: At<'a>,
    pub(super) revision: u64,
    pub(super) expires_ms: u64,
}

/// A [`Moment`], with wall time, elapsed time, and the boot that the elapsed time counts from.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At<'a> {
    pub(super) wall_ms: u64,
    pub(super) elapsed_ms: u64,
    pub(super) boot: Text<'a>,
}

/// Deserializes an optional member that must be present, at least as `null`. Without this function, serde reads an
/// absent `Option` as `None`.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

impl<'a> Record<'a> {
    /// `record` in its written form.
    pub(super) fn of(record: &'a record::Record) -> Self {
        Self {
            format: CURRENT,
            epoch: record.epoch.number(),
            revision: record.revision.number(),
            number: record.number,
            dead: record.dead.iter().map(digest).collect(),
            logins: record.dead.logins().map(digest).collect(),
            content: match &record.content {
                record::Content::Vacant => Content::Vacant,
                record::Content::Tombstone => Content::Tombstone,
                record::Content::Grant(grant) => Content::Grant(Box::new(Grant::of(grant))),
            },
            prompt: record.prompt.as_ref().map(Prompt::of),
        }
    }
}

impl<'a> Grant<'a> {
    fn of(grant: &'a record::Grant) -> Self {
        Self {
            binding: Binding::of(&grant.binding),
            requested: scopes(&grant.requested),
            granted: scopes(&grant.granted),
            subject: grant.subject.as_ref().map(|subject| text(&subject.0)),
            dpop_key: grant.dpop_key.as_ref().map(|key| Secret::Plain(key.expose())),
            renewal: RenewalPlan::of(&grant.renewal),
            refresh: match &grant.refresh {
                record::Refresh::None => Refresh::None,
                record::Refresh::Held(held) => Refresh::Held(Box::new(Held {
                    token: Secret::Plain(held.credential.token().expose()),
                    digest: digest(&held.credential.digest()),
                    since: At::of(&held.since),
                    mark: held.mark.as_ref().map(Mark::of),
                })),
                record::Refresh::Ended(refused) => Refresh::Ended(digest(refused)),
            },
            access: grant.access.as_ref().map(Access::of),
            parked: grant.parked.map(|parked| text(parked.word())),
            signed_in_ms: grant.signed_in.map(WallTime::as_millis),
            rotated: grant.rotated,
        }
    }
}

impl<'a> Client<'a> {
    pub(super) fn of(client: &'a record::Client) -> Self {
        Self {
            id: text(&client.id),
            secret: client.secret.as_ref().map(|secret| Secret::Plain(secret.expose())),
            auth: text(client.auth.word()),
            secret_expires_at_ms: client.secret_expires_at.map(|at| at.as_millis()),
        }
    }
}

impl<'a> Binding<'a> {
    fn of(binding: &'a record::Binding) -> Self {
        Self {
            issuer: text(&binding.issuer.0),
            client: Client::of(&binding.client),
            token_endpoint: text(&binding.token_endpoint),
            revocation_endpoint: binding.revocation_endpoint.as_deref().map(text),
            resource: binding.resource.as_deref().map(text),
        }
    }
}

impl<'a> RenewalPlan<'a> {
    fn of(plan: &'a record::RenewalPlan) -> Self {
        Self {
            source: text(plan.source.as_str()),
            spending: text(plan.spending.word()),
            provider: plan.provider.as_ref().map(|provider| text(provider.as_str())),
            never_replay: plan.never_replay,
            server_named: plan.server_named,
            settings: plan.settings.as_ref().map(|settings| Secret::Plain(settings.expose())),
        }
    }
}

impl Mark<'_> {
    fn of(mark: &record::Mark) -> Self {
        Self {
            flight: flight(&mark.flight),
            digest: digest(&mark.digest),
            presentations: mark.presentations,
            number: mark.number,
            first: At::of(&mark.first),
            latest: At::of(&mark.latest),
            // The time-out is rounded up, because other flights wait this long after `latest` before they present the token
            // again, if the holder may still live.
            timeout_ms: millis(mark.timeout.checked_add(Duration::from_nanos(999_999)).unwrap_or(Duration::MAX)),
            state: text(mark.state.word()),
        }
    }
}

impl Prompt<'_> {
    fn of(prompt: &record::Prompt) -> Self {
        Self {
            attempt: hex(&prompt.attempt.0.to_be_bytes()),
            key: hex(&prompt.key.0),
            state: text(prompt.state.word()),
            at: At::of(&prompt.at),
            revision: prompt.revision.number(),
            expires_ms: prompt.expires.as_millis(),
        }
    }
}

impl<'a> Access<'a> {
    fn of(access: &'a record::Access) -> Self {
        Self {
            token: Secret::Plain(access.token.expose()),
            kind: text(access.kind.word()),
            anchored: At::of(&access.validity.anchored()),
            // The lifetime is rounded down, so that no token seems to live longer than it does. At least 1, because zero
            // means unknown.
            lifetime_ms: access.validity.lifetime().map(|lifetime| millis(lifetime).max(1)),
            number: access.number,
            cause: text(access.cause.word()),
            flight: access.flight.as_ref().map(flight),
        }
    }
}

impl At<'_> {
    pub(super) fn of(moment: &Moment) -> Self {
        Self {
            wall_ms: moment.wall.as_millis(),
            elapsed_ms: moment.elapsed.as_millis(),
            boot: hex(&moment.boot.0.to_be_bytes()),
        }
    }
}

pub(super) fn text(text: &str) -> Text<'_> {
    Cow::Borrowed(text)
}

pub(super) fn scopes(scopes: &Scopes) -> Vec<Text<'_>> {
    scopes.iter().map(text).collect()
}

fn digest(digest: &KeyedDigest) -> Text<'static> {
    hex(digest.as_bytes())
}

fn flight(flight: &FlightId) -> Text<'static> {
    hex(&flight.0.to_be_bytes())
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
