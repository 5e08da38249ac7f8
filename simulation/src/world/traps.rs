//! Traps trigger events at a named effect of a flight.

use tokenkeeper_actors::law::session::SessionEffect;
use tokenkeeper_actors::ports::observer::{EffectName, LoginEffectName};
use tokenkeeper_actors::values::{AttemptId, FlightId};

use super::{Call, Item, World};
use crate::plan::{Deed, LoginKind, LoginTrap, SessionPoint, Stimulus, Trap, When};
use crate::process::{ActorId, Pid};

/// The name of the effect behind a store operation.
pub(super) fn name_of(call: &Call) -> Option<EffectName> {
    use tokenkeeper_actors::law::ledger::Change;
    Some(match call {
        Call::Load => EffectName::Load,
        Call::Claim { .. } => EffectName::Claim,
        Call::Renew { .. } => EffectName::Renew,
        Call::End { .. } => EffectName::EndClaim,
        Call::Reserve(_) | Call::Put(..) | Call::Peek(_) | Call::Take(_) | Call::DropLogins => return None,
        Call::Change(change) => match change {
            Change::Mark { .. } => EffectName::Mark,
            Change::Withdraw { .. } => EffectName::Withdraw,
            Change::Commit(_) | Change::Install(_) => EffectName::Commit,
            Change::End { .. } => EffectName::End,
            Change::Spent { .. } => EffectName::Spent,
            Change::Park { .. }
            | Change::Unpark { .. }
            | Change::Clear { .. }
            | Change::Configure { .. }
            | Change::Discard { .. }
            | Change::Prompt { .. }
            | Change::AnswerPrompt { .. }
            | Change::EndPrompt { .. } => EffectName::Close,
        },
    })
}

/// The name of an attempt's effect behind a store operation.
pub(super) fn login_name_of(call: &Call) -> Option<LoginEffectName> {
    use tokenkeeper_actors::law::ledger::Change;
    Some(match call {
        Call::Load => LoginEffectName::Load,
        Call::Claim { .. } => LoginEffectName::Claim,
        Call::Renew { .. } => LoginEffectName::Renew,
        Call::Reserve(_) => LoginEffectName::Reserve,
        Call::Put(..) => LoginEffectName::Put,
        Call::Peek(_) => LoginEffectName::Peek,
        Call::Take(_) => LoginEffectName::Take,
        Call::Change(Change::Prompt { .. }) => LoginEffectName::Ask,
        Call::Change(Change::AnswerPrompt { .. }) => LoginEffectName::Answer,
        Call::Change(Change::EndPrompt { .. }) => LoginEffectName::EndPrompt,
        Call::Change(_) => LoginEffectName::Install,
        Call::End { .. } | Call::DropLogins => return None,
    })
}

impl World {
    /// Applies a stimulus right after the present step.
    fn soon(&mut self, stimulus: Stimulus) {
        self.extra.push(stimulus);
        self.queue.push(self.t, Item::Extra(self.extra.len() - 1));
    }

    /// Kills a process before an effect of one of its actors, if a trap is set there.
    pub(crate) fn spring_session(&mut self, id: ActorId, effect: &SessionEffect) -> bool {
        let kind = match effect {
            SessionEffect::Publish(_) => SessionPoint::Publish,
            SessionEffect::Answer(..) => SessionPoint::Answer,
            SessionEffect::Change(..) => SessionPoint::Change,
            SessionEffect::Fly(_) => SessionPoint::Fly,
            SessionEffect::SignIn(_) => SessionPoint::SignIn,
            SessionEffect::AnswerRefusal(..)
            | SessionEffect::AnswerInstall(..)
            | SessionEffect::AnswerLogout(..)
            | SessionEffect::AnswerLogin(..)
            | SessionEffect::AnswerConfigure(..) => SessionPoint::Reply,
            _ => return false,
        };
        let Some(place) = self.session_traps.iter().position(|trap| *trap == kind) else { return false };
        self.session_traps.remove(place);
        self.stimulus(Stimulus::Crash { process: id.pid.process, down: 300 });
        true
    }

    /// Triggers a trap at this point of this effect, if one is set. Returns whether the flight cannot continue with
    /// this effect, because its process stands still or died, or because it was aborted.
    pub(crate) fn spring(&mut self, pid: Pid, flight: FlightId, effect: EffectName, when: When) -> bool {
        let Some(place) = self.traps.iter().position(|trap| trap.effect == effect && trap.when == when) else {
            return false;
        };
        let Some(identity) = self.processes[pid.process].flights.get(&flight).map(|run| run.identity) else {
            return false;
        };
        let Trap { deed, .. } = self.traps.remove(place);
        self.tell(
            || format!("p{}", pid.process),
            |world| format!("at {} ({when:?}) of {}: {deed:?}", effect.as_str(), world.flight_name(pid, flight)),
        );
        let (process, after) = (pid.process, when != When::Before);
        if deed.is_crash() {
            self.tally.crash(effect, after);
        }
        self.perform(deed, process, identity, |world| world.break_flight(pid, flight));
        !self.runs(pid) || !self.processes[pid.process].flights.contains_key(&flight)
    }

    /// Triggers a trap at this point of this effect of an attempt, if one is set. Returns whether the attempt cannot continue
    /// with this effect.
    pub(crate) fn spring_login(&mut self, pid: Pid, attempt: AttemptId, effect: LoginEffectName, when: When) -> bool {
        let set = |trap: &LoginTrap| trap.effect == effect && trap.when == when;
        let Some(place) = self.login_traps.iter().position(set) else { return false };
        let Some(identity) = self.processes[pid.process].attempts.get(&attempt).map(|run| run.identity) else {
            return false;
        };
        let LoginTrap { deed, .. } = self.login_traps.remove(place);
        self.tell(
            || format!("p{}", pid.process),
            |world| format!("at {} ({when:?}) of {}: {deed:?}", effect.as_str(), world.attempt_name(pid, attempt)),
        );
        let (process, after) = (pid.process, when != When::Before);
        if deed.is_crash() {
            self.tally.login_crash(effect, after);
        }
        self.perform(deed, process, identity, |world| world.break_attempt(pid, attempt));
        !self.runs(pid) || !self.processes[pid.process].attempts.contains_key(&attempt)
    }

    /// Does what a trap says. `break_off` aborts the flight or the attempt that triggered it.
    fn perform(&mut self, deed: Deed, process: usize, identity: usize, break_off: impl FnOnce(&mut World)) {
        let host = self.processes[process].host;
        match deed {
            Deed::Crash { down } => self.stimulus(Stimulus::Crash { process, down }),
            Deed::Reboot { down } => self.stimulus(Stimulus::Reboot { host, down }),
            Deed::BreakFlight => break_off(self),
            Deed::KillSession => self.soon(Stimulus::KillSession { process, identity }),
            Deed::Pause { span } => self.stimulus(Stimulus::Pause { process, span }),
            Deed::Suspend { span } => self.stimulus(Stimulus::Suspend { host, span }),
            Deed::Shutdown { grace } => self.soon(Stimulus::Shutdown { process, grace }),
            Deed::Logout => self.soon(Stimulus::Logout { process, identity }),
            Deed::Login => self.soon(Stimulus::Login { process, identity, kind: LoginKind::Fresh }),
        }
    }
}
