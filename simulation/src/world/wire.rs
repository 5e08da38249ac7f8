//! Token requests. Each is checked, sent, processed or not, and answered or not.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{FlightEvent, Op, Revocation, TokenRequest};
use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent, Refused, Tokens};
use tokenkeeper_actors::ports::observer::EffectName;
use tokenkeeper_actors::values::record::Subject;
use tokenkeeper_actors::values::{AccessToken, ElapsedTime, FlightId, Moment, TokenKind, Validity};

use super::{Item, World, client_number, issuer_number};
use crate::Millis;
use crate::plan::{ServerTrouble, When};
use crate::process::Pid;
use crate::rng::{For, Rng, join};
use crate::server::{Asked, Issued, Presentation, Reply, Server, Verdict, refused};
use crate::tally::Kind;

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) pid: Pid,
    pub(crate) flight: FlightId,
    pub(crate) identity: usize,
    op: Op,
    pub(crate) rt: Option<usize>,
    /// The time at which the flight decided to present it.
    decided: Option<Millis>,
    pub(crate) issuer: u8,
    client: u32,
    pub(crate) timeout: Millis,
    not_after: ElapsedTime,
    /// The time of the clock check, and the clock's reading.
    checked: Millis,
    started: Moment,
    pub(crate) sent: Option<Millis>,
    /// The request left late, because its process stood still after the check.
    pub(crate) excused: bool,
    key: u64,
    fate: Fate,
    /// The evidence for the flight, with its time.
    outcome: Option<(Millis, Evidence)>,
    pub(crate) delivered: bool,
    /// It repeats a request that the server answered with a challenge.
    pub(crate) carries_nonce: bool,
    /// The time at which the server processed it.
    pub(crate) processed: Option<Millis>,
}

/// The fate of a request on the network.
#[derive(Clone, Copy, Debug)]
struct Fate {
    unreachable: bool,
    standstill: Option<Millis>,
    loses_request: bool,
    loses_answer: bool,
    /// The loss shows as a broken connection after this time. `None` shows it as a time-out.
    breaks_after: Option<Millis>,
    /// The source itself aborted the request.
    breaks_off: bool,
    there: Millis,
    back: Millis,
}

impl World {
    pub(crate) fn begin_request(&mut self, pid: Pid, flight: FlightId, op: Op, request: TokenRequest, key: u64) {
        self.check_send_decision(pid, flight, &request);
        let Some(run) = self.processes[pid.process].flights.get_mut(&flight) else { return };
        let identity = run.identity;
        let carries_nonce = std::mem::take(&mut run.facts.nonce_wanted);
        let decided = run.facts.mark.as_ref().map(|mark| mark.decided);
        let binding = request.grant.as_ref().map(|grant| &grant.binding);
        let mut rng = self.rng(For::Request, key);
        let fate = self.request_fate(&mut rng, request.timeout.as_millis() as Millis);
        let pause = rng.weigh(&[(20, 0), (2, 2)]) + if rng.chance(self.weather().sluggish) { 2_300 } else { 0 };
        self.requests.push(Request {
            pid,
            flight,
            identity,
            op,
            rt: request.refresh.as_ref().and_then(|refresh| Server::number(refresh.expose())),
            decided,
            issuer: binding.map_or(0, issuer_number),
            client: binding.map_or(1, |binding| client_number(&binding.client)),
            timeout: request.timeout.as_millis() as Millis,
            not_after: request.not_after,
            checked: 0,
            started: Moment::default(),
            sent: None,
            excused: false,
            key,
            fate,
            outcome: None,
            delivered: false,
            carries_nonce,
            processed: None,
        });
        self.queue.push(self.t + pause, Item::Check(self.requests.len() - 1));
    }

    fn request_fate(&self, rng: &mut Rng, timeout: Millis) -> Fate {
        let weather = self.weather();
        let trouble =
            |kind| !self.healed && self.server_troubles.iter().any(|(other, until)| *other == kind && *until > self.t);
        let loses = rng.chance(weather.net_loses) || trouble(ServerTrouble::Loses);
        let loses_request = loses && rng.chance(400);
        let slow = trouble(ServerTrouble::Slow) || rng.chance(weather.sluggish);
        let late = if trouble(ServerTrouble::Late) { rng.between(200, 900) } else { 0 };
        let there = late + rng.between(1, 40) + if slow { rng.pick(&[400, 2_000, timeout / 2, timeout]) } else { 0 };
        Fate {
            unreachable: rng.chance(weather.net_unreachable) || trouble(ServerTrouble::Unreachable),
            standstill: rng.chance(weather.sluggish / 2).then(|| rng.pick(&[700, 5_000, 40_000, 100_000])),
            loses_request,
            loses_answer: loses && !loses_request,
            breaks_after: rng.chance(500).then(|| rng.pick(&[5, 60, 900, 3_000])),
            breaks_off: rng.chance(300),
            there,
            back: rng.between(1, 40) + if slow { rng.pick(&[0, 500, timeout / 2]) } else { 0 },
        }
    }

    /// The source checks the clock, immediately before the first byte.
    pub(crate) fn check_clock(&mut self, id: usize) {
        let (t, moment) = (self.t, self.moment(self.requests[id].pid.process));
        let request = &mut self.requests[id];
        (request.checked, request.started) = (t, moment);
        if request.fate.unreachable {
            let why = if request.key.is_multiple_of(5) { NotSent::Unbuildable } else { NotSent::Unreachable };
            let wait = if request.key.is_multiple_of(3) { 2_000 } else { 4 };
            request.outcome = Some((t, Evidence::NotSent(why)));
            return self.queue.push(t + wait, Item::Evidence(id));
        }
        if moment.elapsed > request.not_after {
            request.outcome = Some((t, Evidence::NotSent(NotSent::TooLate)));
            self.count(Kind::TooLate);
            return self.queue.push(t, Item::Evidence(id));
        }
        if let Some(span) = request.fate.standstill {
            let process = request.pid.process;
            self.pause(process, span);
            return self.queue.push(t + span, Item::Send(id));
        }
        self.send(id);
    }

    /// The first byte leaves.
    pub(crate) fn send(&mut self, id: usize) {
        let t = self.t;
        let request = &mut self.requests[id];
        request.sent = Some(t);
        request.excused = t > request.checked + 100;
        let (pid, flight, fate, rt) = (request.pid, request.flight, request.fate, request.rt);
        let (excused, timeout) = (request.excused, request.timeout);
        if excused {
            self.count(Kind::SentLate);
        }
        self.check_wire(id);
        if let Some(rt) = rt {
            let (process, life) = (pid.process, pid.life);
            let decided = self.requests[id].decided.unwrap_or(t);
            let presentation =
                Presentation { request: id, at: t, decided, flight, process, life, timeout, verdict: None, excused };
            self.server.rts[rt].presentations.push(presentation);
            let lineage = self.server.rts[rt].lineage;
            self.server.lineages[lineage].under_way.push(id);
        }
        if let Some(run) = self.processes[pid.process].flights.get_mut(&flight) {
            run.facts.sends += 1;
            run.facts.challenges += u32::from(self.requests[id].carries_nonce);
        }
        self.note_attempt(id);
        self.tell(
            || format!("p{}", pid.process),
            |world| {
                let what = rt.map_or_else(|| "a request".to_owned(), Server::rt_text);
                format!("{}: {what} leaves{}", world.flight_name(pid, flight), if excused { ", late" } else { "" })
            },
        );
        if !fate.loses_request {
            self.queue.push(t + fate.there, Item::Arrive(id));
        }
        if (fate.loses_request || fate.loses_answer)
            && let Some(after) = fate.breaks_after
        {
            let at = t + after + fate.there;
            let how = if fate.breaks_off { Lost::Aborted } else { Lost::Broken };
            self.requests[id].outcome = Some((at, Evidence::Lost(how)));
            self.queue.push(at, Item::Evidence(id));
        }
        self.queue.push(t + timeout, Item::Evidence(id));
    }

    /// The request reaches the server.
    pub(crate) fn arrive(&mut self, id: usize) {
        let request = &self.requests[id];
        let asked = Asked {
            identity: request.identity,
            rt: request.rt,
            issuer: request.issuer,
            client: request.client,
            sent: request.sent.unwrap_or_default(),
            boot: request.started.boot,
            flight: request.flight,
        };
        let (fate, carries_nonce) = (request.fate, request.carries_nonce);
        let mut rng = self.rng(For::Answer, request.key);
        let ended = |world: &Self| asked.rt.map(|rt| world.server.lineages[world.server.rts[rt].lineage].ended);
        let before = ended(self);
        let processed = self.server.processed;
        let reply = self.reply(&asked, carries_nonce, &mut rng);
        self.requests[id].processed = (self.server.processed > processed).then_some(self.t);
        if before != ended(self) {
            self.count(Kind::Reuse);
        }
        self.tell(|| format!("as{}", asked.issuer), |_| format!("answers: {reply:?}"));
        if fate.loses_answer {
            return;
        }
        let back = self.t + fate.back;
        let evidence = match reply {
            Reply::Refused(refused) => Evidence::Refused(refused),
            Reply::Tokens(issued) => Evidence::Tokens(Box::new(self.tokens(id, &issued))),
            Reply::Half => Evidence::Lost(Lost::Broken),
        };
        // An answer may come after the time-out. A process that stood still meanwhile reads it all the same (law 10).
        self.requests[id].outcome = Some((back, evidence));
        self.queue.push(back, Item::Evidence(id));
    }

    fn reply(&mut self, asked: &Asked, carries_nonce: bool, rng: &mut Rng) -> Reply {
        let (t, key) = (self.t, self.store.key.clone());
        // A second nonce challenge in a row is a fault.
        let second = if self.healed { 0 } else { 60 };
        let profile = &self.config.profile;
        let unspent_503 = profile.unspent_statuses.contains(&503);
        let unspent_words = !profile.unspent_words.is_empty();
        if t < self.server.cools_until && !self.healed {
            self.count(Kind::ServerCooling);
            let retry_after = Some(Duration::from_secs((self.server.cools_until - t).div_ceil(1_000)));
            return Reply::Refused(Refused { status: 429, error: None, retry_after });
        }
        if self.server.config.nonces && rng.chance(if carries_nonce { second } else { 500 }) {
            return refused(400, "use_dpop_nonce");
        }
        let trouble = self.server_trouble(rng);
        let retry_after = rng.pick(&[None, None, Some(2), Some(4), Some(20), Some(90)]).map(Duration::from_secs);
        let with = |status: u16, error: &str| {
            let error = (!error.is_empty()).then(|| error.to_owned());
            Reply::Refused(Refused { status, error, retry_after })
        };
        let after = rng.chance(500);
        match trouble {
            Some(ServerTrouble::Throttles) => {
                self.count(Kind::ServerThrottled);
                if let Some(span) = retry_after {
                    self.server.cools_until = t + span.as_millis() as Millis;
                }
                return with(429, "");
            }
            Some(ServerTrouble::Down) => {
                let status = rng.pick(&[502, 503, 504, 0]);
                return if status == 0 { Reply::Half } else { with(status, "") };
            }
            Some(ServerTrouble::Breaks) => {
                let status = rng.pick(&[500, 502, 503]);
                if after && !(status == 503 && unspent_503) {
                    self.server.answer(asked, t, &key, rng);
                }
                return with(status, "");
            }
            Some(ServerTrouble::Complains) => {
                let (status, error) =
                    rng.pick(&[(400, "invalid_request"), (403, ""), (408, ""), (400, "temporarily_unavailable")]);
                if after && !(unspent_words && error == "temporarily_unavailable") {
                    self.server.answer(asked, t, &key, rng);
                }
                return with(status, error);
            }
            Some(ServerTrouble::Garbles | ServerTrouble::Halves) => {
                if after {
                    self.server.answer(asked, t, &key, rng);
                }
                return if trouble == Some(ServerTrouble::Halves) { Reply::Half } else { refused(200, "") };
            }
            _ => {}
        }
        self.server.answer(asked, t, &key, rng)
    }

    fn server_trouble(&self, rng: &mut Rng) -> Option<ServerTrouble> {
        const KINDS: [ServerTrouble; 6] = [
            ServerTrouble::Throttles,
            ServerTrouble::Breaks,
            ServerTrouble::Complains,
            ServerTrouble::Garbles,
            ServerTrouble::Halves,
            ServerTrouble::Down,
        ];
        if self.healed {
            return None;
        }
        if rng.chance(self.weather().server_troubled) {
            return Some(rng.pick(&KINDS));
        }
        let present =
            |kind: &&ServerTrouble| self.server_troubles.iter().any(|(other, until)| other == *kind && *until > self.t);
        KINDS.iter().find(present).copied()
    }

    fn tokens(&self, id: usize, issued: &Issued) -> Tokens {
        let request = &self.requests[id];
        let names = self.server.config.names_subject;
        let repeatable = request.rt.is_none();
        Tokens {
            access: AccessToken::new(Server::at_text(issued.at)),
            kind: if repeatable { TokenKind::Bearer } else { self.server.config.token_kind() },
            validity: Validity::new(request.started, issued.expires_in.map(Duration::from_secs)),
            refresh: issued.rt.map(|rt| self.server.rts[rt].credential.token().clone()),
            granted: (issued.at.is_multiple_of(2)).then(Self::scopes),
            subject: names
                .then(|| if issued.foreign { Subject("mallory".to_owned()) } else { self.subject_of(request.rt) }),
            binding: repeatable.then(|| Box::new(self.binding(request.identity, 0, 1))),
        }
    }

    /// The person whose login a refresh token descends from.
    fn subject_of(&self, rt: Option<usize>) -> Subject {
        let lineage = rt.map(|rt| self.server.rts[rt].lineage);
        super::authorizing::subject_name(lineage.map_or(0, |lineage| self.server.lineages[lineage].subject))
    }

    /// The source reports its evidence, unless it already has.
    pub(crate) fn evidence(&mut self, id: usize) {
        let t = self.t;
        let request = &self.requests[id];
        let deadline = request.sent.map(|sent| sent + request.timeout);
        if request.delivered {
            return;
        }
        let ready = request.outcome.as_ref().is_some_and(|(at, _)| *at <= t);
        let over = deadline.is_some_and(|deadline| t >= deadline);
        if !ready && !over {
            return;
        }
        let (pid, flight, op) = (request.pid, request.flight, request.op);
        if self.spring(pid, flight, EffectName::Send, When::Done) {
            return self.queue.push(t, Item::Evidence(id));
        }
        let request = &mut self.requests[id];
        request.delivered = true;
        // A source that slept past its time-out reads first what has arrived (law 10).
        if ready && deadline.is_some_and(|deadline| t > deadline + 1) {
            self.tally.count(Kind::ReadLate);
        }
        let evidence = match request.outcome.take() {
            Some((_, evidence)) if ready => evidence,
            _ => Evidence::Lost(Lost::TimedOut),
        };
        let mut verdict = crate::laws::judge(&self.config.profile, &evidence);
        if let Evidence::Tokens(tokens) = &evidence {
            let brought = tokens.refresh.as_ref().and_then(|refresh| Server::number(refresh.expose()));
            if brought.is_none() || brought == self.requests[id].rt {
                verdict = Verdict::Kept;
            }
        }
        if verdict == Verdict::Doubt {
            self.count(Kind::AnswerLost);
            self.answer_lost(id);
        }
        if let Some(rt) = self.requests[id].rt {
            let rt = &mut self.server.rts[rt];
            let lineage = rt.lineage;
            if let Some(presentation) = rt.presentations.iter_mut().find(|presentation| presentation.request == id)
                && self.processes[pid.process].flights.contains_key(&flight)
            {
                presentation.verdict = Some(verdict);
            }
            self.server.lineages[lineage].under_way.retain(|other| *other != id);
        }
        self.tell(
            || format!("p{}", pid.process),
            |world| {
                format!(
                    "{}: the source reports {}",
                    world.flight_name(pid, flight),
                    crate::narrate::evidence(&evidence)
                )
            },
        );
        if self.note_evidence(pid, flight, id, verdict, &evidence) {
            self.tell_flight(pid, flight, FlightEvent::Sent(op, evidence));
        }
    }

    pub(crate) fn begin_revocation(&mut self, revocation: &Revocation, key: u64) {
        self.count(Kind::Revoked);
        let rt = revocation.refresh.as_ref().and_then(|refresh| Server::number(refresh.token().expose()));
        let Some(rt) = rt else { return };
        let issuer = issuer_number(&revocation.binding);
        if self.server.lineages[self.server.rts[rt].lineage].issuer != issuer {
            self.breach("13", "a refresh token is revoked at another issuer", || Server::rt_text(rt));
        }
        let mut rng = self.rng(For::Answer, join(key, 77));
        if !rng.chance(self.weather().net_loses) {
            self.queue.push(self.t + rng.between(1, 300), Item::Revoke(rt));
        }
    }

    pub(crate) fn revocation_arrives(&mut self, rt: usize) {
        self.tell(|| "as".to_owned(), |_| format!("{} is revoked", Server::rt_text(rt)));
        self.server.revoke(rt, self.config.profile.revocation_confined);
    }
}
