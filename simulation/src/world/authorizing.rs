//! The login source and its server. Requests are prepared, answers are judged, and codes are presented.

use std::time::Duration;

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::ledger::LoginAccess;
use tokenkeeper_actors::law::login::LoginEvent;
use tokenkeeper_actors::ports::login::{
    AuthorizationCode, IssuedLogin, Polled, Preparation, Prepared, Redeemed, Redemption,
};
use tokenkeeper_actors::ports::observer::LoginEffectName;
use tokenkeeper_actors::ports::store::PendingLogin;
use tokenkeeper_actors::values::record::Subject;
use tokenkeeper_actors::values::{
    AccessToken, AttemptId, Callback, DpopKey, LoginKey, LoginMethod, LoginOffer, LoginReason, LoginUrl, Moment,
    OfferedPrompt, RefreshToken, Validity,
};

use super::{Item, World};
use crate::Millis;
use crate::attempt::{Asking, issuer_of};
use crate::plan::{ServerTrouble, When};
use crate::process::Pid;
use crate::rng::{For, Rng};
use crate::server::{Asked, End, Server};
use crate::tally::Kind;

/// The life of an authorization code.
const CODE_LIVES: Millis = 60_000;

/// The pause between two polls.
const POLL: Duration = Duration::from_secs(5);

/// One exchange of an attempt with its server.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) pid: Pid,
    pub(crate) attempt: AttemptId,
    op: Op,
    what: What,
    key: u64,
    started: Moment,
    sent: Option<Millis>,
    outcome: Option<(Millis, LoginEvent)>,
    delivered: bool,
    back: Millis,
    loses_answer: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Prepare,
    /// The code's number.
    Redeem(usize, Millis),
    Poll(LoginKey),
}

/// The key of a request to a person, which is the number of the request at the server.
fn login_key(number: usize) -> LoginKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    LoginKey(bytes)
}

/// The number of a request to a person.
pub(crate) fn asking_of(key: LoginKey) -> usize {
    key.0.iter().take(8).rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

impl World {
    pub(crate) fn asking(&self, key: LoginKey) -> Option<&Asking> {
        self.askings.get(asking_of(key))
    }

    fn trouble(&self, kind: ServerTrouble) -> bool {
        !self.healed && self.server_troubles.iter().any(|(other, until)| *other == kind && *until > self.t)
    }

    pub(crate) fn begin_prepare(&mut self, pid: Pid, id: AttemptId, op: Op, preparation: &Preparation, key: u64) {
        let Some(run) = self.processes[pid.process].attempts.get(&id) else { return };
        let identity = run.identity;
        let mut rng = self.rng(For::Exchange, key);
        let unreachable = rng.chance(self.weather().net_unreachable) || self.trouble(ServerTrouble::Unreachable);
        let down = rng.chance(self.weather().server_troubled / 2) || self.trouble(ServerTrouble::Down);
        let slow = rng.chance(self.weather().sluggish) || self.trouble(ServerTrouble::Slow);
        let wait = rng.between(2, 400) + if slow { rng.pick(&[3_000, 12_000, 40_000]) } else { 0 };
        let answer = if unreachable {
            Err(LoginReason::Unreachable)
        } else if down {
            Err(LoginReason::ServerTrouble)
        } else {
            let grant = preparation.grant.as_ref();
            // A step-up uses the grant's own issuer and client. Otherwise the source registers a client, or uses the one it
            // has for as long as the server knows it.
            let issuer = grant.map_or(0, |grant| issuer_of(&grant.binding.issuer));
            let own = grant.map(|grant| super::client_number(&grant.binding.client));
            let known = self.server.clients > self.server.rejects_to && !self.config.registers_anew;
            let client = match own.filter(|_| preparation.extends) {
                Some(client) => client,
                None if known || !self.healed && rng.chance(150) => self.server.clients,
                None => {
                    self.server.clients += 1;
                    self.server.clients
                }
            };
            let number = self.askings.len();
            let is_device = preparation.method == LoginMethod::Device;
            self.askings.push(Asking {
                identity,
                issuer,
                client,
                is_device,
                scopes: preparation.scopes.clone(),
                answer: None,
                polls: 0,
            });
            let login = login_key(number);
            Ok(Prepared { key: login, expires: preparation.expires, sealed: login.0.to_vec().into() })
        };
        let event = LoginEvent::Prepared(op, answer);
        let outcome = Some((self.t + wait, event));
        self.push_exchange(pid, id, op, What::Prepare, key, outcome, rng.between(1, 30), false);
        let hangs = rng.chance(self.weather().net_loses / 4);
        if !hangs {
            self.queue.push(self.t + wait, Item::Exchanged(self.exchanges.len() - 1));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one value")]
    fn push_exchange(
        &mut self,
        pid: Pid,
        attempt: AttemptId,
        op: Op,
        what: What,
        key: u64,
        outcome: Option<(Millis, LoginEvent)>,
        back: Millis,
        loses_answer: bool,
    ) {
        let started = self.moment(pid.process);
        let sent = None;
        self.exchanges.push(Exchange {
            pid,
            attempt,
            op,
            what,
            key,
            started,
            sent,
            outcome,
            delivered: false,
            back,
            loses_answer,
        });
    }

    /// The key that a pending login was prepared under, as its sealed part says.
    fn sealed_key(pending: &PendingLogin) -> LoginKey {
        use secrecy::ExposeSecret;
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(pending.sealed.expose_secret()).for_each(|(byte, sealed)| *byte = *sealed);
        LoginKey(bytes)
    }

    pub(crate) fn answer_show(&mut self, pid: Pid, id: AttemptId, op: Op, pending: &PendingLogin) {
        let key = Self::sealed_key(pending);
        let is_device = self.asking(key).is_some_and(|asking| asking.is_device);
        let name = self.processes[pid.process].attempts.get(&id).map_or(0, |run| run.name);
        let took_over = pending.attempt != id;
        // The address of another host's callback may not be had here.
        let gone = took_over && !self.healed && !is_device && self.rng(For::Exchange, u64::from(name)).chance(200);
        let url = LoginUrl::new(format!("https://as.example/authorize?state={}", asking_of(key)));
        let prompt = match is_device {
            true => OfferedPrompt::Device { url, complete: None, user_code: "code".to_owned(), interval: POLL },
            false => OfferedPrompt::Browser { url },
        };
        let answer =
            if gone { Err(LoginReason::UnknownLogin) } else { Ok(LoginOffer { prompt, expires: pending.expires }) };
        self.count(if gone { Kind::NotTakenOver } else { Kind::ShowReady });
        self.soon_for_attempt(pid, id, LoginEvent::Shown(op, answer));
    }

    /// Judges an answer as the source does. It must belong to this request before its content counts.
    pub(crate) fn answer_judge(
        &mut self,
        pid: Pid,
        id: AttemptId,
        op: Op,
        pending: &PendingLogin,
        callback: &Callback,
    ) {
        let key = Self::sealed_key(pending);
        let answer = match callback.expose().split_once(' ') {
            Some((state, what)) if state == asking_of(key).to_string() => match what {
                "denied" => Err(LoginReason::Denied),
                code => Ok(AuthorizationCode::new(code)),
            },
            _ => Err(LoginReason::Forged),
        };
        self.soon_for_attempt(pid, id, LoginEvent::Judged(op, answer));
    }

    /// The answer to an effect that needs no other machine.
    fn soon_for_attempt(&mut self, pid: Pid, id: AttemptId, event: LoginEvent) {
        self.local_answers.push((pid, id, event));
        self.queue.push(self.t, Item::LocalAnswer(self.local_answers.len() - 1));
    }

    pub(crate) fn local_answer(&mut self, index: usize) {
        let (pid, id, event) = self.local_answers[index].clone();
        if self.runs(pid) {
            self.tell_attempt(pid, id, event);
        }
    }

    pub(crate) fn begin_redeem(&mut self, pid: Pid, id: AttemptId, op: Op, redemption: &Redemption, key: u64) {
        let mut rng = self.rng(For::Exchange, key);
        let weather = self.weather();
        let number = Server::number(redemption.code.expose()).unwrap_or(usize::MAX);
        let timeout = redemption.timeout.as_millis() as Millis;
        let unreachable = rng.chance(weather.net_unreachable * 2) || self.trouble(ServerTrouble::Unreachable);
        let loses = rng.chance(weather.net_loses) || self.trouble(ServerTrouble::Loses);
        let loses_request = loses && rng.chance(400);
        let slow = rng.chance(weather.sluggish) || self.trouble(ServerTrouble::Slow);
        let there = rng.between(1, 60) + if slow { rng.pick(&[400, 3_000, timeout / 2, timeout]) } else { 0 };
        let back = rng.between(1, 60) + if slow { rng.pick(&[0, 500, timeout / 2]) } else { 0 };
        let what = What::Redeem(number, timeout);
        let loses_answer = loses && !loses_request;
        self.push_exchange(pid, id, op, what, key, None, back, loses_answer);
        let index = self.exchanges.len() - 1;
        if unreachable {
            let wait = rng.pick(&[0, 4, 2_000]);
            self.exchanges[index].outcome = Some((self.t + wait, LoginEvent::Redeemed(op, Redeemed::NotSent)));
            self.count(Kind::CodeUnsent);
            return self.queue.push(self.t + wait, Item::Exchanged(index));
        }
        self.exchanges[index].sent = Some(self.t);
        self.check_code_sent(pid, id, number, &redemption.pending);
        if let Some(code) = self.codes.get_mut(number) {
            code.presented += 1;
        }
        self.count(Kind::CodeSent);
        if !loses_request {
            self.queue.push(self.t + there, Item::ExchangeArrives(index));
        }
        if loses && rng.chance(500) {
            let at = self.t + there + rng.pick(&[5, 900, 3_000]);
            self.exchanges[index].outcome = Some((at, LoginEvent::Redeemed(op, Redeemed::Lost)));
            self.queue.push(at, Item::Exchanged(index));
        }
        self.queue.push(self.t + timeout, Item::Exchanged(index));
    }

    pub(crate) fn begin_poll(&mut self, pid: Pid, id: AttemptId, op: Op, pending: &PendingLogin, key: u64) {
        let mut rng = self.rng(For::Exchange, key);
        self.push_exchange(pid, id, op, What::Poll(Self::sealed_key(pending)), key, None, rng.between(1, 60), false);
        self.queue.push(self.t + rng.between(1, 60), Item::ExchangeArrives(self.exchanges.len() - 1));
    }

    /// A request of an attempt reaches the server.
    pub(crate) fn exchange_arrives(&mut self, index: usize) {
        let exchange = &self.exchanges[index];
        let (pid, op, started, back, loses_answer) =
            (exchange.pid, exchange.op, exchange.started, exchange.back, exchange.loses_answer);
        let mut rng = self.rng(For::Answer, exchange.key);
        let event = match exchange.what {
            What::Prepare => return,
            What::Redeem(number, _) => LoginEvent::Redeemed(op, self.redeem_code(pid, number, started, &mut rng)),
            What::Poll(key) => LoginEvent::Polled(op, self.poll(pid, key, started, &mut rng)),
        };
        if loses_answer {
            return;
        }
        let at = self.t + back;
        self.exchanges[index].outcome = Some((at, event));
        self.queue.push(at, Item::Exchanged(index));
    }

    fn redeem_code(&mut self, pid: Pid, number: usize, started: Moment, rng: &mut Rng) -> Redeemed {
        let troubled = rng.chance(self.weather().server_troubled / 2);
        if self.trouble(ServerTrouble::Down) || troubled && rng.chance(500) {
            // A gateway answers, and says nothing about the code.
            return Redeemed::Lost;
        }
        let t = self.t;
        let Some(code) = self.codes.get(number).cloned() else { return Redeemed::Refused(LoginReason::Refused) };
        if code.client <= self.server.rejects_to {
            return Redeemed::Refused(LoginReason::ClientRejected);
        }
        if code.used {
            self.breach("19", "a code is presented to the server twice", || format!("code-{number}"));
            return Redeemed::Refused(LoginReason::Refused);
        }
        if t > code.issued + CODE_LIVES {
            return Redeemed::Refused(LoginReason::Refused);
        }
        self.codes[number].used = true;
        let issued = self.issue_login(pid, number, started, rng);
        if troubled { Redeemed::Lost } else { Redeemed::Issued(Box::new(issued)) }
    }

    fn poll(&mut self, pid: Pid, key: LoginKey, started: Moment, rng: &mut Rng) -> Polled {
        self.count(Kind::Polled);
        let place = asking_of(key);
        let Some(asking) = self.askings.get_mut(place) else { return Polled::Ended(LoginReason::Refused) };
        asking.polls += 1;
        match asking.answer {
            None => Polled::Pending,
            Some(Err(())) => Polled::Ended(LoginReason::Denied),
            Some(Ok(number)) if self.codes[number].used => Polled::Ended(LoginReason::Refused),
            Some(Ok(number)) => {
                self.codes[number].used = true;
                self.codes[number].presented += 1;
                Polled::Issued(Box::new(self.issue_login(pid, number, started, rng)))
            }
        }
    }

    /// A person allows the access. Returns the code.
    pub(crate) fn authorize(&mut self, key: LoginKey, subject: u8) -> Option<usize> {
        let t = self.t;
        let asking = self.asking(key)?.clone();
        if asking.client <= self.server.rejects_to {
            // The page shows an error, and there is no callback.
            self.count(Kind::PageUnknownClient);
            return None;
        }
        if self.config.reauthorization_ends {
            let matches = |lineage: &crate::server::Lineage| {
                (lineage.identity, lineage.issuer) == (asking.identity, asking.issuer)
            };
            let old: Vec<usize> = (0..self.server.lineages.len())
                .filter(|place| self.server.lineages[*place].ended.is_none() && matches(&self.server.lineages[*place]))
                .collect();
            for lineage in old {
                self.server.end(lineage, End::Reauthorized);
                self.count(Kind::Reauthorized);
            }
        }
        self.codes.push(crate::attempt::Code {
            identity: asking.identity,
            issuer: asking.issuer,
            client: asking.client,
            scopes: asking.scopes,
            subject,
            issued: t,
            presented: 0,
            used: false,
        });
        Some(self.codes.len() - 1)
    }

    /// The tokens that a code or an approved device brings.
    fn issue_login(&mut self, pid: Pid, number: usize, started: Moment, rng: &mut Rng) -> IssuedLogin {
        let code = self.codes[number].clone();
        let key = self.store.key.clone();
        let rt = self.server.sign_in(code.identity, code.issuer, code.client, &key);
        let lineage = self.server.rts[rt].lineage;
        self.server.lineages[lineage].subject = code.subject;
        let mut asked = Asked::nothing(code.identity, Default::default());
        (asked.sent, asked.boot) = (self.t, started.boot);
        let access = rng.chance(900).then(|| {
            let (at, expires_in) = self.server.issue(&asked, Some(lineage), self.t, rng);
            (self.server.ats[at].flight, self.server.ats[at].owner) = (None, Some(pid));
            LoginAccess {
                token: AccessToken::new(Server::at_text(at)),
                kind: self.server.config.token_kind(),
                validity: Validity::new(started, expires_in.map(Duration::from_secs)),
            }
        });
        let names = self.server.config.names_subject;
        let with_refresh = access.is_none() || self.at_rest || rng.chance(930);
        IssuedLogin {
            binding: self.binding(code.identity, code.issuer, code.client),
            requested: code.scopes.clone(),
            granted: code.scopes,
            subject: names.then(|| subject_name(code.subject)),
            dpop_key: self.server.config.nonces.then(|| DpopKey::new("dk")),
            renewal: self.config.renewal.clone(),
            refresh: with_refresh.then(|| RefreshToken::new(Server::rt_text(rt))),
            access,
        }
    }

    /// The source has an answer for an attempt, or its time is over.
    pub(crate) fn exchanged(&mut self, index: usize) {
        let t = self.t;
        let exchange = &self.exchanges[index];
        let deadline = match exchange.what {
            What::Redeem(_, timeout) => exchange.sent.map(|sent| sent + timeout),
            What::Prepare | What::Poll(_) => None,
        };
        let ready = exchange.outcome.as_ref().is_some_and(|(at, _)| *at <= t);
        if exchange.delivered || !ready && deadline.is_none_or(|deadline| t < deadline) {
            return;
        }
        let (pid, attempt, op) = (exchange.pid, exchange.attempt, exchange.op);
        let name = match exchange.what {
            What::Prepare => LoginEffectName::Prepare,
            What::Redeem(..) => LoginEffectName::Redeem,
            What::Poll(_) => LoginEffectName::Poll,
        };
        if self.spring_login(pid, attempt, name, When::Done) {
            return self.queue.push(t, Item::Exchanged(index));
        }
        let exchange = &mut self.exchanges[index];
        exchange.delivered = true;
        let event = match exchange.outcome.take() {
            Some((_, event)) if ready => event,
            _ => LoginEvent::Redeemed(op, Redeemed::Lost),
        };
        self.tell(
            || format!("p{}", pid.process),
            |world| {
                format!(
                    "{}: the source reports {}",
                    world.attempt_name(pid, attempt),
                    crate::narrate::login_event(&event)
                )
            },
        );
        self.tell_attempt(pid, attempt, event);
    }
}

/// The subject with this number.
pub(crate) fn subject_name(subject: u8) -> Subject {
    Subject(if subject == 0 { "alice" } else { "bob" }.to_owned())
}
