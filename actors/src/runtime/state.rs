//! How a session stands, for whoever shows it to a person. No decision is made on it.

use tokio::sync::watch;

use super::cell::Posted;
use crate::law::session::Hit;
use crate::values::{ElapsedTime, Generation, Moment, Reason, TokenError, Validity, WallTime};

/// How a session stands: a snapshot, as of the session's last event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The lease that is being handed out, by name and lifetime. `None` where there is none, or it was refused.
    pub lease: Option<(Generation, Validity)>,
    /// Why only a login helps, if only a login does.
    pub login_required: Option<Reason>,
    /// Whether a flight is in the air.
    pub refreshing: bool,
    /// Whether a token was obtained that could not be saved yet.
    pub unsaved: bool,
    /// Whether the refresh token is being presented, or may have been spent.
    pub in_doubt: bool,
    /// Whether a logout has begun whose tombstone is not written yet.
    pub logging_out: bool,
    /// The last failure, and until when no attempt is made because of it.
    pub resting: Option<(TokenError, ElapsedTime)>,
    /// When the refresh token arrived or was last of use.
    pub refresh_since: Option<Moment>,
    /// When the login was completed, by the wall clock.
    pub signed_in: Option<WallTime>,
}

impl From<&Posted> for SessionState {
    fn from(posted: &Posted) -> Self {
        let (standing, residue) = (posted.standing, posted.residue());
        Self {
            lease: posted.hit.as_ref().map(|Hit { lease, .. }| (lease.generation(), lease.validity())),
            login_required: standing.login_required,
            refreshing: residue.flight.is_some_and(|flight| !flight.keeping),
            unsaved: residue.flight.is_some_and(|flight| flight.keeping),
            in_doubt: standing.in_doubt,
            logging_out: residue.closing.is_some(),
            resting: residue.backoff.resting,
            refresh_since: standing.refresh_since,
            signed_in: standing.signed_in,
        }
    }
}

/// Follows a session's state.
///
/// Only the newest state is kept: whoever looks seldom misses what was in between. Ends when the runtime and all handles
/// on the session are gone.
///
/// Each clone has seen what its original had seen, and follows by itself. States come in the order in which they were
/// published, never a former one after a later one; a state may be seen shortly after what it tells of can be met.
#[derive(Clone, Debug)]
pub struct StateWatch(pub(crate) watch::Receiver<SessionState>);

impl StateWatch {
    /// The newest state.
    pub fn now(&mut self) -> SessionState {
        self.0.borrow_and_update().clone()
    }

    /// Waits for a state that was not seen yet; `None` when there will be none.
    ///
    /// Safe to drop: nothing is lost by it.
    pub async fn next(&mut self) -> Option<SessionState> {
        self.0.changed().await.ok()?;
        Some(self.now())
    }
}
