//! Slots without an actor. The store's events reach them, and they are removed if they hold nothing.

use super::{ActorSlot, Backlog, CALM, Slot};
use crate::law::session::{SessionEvent, Standing};
use crate::runtime::messages::TokenMessage;
use crate::values::{ElapsedTime, Reason};

impl Slot {
    /// Sends `event` to the actor, or clears the published lease if no actor runs. An actor that starts later loads the
    /// record anyway. Returns whether an actor takes the event.
    pub(crate) fn notify_or_clear(&self, event: SessionEvent) -> bool {
        let by = self.cell.read().by;
        let is_sent = self.send(TokenMessage::event(event));
        if !is_sent {
            self.cell.clear_lease(by);
        }
        is_sent
    }

    /// Notes that no actor has processed an event of the store. The next actor is started for it if the session is kept
    /// warm or its state is followed. Returns `true` if the supervisor must be asked for that actor.
    ///
    /// Any other session reads the record at its next request.
    pub(crate) fn misses_news(&self) -> bool {
        if !self.plan.is_kept_warm() && !self.is_watched() {
            return false;
        }
        let mut state = self.state();
        state.backlog().missed_news = true;
        let wanted = matches!(state.actor_slot, ActorSlot::Empty);
        if wanted {
            state.actor_slot = ActorSlot::Awaited;
        }
        wanted
    }

    /// Whether the session's state is followed.
    fn is_watched(&self) -> bool {
        self.watchers.get().is_some_and(|watchers| watchers.receiver_count() > 0)
    }

    /// Clears the published lease of a session without an actor.
    pub(crate) fn clear_lease(&self) {
        let by = self.cell.read().by;
        self.cell.clear_lease(by);
    }

    /// Whether a new slot would hold everything that this one holds, as far as the store is known. Only the directory
    /// calls this, while it has the only reference.
    ///
    /// Such a slot has no actor, no work for one and no reader of its state. Its identity has no record and has never
    /// had a token. `is_default` states whether the settings are the runtime's. A slot with its own settings is kept
    /// until an actor has found that the identity has never signed in.
    pub(crate) fn is_blank(&self, is_default: bool, now: ElapsedTime) -> bool {
        let is_quiet = {
            let state = self.state();
            // The count of crashes is kept as long as another crash would be consecutive.
            let is_calm = |backlog: &Backlog| backlog.crashes.0 == 0 || now.since(backlog.crashes.1) > CALM;
            matches!(state.actor_slot, ActorSlot::Empty)
                && !state.has_work()
                && state
                    .backlog
                    .as_ref()
                    .is_none_or(|backlog| !backlog.flights.is_running() && !backlog.attempts.is_running())
                && state.backlog.as_deref().is_none_or(is_calm)
        };
        let snapshot = self.cell.read();
        let never_signed_in = Standing { login_required: Some(Reason::NeverSignedIn), ..Standing::default() };
        let is_without_record =
            snapshot.standing == never_signed_in || is_default && snapshot.standing == Standing::default();
        let is_over = |until: ElapsedTime| until.after(self.plan.policy.max_backoff) <= now;
        is_quiet && !self.is_watched() && is_without_record && snapshot.is_without_token(is_over)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use crate::runtime::directory::tests::{identity, maker};
    use crate::runtime::slot::CALM;
    use crate::runtime::state::SessionState;
    use crate::values::{ElapsedTime, FlightId};

    #[test]
    fn a_slot_with_work_or_with_recent_crashes_is_not_blank() {
        let (slot, now) = (maker()(&identity(1)), ElapsedTime::from_millis(7));
        assert!(slot.is_blank(true, now));
        assert!(!slot.is_blank(false, now), "a slot with its own settings is kept");
        slot.put_issuers(Vec::new());
        assert!(!slot.is_blank(true, now));
        slot.take_issuers();
        assert!(slot.is_blank(true, now));
        slot.crashed(now);
        assert!(!slot.is_blank(true, now.after(CALM)));
        assert!(slot.is_blank(true, now.after(CALM + Duration::from_millis(1))));
        let _messages = slot.register_flight(FlightId(1));
        assert!(!slot.is_blank(true, now.after(2 * CALM)));
    }

    #[test]
    fn news_that_an_ending_actor_missed_starts_the_next_one_if_the_state_is_followed() {
        let (slot, now) = (maker()(&identity(1)), ElapsedTime::from_millis(7));
        // The next actor is started when the supervisor learns of the end of this one.
        assert!(slot.wants_actor());
        assert!(!slot.misses_news());
        assert!(!slot.detach(false), "no reader or policy waits for news");
        let (sender, reader) = watch::channel(SessionState::default());
        slot.watchers.set(sender).unwrap();
        assert!(slot.wants_actor());
        assert!(!slot.misses_news());
        assert!(slot.detach(false));
        drop(reader);
        slot.cancel_start();
        assert!(!slot.is_blank(true, now), "the news is still to be read");
        assert!(slot.detach(false));
    }
}
