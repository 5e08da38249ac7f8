//! Checks on the facts that flights learn, on their claims and on the state they leave. Covers laws 4, 5, 10 and 12.

use tokenkeeper_actors::law::flight::{FlightEvent, Landing, Op, Outcome, Report, Revocation};
use tokenkeeper_actors::law::ledger::{Changed, Conflict};
use tokenkeeper_actors::law::profile::{Evidence, NotSent, Reuse};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimEnding, ClaimScope, Predecessor, Renewed};
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{FlightId, Reason};

use crate::Millis;
use crate::process::{Brought, Facts, Pid};
use crate::server::{Server, Verdict};
use crate::tally::Kind;
use crate::world::{Asker, World};

/// The time after a standstill during which its effects may show.
const STANDSTILL_SHOWS: Millis = 60_000;

impl Facts {
    /// A write met a conflict. Decides whether the flight's result is superseded.
    fn meet_conflict(&mut self, current: &Record) {
        let Some(tokens) = &self.tokens else { return };
        let moved = current.epoch > tokens.epoch;
        let held = current.held().map(|held| held.credential.digest());
        let newest = current.grant().and_then(|grant| grant.access.as_ref()).map_or(0, |access| access.number);
        let outdone = held != tokens.sent || self.mark.as_ref().is_some_and(|mark| newest >= mark.number);
        if moved || outdone && !tokens.saved {
            self.superseded = Some(current.grant().is_none());
        }
    }
}

impl World {
    /// Notes the facts that an event brings to a flight, before its machine handles it.
    pub(crate) fn before_flight(&mut self, pid: Pid, id: FlightId, event: &FlightEvent) {
        let (t, elapsed) = (self.t, self.moment(pid.process).elapsed);
        let send_within = self.config.timeouts.send_within;
        let stood = self.processes[pid.process].stood.1;
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        let identity = run.identity;
        let facts = &mut run.facts;
        let (mut met, mut connects) = (None, false);
        let delayed = facts.mark.as_ref().is_some_and(|mark| elapsed.since(mark.moment.elapsed) > send_within);
        let held_up = facts.sends == 0 && delayed || stood > 0 && t < stood + STANDSTILL_SHOWS;
        match event {
            // A repeated answer brings no new fact.
            FlightEvent::Claimed(op, Ok(ClaimAnswer::Granted(_))) if facts.granted >= Some(*op) => {}
            FlightEvent::Claimed(op, Ok(ClaimAnswer::Granted(claim))) => {
                self.truth.released.remove(&id);
                self.truth.claim_ended.remove(&id);
                facts.granted = Some(*op);
                facts.predecessor_may_live = claim.predecessor == Predecessor::MayLive;
                facts.claim = Some(claim.clone());
                facts.read_since_claim = false;
            }
            FlightEvent::Claimed(_, Ok(ClaimAnswer::Unsupported)) => {
                facts.store_trouble = true;
                met = Some(Reason::ClaimsUnsupported);
            }
            FlightEvent::Claimed(_, Ok(ClaimAnswer::Contended)) => {
                self.tally.count(Kind::ClaimContended);
                met = Some(Reason::Contended);
            }
            FlightEvent::Renewed(_, Ok(Renewed::Until(_))) => self.tally.count(Kind::ClaimRenewed),
            FlightEvent::Renewed(_, Ok(Renewed::Lost)) => self.tally.count(Kind::ClaimRanOut),
            FlightEvent::Loaded(_, Err(_)) | FlightEvent::Claimed(_, Err(_)) | FlightEvent::Renewed(_, Err(_)) => {
                facts.store_trouble = true;
                met = Some(Reason::StoreTrouble);
            }
            FlightEvent::Changed(_, Err(_)) => {
                facts.store_trouble = true;
                met = Some(Reason::StoreTrouble);
                if let Some(tokens) = &facts.tokens {
                    self.server.ats[tokens.at].save_failed = true;
                }
            }
            // On a tick, the flight may give up on an operation or a connection.
            FlightEvent::Tick => {
                facts.store_trouble = true;
                met = Some(Reason::StoreTrouble);
                connects = facts.connection.as_ref().is_some_and(|connection| !connection.stands);
                if let Some(tokens) = &facts.tokens {
                    self.server.ats[tokens.at].save_failed = true;
                }
            }
            FlightEvent::Permitted(_) => facts.permitted = Some(t),
            FlightEvent::Held(..) => met = Some(Reason::Throttled),
            FlightEvent::NoPermit(_) => met = Some(Reason::Aborted),
            FlightEvent::Changed(_, Ok(Changed::Conflict { why: Conflict::Moved, current })) => {
                met = Some(Reason::Contended);
                if let Some(current) = current {
                    facts.meet_conflict(current);
                }
            }
            _ => {}
        }
        let known = &mut self.processes[pid.process].slots[identity].known;
        if let Some(reason) = met {
            known.meet(reason, t);
        }
        if connects {
            known.meet(Reason::Unreachable, t);
        }
        if held_up {
            // The process or the claim stood still between mark and send, so the flight may give up the attempt.
            known.meet(Reason::Aborted, t);
            known.meet(Reason::Contended, t);
        }
    }

    /// Notes the source's evidence. Returns false when the flight no longer exists.
    pub(crate) fn note_evidence(
        &mut self,
        pid: Pid,
        id: FlightId,
        request: usize,
        verdict: Verdict,
        evidence: &Evidence,
    ) -> bool {
        let (t, elapsed) = (self.t, self.moment(pid.process).elapsed);
        let (rt, issuer) = (self.requests[request].rt, self.requests[request].issuer);
        let most = self.config.policy.max_retry_after;
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return false };
        let identity = run.identity;
        let facts = &mut run.facts;
        let sent = facts.mark.as_ref().map(|mark| mark.digest);
        let reason = match (verdict, evidence) {
            (Verdict::Usable | Verdict::Kept, Evidence::Tokens(tokens)) => {
                let at = Server::number(tokens.access.expose()).unwrap_or_default();
                let foreign = self.server.ats[at].foreign;
                facts.tokens = Some(Brought {
                    at,
                    rt: tokens.refresh.as_ref().and_then(|refresh| Server::number(refresh.expose())),
                    sent: rt.and(sent),
                    epoch: facts.mark.as_ref().map_or(run.order.epoch, |mark| mark.epoch),
                    replaces: verdict == Verdict::Usable,
                    foreign,
                    saved: false,
                });
                self.tally.count(Kind::Minted);
                foreign.then_some(Reason::SubjectChanged)
            }
            (Verdict::NonceWanted, _) => {
                facts.nonce_wanted = true;
                Some(Reason::RequestRefused)
            }
            (Verdict::ClientRejected, _) => {
                facts.client_rejected = true;
                Some(Reason::ClientRejected)
            }
            (Verdict::Dead, _) => {
                facts.dead = sent;
                Some(Reason::GrantEnded)
            }
            (Verdict::Doubt, evidence) => {
                let retry_after = match evidence {
                    Evidence::Refused(refused) => refused.retry_after,
                    _ => None,
                };
                facts.lost = Some((t, retry_after));
                Some(Reason::InDoubt)
            }
            (_, Evidence::NotSent(NotSent::Unbuildable)) => Some(Reason::RequestRefused),
            (_, Evidence::NotSent(_)) => Some(Reason::Unreachable),
            (_, Evidence::Refused(refused)) if refused.status == 429 => Some(Reason::Throttled),
            _ => Some(Reason::ServerTrouble),
        };
        let known = &mut self.processes[pid.process].slots[identity].known;
        if let Some(reason) = reason {
            known.meet(reason, t);
        }
        if matches!(evidence, Evidence::NotSent(NotSent::TooLate)) {
            known.meet(Reason::Aborted, t);
            known.meet(Reason::Contended, t);
        }
        if verdict == Verdict::NonceWanted {
            // The rest of the claim may be too short for a second request.
            known.meet(Reason::Contended, t);
            known.meet(Reason::Aborted, t);
        }
        if rt.is_none() && matches!(evidence, Evidence::Lost(_)) {
            // Without a spent token there is no doubt.
            known.meet(Reason::Unreachable, t);
        }
        if let Evidence::Refused(refused) = evidence {
            let troubled = refused.status >= 500 || refused.status == 200;
            known.meet(if troubled { Reason::ServerTrouble } else { Reason::RequestRefused }, t);
            if let Some(span) = refused.retry_after
                && verdict != Verdict::NonceWanted
                && verdict != Verdict::Dead
            {
                // Law 8: the process owes the server the pause it asked for, once the flight has reported.
                let rest = Some((issuer, elapsed.after(span.min(most)), t));
                if let Some(run) = self.processes[pid.process].flights.get_mut(&id) {
                    run.facts.rest = rest;
                }
            }
        }
        true
    }

    /// A flight ends its claim.
    pub(crate) fn check_claim_end(&mut self, pid: Pid, id: FlightId, claim: &Claim, ending: ClaimEnding) {
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        let (identity, name) = (run.identity, run.name);
        self.truth.claim_ended.insert(id);
        run.facts.claim = None;
        let stopping = run.facts.closing.is_some();
        let unsaved = run.facts.tokens.as_ref().filter(|tokens| !tokens.saved).cloned();
        if let Some(tokens) = unsaved.filter(|_| !stopping)
            && run.facts.superseded.is_none()
            && let Some(sent) = tokens.sent
            && !tokens.foreign
        {
            let stored = self.store.record(identity).filter(|record| record.epoch == tokens.epoch);
            let still = stored.and_then(|record| record.held()).is_some_and(|held| held.credential.digest() == sent);
            if still {
                self.breach("4", "a claim is given up while tokens are unsaved", || format!("f{name}: {ending:?}"));
            }
        }
        let ClaimScope::Spend(_) = claim.scope else { return };
        if ending == ClaimEnding::Released {
            self.truth.released.insert(id);
            self.check_no_mark_left(identity, id);
        }
    }

    /// The driver ends the claim of an aborted flight.
    pub(crate) fn check_driver_claim_end(&mut self, id: FlightId, identity: usize, ending: ClaimEnding) {
        if ending == ClaimEnding::Released {
            self.check_no_mark_left(identity, id);
        }
    }

    fn check_no_mark_left(&mut self, identity: usize, id: FlightId) {
        let mark = self.store.record(identity).and_then(|record| record.held()).and_then(|held| held.mark.as_ref());
        if mark.is_some_and(|mark| mark.flight == id) {
            self.breach("10", "a claim is ended as settled while its flight's mark is there", || format!("{id}"));
        }
    }

    /// Counts expired leases whose holder is alive, when another flight asks for the claim.
    pub(crate) fn note_claims_run_out(&mut self, identity: usize, scope: ClaimScope, asker: FlightId) {
        let t = self.t;
        let out = |(held, by, until): (ClaimScope, crate::store::Holder, Option<u64>)| {
            (held == scope && by.flight != asker && until.is_some_and(|until| until <= t)).then_some(by.flight)
        };
        let holder = self.store.holders(identity).find_map(out);
        if holder.is_some() {
            self.count(Kind::ClaimRanOut);
        }
    }

    /// A flight revokes the tokens it received.
    pub(crate) fn check_flight_revocation(&mut self, pid: Pid, id: FlightId, revocation: &Revocation) {
        let confined = self.config.profile.revocation_confined;
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        run.facts.revoked = true;
        let (name, identity, facts) = (run.name, run.identity, &run.facts);
        let presented = facts.mark.as_ref().map(|mark| mark.rt);
        let brought = facts.tokens.as_ref().and_then(|tokens| tokens.rt.or(presented));
        let revoked = revocation.refresh.as_ref().and_then(|refresh| Server::number(refresh.token().expose()));
        let after_login = facts.superseded == Some(false);
        let logged_out = facts.superseded == Some(true) || facts.logged_out.is_some();
        let foreign = facts.tokens.as_ref().is_some_and(|tokens| tokens.foreign);
        if revoked.is_none() || revoked != brought {
            self.breach("12", "a flight revokes what it did not bring", || format!("f{name}"));
        } else if after_login && !confined && !foreign {
            self.breach("12", "a flight revokes its pair after a login", || format!("f{name} i{identity}"));
        } else if !logged_out && !after_login && !foreign {
            self.breach("12", "a flight revokes a pair that could be stored", || format!("f{name}"));
        }
        self.count(Kind::LateRevoked);
    }

    pub(crate) fn note_report(&mut self, pid: Pid, id: FlightId, report: &Report) {
        self.check_repeated(pid, id, report);
        self.owe_rest(pid, id);
        self.note_doubt(pid, id, report);
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        let (name, facts) = (run.name, &mut run.facts);
        match report {
            Report::Landed(Landing { outcome, keeping, .. }) => {
                if std::mem::replace(&mut facts.landed, true) {
                    return self.breach("5", "a flight lands twice", || format!("f{name}"));
                }
                facts.keeping = *keeping;
                let claimed = facts.read_since_claim;
                if *keeping {
                    self.tally.count(Kind::Degraded);
                }
                let in_doubt = facts.mark.is_none();
                match outcome {
                    Outcome::Adopted if claimed => {
                        self.tally.count(Kind::AdoptedUnderClaim);
                        self.tally.count(Kind::Adopted);
                    }
                    Outcome::Adopted => self.tally.count(Kind::Adopted),
                    Outcome::LoginRequired(Reason::MaybeConsumed) => self.tally.count(Kind::DoubtRefused),
                    Outcome::Failed(trouble) if trouble.reason == Reason::InDoubt && in_doubt => {
                        self.tally.count(Kind::DoubtWaited);
                    }
                    Outcome::Failed(trouble) if trouble.reason == Reason::Contended => {
                        self.tally.count(Kind::ClaimWaitedOut);
                    }
                    Outcome::Minted(lease) if lease.generation().nonce.0 != 0 => self.tally.count(Kind::Unstored),
                    _ => {}
                }
            }
            Report::Settled(_) => {
                facts.settled = true;
                let kind = match (&facts.tokens, facts.superseded) {
                    (Some(_), Some(_)) => Kind::DegradedSuperseded,
                    _ => Kind::DegradedSaved,
                };
                self.tally.count(kind);
            }
            Report::Lost { noted } => {
                facts.lost_reported = true;
                if !noted {
                    self.tally.count(Kind::LostUnnoted);
                }
            }
        }
    }

    /// A flight that has lost an answer goes on.
    pub(crate) fn check_pause(&mut self, pid: Pid, id: FlightId) {
        let (t, elapsed) = (self.t, self.moment(pid.process).elapsed);
        let stood = self.processes[pid.process].stood.1;
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        let Some((lost, _)) = run.facts.lost.take() else { return };
        let (name, claimed, rest) = (run.name, run.facts.claim.is_some(), run.facts.rest);
        let most = super::LONGEST_PAUSE.as_millis() as Millis + 100;
        if t - lost > most && stood < lost {
            self.breach("10", "a flight holds its claim over a long pause", || format!("f{name}: {} ms", t - lost));
        }
        if t - lost < super::FIRST_PAUSE.as_millis() as Millis / 2 {
            self.breach("10", "a flight repeats its request without a pause", || format!("f{name}: {} ms", t - lost));
        }
        if !claimed {
            self.breach("10", "a flight repeats its request without its claim", || format!("f{name}"));
        }
        if let Some((_, until, _)) = rest.filter(|(_, until, _)| *until > elapsed) {
            self.breach("8", "a flight repeats its request before the server's Retry-After is over", || {
                format!("f{name}: {until:?}")
            });
        }
    }

    /// Law 10: a flight that sees an answer lost for the first time presents its token once more by itself.
    fn check_repeated(&mut self, pid: Pid, id: FlightId, report: &Report) {
        let Report::Landed(_) = report else { return };
        let (t, timeouts) = (self.t, self.config.timeouts);
        let Some(run) = self.processes[pid.process].flights.get_mut(&id) else { return };
        let Some((lost, retry_after)) = run.facts.lost.take() else { return };
        let (name, identity, facts) = (run.name, run.identity, &run.facts);
        let Some(mark) = facts.mark.as_ref().filter(|mark| mark.presentations == 1) else { return };
        let called_off = facts.closing.is_some() || facts.logged_out.is_some();
        let long = retry_after.is_some_and(|asked| asked > super::LONGEST_PAUSE);
        let forbidden = self.config.profile.reuse == Reuse::EndsMore;
        // The claim must last for the pause, the request and the writes around it.
        let needs = self.config.profile.request_timeout + super::LONGEST_PAUSE + timeouts.store_timeout * 3;
        let until = self.store.lasts(identity, ClaimScope::Spend(mark.epoch), id);
        let lasts = until.is_some_and(|until| until.is_none_or(|until| until >= t + needs.as_millis() as Millis));
        if t == lost && lasts && !called_off && !long && !forbidden {
            self.breach("10", "a flight that lost an answer does not present its token once more", || {
                format!("f{name}")
            });
        }
    }

    /// Notes a reported doubt, if the record was marked at that time.
    fn note_doubt(&mut self, pid: Pid, id: FlightId, report: &Report) {
        let Report::Landed(Landing { outcome: Outcome::Failed(trouble), .. }) = report else { return };
        let Some(run) = self.processes[pid.process].flights.get(&id) else { return };
        let (identity, t) = (run.identity, self.t);
        let marked = self.truth.was(identity, self.knows_since(pid, t), |state| state.marked);
        if trouble.reason == Reason::InDoubt && marked {
            self.processes[pid.process].slots[identity].known.meet(Reason::InDoubt, t);
        }
    }

    /// After the flight's report, the whole process owes the server the pause it asked for.
    fn owe_rest(&mut self, pid: Pid, id: FlightId) {
        let process = &mut self.processes[pid.process];
        let Some(run) = process.flights.get_mut(&id) else { return };
        if let Some((issuer, until, since)) = run.facts.rest.take() {
            let rest = process.slots[run.identity].known.owed_rest.entry(issuer).or_default();
            *rest = (*rest).max((until, since));
        }
    }

    /// A flight's machine has ended. It reported every result that was lost (law 5).
    pub(crate) fn check_flight_over(&mut self, pid: Pid, id: FlightId) {
        let asker = Asker::Flight(pid, id);
        let Some(run) = self.run_of(asker) else { return };
        let (name, identity, facts) = (run.name, run.identity, &run.facts);
        let (landed, claim, lost) = (facts.landed, facts.claim.clone(), facts.lost_reported);
        let (superseded, revoked, logged_out) = (facts.superseded, facts.revoked, facts.logged_out);
        let (keeping, settled, stopping) = (facts.keeping, facts.settled, facts.closing.is_some());
        let tokens = facts.tokens.clone().filter(|tokens| !tokens.saved);
        if !landed {
            self.breach("7", "a flight ends without landing", || format!("f{name}"));
        }
        let replaces = tokens.as_ref().is_some_and(|tokens| tokens.replaces);
        let foreign = tokens.as_ref().is_some_and(|tokens| tokens.foreign);
        if keeping && !settled && !lost && replaces && !foreign && logged_out.is_none() {
            self.breach("4", "a flight that kept something ends without a word", || format!("f{name}"));
        }
        if let Some(claim) = claim.filter(|claim| self.store.holds(identity, claim.scope, id, self.t)) {
            self.breach("5", "a flight ends and keeps its claim", || format!("f{name}: {claim:?}"));
        }
        if self.processes[pid.process].permits.given.contains(&id) {
            self.breach("8", "a flight ends and keeps its permit", || format!("f{name}"));
        }
        let Some(tokens) = tokens.filter(|tokens| tokens.sent.is_some()) else { return };
        if stopping && !tokens.replaces {
            // The refresh token did not change. Losing an access token alone at a stop is no loss.
            return;
        }
        let after_logout = superseded == Some(true);
        if tokens.foreign {
            return;
        }
        match superseded {
            None if lost || logged_out.is_some() => {}
            // The store gave its claim away, and another flight has presented the token over it.
            None if self.store.robbed.contains(&id) => {}
            None => self.breach("5", "a result got lost", || format!("f{name}")),
            Some(_) if tokens.replaces && after_logout && !revoked => {
                self.breach("12", "a late pair is not revoked after a logout", || format!("f{name}"));
            }
            Some(_) => {
                if !revoked {
                    self.count(Kind::LateDropped);
                }
            }
        }
    }

    /// A process that was shutting down ends now. The losses it reports must match the true ones.
    pub(crate) fn check_exit(&mut self, pid: Pid) {
        for (id, run) in &self.processes[pid.process].flights {
            if run.facts.tokens.as_ref().is_some_and(|tokens| !tokens.saved) && !run.facts.lost_reported {
                self.tally.count(Kind::LostInCrash);
                let _ = id;
            }
        }
    }

    /// A planted fault. The mark is not written, and the driver reports to the flight that it was.
    pub(crate) fn pretend_marked(&mut self, pid: Pid, id: FlightId, op: Op) {
        let Some(run) = self.processes[pid.process].flights.get(&id) else { return };
        let Some(record) = self.store.record(run.identity).cloned().map(Box::new) else { return };
        let changed = Changed::Applied { before: Some(record.clone()), after: record };
        self.planted_answers.push((pid, id, op, changed));
        self.queue.push(self.t + 1, crate::world::Item::Planted(self.planted_answers.len() - 1));
    }
}
