//! The process stops. An unsaved token is saved again and again until shortly before the end. Only then is the refresh
//! token noted as spent (law 4).

use std::time::Duration;

use super::machine::FlightCore;
use super::phase::{Duty, Phase, Settlement, Step};
use super::{FlightEffect, Report};
use crate::ports::store::ClaimEnding;
use crate::values::{ElapsedTime, ExponentialBackoff, MAX_SLEEP, Now, Reason};

/// The longest pause between two saves while the process stops, as a multiple of the first one. It is short, because a
/// store that works again must be found in time.
const MAX_PAUSES: u32 = 4;

/// The last times of a flight whose process stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// The time of the last save. The time after it is for its answer, and for the note that the refresh token is spent.
    last_save: ElapsedTime,
    /// The time until which the process waits for the flight.
    until: ElapsedTime,
}

impl Closing {
    fn new(until: ElapsedTime, now: ElapsedTime, store_timeout: Duration) -> Self {
        let reserve = store_timeout.saturating_mul(2).min(until.since(now) / 2);
        Self { last_save: until.before(reserve), until }
    }
}

impl FlightCore {
    pub(super) fn shut_down(
        &mut self,
        phase: Phase,
        until: ElapsedTime,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.closing.get_or_insert(Closing::new(until, now.elapsed(), self.equipment.timeouts.store_timeout));
        let phase = self.stop_early(phase, Reason::ShuttingDown, effects);
        match phase {
            // A flight that pauses between two saves saves at once.
            Phase::Settling(settlement) if matches!(settlement.step, Step::Resting { .. }) => {
                self.retry(settlement, now, effects)
            }
            phase => phase,
        }
    }

    /// When a write for `duty` that begins now has taken too long. The last note has to end before the process does.
    pub(super) fn write_limit(&self, duty: &Duty, now: ElapsedTime) -> ElapsedTime {
        let limit = now.after(self.equipment.timeouts.store_timeout);
        match self.closing {
            Some(Closing { until, .. }) if matches!(duty, Duty::MarkSpent { .. }) && until > now => limit.min(until),
            _ => limit,
        }
    }

    /// A write failed or timed out while the process stops. The flight tries again until the time of its last save. A
    /// write that is unanswered then is waited for, because it may still store the token. After that the flight notes
    /// that the refresh token is spent.
    pub(super) fn unwritten_while_closing(
        &mut self,
        settlement: Settlement,
        closing: Closing,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        let is_note = matches!(settlement.duty, Duty::MarkSpent { .. });
        if !is_note && now.elapsed() < closing.last_save {
            let first = self.equipment.timeouts.save_pause;
            let pause = ExponentialBackoff::new(first, first * MAX_PAUSES).jittered(settlement.failures, now.jitter);
            let until = now.elapsed().after(pause).min(closing.last_save);
            return Phase::Settling(Settlement { step: Step::Resting { until }, ..settlement });
        }
        if !is_note && !settlement.unanswered.is_empty() {
            return self.await_answers(settlement, now);
        }
        self.final_write(settlement, now, effects)
    }

    /// Waits for the answers to earlier writes.
    pub(super) fn await_answers(&self, settlement: Settlement, now: Now) -> Phase {
        Phase::Settling(Settlement { step: Step::Awaiting { until: now.elapsed().after(MAX_SLEEP) }, ..settlement })
    }

    /// The last save has failed. The flight tries to note that the refresh token is spent. If that succeeds, the store
    /// takes writes again, so the flight then saves once more.
    fn final_write(&mut self, settlement: Settlement, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        let duty = match settlement.duty {
            Duty::Save(_) if settlement.noted => return self.lose(settlement, effects),
            // Without a new refresh token, the old one is still good, and only its mark has to be withdrawn.
            Duty::Save(commit) if commit.refresh.is_none() => Duty::Withdraw { park: None },
            Duty::Save(commit) => Duty::MarkSpent { lost: Some(commit) },
            Duty::End | Duty::Park(_) | Duty::WriteTombstone => Duty::MarkSpent { lost: None },
            Duty::Withdraw { .. } | Duty::MarkSpent { .. } => return self.lose(settlement, effects),
        };
        let step = Step::Resting { until: now.elapsed() };
        let settlement = Settlement { duty, since: self.ops, step, unanswered: Vec::new(), ..settlement };
        self.retry(settlement, now, effects)
    }

    /// Ends the flight with its duty undone.
    fn lose(&mut self, settlement: Settlement, effects: &mut Vec<FlightEffect>) -> Phase {
        let Settlement { attempt, duty, noted, .. } = settlement;
        let over = self.finish(attempt.claim, ClaimEnding::Abandoned, effects);
        if matches!(duty, Duty::Save(_) | Duty::MarkSpent { lost: Some(_) }) {
            effects.push(FlightEffect::Report(Report::Lost { noted }));
        }
        over
    }
}

impl Settlement {
    /// When this settlement is to go on.
    pub(super) fn due(&self) -> ElapsedTime {
        match self.step {
            Step::Writing { limit, .. } => limit,
            Step::Resting { until } | Step::Awaiting { until } => until,
        }
    }
}
