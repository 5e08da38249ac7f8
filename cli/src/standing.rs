//! How a session stands, as its record and its journal say.

use serde::Serialize;
use tokenkeeper::Reason;
use tokenkeeper::engine::law::session::Policy;
use tokenkeeper::engine::ports::store::EventKind;
use tokenkeeper::engine::values::record::{Mark, Record, Renewal, Spending};
use tokenkeeper::engine::values::{Moment, WallTime};
use tokenkeeper::stores::file::Entry;

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its token is good.
    SignedIn,
    /// Its token is over, and will be refreshed for whoever asks next.
    Expired,
    /// Some process is refreshing it.
    Refreshing,
    /// A refresh got no clear answer.
    InDoubt,
    /// Its last token is good, and nothing will renew it: a login is needed before that is over.
    Ending,
    /// Only a login helps.
    LoginRequired,
    /// Somebody logged out.
    LoggedOut,
    /// There is a record, and it cannot be read.
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

/// What there is to say about a session.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) issuer: Option<String>,
    /// When its access token is over, where that is known.
    pub(crate) expires: Option<WallTime>,
    /// When its newest token was asked for, if by a refresh.
    pub(crate) refreshed: Option<WallTime>,
    /// Why it stands so, where that is no good news.
    pub(crate) why: Option<Reason>,
}

impl Standing {
    /// What `record` says at `now`, and its `journal`, oldest line first, where that is newer than the token.
    pub(crate) fn of(record: &Record, journal: &[Entry], now: &Moment) -> Self {
        let view = record.view();
        let access = record.grant().and_then(|grant| grant.access.as_ref());
        let validity = access.map(|access| access.validity);
        // The margin with which `token` decides.
        let margin = Policy::default().safety_margin;
        let good = view.lease.as_ref().is_some_and(|lease| lease.validity().is_good(margin, now));
        let is_repeatable = view.plan.as_ref().is_some_and(|plan| plan.spending == Spending::Repeatable);
        let (state, why) = match view.renewal {
            Renewal::LoginRequired(Reason::LoggedOut) => (State::LoggedOut, None),
            Renewal::LoginRequired(reason) if good => (State::Ending, Some(reason)),
            Renewal::LoginRequired(reason) => (State::LoginRequired, Some(reason)),
            Renewal::WithoutToken if good => (State::SignedIn, None),
            // Its source mints again without a login.
            Renewal::WithoutToken if is_repeatable => (State::Expired, None),
            Renewal::WithoutToken => (State::LoginRequired, Some(Reason::NotRefreshable)),
            Renewal::Token { .. } => match record.held().and_then(|held| held.mark.as_ref()) {
                Some(mark) if is_under_way(mark, journal, now) => (State::Refreshing, None),
                Some(_) => (State::InDoubt, Some(Reason::InDoubt)),
                None if good => (State::SignedIn, None),
                None => (State::Expired, None),
            },
        };
        let refreshed = access.filter(|access| access.flight.is_some()).map(|access| access.validity.anchored().wall);
        // That a process stopped says nothing about the session.
        let newest = journal.iter().rev().find(|entry| entry.line.reason != Some(Reason::ShuttingDown));
        let trouble = newest
            .filter(|entry| matches!(entry.line.kind, EventKind::Failed | EventKind::InDoubt | EventKind::Degraded))
            .filter(|entry| refreshed.is_none_or(|at| at < entry.line.at.wall))
            .and_then(|entry| entry.line.reason);
        Self {
            state,
            issuer: view.issuer.map(|issuer| issuer.0),
            expires: validity.and_then(|validity| Some(validity.anchored().wall.after(validity.lifetime()?))),
            refreshed,
            why: why.or(trouble),
        }
    }

    /// What can be said of a record that cannot be read.
    pub(crate) fn unreadable() -> Self {
        Self { state: State::Unreadable, issuer: None, expires: None, refreshed: None, why: None }
    }
}

/// Whether a process presents the marked token right now, as far as can be told from here: the presentation may last yet,
/// and the journal has no line about it.
fn is_under_way(mark: &Mark, journal: &[Entry], now: &Moment) -> bool {
    let concluded = journal.iter().any(|entry| entry.line.flight == Some(mark.flight));
    !concluded && now.at_most_since(&mark.latest).is_some_and(|age| age < mark.timeout)
}
