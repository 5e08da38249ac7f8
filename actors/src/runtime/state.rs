//! The state of a session, for display. No decision is made from it.

use tokio::sync::watch;

use super::cell::Snapshot;
use crate::law::session::Hit;
use crate::values::{ElapsedTime, Generation, Reason, TokenError, Validity, WallTime};

/// The state of a session, as of its last event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The generation and lifetime of the lease that is being served. `None` if there is no lease, or if it was
    /// refused.
    pub lease: Option<(Generation, Validity)>,
    /// The reason why a login is required, if it is.
    pub login_required: Option<Reason>,
    /// Whether a flight is running.
    pub refreshing: bool,
    /// Whether a token was obtained that could not be saved yet.
    pub unsaved: bool,
    /// Whether the refresh token is being presented, or may have been spent.
    pub in_doubt: bool,
    /// Whether a person is being asked to sign in, by this process or another one.
    pub signing_in: bool,
    /// Whether a logout has begun whose tombstone is not written yet.
    pub logging_out: bool,
    /// The last failure, and the time until which no attempt is made because of it. After a failure that no caller
    /// waited for, a new caller's attempt does not wait until then.
    pub resting: Option<(TokenError, ElapsedTime)>,
    /// The wall-clock time at which the refresh token arrived or was last used with success.
    pub refresh_since: Option<WallTime>,
    /// The wall-clock time at which the login was completed.
    pub signed_in: Option<WallTime>,
}

impl From<&Snapshot> for SessionState {
    fn from(snapshot: &Snapshot) -> Self {
        let (standing, residue) = (snapshot.standing, snapshot.residue());
        Self {
            lease: snapshot.hit.as_ref().map(|Hit { lease, .. }| (lease.generation(), lease.validity())),
            login_required: standing.login_required,
            refreshing: residue.flight.is_some_and(|flight| !flight.keeping),
            unsaved: residue.flight.is_some_and(|flight| flight.keeping),
            in_doubt: standing.in_doubt,
            signing_in: standing.signing_in,
            logging_out: residue.closing.is_some(),
            resting: residue.backoff.resting.or(residue.backoff.background_resting),
            refresh_since: standing.refresh_since,
            signed_in: standing.signed_in,
        }
    }
}

/// Follows a session's state.
///
/// Only the newest state is kept. A slow reader misses the states in between. The watch ends when the runtime and all
/// handles on the session are gone.
///
/// A clone starts from the state that its original saw last, and then follows by itself. States come in the order in
/// which they were published. A state may arrive shortly after its change takes effect.
#[derive(Clone, Debug)]
pub struct StateWatch(pub(crate) watch::Receiver<SessionState>);

impl StateWatch {
    /// Returns the newest state.
    pub fn now(&mut self) -> SessionState {
        self.0.borrow_and_update().clone()
    }

    /// Waits for a state that was not seen yet. Returns `None` when there will be no further state.
    ///
    /// Dropping the future loses no state.
    pub async fn next(&mut self) -> Option<SessionState> {
        self.0.changed().await.ok()?;
        Some(self.now())
    }
}
