//! Laws 7 and 8 at the end of a flight without a token. A fault that passes is no business of a caller that has the
//! patience, and the others learn of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenkeeper_actors::law::session::{SessionEffect, WaiterId};
use tokenkeeper_actors::values::record::PromptState;
use tokenkeeper_actors::values::{ElapsedTime, Reason, TokenError};

use super::answers::Failed;
use super::known::FailedLanding;
use super::{ATTEMPTS, LONGEST_PAUSE, pause_after};
use crate::process::{ActorId, FlightRun, Pid};
use crate::tally::Kind;
use crate::world::{Caller, World};

/// The difference between two readings of one clock that does not matter.
const GRAIN: Duration = Duration::from_millis(1);

/// The reaction of a session to a failed flight.
struct Reaction<'a> {
    /// The answers that callers get.
    answers: BTreeMap<WaiterId, Option<&'a TokenError>>,
    /// Whether the session lets callers wait for another attempt.
    retrying: bool,
    /// The end of the pause.
    until: Option<ElapsedTime>,
}

impl<'a> Reaction<'a> {
    fn read(effects: &'a [SessionEffect]) -> Self {
        let mut reaction = Self { answers: BTreeMap::new(), retrying: false, until: None };
        for effect in effects {
            match effect {
                SessionEffect::Answer(waiter, answer) => {
                    reaction.answers.insert(*waiter, answer.as_ref().err());
                }
                SessionEffect::Note(_, failure) => reaction.retrying = failure.retrying,
                SessionEffect::Publish(published) => {
                    reaction.until = published.residue.backoff.resting.map(|(_, until)| until);
                }
                _ => {}
            }
        }
        reaction
    }
}

/// Whether a fault may pass while callers wait. The store, the claim and the request itself are no such faults.
fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Unreachable | Reason::ServerTrouble | Reason::Throttled | Reason::InDoubt | Reason::Aborted
    )
}

impl World {
    /// A flight has failed. Checks the answers of its cohort, and the pause before the next flight.
    pub(crate) fn check_failed(&mut self, id: ActorId, failed: Failed, effects: &[SessionEffect]) {
        let reaction = Reaction::read(effects);
        let errors = reaction.answers.values().flatten().map(|error| error.reason());
        // A caller's deadline may pass at the same time, or may lie before the end of the issuer's throttle.
        let throttled = self.slot(id).known.throttled.is_some();
        let own = |reason: &Reason| {
            *reason == Reason::DeadlinePassed || *reason == Reason::Throttled && reaction.retrying && throttled
        };
        let errors: BTreeSet<Reason> = errors.filter(|reason| !own(reason)).collect();
        if errors.len() > 1 {
            self.breach("8", "a cohort is told different things", || format!("{errors:?}"));
        }
        if reaction.answers.len() > 1 {
            self.count(Kind::Cohort);
        }
        self.note_pause(id, failed, &reaction);
        let begun = self.truth.flight(failed.flight).map_or(0, |(_, step)| step);
        let Some(actor) = self.actor(id) else { return };
        let waiters: Vec<(WaiterId, usize)> = actor.waiters.iter().map(|(waiter, caller)| (*waiter, *caller)).collect();
        for (waiter, caller) in waiters {
            // A caller that came later with `force` waits for the next flight.
            let next = self.callers[caller].spec.force && self.callers[caller].handled >= begun;
            match reaction.answers.get(&waiter) {
                None => self.check_waits_on(id, caller, failed, &reaction, next),
                Some(Some(error)) => self.check_gives_up(id, caller, failed, &reaction, **error),
                Some(None) => {}
            }
        }
    }

    /// A caller waits for another attempt.
    fn check_waits_on(&mut self, id: ActorId, caller: usize, failed: Failed, reaction: &Reaction<'_>, next: bool) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let (deadline, fail_fast) = (self.callers[caller].ask().deadline(), self.callers[caller].spec.fail_fast);
        // While a login arrives, callers wait for it.
        let slot = self.slot(id);
        let arriving = !slot.logins.arriving.is_empty() || slot.known.answered.is_some();
        let prompt = self.store.record(id.identity).and_then(|record| record.prompt.as_ref());
        let arriving = arriving || prompt.is_some_and(|prompt| prompt.state == PromptState::Answered);
        if arriving {
            return;
        }
        if !reaction.retrying && !next {
            self.breach("8", "a failed flight leaves one of its cohort waiting", || format!("c{caller}"));
        }
        if reaction.retrying && fail_fast && !next {
            self.breach("8", "a caller that takes the first failure waits on", || format!("c{caller}"));
        }
        let Some((reason, asked)) = failed.trouble else { return };
        if !passes(reason) && !next {
            self.breach("8", "a caller waits though another attempt does not help", || {
                format!("c{caller}: {reason:?}")
            });
        }
        let Some(until) = reaction.until.filter(|_| reaction.retrying) else { return };
        if until >= deadline {
            self.breach("7", "a caller waits who can only be answered too late", || {
                format!("c{caller}: {until:?}, {deadline:?}")
            });
        }
        let asked = asked.unwrap_or_default().min(self.config.policy.max_retry_after);
        if until > elapsed.after(LONGEST_PAUSE.max(asked) + GRAIN) {
            self.breach("8", "callers wait over a pause that is longer than it need be", || format!("{until:?}"));
        }
    }

    /// A caller gets the error.
    fn check_gives_up(
        &mut self,
        id: ActorId,
        caller: usize,
        failed: Failed,
        reaction: &Reaction<'_>,
        error: TokenError,
    ) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let Caller { spec, .. } = self.callers[caller];
        let deadline = self.callers[caller].ask().deadline();
        let Some((reason, asked)) = failed.trouble.filter(|(reason, _)| passes(*reason)) else { return };
        if failed.keeping || error.reason() != reason {
            return;
        }
        if error.retry_after().is_none() {
            self.breach("7", "a caller gets an error that may pass without the time after which", || {
                format!("c{caller}: {error:?}")
            });
        }
        let throttled = self.slot(id).known.throttled.is_some_and(|until| until >= deadline);
        if reason == Reason::Throttled && throttled && !spec.fail_fast {
            // The issuer's throttle outlasts it, even though this flight's pause does not.
            return self.count(Kind::Impatient);
        }
        let attempts = self.slot(id).published.residue.backoff.attempts + failed.requests.max(1);
        let asked = asked.unwrap_or_default().min(self.config.policy.max_retry_after);
        // With jitter, the pause may end earlier.
        let latest = elapsed.after(pause_after(attempts).max(asked) + GRAIN);
        let latest = if reaction.retrying { reaction.until.unwrap_or(latest) } else { latest };
        if spec.fail_fast {
            self.count(Kind::FailedFast);
        } else if deadline <= latest {
            self.count(Kind::Impatient);
        } else if attempts >= ATTEMPTS {
            self.count(Kind::AttemptsSpent);
        } else {
            self.breach("8", "a caller is failed by a fault that may pass within its patience", || {
                format!("c{caller}: {error:?} after {attempts} attempts, {latest:?}, {deadline:?}")
            });
        }
    }

    /// Notes the pause that is due now.
    fn note_pause(&mut self, id: ActorId, failed: Failed, reaction: &Reaction<'_>) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let policy = &self.config.policy;
        let (first, most, longest) = (policy.initial_backoff, policy.max_backoff, policy.max_retry_after);
        let Some((reason, asked)) = failed.trouble else { return };
        let asked = asked.unwrap_or_default().min(longest);
        let known = &mut self.slot(id).known;
        let pause = |failures: u32| first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
        let counted = u32::from(reason != Reason::Throttled);
        let (least, most, background) = if reaction.retrying {
            (super::FIRST_PAUSE / 2, super::LONGEST_PAUSE, super::FIRST_PAUSE / 2)
        } else if known.unattended {
            known.background_failures += counted;
            (Duration::ZERO, Duration::ZERO, pause(known.failures + known.background_failures) / 2)
        } else {
            known.failures += counted;
            (pause(known.failures) / 2, most, pause(known.failures + known.background_failures) / 2)
        };
        known.failed = Some(FailedLanding {
            at: elapsed,
            least: least.max(asked),
            most: most.max(asked),
            background: background.max(asked),
        });
    }

    /// Law 8: the backoff of background work holds back no caller. A caller that is answered at once with an error that
    /// may pass has come within the pause after a failure that callers waited for, or that the server asked for.
    pub(crate) fn check_held_back(&mut self, id: ActorId, waiter: WaiterId, effects: &[SessionEffect]) {
        let elapsed = self.moment(id.pid.process).elapsed;
        let refused = effects.iter().find_map(|effect| match effect {
            SessionEffect::Answer(answered, Err(error)) if *answered == waiter => Some(*error),
            _ => None,
        });
        let Some(error) = refused.filter(|error| passes(error.reason()) && error.reason() != Reason::Throttled) else {
            return;
        };
        let failed = self.slot(id).known.failed;
        if failed.is_some_and(|failed| elapsed > failed.at.after(failed.most + GRAIN)) {
            self.breach("8", "a caller is held back by the pause of background work", || {
                format!("{error:?} at {elapsed:?}, {failed:?}")
            });
        }
    }

    /// A flight breaks off. It counts as one attempt, because its session cannot know how many requests it has sent.
    pub(crate) fn note_broken(&mut self, pid: Pid, identity: usize, sent: u32) {
        let known = &mut self.processes[pid.process].slots[identity].known;
        known.cohort = known.cohort.saturating_sub(sent.saturating_sub(1));
    }

    /// A request leaves. Law 8: callers that wait together cause at most eight. Only the prompt repeat of a flight that
    /// begins as the eighth may be the ninth.
    pub(crate) fn note_attempt(&mut self, request: usize) {
        let request = &self.requests[request];
        let (pid, identity, challenged) = (request.pid, request.identity, request.carries_nonce);
        let sends = |run: &FlightRun| run.facts.sends - run.facts.challenges;
        let repeats = self.processes[pid.process].flights.get(&request.flight).is_some_and(|run| sends(run) > 1);
        let waiting = self.processes[pid.process].slots[identity].actor.as_ref();
        if challenged || waiting.is_none_or(|actor| actor.waiters.is_empty()) {
            return;
        }
        let known = &mut self.processes[pid.process].slots[identity].known;
        known.cohort += 1;
        let cohort = known.cohort;
        if cohort > ATTEMPTS + u32::from(repeats) {
            self.breach("8", "a cohort causes too many token requests", || format!("{cohort}"));
        }
    }
}
