//! Laws 4, 9, 10 and 12 at the store. Each write that took effect is judged again, independently of the ledger.

use tokenkeeper_actors::law::ledger::{Change, Changed, Commit};
use tokenkeeper_actors::values::record::{Content, Held, MarkState, Parked, Record, Refresh, RenewalPlan};
use tokenkeeper_actors::values::{Epoch, FlightId, Generation};

use crate::Millis;
use crate::config::ServerKind;
use crate::process::{Awaited, FlightRun, Marked};
use crate::server::{Presentation, Server, Verdict, since_last_answer};
use crate::tally::Kind;
use crate::world::{Asker, World, rt_of};

impl World {
    /// The run of a flight that still exists.
    pub(crate) fn run_of(&self, asker: Asker) -> Option<&FlightRun> {
        match asker {
            Asker::Flight(pid, flight) => {
                let process = &self.processes[pid.process];
                process.flights.get(&flight).filter(|_| process.life == pid.life)
            }
            Asker::Actor(_) | Asker::Attempt(..) | Asker::Driver(_) => None,
        }
    }

    pub(crate) fn run_mut(&mut self, asker: Asker) -> Option<&mut FlightRun> {
        match asker {
            Asker::Flight(pid, flight) => {
                let process = &mut self.processes[pid.process];
                let alive = process.life == pid.life;
                process.flights.get_mut(&flight).filter(|_| alive)
            }
            Asker::Actor(_) | Asker::Attempt(..) | Asker::Driver(_) => None,
        }
    }

    /// Law 4: while its process stops, a flight gives a token up only shortly before the end. Until then it may be saved.
    fn check_given_up(&mut self, asker: Asker) {
        let (now, reserve) = (self.moment(asker.pid().process).elapsed, self.config.timeouts.store_timeout * 2);
        let Some((name, closing)) = self.run_of(asker).map(|run| (run.name, run.facts.closing)) else { return };
        let in_time = closing.is_some_and(|(since, until)| {
            let reserve = reserve.min(until.since(since) / 2);
            now >= until.before(reserve)
        });
        if !in_time {
            self.breach("4", "a token is given up while it may still be saved", || format!("f{name}: {closing:?}"));
        }
    }

    /// Checks a requested write.
    pub(crate) fn check_change(&mut self, asker: Asker, identity: usize, change: &Change) {
        match change {
            Change::Mark { expected, mark } => {
                let moment = self.moment(asker.pid().process);
                let marked = Marked {
                    epoch: expected.epoch,
                    rt: self.store.record(identity).and_then(rt_of).unwrap_or(usize::MAX),
                    digest: mark.digest,
                    moment,
                    decided: self.t - moment.elapsed.since(mark.latest.elapsed).as_millis() as Millis,
                    presentations: mark.presentations,
                    number: mark.number,
                    first: mark.first,
                    applied: None,
                };
                self.check_mark_decision(asker, identity, marked);
                let record = self.store.record(identity).filter(|record| record.version() == *expected).cloned();
                self.check_marked_connection(asker, record.as_ref());
            }
            Change::Spent { .. } => self.check_given_up(asker),
            Change::End { sent, .. } if self.run_of(asker).is_none_or(|run| run.facts.dead != Some(*sent)) => {
                self.breach("9", "a grant is ended though its token was not refused", || format!("{sent:?}"));
            }
            Change::Clear { epoch } => {
                let told = match asker {
                    Asker::Actor(actor) => {
                        let asked = self.actor(actor).is_some_and(|actor| {
                            actor.replies.values().any(|reply| matches!(reply, Awaited::Logout { .. }))
                        });
                        let slot = self.slot(actor);
                        if asked {
                            slot.known.logging_out = Some(*epoch);
                        }
                        asked || slot.known.owed == Some(*epoch) || slot.published.residue.closing.is_some()
                    }
                    _ => self.run_of(asker).is_some_and(|run| run.facts.logged_out == Some(*epoch)),
                };
                if !told {
                    self.breach("12", "a grant is cleared though nobody signed out", || format!("{epoch:?}"));
                }
            }
            Change::Discard { epoch, number } => {
                let refused = match asker {
                    Asker::Actor(actor) => self.slot(actor).published.residue.floor,
                    _ => None,
                };
                if refused.is_none_or(|floor| Generation::stored(*epoch, *number).supersedes(&floor)) {
                    self.breach("8", "a token is removed that was not refused", || format!("{epoch:?}, {number}"));
                }
            }
            _ => {}
        }
    }

    /// The initial record of a world was written.
    pub(crate) fn furnished(&mut self, identity: usize, change: &Change, changed: &Changed) {
        if let Changed::Applied { after, .. } = changed {
            self.note_record(identity, after);
        } else {
            self.breach("12", "a world cannot be furnished", || crate::narrate::change(change));
        }
    }

    fn note_record(&mut self, identity: usize, after: &Record) {
        self.truth.record_is(identity, self.t, Some(after));
        let access = after.grant().and_then(|grant| grant.access.as_ref());
        if let Some(at) = access.and_then(|access| Server::number(access.token.expose())) {
            self.server.ats[at].durable = true;
        }
    }

    /// A write took effect, or met a conflict.
    pub(crate) fn written(&mut self, asker: Asker, identity: usize, change: &Change, changed: &Changed) {
        self.tell(|| format!("store i{identity}"), |_| crate::narrate::changed(change, changed));
        match changed {
            Changed::Applied { before, after } => {
                self.check_progress(before.as_deref(), after, change);
                self.check_applied(asker, identity, change, before.as_deref(), after);
                self.check_prompt_written(asker, identity, change, before.as_deref(), after);
                self.check_doubt_kept(identity, after);
                self.note_record(identity, after);
                self.spread_news(identity);
            }
            Changed::Conflict { .. } => {}
        }
    }

    /// Law 12: no counter restarts, and an epoch moves only with a login or a logout.
    fn check_progress(&mut self, before: Option<&Record>, after: &Record, change: &Change) {
        let (revision, number) = before.map_or((0, 0), |record| (record.revision.number(), record.number));
        if after.revision.number() != revision + 1 || after.number < number {
            self.breach("12", "revision or number does not grow", || format!("{:?} after {before:?}", after.version()));
        }
        let epoch = before.map_or(0, |record| record.epoch.number());
        let moves = matches!(change, Change::Install(_) | Change::Clear { .. });
        if after.epoch.number() != epoch + u64::from(moves) {
            self.breach("12", "an epoch moves as it must not", || format!("{:?} after {epoch}", after.epoch));
        }
        let (Some(old), Some(new)) = (before.and_then(Record::grant), after.grant()) else { return };
        if moves {
            return;
        }
        if old.binding != new.binding {
            self.breach("13", "a grant moves to another issuer or client", String::new);
        }
        if old.subject.is_some() && old.subject != new.subject {
            self.breach("13", "a grant changes its subject", String::new);
        }
        if old.renewal != new.renewal && !matches!(change, Change::Configure { .. }) {
            self.breach("12", "a plan changes with no configuration", String::new);
        }
        // A server that issues tokens, or refuses the token itself, accepts the client again.
        let judged = matches!(change, Change::Commit(_) | Change::End { .. });
        let accepted = judged && old.parked == Some(Parked::ClientRejected);
        let listed_again = matches!(change, Change::Unpark { .. }) && old.parked == Some(Parked::IssuerChanged);
        if old.parked.is_some() && new.parked != old.parked && !accepted && !listed_again {
            self.breach("9", "a parked grant is taken up without a login", String::new);
        }
        if !matches!(change, Change::Commit(_)) && digest(&old.refresh) != digest(&new.refresh) {
            self.breach("4", "a refresh token is replaced by something other than its successor", String::new);
        }
    }

    fn check_applied(
        &mut self,
        asker: Asker,
        identity: usize,
        change: &Change,
        before: Option<&Record>,
        after: &Record,
    ) {
        match change {
            Change::Mark { mark, .. } => self.check_marked(asker, identity, mark.flight, before, after),
            Change::Withdraw { park, .. } => {
                self.count(Kind::Withdrawn);
                if let Some(why) = park {
                    self.check_parked(asker, *why);
                }
            }
            Change::Commit(commit) => self.check_committed(asker, identity, commit, before, after),
            Change::Spent { .. } => self.count(Kind::LostNoted),
            Change::End { sent, .. } => {
                self.count(Kind::GrantEnded);
                self.note_fate(*sent, false);
                if before.and_then(Record::held).is_none_or(|held| held.credential.digest() != *sent) {
                    self.breach("9", "a grant is ended for a token that is not the stored one", String::new);
                }
            }
            Change::Configure { renewal, .. } => self.check_configured(before, after, renewal),
            Change::Park { why, .. } => self.check_parked(asker, *why),
            Change::Unpark { .. } => self.count(Kind::Unparked),
            Change::Prompt { .. } | Change::AnswerPrompt { .. } | Change::EndPrompt { .. } => {}
            Change::Discard { number, .. } => self.check_discarded(*number, before),
            Change::Install(login) => {
                let refresh = login.refresh.as_ref().map(|refresh| refresh.digest());
                self.check_installed(identity, refresh, before);
                let held = before.and_then(Record::held).map(|held| held.credential.digest());
                let rotated = before.is_some_and(|before| self.truth.rotated.contains(&(identity, before.epoch)));
                if rotated && held.is_some() && held == refresh {
                    // The login brings the token that is held already, which is of the same lineage.
                    self.truth.rotated.insert((identity, after.epoch));
                }
            }
            Change::Clear { epoch } => {
                if before.map_or_else(Epoch::default, |before| before.epoch) != *epoch {
                    self.breach("9", "a loser clears a winner's tokens", || format!("{epoch:?}"));
                }
                if before.and_then(Record::held).is_some_and(|held| held.mark.is_some()) {
                    self.truth.closed_marked.insert((identity, *epoch, asker.pid().process));
                }
                if asker.flight().is_some() {
                    self.count(Kind::DegradedTombstone);
                }
                self.note_epoch_moved(identity, before);
            }
        }
    }

    /// A configuration changes only the plan. Under a mark it changes neither source nor spending.
    fn check_configured(&mut self, before: Option<&Record>, after: &Record, plan: &RenewalPlan) {
        let Some((before, old)) = before.and_then(|before| Some((before, before.grant()?))) else {
            return self.breach("12", "a plan is changed where there is no grant", String::new);
        };
        let mut expected = Record { revision: after.revision, ..before.clone() };
        if let Content::Grant(grant) = &mut expected.content {
            grant.renewal = plan.clone();
        }
        if expected != *after {
            self.breach("12", "a configuration changes more than the plan", || format!("{after:?} after {before:?}"));
        }
        let marked = before.held().is_some_and(|held| held.mark.is_some());
        if marked && (old.renewal.source != plan.source || old.renewal.spending != plan.spending) {
            self.breach("10", "a marked token changes its source", || format!("{plan:?}"));
        }
    }

    fn note_epoch_moved(&mut self, identity: usize, before: Option<&Record>) {
        let Some(epoch) = before.map(|before| before.epoch) else { return };
        let crossed = |run: &&FlightRun| {
            run.identity == identity && run.facts.mark.as_ref().is_some_and(|mark| mark.epoch == epoch)
        };
        let crossed: usize =
            self.processes.iter().map(|process| process.flights.values().filter(crossed).count()).sum();
        (0..crossed).for_each(|_| self.count(Kind::EpochMoved));
    }

    fn check_marked(
        &mut self,
        asker: Asker,
        identity: usize,
        flight: FlightId,
        before: Option<&Record>,
        after: &Record,
    ) {
        let Some(Held { credential, mark: Some(mark), .. }) = after.held() else {
            return self.breach("10", "a mark was written and is not there", String::new);
        };
        if self.truth.released.contains(&flight) {
            self.breach("10", "a mark lands after its flight ended its claim as settled", || format!("{flight}"));
        }
        let earlier = before.and_then(Record::held).and_then(|held| held.mark.as_ref());
        let presented = earlier.map_or(0, |earlier| earlier.presentations);
        if mark.presentations != presented + 1 || earlier.is_some_and(|earlier| earlier.first != mark.first) {
            self.breach("10", "a mark forgets the presentations before it", || format!("{mark:?} after {earlier:?}"));
        }
        if earlier.is_some_and(|earlier| earlier.state == MarkState::Spent) || after.dead.contains(&mark.digest) {
            self.breach("3", "a token that is known to be spent or dead is marked for presentation", String::new);
        }
        if before.is_none_or(|before| mark.number <= before.number) {
            self.breach("12", "a mark reserves a number that was given out before", || format!("{mark:?}"));
        }
        let t = self.t;
        let rt = Server::number(credential.token().expose()).unwrap_or(usize::MAX);
        if let Some(run) = self.run_mut(asker)
            && let Some(marked) = &mut run.facts.mark
        {
            (marked.applied, marked.rt) = (Some(t), rt);
        }
        if let Some(before) = before {
            self.check_spend_justified(asker, identity, before);
        }
    }

    /// Law 10: only tokens, a dead word, a login or a logout end a doubt. The mark counts each presentation that may have
    /// spent the token, since the last answer that brought no new one.
    fn check_doubt_kept(&mut self, identity: usize, after: &Record) {
        let Some(held) = after.held() else { return };
        let Some(rt) = self.server.rts.iter().find(|rt| rt.credential == held.credential) else { return };
        let unsettled = &rt.presentations[rt.settled.min(rt.presentations.len())..];
        let counts =
            |one: &&Presentation| one.counts() && !one.excused && self.requests[one.request].identity == identity;
        let any = unsettled.iter().any(|one| counts(&one));
        let presented = since_last_answer(unsettled).iter().filter(counts).count().max(usize::from(any));
        let marked = held.mark.as_ref().map_or(0, |mark| mark.presentations as usize);
        if marked < presented {
            self.breach("10", "a doubt ends without a definite answer", || {
                format!("{presented} presentations may have spent the token, the mark counts {marked}")
            });
        }
    }

    fn check_discarded(&mut self, number: u64, before: Option<&Record>) {
        self.count(Kind::Discarded);
        let is_over = before.and_then(Record::grant).is_some_and(|grant| match &grant.refresh {
            Refresh::Ended(_) => true,
            Refresh::Held(held) => held.mark.as_ref().is_some_and(|mark| mark.state == MarkState::Spent),
            Refresh::None => false,
        });
        if !is_over {
            self.breach("8", "a token of a grant that has not ended is removed", || number.to_string());
        }
    }

    fn check_parked(&mut self, asker: Asker, why: Parked) {
        self.count(match why {
            Parked::ClientRejected => Kind::ParkedClient,
            Parked::IssuerChanged => Kind::ParkedIssuer,
            Parked::SubjectChanged => Kind::ParkedSubject,
        });
        let justified = match (asker, why) {
            (Asker::Actor(_), why) => why == Parked::IssuerChanged,
            (_, Parked::IssuerChanged) => false,
            (_, Parked::ClientRejected) => self.run_of(asker).is_none_or(|run| run.facts.client_rejected),
            (_, Parked::SubjectChanged) => {
                self.run_of(asker).is_none_or(|run| run.facts.tokens.as_ref().is_some_and(|tokens| tokens.foreign))
            }
        };
        if !justified {
            self.breach("9", "a grant is parked without reason", || format!("{why:?}"));
        }
    }

    fn check_committed(
        &mut self,
        asker: Asker,
        identity: usize,
        commit: &Commit,
        before: Option<&Record>,
        after: &Record,
    ) {
        let stored = before.and_then(Record::grant).map(|grant| &grant.refresh);
        let holds_sent = match (stored, commit.sent) {
            (_, None) => true,
            (Some(refresh), Some(sent)) => digest(refresh) == Some(sent),
            (None, Some(_)) => false,
        };
        if !holds_sent || before.is_some_and(|before| before.epoch != commit.epoch) {
            self.breach("9", "a result is stored over something newer", || format!("{:?}", after.version()));
        }
        let older =
            |before: &Record| before.grant().and_then(|grant| grant.access.as_ref()).map_or(0, |access| access.number);
        if before.map_or(0, older) >= commit.access.number {
            self.breach("4", "an older access token replaces a newer one", || format!("{:?}", after.version()));
        }
        let number = Server::number(commit.access.token.expose());
        let now_held = after.held().map(|held| held.credential.digest());
        if let Some(sent) = commit.sent
            && let Some(rt) = self.server.rts.iter_mut().find(|rt| rt.credential.digest() == sent)
        {
            if now_held == Some(sent) {
                // An answer without a new token ends a doubt only if the lineage was never seen to rotate.
                if !self.truth.rotated.contains(&(identity, commit.epoch)) {
                    rt.settled = rt.presentations.len();
                } else if after.held().is_some_and(|held| held.mark.is_some()) {
                    self.tally.count(Kind::DoubtKept);
                }
            } else if now_held.is_none() {
                self.breach("4", "a refresh token got lost in a commit", || format!("{:?}", after.version()));
            } else {
                self.truth.rotated.insert((identity, commit.epoch));
            }
            let settled = after.held().is_none_or(|held| held.mark.is_none());
            let spent = self.server.rts.iter().any(|rt| rt.credential.digest() == sent && rt.spent.is_some());
            if settled && (now_held != Some(sent) || !spent) {
                self.note_fate(sent, true);
            }
        }
        let held_now = now_held.and_then(|now| self.server.rts.iter().position(|rt| rt.credential.digest() == now));
        // A token that this process has seen replaced must never be stored again.
        let rolled_back = commit.sent.is_some()
            && commit.refresh.is_some()
            && held_now.is_some_and(|rt| {
                self.server.rts[rt].spent.is_some()
                    && self.server.rts[rt].presentations.iter().any(|one| one.verdict == Some(Verdict::Usable))
                    && !self.config.server.repeats
            });
        if rolled_back && self.config.server.kind == ServerKind::Strict {
            self.breach("4", "a spent refresh token is stored again", || format!("{:?}", after.version()));
        }
        let claim = asker.flight().is_some_and(|flight| {
            let scope = tokenkeeper_actors::ports::store::ClaimScope::Spend(commit.epoch);
            self.store.holds(identity, scope, flight, self.t)
        });
        if !claim && commit.sent.is_some() {
            self.count(Kind::DoubtEnded);
        }
        if let Some(run) = self.run_mut(asker) {
            let given = run.facts.tokens.as_mut().filter(|tokens| Some(tokens.at) == number);
            match given {
                Some(tokens) => tokens.saved = true,
                None => self.breach("4", "a token is stored that this flight was not given", || format!("{number:?}")),
            }
        }
    }

    fn check_installed(
        &mut self,
        identity: usize,
        refresh: Option<tokenkeeper_actors::values::KeyedDigest>,
        before: Option<&Record>,
    ) {
        self.note_epoch_moved(identity, before);
        let Some(refresh) = refresh else { return };
        let marked = |held: &Held| held.mark.is_some() && held.credential.digest() == refresh;
        if before.is_some_and(|before| before.dead.contains(&refresh)) {
            self.breach("12", "a dead refresh token is installed", String::new);
        }
        if before.and_then(Record::held).is_some_and(marked) {
            self.breach("12", "a marked refresh token is installed", String::new);
        }
        let holds = |other: usize| {
            self.store.record(other).and_then(Record::held).is_some_and(|held| held.credential.digest() == refresh)
        };
        if (0..self.config.identities).any(|other| other != identity && holds(other)) {
            self.breach("12", "a refresh token is installed that another identity holds", String::new);
        }
    }
}

fn digest(refresh: &Refresh) -> Option<tokenkeeper_actors::values::KeyedDigest> {
    match refresh {
        Refresh::Held(held) => Some(held.credential.digest()),
        Refresh::Ended(digest) => Some(*digest),
        Refresh::None => None,
    }
}
