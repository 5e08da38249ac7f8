//! The requests for logins. A request joins the attempt that is under way or begins one, and is answered once (laws 17,
//! 18, 22 and 25). The attempts themselves are [`login`](crate::law::login) machines, which outlive this session's
//! actor.

use std::collections::VecDeque;
use std::time::Duration;

use super::elevations::Elevations;
use super::login_request::{LoginCause, LoginProgress, LoginRequest, LoginRequestKind};
use super::machine::{Output, Session};
use super::running_attempt::{AttemptStage, Awaits, RunningAttempt};
use super::{OperationKey, ReplyId, SessionEffect};
use crate::law::login::{LoginConclusion, LoginEvent, LoginOrder, LoginReport, LoginTask, LoginWish};
use crate::values::record::{PromptState, View};
use crate::values::{
    AttemptId, Callback, ElapsedTime, Epoch, Lease, LoginKey, LoginReason, Now, Scopes, SignInError, StoreFault,
};

/// The maximum number of attempts that complete an answer at the same time, besides the attempt that asks a person.
const MAX_COMPLETIONS: usize = 8;

/// The longest wait for another process to redeem an answer.
const REDEMPTION: Duration = Duration::from_secs(75);

/// The maximum number of results that are remembered, for requests that come after the end of their attempt.
const MAX_RESULTS: usize = 8;

/// The logins of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct SigningIn {
    running: Vec<RunningAttempt>,
    /// Attempts that this actor has begun.
    begun: u64,
    waiters: Vec<LoginWaiter>,
    /// Requests that wait for the first read of the record.
    deferred: Vec<(ReplyId, LoginRequest)>,
    results: VecDeque<(AttemptId, Result<(), LoginReason>)>,
    elevations: Elevations,
}

/// A request that waits for an attempt.
#[derive(Clone, Debug)]
struct LoginWaiter {
    reply: ReplyId,
    attempt: AttemptId,
    deadline: ElapsedTime,
    awaits: Awaits,
}

impl SigningIn {
    /// The attempts and the memory that the previous actor left.
    pub(super) fn inherited(running: Vec<RunningAttempt>, elevations: Elevations) -> Self {
        Self { running, elevations, ..Self::default() }
    }

    /// The attempts that run.
    pub(super) fn running(&self) -> &[RunningAttempt] {
        &self.running
    }

    /// The logins that operations have caused, as far as they still matter.
    pub(super) fn elevations(&self, now: ElapsedTime) -> Elevations {
        self.elevations.current(now)
    }

    /// Whether this session needs an actor for its logins.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty() || !self.waiters.is_empty() || !self.deferred.is_empty()
    }

    /// Whether an attempt holds a login that is not stored yet (law 21).
    pub(super) fn is_keeping(&self) -> bool {
        self.running.iter().any(|attempt| attempt.stage == AttemptStage::Keeping)
    }

    /// When the first caller must be answered.
    pub(super) fn wake(&self) -> Option<ElapsedTime> {
        let deferred = self.deferred.iter().map(|(_, request)| request.deadline);
        self.waiters.iter().map(|waiter| waiter.deadline).chain(deferred).min()
    }

    /// Whether the login that began `epoch` was made for `operation`.
    pub(super) fn was_in_vain(&self, epoch: Epoch, operation: OperationKey) -> bool {
        self.elevations.was_for(epoch, operation)
    }

    fn attempt(&mut self, id: AttemptId) -> Option<&mut RunningAttempt> {
        self.running.iter_mut().find(|attempt| attempt.id == id)
    }

    /// The attempt that asks a person, or follows another process that does.
    fn asking(&mut self) -> Option<&mut RunningAttempt> {
        self.running.iter_mut().find(|attempt| !attempt.completes && attempt.stage != AttemptStage::Keeping)
    }

    /// The attempt that the answer of `key` belongs to.
    fn expecting(&self, key: LoginKey) -> Option<AttemptId> {
        let expects = |attempt: &&RunningAttempt| attempt.key == Some(key) && attempt.stage != AttemptStage::Elsewhere;
        self.running.iter().find(expects).map(|attempt| attempt.id)
    }

    fn result(&self, id: AttemptId) -> Option<Result<(), LoginReason>> {
        self.results.iter().find(|(known, _)| *known == id).map(|(_, result)| *result)
    }

    fn remember(&mut self, id: AttemptId, result: Result<(), LoginReason>) {
        if self.results.len() == MAX_RESULTS {
            self.results.pop_front();
        }
        self.results.push_back((id, result));
    }
}

impl Session {
    /// Handles a request about logins.
    pub(super) fn login_requested(&mut self, reply: ReplyId, request: LoginRequest, now: Now, out: &mut Output) {
        let refused = if self.stopping {
            Some(LoginReason::ShuttingDown)
        } else if request.deadline <= now.elapsed() {
            Some(LoginReason::DeadlinePassed)
        } else if self.signing_in.waiters.len() + self.signing_in.deferred.len() >= self.most_requests(&request.kind) {
            Some(LoginReason::TooManyWaiters)
        } else {
            None
        };
        if let Some(reason) = refused {
            return out.answer_login(reply, Err(SignInError::new(reason)));
        }
        // Only the beginning of a login depends on the record.
        if self.knowledge.view().is_none() && matches!(request.kind, LoginRequestKind::Begin(..)) {
            return self.signing_in.deferred.push((reply, request));
        }
        self.take_login_request(reply, request, now, out);
    }

    /// The number of waiting requests at which one more of this kind is refused. It is higher for a person's answer or
    /// cancellation, which must not be refused because many requests wait for it.
    fn most_requests(&self, kind: &LoginRequestKind) -> usize {
        match kind {
            LoginRequestKind::Begin(..) | LoginRequestKind::Await(_) => self.policy.max_waiters,
            LoginRequestKind::Complete(_) | LoginRequestKind::Cancel => {
                self.policy.max_waiters.saturating_add(MAX_COMPLETIONS)
            }
        }
    }

    fn take_login_request(&mut self, reply: ReplyId, request: LoginRequest, now: Now, out: &mut Output) {
        let LoginRequest { kind, deadline } = request;
        let joins = match kind {
            LoginRequestKind::Begin(wish, cause) => self.begin_login(wish, cause, now, out),
            LoginRequestKind::Await(attempt) => match self.signing_in.result(attempt) {
                Some(result) => Err(result.map(|()| LoginProgress::SignedIn).map_err(SignInError::new)),
                None if self.signing_in.attempt(attempt).is_some() => Ok((attempt, Awaits::EndOrUnshown)),
                None => Err(Err(SignInError::new(LoginReason::UnknownLogin))),
            },
            LoginRequestKind::Complete(callback) => self.complete_login(callback, out),
            LoginRequestKind::Cancel => match self.signing_in.asking().map(|attempt| attempt.id) {
                Some(attempt) => {
                    out.effects.push(SessionEffect::TellAttempt(attempt, Box::new(LoginEvent::Cancel)));
                    Ok((attempt, Awaits::Cancellation))
                }
                None => Err(Err(SignInError::new(LoginReason::UnknownLogin))),
            },
        };
        match joins {
            Err(answer) => out.answer_login(reply, answer),
            // Only this request is answered here, because going through all waiting requests would take long.
            Ok((attempt, awaits)) => {
                match self.signing_in.attempt(attempt).and_then(|attempt| attempt.progress(awaits)) {
                    Some(progress) => out.answer_login(reply, Ok(progress)),
                    None => self.signing_in.waiters.push(LoginWaiter { reply, attempt, deadline, awaits }),
                }
            }
        }
    }

    /// Begins a login, or joins the one that is under way. Returns the attempt to wait for. `Err` is the answer if there is
    /// none to wait for, and may hold a success.
    fn begin_login(
        &mut self,
        mut wish: LoginWish,
        cause: LoginCause,
        now: Now,
        out: &mut Output,
    ) -> Result<(AttemptId, Awaits), Result<LoginProgress, SignInError>> {
        let error = |reason| Err(Err(SignInError::new(reason)));
        let signed_in = self.is_signed_in(now);
        let operation = match cause {
            LoginCause::Person if signed_in => return Err(Ok(LoginProgress::SignedIn)),
            LoginCause::Person | LoginCause::Again => {
                self.signing_in.elevations.forget();
                None
            }
            LoginCause::Operation { refused, operation } => {
                let current = self.lease().map(|lease| lease.generation());
                // A newer lease exists already. The caller tries it first.
                if current.zip(refused).is_some_and(|(current, refused)| current.supersedes(&refused)) {
                    return Err(Ok(LoginProgress::SignedIn));
                }
                if let Some(left) = self.signing_in.elevations.declined_for(&wish.scopes, now.elapsed()) {
                    return Err(Err(SignInError::new(LoginReason::ScopeDenied).with_retry_after(left)));
                }
                wish.same_subject = true;
                Some(operation)
            }
        };
        if self.is_closing() {
            return error(LoginReason::LoggedOut);
        }
        if self.signing_in.is_keeping() {
            // A login has arrived, and cannot be stored yet. Another one would fail in the same way.
            return error(LoginReason::StoreTrouble);
        }
        if let Some(attempt) = self.signing_in.asking() {
            let (id, is_preparing) = (attempt.id, attempt.stage == AttemptStage::Preparing);
            if is_preparing && !wish.scopes.are_within(&attempt.scopes) {
                attempt.scopes = attempt.scopes.union(&wish.scopes);
                out.effects.push(SessionEffect::TellAttempt(id, Box::new(LoginEvent::Widen(wish.scopes))));
            }
            return Ok((id, Awaits::Offer));
        }
        if let Some(operation) = operation
            && let Err(left) = self.signing_in.elevations.count(operation, now.elapsed())
        {
            return Err(Err(SignInError::new(LoginReason::ResourceRefuses).with_retry_after(left)));
        }
        let scopes = wish.scopes.clone();
        let id = self.order_attempt(LoginTask::Ask(wish), out);
        self.track(id, None, scopes, operation);
        Ok((id, Awaits::Offer))
    }

    /// Hands a person's answer to the attempt that expects it, or to a new attempt. Returns the attempt to wait for. `Err` is
    /// the answer if there is none to wait for.
    fn complete_login(
        &mut self,
        callback: Callback,
        out: &mut Output,
    ) -> Result<(AttemptId, Awaits), Result<LoginProgress, SignInError>> {
        let key = callback.key;
        if self.is_closing() {
            return Err(Err(SignInError::new(LoginReason::LoggedOut)));
        }
        if let Some(id) = self.signing_in.expecting(key) {
            out.effects.push(SessionEffect::TellAttempt(id, Box::new(LoginEvent::Callback(callback))));
            return Ok((id, Awaits::End));
        }
        let completing = self.signing_in.running.iter().filter(|attempt| attempt.completes).count();
        if completing >= MAX_COMPLETIONS {
            return Err(Err(SignInError::new(LoginReason::TooManyWaiters)));
        }
        let id = self.order_attempt(LoginTask::Complete(callback), out);
        self.track(id, Some(key), Scopes::default(), None);
        Ok((id, Awaits::End))
    }

    fn order_attempt(&mut self, task: LoginTask, out: &mut Output) -> AttemptId {
        self.signing_in.begun += 1;
        let attempt = AttemptId(self.birth.flights.0.wrapping_sub(u128::from(self.signing_in.begun)));
        let order = LoginOrder {
            attempt,
            epoch: self.knowledge.epoch().unwrap_or_default(),
            task,
            known: self.knowledge.newest_generation(),
            nonce: self.birth.nonce,
        };
        out.effects.push(SessionEffect::SignIn(Box::new(order)));
        attempt
    }

    fn track(&mut self, id: AttemptId, key: Option<LoginKey>, scopes: Scopes, operation: Option<OperationKey>) {
        let epoch = self.knowledge.epoch().unwrap_or_default();
        let (stage, completes) = (AttemptStage::Preparing, key.is_some());
        self.signing_in.running.push(RunningAttempt { id, epoch, stage, completes, key, scopes, operation });
    }

    // Reports.

    /// An attempt reports.
    pub(super) fn attempt_reported(&mut self, id: AttemptId, report: LoginReport, now: Now, out: &mut Output) {
        match report {
            LoginReport::Seen(view) => self.update(*view, now, out),
            LoginReport::Offered(key, offer) => {
                if let Some(attempt) = self.signing_in.attempt(id) {
                    attempt.key = Some(key);
                    attempt.stage = AttemptStage::Offered { key, offer, is_shown: false };
                }
                self.answer_offered(out);
            }
            LoginReport::Elsewhere => {
                self.enter_stage(id, AttemptStage::Elsewhere);
                self.answer_offered(out);
            }
            LoginReport::Arriving => self.enter_stage(id, AttemptStage::Arriving),
            LoginReport::Concluded(conclusion) => self.attempt_concluded(id, *conclusion, now, out),
            LoginReport::Settled(view) => {
                self.signing_in.running.retain(|attempt| attempt.id != id);
                if view.epoch() < self.knowledge.newest_generation().epoch && !self.signing_in.is_keeping() {
                    self.forget_unstored_login();
                }
                self.update(*view, now, out);
                // Requests may still wait, if the conclusion was lost with an earlier actor.
                self.conclude_waiters(id, Ok(()), out);
            }
            LoginReport::Lost => self.attempt_over(id, now, out),
        }
    }

    fn enter_stage(&mut self, id: AttemptId, stage: AttemptStage) {
        if let Some(attempt) = self.signing_in.attempt(id) {
            attempt.stage = stage;
        }
    }

    fn attempt_concluded(&mut self, id: AttemptId, conclusion: LoginConclusion, now: Now, out: &mut Output) {
        let LoginConclusion { result, view, unstored } = conclusion;
        let attempt = self.signing_in.attempt(id).cloned();
        // A login or a logout that this session knows of came first. The attempt finds that out when it saves.
        let known = self.knowledge.epoch();
        let is_new = |lease: &Lease| known.is_none_or(|known| known < lease.generation().epoch);
        let (unstored, result) = match unstored.map(|lease| (is_new(&lease), lease)) {
            Some((false, _)) => (None, Err(LoginReason::Superseded)),
            Some((true, lease)) => (Some(lease), result),
            None => (None, result),
        };
        match &unstored {
            Some(_) => self.enter_stage(id, AttemptStage::Keeping),
            None => self.signing_in.running.retain(|attempt| attempt.id != id),
        }
        if let Some(view) = view {
            self.absorb(*view, now, out);
        }
        if let Some(lease) = unstored {
            self.knowledge.minted(lease);
            self.reset_for_new_epoch();
        }
        // If another login came first and the session is signed in, the waiting requests succeed all the same.
        let came_first = result == Err(LoginReason::Superseded) && self.is_signed_in(now);
        let told = if came_first { Ok(()) } else { result };
        self.signing_in.remember(id, told);
        if let Some(RunningAttempt { epoch, scopes, operation, .. }) = attempt {
            match (result, operation) {
                (Ok(()), Some(operation)) => self.signing_in.elevations.login_installed(epoch.next(), operation),
                (Err(LoginReason::Denied), Some(_)) => self.signing_in.elevations.declined(&scopes, now.elapsed()),
                _ => {}
            }
        }
        self.conclude_waiters(id, told, out);
        self.serve_waiters(now, out);
    }

    /// The attempt's task has ended. If it has not concluded, it ended without a result.
    pub(super) fn attempt_over(&mut self, id: AttemptId, now: Now, out: &mut Output) {
        let place = self.signing_in.running.iter().position(|attempt| attempt.id == id);
        if let Some(ended) = place.map(|place| self.signing_in.running.remove(place)) {
            self.conclude_waiters(id, Err(LoginReason::Aborted), out);
            if ended.stage == AttemptStage::Keeping {
                self.forget_unstored_login();
            }
            self.read(now, out);
            self.serve_waiters(now, out);
        }
    }

    /// Forgets the unstored login, because the store will never have it. A refusal of its lease does not cover the
    /// grant before it.
    fn forget_unstored_login(&mut self) {
        self.knowledge.forget_unstored_login();
        self.refusals.forget_floor_above(self.knowledge.newest_generation());
    }

    // Answers.

    /// Answers the requests that wait for something to show.
    fn answer_offered(&mut self, out: &mut Output) {
        for waiter in std::mem::take(&mut self.signing_in.waiters) {
            let attempt = self.signing_in.attempt(waiter.attempt);
            match attempt.and_then(|attempt| attempt.progress(waiter.awaits)) {
                Some(progress) => out.answer_login(waiter.reply, Ok(progress)),
                None => self.signing_in.waiters.push(waiter),
            }
        }
    }

    /// Answers the requests that wait for an attempt with its result.
    fn conclude_waiters(&mut self, id: AttemptId, result: Result<(), LoginReason>, out: &mut Output) {
        for waiter in self.signing_in.waiters.extract_if(.., |waiter| waiter.attempt == id) {
            let answer = match result {
                Ok(()) => Ok(LoginProgress::SignedIn),
                Err(LoginReason::Cancelled) if waiter.awaits == Awaits::Cancellation => Ok(LoginProgress::Cancelled),
                Err(reason) => Err(SignInError::new(reason)),
            };
            out.answer_login(waiter.reply, answer);
        }
    }

    /// Handles the requests that waited for the first read of the record.
    pub(super) fn take_deferred_logins(&mut self, now: Now, out: &mut Output) {
        for (reply, request) in std::mem::take(&mut self.signing_in.deferred) {
            self.take_login_request(reply, request, now, out);
        }
    }

    /// Handles the waiting requests if the record cannot be read. A login may replace a damaged record. After other
    /// faults, the requests fail.
    pub(super) fn logins_unread(&mut self, fault: StoreFault, now: Now, out: &mut Output) {
        for (reply, mut request) in std::mem::take(&mut self.signing_in.deferred) {
            if fault == StoreFault::Unreadable {
                if let LoginRequestKind::Begin(_, cause @ LoginCause::Person) = &mut request.kind {
                    *cause = LoginCause::Again;
                }
                self.take_login_request(reply, request, now, out);
            } else {
                out.answer_login(reply, Err(SignInError::new(LoginReason::StoreTrouble)));
            }
        }
    }

    /// Answers the requests whose deadline has come. Their attempts go on.
    pub(super) fn answer_late_logins(&mut self, now: Now, out: &mut Output) {
        let late = |deadline: ElapsedTime| deadline <= now.elapsed();
        let waiters = self.signing_in.waiters.extract_if(.., |waiter| late(waiter.deadline)).map(|waiter| waiter.reply);
        let deferred = self.signing_in.deferred.extract_if(.., |(_, request)| late(request.deadline));
        for reply in waiters.chain(deferred.map(|(reply, _)| reply)) {
            out.answer_login(reply, Err(SignInError::new(LoginReason::DeadlinePassed)));
        }
    }

    /// Answers the callers that waited for another process's redemption, once that cannot bring a login any more.
    pub(super) fn answer_after_arrival(&mut self, now: Now, out: &mut Output) {
        if !self.is_arriving(now) {
            self.serve_waiters(now, out);
        }
    }

    /// A caller of a request has gone. Its attempt goes on.
    pub(super) fn login_request_gone(&mut self, reply: ReplyId) {
        self.signing_in.waiters.retain(|waiter| waiter.reply != reply);
        self.signing_in.deferred.retain(|(deferred, _)| *deferred != reply);
    }

    pub(super) fn stop_signing_in(&mut self, out: &mut Output) {
        let waiters = std::mem::take(&mut self.signing_in.waiters).into_iter().map(|waiter| waiter.reply);
        let deferred = std::mem::take(&mut self.signing_in.deferred).into_iter().map(|(reply, _)| reply);
        for reply in waiters.chain(deferred) {
            out.answer_login(reply, Err(SignInError::new(LoginReason::ShuttingDown)));
        }
    }

    /// Tells every attempt of an event.
    pub(super) fn tell_attempts(&self, event: &LoginEvent, out: &mut Output) {
        for attempt in &self.signing_in.running {
            out.effects.push(SessionEffect::TellAttempt(attempt.id, Box::new(event.clone())));
        }
    }

    /// Whether an answer is being redeemed, by this process or another one. Meanwhile callers wait, and the old grant's
    /// refresh token is not presented (law 25).
    pub(super) fn is_arriving(&self, now: Now) -> bool {
        let here = self.signing_in.running.iter().any(|attempt| attempt.stage == AttemptStage::Arriving);
        here || self.arrives_elsewhere(now).is_some()
    }

    /// Until when another process may redeem an answer; `None` if none does.
    pub(super) fn arrives_elsewhere(&self, now: Now) -> Option<ElapsedTime> {
        let prompt = self.knowledge.stored_view()?.prompt.as_deref()?;
        // The note names the attempt that has asked, although another process may redeem its answer. A login that has
        // arrived in this process, and is not stored yet, ends the wait.
        if prompt.state != PromptState::Answered || self.signing_in.is_keeping() {
            return None;
        }
        let age = now.moment.elapsed_since(&prompt.at).unwrap_or_else(|| now.moment.wall.since(prompt.at.wall));
        // The clock of the redeemer's host may be ahead, so the time since this process first saw it counts, too.
        let seen = self.knowledge.answered_since()?;
        // Both times are from the redeemer's clock.
        let bound = prompt.expires.since(prompt.at.wall).min(REDEMPTION);
        let left = bound.saturating_sub(age).min(seen.after(bound).since(now.elapsed()));
        (!left.is_zero()).then(|| now.elapsed().after(left))
    }

    /// Whether a person is being asked to sign in, by this process or another one.
    pub(super) fn is_signing_in(&self, now: Now) -> bool {
        let here = self.signing_in.running.iter().any(|attempt| attempt.stage != AttemptStage::Keeping);
        here || self.asked_until(now).is_some()
    }

    /// Until when a person is being asked, by the record.
    pub(super) fn asked_until(&self, now: Now) -> Option<ElapsedTime> {
        self.knowledge.view().and_then(|view| is_asked_until(view, now))
    }
}

/// Until when the request to a person in the record is open, or its answer is being redeemed; `None` if it is over.
fn is_asked_until(view: &View, now: Now) -> Option<ElapsedTime> {
    let prompt = view.prompt.as_deref().filter(|prompt| !matches!(prompt.state, PromptState::Ended(_)))?;
    let left = prompt.expires.since(now.moment.wall);
    (!left.is_zero()).then(|| now.elapsed().after(left))
}
