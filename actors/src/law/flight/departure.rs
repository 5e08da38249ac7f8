//! From the decision to the request: mark, check once more, send (laws 1 and 3).

use std::time::Duration;

use super::connection::Readiness;
use super::decide::{self, Resolution};
use super::machine::FlightCore;
use super::phase::{Attempt, Duty, HeldClaim, Phase, Spend};
use super::{Adopt, Doubt, FlightEffect, Outcome, TokenRequest};
use crate::law::ledger::{Change, Changed};
use crate::law::profile::Trouble;
use crate::ports::store::Predecessor;
use crate::values::record::{Mark, MarkState, Record, RefreshCredential};
use crate::values::{ElapsedTime, Now, Reason, StoreFault};

/// How many times a flight decides again because the record changed before its mark was written.
const MAX_RESTARTS: u32 = 8;

/// How long after its time-out a source may still report.
const OVERTIME: Duration = Duration::from_secs(1);

/// How many times a flight reads again between mark and send before it gives up.
const MAX_VERIFICATIONS: u32 = 4;

impl FlightCore {
    /// Marks the refresh token as being presented. Before that, checks whether an earlier mark allows a presentation,
    /// and waits for a connection.
    pub(super) fn present(
        &mut self,
        claim: HeldClaim,
        record: Box<Record>,
        credential: RefreshCredential,
        earlier: Option<Mark>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        if let Some(outcome) = self.called_off() {
            return self.land(outcome, Some(&record), Some(claim), effects);
        }
        if let Some(mark) = &earlier {
            // The claim may have become too short for a repetition while the answer and the connection were awaited.
            if self.repeated && !claim.lasts(self.request_length(), now.elapsed()) {
                let outcome = Outcome::Failed(Trouble::new(Reason::InDoubt));
                return self.land(outcome, Some(&record), Some(claim), effects);
            }
            // This flight is its own predecessor if it presents its token again.
            let predecessor = if mark.flight == self.id() { Predecessor::Gone } else { claim.claim.predecessor };
            let outcome = match self.resolve(mark, predecessor, self.order.doubt, now) {
                Resolution::Present => None,
                Resolution::Wait(span) => {
                    Some(Outcome::Failed(Trouble { reason: Reason::InDoubt, retry_after: Some(span) }))
                }
                Resolution::Refuse => Some(Outcome::LoginRequired(Reason::MaybeConsumed)),
            };
            if let Some(outcome) = outcome {
                return self.land(outcome, Some(&record), Some(claim), effects);
            }
        }
        if self.has_expired_secret(&record, now) {
            // The server would refuse the client. If a firewall answered in its place, the token would be in doubt.
            let outcome = Outcome::LoginRequired(Reason::ClientRejected);
            return self.land(outcome, Some(&record), Some(claim), effects);
        }
        let readiness = record.grant().map_or(Readiness::Ready, |grant| self.connection_to(grant, now, effects));
        match readiness {
            Readiness::Ready => {}
            Readiness::Awaited(op, limit) => {
                self.limit = Some(limit);
                return Phase::Connecting { op, claim, record, credential, earlier };
            }
            Readiness::Failed(fault) => {
                return self.land(self.unconnected(fault), Some(&record), Some(claim), effects);
            }
        }
        let mark = Mark {
            flight: self.id(),
            digest: credential.digest(),
            presentations: earlier.as_ref().map_or(0, |mark| mark.presentations).saturating_add(1),
            number: record.number.max(self.order.known.number).saturating_add(1),
            first: earlier.as_ref().map_or(now.moment, |mark| mark.first),
            latest: now.moment,
            timeout: self.presentation_time(),
            state: MarkState::Open,
        };
        let op = self.next_store_op(now);
        effects.push(FlightEffect::Change(op, Change::Mark { expected: record.version(), mark: mark.clone() }));
        let attempt = Attempt {
            epoch: record.epoch,
            number: mark.number,
            claim: Some(claim),
            record: Some(record),
            spend: Some(Spend { credential, mark, earlier }),
            checked: now.elapsed(),
            verified: 0,
            resent: false,
        };
        Phase::Marking { op, attempt }
    }

    /// Whether the client's secret has expired (RFC 7591 section 3.2.1). A caller that insists may try it all the same,
    /// because the server may have extended it.
    fn has_expired_secret(&self, record: &Record, now: Now) -> bool {
        let client = record.grant().map(|grant| &grant.binding.client);
        let ends = client.filter(|client| client.secret.is_some()).and_then(|client| client.secret_expires_at);
        !matches!(self.order.adopt, Adopt::Since { .. }) && ends.is_some_and(|ends| ends <= now.moment.wall)
    }

    /// Resolves the doubt that an earlier presentation has left with its `mark`.
    pub(super) fn resolve(&self, mark: &Mark, predecessor: Predecessor, doubt: Option<Doubt>, now: Now) -> Resolution {
        let send_within = self.equipment.timeouts.send_within;
        decide::resolve(mark, predecessor, &self.profile, send_within, doubt, &now.moment)
    }

    pub(super) fn marked(
        &mut self,
        mut attempt: Attempt,
        answer: Result<Changed, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            Ok(Changed::Applied { after, .. }) => {
                attempt.record = Some(after);
                self.depart(attempt, now, effects)
            }
            // The store has repeated the write, and its first try had succeeded.
            Ok(Changed::Conflict { current, .. }) if attempt.still_marked(current.as_deref(), self.id()) => {
                attempt.record = current;
                self.depart(attempt, now, effects)
            }
            // The record has changed. The flight decides from a new read under the same claim.
            Ok(Changed::Conflict { current, .. }) => match attempt.claim.take() {
                Some(claim) if self.restarts < MAX_RESTARTS => {
                    self.restarts += 1;
                    self.read_again(claim, None, now, effects)
                }
                claim => self.land(Outcome::Moved, current.as_deref(), claim, effects),
            },
            // The mark may have been written, or may still be written. It has to be withdrawn, so that no doubt is left.
            Err(StoreFault::TimedOut) => self.withdraw(attempt, Trouble::new(Reason::StoreTrouble), now, effects),
            Err(_) => {
                let outcome = Outcome::Failed(Trouble::new(Reason::StoreTrouble));
                self.land(outcome, None, attempt.claim.take(), effects)
            }
        }
    }

    /// The last check before the refresh token leaves (law 1). Sends, reads once more, or withdraws the mark.
    pub(super) fn depart(&mut self, attempt: Attempt, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        let fresh = now.elapsed().since(attempt.checked) <= self.equipment.timeouts.send_within;
        match self.obstacle(&attempt, now) {
            Some(outcome) => self.settle(attempt, Duty::Withdraw { park: None }, outcome, now, effects),
            None if fresh => self.send(attempt, effects),
            None => self.verify(attempt, now, effects),
        }
    }

    /// The source reported that the time to send had passed. The record is read again first, even if `now` shows that
    /// there is time left.
    pub(super) fn depart_again(&mut self, attempt: Attempt, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        match self.obstacle(&attempt, now) {
            Some(outcome) => self.settle(attempt, Duty::Withdraw { park: None }, outcome, now, effects),
            None => self.verify(attempt, now, effects),
        }
    }

    /// The outcome of an attempt that must not be sent any more; `None` if it may be sent.
    fn obstacle(&self, attempt: &Attempt, now: Now) -> Option<Outcome> {
        let Some(spend) = &attempt.spend else { return self.called_off() };
        let claimed = attempt.claim.as_ref().is_some_and(|claim| claim.lasts(self.request_length(), now.elapsed()));
        let send_within = self.equipment.timeouts.send_within;
        let allowed =
            spend.earlier.is_none() || self.profile.may_present_again(&spend.mark.first, send_within, &now.moment);
        let failed = |reason| Some(Outcome::Failed(Trouble::new(reason)));
        match self.called_off() {
            Some(outcome) => Some(outcome),
            None if !claimed => failed(Reason::Contended),
            None if !allowed => failed(Reason::InDoubt),
            None if now.elapsed() > self.send_by(spend) => failed(Reason::Aborted),
            None => None,
        }
    }

    /// How long a claim must still last when a request is sent. It covers the request and one write.
    pub(super) fn request_length(&self) -> Duration {
        self.profile.request_timeout.saturating_add(self.equipment.timeouts.store_timeout)
    }

    /// The outcome of a flight that must not begin anything new; `None` if it may.
    pub(super) fn called_off(&self) -> Option<Outcome> {
        if self.logged_out == Some(self.order.epoch) {
            return Some(Outcome::LoginRequired(Reason::LoggedOut));
        }
        self.closing.map(|_| Outcome::Failed(Trouble::new(Reason::ShuttingDown)))
    }

    /// How long after its mark a presentation has certainly ended. It covers the time between mark and send, and the request.
    fn presentation_time(&self) -> Duration {
        let timeouts = &self.equipment.timeouts;
        let between = timeouts.store_timeout.saturating_add(timeouts.send_within.saturating_mul(2));
        self.longest_request().saturating_add(between)
    }

    /// How long a request lasts at most. A source whose time-out fires late checks the socket for an answer first.
    fn longest_request(&self) -> Duration {
        self.profile.request_timeout.saturating_add(OVERTIME)
    }

    /// The latest time to send the request, so that it has ended by the time its mark states.
    fn send_by(&self, spend: &Spend) -> ElapsedTime {
        let slack = spend.mark.timeout.saturating_sub(self.longest_request());
        spend.mark.latest.elapsed.after(slack)
    }

    /// Reads the record again between mark and send.
    fn verify(&mut self, attempt: Attempt, now: Now, effects: &mut Vec<FlightEffect>) -> Phase {
        if attempt.verified >= MAX_VERIFICATIONS {
            return self.withdraw(attempt, Trouble::new(Reason::Aborted), now, effects);
        }
        let attempt = Attempt { verified: attempt.verified + 1, ..attempt };
        if attempt.spend.is_none() {
            // A repeatable source has no mark to verify.
            return self.send(Attempt { checked: now.elapsed(), ..attempt }, effects);
        }
        let op = self.load(now, effects);
        Phase::Verifying { op, attempt, asked: now.elapsed() }
    }

    pub(super) fn verified(
        &mut self,
        attempt: Attempt,
        asked: ElapsedTime,
        answer: Result<Option<Box<Record>>, StoreFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            Ok(record) if attempt.still_marked(record.as_deref(), self.id()) => {
                self.depart(Attempt { record, checked: asked, ..attempt }, now, effects)
            }
            Ok(record) => {
                let contended = Outcome::Failed(Trouble::new(Reason::Contended));
                let outcome = self.decision(record.as_deref(), now).err().unwrap_or(contended);
                self.settle(attempt, Duty::Withdraw { park: None }, outcome, now, effects)
            }
            Err(_) => self.withdraw(attempt, Trouble::new(Reason::StoreTrouble), now, effects),
        }
    }

    fn send(&mut self, attempt: Attempt, effects: &mut Vec<FlightEffect>) -> Phase {
        let op = self.next_op();
        self.limit = None;
        self.requests += 1;
        let not_after = attempt.checked.after(self.equipment.timeouts.send_within);
        let not_after = attempt.spend.as_ref().map_or(not_after, |spend| not_after.min(self.send_by(spend)));
        let grant = attempt.record.as_ref().and_then(|record| record.grant());
        let connection = self.take_connection(grant);
        let request = TokenRequest {
            refresh: attempt.spend.as_ref().map(|spend| spend.credential.token().clone()),
            grant: grant.cloned().map(Box::new),
            renewal: grant.map_or(&self.plan, |grant| &grant.renewal).clone(),
            not_after,
            timeout: self.profile.request_timeout,
        };
        effects.push(FlightEffect::Send { op, request: Box::new(request), connection });
        Phase::Sending { op, attempt }
    }

    /// Requests a token from a repeatable source.
    pub(super) fn mint(
        &mut self,
        claim: Option<HeldClaim>,
        record: Option<Box<Record>>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        let number = record.as_ref().map_or(0, |record| record.number).max(self.order.known.number).saturating_add(1);
        let attempt = Attempt {
            claim,
            record,
            epoch: self.order.epoch,
            number,
            spend: None,
            checked: now.elapsed(),
            verified: 0,
            resent: false,
        };
        self.send(attempt, effects)
    }

    /// Withdraws the mark, because its presentation spent nothing.
    pub(super) fn withdraw(
        &mut self,
        attempt: Attempt,
        trouble: Trouble,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        self.settle(attempt, Duty::Withdraw { park: None }, Outcome::without(trouble), now, effects)
    }
}
