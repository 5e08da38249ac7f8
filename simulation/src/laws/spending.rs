//! Laws 1, 2, 3, 10 and 13 for each presentation of a refresh token. They are checked before its decision, at the
//! order to send, and at its first byte.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Adopt, Order, TokenRequest};
use tokenkeeper_actors::law::profile::Reuse;
use tokenkeeper_actors::law::session::RefreshPolicy;
use tokenkeeper_actors::ports::store::ClaimScope;
use tokenkeeper_actors::values::record::{MarkState, Parked, Record};
use tokenkeeper_actors::values::{Cause, FlightId, Generation, Lease, Moment};

use super::known::FailedLanding;
use crate::Millis;
use crate::process::{Marked, Pid};
use crate::server::{Presentation, Server, Verdict, since_last_answer};
use crate::tally::Kind;
use crate::world::{Asker, World, issuer_name, issuer_number, rt_of};

/// The time between the check and the first byte that does not count as a standstill.
const SEND_SLACK: Millis = 3_000;

/// The maximum time for which a flight may have been running when the clock was set.
const CLOCK_SETTLES: Millis = 240_000;

/// The difference between two hosts' clocks up to which they agree about an expiry that is near.
const SKEW: Millis = 20_000;

impl World {
    /// A session orders a flight.
    pub(crate) fn check_order(&mut self, pid: Pid, identity: usize, order: &Order) {
        let elapsed = self.moment(pid.process).elapsed;
        let logins = &self.processes[pid.process].slots[identity].logins;
        if !logins.arriving.is_empty() || !logins.keeping.is_empty() {
            self.breach("25", "a flight begins while a login arrives", || format!("{order:?}"));
        }
        let process = &self.processes[pid.process];
        let beside = |run: &&crate::process::FlightRun| {
            run.identity == identity && run.order.epoch == order.epoch && !run.facts.is_settled()
        };
        if process.flights.values().any(|run| beside(&run)) {
            self.breach("1", "a flight begins beside another one", || format!("{order:?}"));
        }
        let known = &self.processes[pid.process].slots[identity].known;
        let (stopping, failed, throttled) = (known.stopping, known.failed, known.throttled);
        let unattended = known.unattended;
        if stopping {
            self.breach("4", "a flight begins while the runtime stops", || format!("{order:?}"));
        }
        let pause = |failed: FailedLanding| if unattended { failed.background } else { failed.least };
        if failed.is_some_and(|failed| elapsed < failed.at.after(pause(failed))) {
            self.breach("8", "a flight begins before the backoff is over", || format!("{elapsed:?}, {failed:?}"));
        }
        if throttled.is_some_and(|until| until > elapsed) {
            self.breach("8", "a flight begins though the issuer is to be left alone", || format!("{throttled:?}"));
        }
        let slot = &self.processes[pid.process].slots[identity];
        let asks = |caller: &usize| self.callers[*caller].spec.force;
        let forced = slot.actor.as_ref().is_some_and(|actor| actor.waiters.values().any(asks));
        if matches!(order.adopt, Adopt::Since { .. }) && !forced && order.cause != Cause::KeepAlive {
            self.breach("6", "a flight insists on a new token though nobody does", || format!("{order:?}"));
        }
        let kind = match order.cause {
            Cause::Early => Kind::Early,
            Cause::KeepAlive => Kind::KeptAlive,
            Cause::Force => Kind::Forced,
            Cause::Refusal => Kind::AfterRefusal,
            Cause::Login | Cause::Expiry => return,
        };
        self.count(kind);
    }

    /// A flight decides to present its token, and requests its mark.
    pub(crate) fn check_mark_decision(&mut self, asker: Asker, identity: usize, marked: Marked) {
        let (t, scope) = (self.t, ClaimScope::Spend(marked.epoch));
        let Some(flight) = asker.flight() else {
            return self.breach("2", "a mark without a flight", String::new);
        };
        if self.config.repeatable() {
            self.breach("10", "a repeatable source's token is marked", || format!("{flight}"));
        }
        if !self.store.holds(identity, scope, flight, t) && !self.claim_excused(asker) {
            self.breach("1", "a flight decides to spend without the claim", || format!("{flight}"));
        }
        let Some(run) = self.run_mut(asker) else { return };
        let read = run.facts.read_since_claim;
        run.facts.mark = Some(marked);
        if !read {
            self.breach("2", "a flight decides without reading again under its claim", || format!("{flight}"));
        }
    }

    /// Whether a flight may have lost its claim without noticing. Its process stood still, or the store forgot the
    /// claim.
    fn claim_excused(&self, asker: Asker) -> bool {
        let stood = self.processes[asker.pid().process].stood;
        let robbed = asker.flight().is_some_and(|flight| self.store.robbed.contains(&flight));
        robbed || self.config.is_leased() && stood.1 > 0 && self.t < stood.1 + 60_000
    }

    /// Checks that a decision to spend from `before` was justified, after the mark was noted (laws 2, 6 and 11).
    pub(crate) fn check_spend_justified(&mut self, asker: Asker, identity: usize, before: &Record) {
        let Some(run) = self.run_of(asker) else { return };
        let Some(marked) = &run.facts.mark else { return };
        let (moment, order, need) = (marked.moment, run.order.clone(), run.need);
        let why = before.grant().and_then(|grant| grant.parked);
        if why.is_some() && (why != Some(Parked::ClientRejected) || !matches!(order.adopt, Adopt::Since { .. })) {
            self.breach("9", "a token of a parked grant is presented", || format!("{why:?}, {:?}", order.adopt));
        }
        let parked = before.grant().is_none() || why.is_some();
        let Some(lease) = before.lease().filter(|_| !parked) else { return };
        if self.is_spend_justified(asker.pid(), identity, need, &order, &lease, &moment) {
            return;
        }
        let left = lease.validity().remaining(&moment);
        let generation = lease.generation();
        self.breach("2", "a refresh token is spent though the stored access token would do", || {
            format!("{generation} with {left:?} left, {:?}, {:?}", order.cause, order.adopt)
        });
    }

    fn is_spend_justified(
        &self,
        pid: Pid,
        identity: usize,
        need: Duration,
        order: &Order,
        lease: &Lease,
        moment: &Moment,
    ) -> bool {
        let slot = &self.processes[pid.process].slots[identity];
        let generation = lease.generation();
        // The token of a login may be refused before it is stored. The store counts it without the process's nonce.
        let number = Server::number(lease.token().expose());
        let of_login = number.is_some_and(|at| self.server.ats.get(at).is_some_and(|at| at.base.is_some()));
        let same = |refused: &Generation| {
            *refused == generation
                || (of_login || refused.nonce.0 != 0)
                    && (refused.epoch, refused.number) == (generation.epoch, generation.number)
        };
        let refused = |(refused, _): &(Generation, u64)| same(refused) || refused.supersedes(&generation);
        let host = self.processes[pid.process].host;
        let just_set = self.hosts[host].stepped.is_some_and(|stepped| self.t < stepped + CLOCK_SETTLES);
        if just_set || self.skew(lease, moment) > SKEW {
            // A token near its expiry may look young again. The clock was set back, or it lags so far behind another
            // host's that the token seems to come from the future.
            return true;
        }
        // A newer token that only this process has takes precedence over the stored one.
        let own = slot.published.residue.unstored.as_ref().or(slot.known.lease.as_ref());
        if own.is_some_and(|own| own.generation().supersedes(&generation)) {
            return true;
        }
        let requested = lease.validity().anchored();
        let is_later = |since: Moment| requested.boot == since.boot && requested.elapsed > since.elapsed;
        if matches!(order.adopt, Adopt::Since { since, .. } if !is_later(since)) {
            return true;
        }
        if slot.known.refused.iter().any(refused) {
            return true;
        }
        let policy = &self.config.policy;
        let (Some(left), Some(lifetime)) = (lease.validity().remaining(moment), lease.validity().lifetime()) else {
            return order.cause == Cause::KeepAlive
                && matches!(policy.refresh, RefreshPolicy::KeepWarm { inactivity: Some(_) });
        };
        let window = policy.early_window.min(lifetime / 4);
        let most = lifetime / 4 * 3;
        left <= window.max(policy.safety_margin).max(need.min(most)) || order.cause == Cause::KeepAlive
    }

    /// The difference between the clock of `moment` and the clock that anchored a lease.
    fn skew(&self, lease: &Lease, moment: &Moment) -> Millis {
        let at = Server::number(lease.token().expose()).and_then(|at| self.server.ats.get(at));
        let age = self.t.saturating_sub(at.map_or(self.t, |at| at.asked));
        let shown = lease.validity().anchored().wall.as_millis() + age;
        shown.abs_diff(moment.wall.as_millis())
    }

    /// The longest minimum lifetime among the waiting callers.
    pub(crate) fn need(&self, pid: Pid, identity: usize) -> Duration {
        let slot = &self.processes[pid.process].slots[identity];
        let wanted = |caller: &usize| Duration::from_millis(self.callers[*caller].spec.min_lifetime);
        slot.actor.iter().flat_map(|actor| actor.waiters.values()).map(wanted).max().unwrap_or_default()
    }

    /// A flight orders its source to send.
    pub(crate) fn check_send_decision(&mut self, pid: Pid, flight: FlightId, request: &TokenRequest) {
        let t = self.t;
        let asker = Asker::Flight(pid, flight);
        let Some(run) = self.run_of(asker) else { return };
        let (identity, name) = (run.identity, run.name);
        if !self.processes[pid.process].permits.given.contains(&flight) {
            self.breach("8", "a request is made without the issuer's leave", || format!("f{name}"));
        }
        let elapsed = self.moment(pid.process).elapsed;
        let issuer = request.grant.as_ref().map_or(0, |grant| issuer_number(&grant.binding));
        let rest = self.processes[pid.process].slots[identity].known.owed_rest.get(&issuer).copied();
        let rest = rest.filter(|(until, _)| *until > elapsed);
        // A flight that got its permit before the server's answer may send in spite of it.
        let permitted = self.run_of(asker).filter(|run| run.facts.sends == 0).and_then(|run| run.facts.permitted);
        if rest.is_some_and(|(_, since)| permitted.is_some_and(|permitted| permitted > since)) {
            self.breach("8", "a request is sent before the server's Retry-After is over", || {
                format!("f{name}: {rest:?}")
            });
        }
        let Some(run) = self.run_of(asker) else { return };
        let Some(presented) = &request.refresh else {
            let unclaimed = run.facts.claim.is_none() && !run.facts.store_trouble;
            if !self.config.repeatable() || unclaimed {
                self.breach("1", "a request is made without a claim or a token", || format!("f{name}"));
            }
            return;
        };
        let Some(marked) = run.facts.mark.clone() else {
            return self.breach("2", "a refresh token is presented without a mark", || format!("f{name}"));
        };
        let scope = ClaimScope::Spend(marked.epoch);
        let until = self.store.lasts(identity, scope, flight);
        let long_enough =
            until.is_some_and(|until| until.is_none_or(|until| until >= t + request.timeout.as_millis() as Millis));
        if !long_enough && !self.claim_excused(asker) {
            self.breach("5", "a request is ordered with too little of the claim left", || {
                format!("f{name}: {until:?} at {t}")
            });
        }
        let bound = request.grant.as_ref().map(|grant| (grant.binding.issuer.clone(), grant.binding.resource.clone()));
        let Some((issuer, resource)) = bound else {
            return self.breach("13", "a refresh token is presented without its grant", || format!("f{name}"));
        };
        if resource.is_none() {
            self.breach("13", "a request names no resource", || format!("f{name}"));
        }
        let rt = Server::number(presented.expose()).filter(|rt| *rt < self.server.rts.len());
        let Some(rt) = rt else {
            return self.breach("13", "something other than a refresh token is presented", || format!("f{name}"));
        };
        if issuer != issuer_name(self.server.lineages[self.server.rts[rt].lineage].issuer) {
            self.breach("13", "a refresh token goes to another issuer", || format!("f{name}"));
        }
        if self.server.rts[rt].credential.digest() != marked.digest {
            self.breach("2", "another token is presented than the one that was marked", || format!("f{name}"));
        }
    }

    /// The first byte leaves.
    pub(crate) fn check_wire(&mut self, id: usize) {
        let request = &self.requests[id];
        let (pid, flight, identity, excused) = (request.pid, request.flight, request.identity, request.excused);
        let Some(rt) = request.rt else { return };
        let asker = Asker::Flight(pid, flight);
        let Some(run) = self.run_of(asker) else { return };
        let name = run.name;
        let Some(marked) = run.facts.mark.clone() else { return };
        let sends = run.facts.sends;
        self.check_under_way(id, rt, excused);
        if !excused && !self.claim_excused(asker) {
            self.check_beside_redemption(identity, marked.epoch, name);
        }
        // Law 2: the mark was durable before the send, and is still in the store. A moved epoch or a standstill after
        // the last check excuses its absence.
        let digest = self.server.rts[rt].credential.digest();
        let noted = self.store.record(identity).is_some_and(|record| {
            record.epoch > marked.epoch
                || record
                    .held()
                    .and_then(|held| held.mark.as_ref())
                    .is_some_and(|mark| mark.flight == flight && mark.digest == digest && mark.state == MarkState::Open)
        });
        // A holder that was given up may commit late. The flight need not read again so soon after its mark.
        let just_now = marked.applied.is_some_and(|applied| self.t <= applied + SEND_SLACK);
        let replaced = self.store.record(identity).is_some_and(|record| rt_of(record) != Some(rt)) && just_now;
        if marked.applied.is_none() || !noted && !excused && !replaced {
            self.breach("2", "a refresh token leaves without a mark in the store", || format!("f{name}"));
        }
        let known_dead = self.store.record(identity).is_some_and(|record| {
            record.epoch == marked.epoch && record.dead.contains(&digest)
                || rt_of(record) == Some(rt) && is_spent(record)
        });
        if known_dead && !excused && !replaced {
            self.breach("3", "a token leaves that the store knows to be spent or dead", || format!("f{name}"));
        }
        // This identity's record does not show presentations by another identity.
        let own = |one: &&Presentation| self.requests[one.request].identity == identity;
        let presentations = &self.server.rts[rt].presentations;
        let settled = presentations[..self.server.rts[rt].settled.min(presentations.len())].iter().filter(own).count();
        let earlier: Vec<Presentation> = presentations.iter().filter(own).cloned().collect();
        let own: Vec<Presentation> = earlier.iter().filter(|one| one.flight == flight).cloned().collect();
        let challenged = own.iter().rev().take_while(|one| one.verdict == Some(Verdict::NonceWanted)).count();
        if challenged > 0 {
            if challenged > 1 {
                self.breach("3", "a flight answers a second challenge in a row", || format!("f{name}: {sends} sends"));
            }
            return self.count(Kind::NonceResent);
        }
        if !own.is_empty() {
            let lost = own.iter().filter(|one| one.verdict == Some(Verdict::Doubt)).count();
            let last = own.last().and_then(|one| one.verdict);
            if lost != 1 || last != Some(Verdict::Doubt) {
                self.breach("3", "a flight presents its token again", || format!("f{name}: {sends} sends, {last:?}"));
            }
            self.count(Kind::Repeated);
        }
        self.check_replay(id, rt, &marked, &earlier, settled);
    }

    /// Law 1: no other request of this lineage is under way.
    ///
    /// A person may give one identity a token of another that was used already. The store refuses only a token that
    /// another identity holds, so each has its own request.
    fn check_under_way(&mut self, id: usize, rt: usize, excused: bool) {
        let lineage = self.server.rts[rt].lineage;
        let identity = self.requests[id].identity;
        let used = self.server.rts[rt].spent.is_some();
        let t = self.t;
        let beside =
            self.server.lineages[lineage].under_way.iter().filter(|other| **other != id).copied().find(|other| {
                let other = &self.requests[*other];
                let left = other.sent.unwrap_or_default();
                // A dead process reads no answer, so its request is not in flight any more.
                let reads = self.truth.lives(other.flight);
                let theirs_used = other.rt.is_some_and(|rt| self.server.rts[rt].spent.is_some());
                let strays = (used || theirs_used) && other.identity != identity;
                reads && !other.delivered && t < left + other.timeout && !other.excused && !strays
            });
        if let Some(beside) = beside.filter(|_| !excused) {
            self.breach("1", "two token requests of one lineage are under way", || {
                format!("request {id} beside {beside}")
            });
        }
    }

    /// Law 10: whether a token that was presented before may be presented again.
    fn check_replay(&mut self, id: usize, rt: usize, marked: &Marked, earlier: &[Presentation], settled: usize) {
        let (t, flight) = (self.t, self.requests[id].flight);
        if self.requests[id].excused || earlier.iter().any(|one| one.excused) {
            // One of the requests left long after its decision, so no flight could have taken it into account.
            return;
        }
        let counted: Vec<&Presentation> =
            since_last_answer(&earlier[settled..]).iter().filter(|one| one.counts()).collect();
        if (marked.presentations as usize) < counted.len() + 1 {
            self.breach("10", "a mark counts fewer presentations than there were", || format!("{marked:?}"));
        }
        let pid = self.requests[id].pid;
        let ours = |one: &Presentation| {
            (one.process, one.life) == (pid.process, pid.life) && !self.truth.aborted.contains(&one.flight)
        };
        if earlier.iter().any(|one| one.verdict == Some(Verdict::Dead) && ours(one)) {
            self.breach("3", "a refused token is presented again", || Server::rt_text(rt));
        }
        let (Some(first), Some(last)) = (counted.first(), counted.last()) else { return };
        let (first_at, last_at) = (first.at, last.decided);
        let others = counted.iter().filter(|one| one.flight != flight).count();
        // A holder that may live is waited for as long as its request can last.
        let unsure = self.processes[pid.process].flights.get(&flight).is_some_and(|run| run.facts.predecessor_may_live);
        let held = |one: &&&Presentation| one.flight != flight && one.verdict.is_none();
        let early = counted.iter().filter(held).find(|one| {
            let acts = self.truth.lives(one.flight) && !self.truth.claim_ended.contains(&one.flight);
            (unsure || acts) && t < one.at + one.timeout
        });
        if let Some(early) = early {
            let since = t - early.at;
            self.breach("10", "a token is presented over a holder that may live, too early", || {
                format!("{since} ms after its request of at most {} ms", early.timeout)
            });
        }
        // The pauses grow, whichever process presents. They are counted from the mark.
        let pause = super::pause_after(counted.len() as u32).as_millis() as Millis;
        if counted.len() > 1 && t < last_at + pause {
            self.breach("10", "a token in doubt is presented again before the pause is over", || {
                format!("{} ms after the last mark of {} presentations", t - last_at, counted.len())
            });
        }
        let boot = marked.moment.boot;
        if self.config.profile.reuse == Reuse::EndsMore && self.config.profile.rotates {
            let grace = self.config.profile.grace.map(|grace| grace.as_millis() as Millis);
            if grace.is_none_or(|grace| t > first_at + grace + SEND_SLACK || marked.first.boot != boot) {
                self.breach("10", "a token in doubt is presented again where reuse costs more", || {
                    format!("{}, first presented {} ms ago, grace {grace:?}", Server::rt_text(rt), t - first_at)
                });
            }
            self.count(Kind::ReplayedWithin);
        }
        if others == counted.len() {
            self.count(Kind::Replayed);
        }
        if unsure {
            self.count(Kind::ReplayedOver);
        }
        if counted.len() > 1 {
            self.count(Kind::ReplayedOften);
        }
    }
}

fn is_spent(record: &Record) -> bool {
    record.held().and_then(|held| held.mark.as_ref()).is_some_and(|mark| mark.state == MarkState::Spent)
}
