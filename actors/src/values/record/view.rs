//! The part of a record that a session keeps. It suffices for serving and deciding, and has no refresh token.

use super::super::lease::Lease;
use super::super::lineage::{Epoch, FlightId, Version};
use super::super::reason::Reason;
use super::super::time::{Moment, WallTime};
use super::{Content, Issuer, MarkState, Prompt, Record, Refresh, RenewalPlan};

/// A record as a session knows it. The access token is the only secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The record's place in the identity's history.
    pub version: Version,
    /// The highest token number given out or reserved so far.
    pub number: u64,
    /// The issuer the grant is bound to, or `None` after a logout.
    pub issuer: Option<Issuer>,
    /// The newest access token, even an expired one. `None` if it must not be served (parked, logged out).
    pub lease: Option<Lease>,
    /// The way in which the grant can be renewed.
    pub renewal: Renewal,
    /// The source that renews it, and the provider's profile. `None` without a grant.
    pub plan: Option<RenewalPlan>,
    /// The time at which the login was completed, by the wall clock.
    pub signed_in: Option<WallTime>,
    /// The last prompt of this epoch, if any.
    pub prompt: Option<Box<Prompt>>,
}

/// The way in which a grant can be renewed, according to its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It cannot be renewed. Only a login helps, for this reason.
    LoginRequired(Reason),
    /// There is no refresh token. A source that needs none can obtain a new access token.
    WithoutToken,
    /// A refresh token is held.
    Token {
        /// The time at which it arrived or was last presented with success.
        since: Moment,
        /// The mark, set while the token is being presented or is in doubt.
        mark: Option<MarkView>,
    },
}

/// The part of a mark that a session keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkView {
    /// The flight that presented the token, or presents it now.
    pub flight: FlightId,
    /// The number of flights that have presented it.
    pub presentations: u32,
}

impl View {
    /// The view of an identity without a record.
    pub fn vacant() -> Self {
        Self {
            version: Version::default(),
            number: 0,
            issuer: None,
            lease: None,
            renewal: Renewal::LoginRequired(Reason::NeverSignedIn),
            plan: None,
            signed_in: None,
            prompt: None,
        }
    }

    /// The epoch of the record.
    pub fn epoch(&self) -> Epoch {
        self.version.epoch
    }

    /// The reason why no lease may be served, if the grant is parked or the identity was logged out.
    pub fn closed(&self) -> Option<Reason> {
        match self.renewal {
            Renewal::LoginRequired(
                reason @ (Reason::LoggedOut | Reason::ClientRejected | Reason::IssuerChanged | Reason::SubjectChanged),
            ) => Some(reason),
            _ => None,
        }
    }

    pub(super) fn of(record: &Record) -> Self {
        let (issuer, lease, renewal) = match &record.content {
            Content::Vacant => (None, None, Renewal::LoginRequired(Reason::NeverSignedIn)),
            Content::Tombstone => (None, None, Renewal::LoginRequired(Reason::LoggedOut)),
            Content::Grant(grant) => match grant.parked {
                Some(parked) => (Some(&grant.binding.issuer), None, Renewal::LoginRequired(parked.reason())),
                None => (Some(&grant.binding.issuer), record.lease(), renewal(&grant.refresh)),
            },
        };
        let grant = record.grant();
        Self {
            version: record.version(),
            number: record.number,
            issuer: issuer.cloned(),
            lease,
            renewal,
            plan: grant.map(|grant| grant.renewal.clone()),
            signed_in: grant.and_then(|grant| grant.signed_in),
            prompt: record.prompt.clone().map(Box::new),
        }
    }
}

fn renewal(refresh: &Refresh) -> Renewal {
    match refresh {
        Refresh::None => Renewal::WithoutToken,
        Refresh::Ended(_) => Renewal::LoginRequired(Reason::GrantEnded),
        Refresh::Held(held) => match &held.mark {
            Some(mark) if mark.state == MarkState::Spent => Renewal::LoginRequired(Reason::MaybeConsumed),
            mark => Renewal::Token {
                since: held.since,
                mark: mark.as_ref().map(|mark| MarkView { flight: mark.flight, presentations: mark.presentations }),
            },
        },
    }
}
