//! The state of a session, computed from its record and its journal.

use std::time::Duration;

use serde::Serialize;
use tokenkeeper::Reason;
use tokenkeeper::engine::law::session::Policy;
use tokenkeeper::engine::ports::store::EventKind;
use tokenkeeper::engine::values::record::{Prompt, Record, Renewal, Spending};
use tokenkeeper::engine::values::{Moment, WallTime};
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::stores::file::{Entry, FileStore};

use crate::cooldown;
use crate::renewal::Renewal as Renewed;

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// The access token is valid.
    SignedIn,
    /// The access token has expired, and the next request refreshes it.
    Expired,
    /// A process is refreshing the token.
    Refreshing,
    /// A refresh got no clear answer.
    InDoubt,
    /// The last access token is valid and cannot be renewed. A login is needed before it expires.
    Ending,
    /// Only a login helps.
    LoginRequired,
    /// The session was logged out.
    LoggedOut,
    /// The record exists and cannot be read.
    Unreadable,
}

impl State {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::SignedIn => "signed in",
            Self::Expired => "to be refreshed",
            Self::Refreshing => "refreshing",
            Self::InDoubt => "in doubt",
            Self::Ending => "ending",
            Self::LoginRequired => "login required",
            Self::LoggedOut => "logged out",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether a person must sign in.
    pub(crate) fn needs_login(self) -> bool {
        matches!(self, Self::Ending | Self::LoginRequired | Self::LoggedOut)
    }
}

/// The state of a session with the details that the commands show.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) issuer: Option<String>,
    /// How the session gets its next token. `None` if only a login brings one.
    pub(crate) renewal: Option<Renewed>,
    /// When the access token expires, if known.
    pub(crate) expires: Option<WallTime>,
    /// When the newest token was requested, if a refresh brought it.
    pub(crate) refreshed: Option<WallTime>,
    /// When the login was completed, if known.
    pub(crate) signed_in: Option<WallTime>,
    /// The reason for a state that needs attention.
    pub(crate) why: Option<Reason>,
    /// The time until which the issuer asked for no requests.
    pub(crate) throttled_until: Option<WallTime>,
    /// The last request to a person, unless a login, an import or a logout followed.
    pub(crate) asked: Option<Prompt>,
}

impl Standing {
    /// Computes the state at `now` from `record` and from the lines of `journal` that are newer than the token. The
    /// journal's oldest line is first. `presenting` is whether a process presents the refresh token right now.
    pub(crate) fn of(
        record: &Record,
        journal: &[Entry],
        presenting: bool,
        providers: &Providers,
        now: &Moment,
    ) -> Self {
        let view = record.view();
        let profile = view.plan.as_ref().map(|plan| providers.profiles().of(plan)).unwrap_or_default();
        let access = record.grant().and_then(|grant| grant.access.as_ref());
        let validity = access.map(|access| access.validity);
        // `tokenkeeper token` uses the same margin.
        let margin = Policy::default().safety_margin;
        let good = view.lease.as_ref().is_some_and(|lease| lease.validity().is_good(margin, now));
        let is_repeatable = view.plan.as_ref().is_some_and(|plan| plan.spending == Spending::Repeatable);
        let (state, why) = match view.renewal {
            Renewal::LoginRequired(Reason::LoggedOut) => (State::LoggedOut, None),
            Renewal::LoginRequired(reason) if good => (State::Ending, Some(reason)),
            Renewal::LoginRequired(reason) => (State::LoginRequired, Some(reason)),
            Renewal::WithoutToken if good => (State::SignedIn, None),
            // A repeatable source mints again without a login.
            Renewal::WithoutToken if is_repeatable => (State::Expired, None),
            Renewal::WithoutToken => (State::LoginRequired, Some(Reason::NotRefreshable)),
            Renewal::Token { .. } => match record.held().and_then(|held| held.mark.as_ref()) {
                Some(_) if presenting => (State::Refreshing, None),
                Some(mark) if !profile.may_present_again(&mark.first, Duration::ZERO, now) => {
                    (if good { State::Ending } else { State::LoginRequired }, Some(Reason::MaybeConsumed))
                }
                Some(_) if profile.rotates => (State::InDoubt, Some(Reason::InDoubt)),
                // If the server never rotates refresh tokens, a lost answer leaves no doubt.
                _ if good => (State::SignedIn, None),
                _ => (State::Expired, None),
            },
        };
        let refreshed = access.filter(|access| access.flight.is_some()).map(|access| access.validity.anchored().wall);
        // A line about the shutdown of a process does not concern the session.
        let newest = journal.iter().rev().find(|entry| entry.line.reason != Some(Reason::ShuttingDown));
        let trouble = newest
            .filter(|entry| matches!(entry.line.kind, EventKind::Failed | EventKind::InDoubt | EventKind::Degraded))
            .filter(|entry| refreshed.is_none_or(|at| at < entry.line.at.wall))
            .and_then(|entry| entry.line.reason);
        Self {
            state,
            issuer: view.issuer.map(|issuer| issuer.0),
            renewal: Renewed::of(record),
            expires: validity.and_then(|validity| Some(validity.anchored().wall.after(validity.lifetime()?))),
            refreshed,
            signed_in: view.signed_in,
            why: why.or(trouble),
            throttled_until: None,
            asked: record.prompt.clone(),
        }
    }

    /// Adds the issuer's cool-down from `store`, if the session makes requests.
    pub(crate) async fn with_cooldown(mut self, store: &FileStore, now: &Moment) -> Self {
        if !matches!(self.state, State::LoggedOut | State::LoginRequired | State::Unreadable) {
            self.throttled_until = cooldown::end(store, self.issuer.as_deref(), now).await;
        }
        self
    }

    /// The state of a session whose record cannot be read.
    pub(crate) fn unreadable() -> Self {
        Self {
            state: State::Unreadable,
            issuer: None,
            renewal: None,
            expires: None,
            refreshed: None,
            signed_in: None,
            why: None,
            throttled_until: None,
            asked: None,
        }
    }
}
