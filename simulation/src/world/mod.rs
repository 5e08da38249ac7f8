//! The simulated world, and the loop that takes it from one step to the next.

mod attempts;
mod authorizing;
mod callers;
mod connecting;
mod flights;
mod healing;
mod items;
mod ops;
mod persons;
mod sessions;
mod stimuli;
mod traps;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokenkeeper_actors::law::flight::{Equipment, FlightEvent, Op};
use tokenkeeper_actors::law::ledger::Changed;
use tokenkeeper_actors::law::login::{LoginEquipment, LoginEvent};
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer, Record};
use tokenkeeper_actors::values::{
    Account, AttemptId, FlightId, Jitter, Moment, Nonce, Now, Scopes, ServerIdentity, Target,
};

use crate::attempt::{Asking, Code, Seeker, Tab};
use crate::clock::Host;
use crate::config::{Config, Weather};
use crate::laws::survival::LostAnswer;
use crate::laws::truth::Truth;
use crate::plan::{LoginTrap, Plan, ServerTrouble, SessionPoint, Stimulus, StoreTrouble, Trap};
use crate::process::{ActorId, Permits, Pid, Process, Slot};
use crate::rng::{For, Rng, join};
use crate::server::{Asked, Server};
use crate::store::SimStore;
use crate::story::Story;
use crate::tally::{Kind, Tally};
use crate::{Breach, Millis, Planted};

pub(crate) use callers::Caller;
pub(crate) use connecting::Connect;
pub(crate) use ops::{Asker, Call, StoreOp};
pub(crate) use wire::Request;

/// A schedule with more steps has a machine that loops for ever.
const STEPS_MOST: u64 = 400_000;

/// A pending item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Stimulus(usize),
    /// A stimulus that an earlier step caused.
    Extra(usize),
    /// An actor starts.
    Birth(Pid, usize),
    /// An actor takes its next message.
    Mail(ActorId),
    ActorTick(ActorId, u32),
    /// A flight continues with its effects.
    Continue(Pid, FlightId),
    FlightTick(Pid, FlightId, u32),
    Permit(Pid, FlightId, Op),
    /// A store operation takes effect.
    StoreEffect(u64),
    /// A store operation is answered.
    StoreDone(u64),
    /// The source checks the clock.
    Check(usize),
    /// The first byte leaves.
    Send(usize),
    /// The request reaches the server.
    Arrive(usize),
    /// The source reports whether a connection stands.
    Connected(usize),
    /// The source may have evidence to report.
    Evidence(usize),
    /// A revocation reaches the server.
    Revoke(usize),
    /// A login attempt continues with its effects.
    Attempt(Pid, AttemptId),
    AttemptTick(Pid, AttemptId, u32),
    /// The answer to an effect of an attempt that needs no other machine.
    LocalAnswer(usize),
    /// A request of an attempt reaches the server.
    ExchangeArrives(usize),
    /// The login source may have something to report.
    Exchanged(usize),
    /// A person answers a request.
    Person(usize),
    /// A person cancels a login.
    Cancel(usize),
    /// A seeker of a login takes its next step.
    Seeker(usize, u32),
    /// A caller takes its next step.
    Caller(usize, u32),
    /// A process starts anew.
    Restart(usize, u32),
    /// A host wakes.
    Wake(usize),
    /// The grace period of a shutting-down process is over.
    Exit(Pid),
    StoreEvent(Pid, usize),
    /// The answer that a planted fault makes up.
    Planted(usize),
    Heal,
    Probe,
    Finish,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) plan: Plan,
    pub(crate) planted: Option<Planted>,
    /// True time.
    pub(crate) t: Millis,
    pub(crate) step: u64,
    pub(crate) queue: crate::queue::Queue<Item>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) processes: Vec<Process>,
    pub(crate) store: SimStore,
    pub(crate) server: Server,
    pub(crate) callers: Vec<Caller>,
    pub(crate) ops: BTreeMap<u64, StoreOp>,
    next_op: u64,
    pub(crate) connects: Vec<Connect>,
    pub(crate) requests: Vec<Request>,
    pub(crate) lost_answers: Vec<LostAnswer>,
    pub(crate) traps: Vec<Trap>,
    pub(crate) session_traps: Vec<SessionPoint>,
    pub(crate) login_traps: Vec<LoginTrap>,
    pub(crate) seekers: Vec<Seeker>,
    pub(crate) tabs: Vec<Tab>,
    pub(crate) askings: Vec<Asking>,
    pub(crate) codes: Vec<Code>,
    pub(crate) exchanges: Vec<authorizing::Exchange>,
    local_answers: Vec<(Pid, AttemptId, LoginEvent)>,
    cancels: Vec<(Pid, usize)>,
    /// The number of requests to a person that were written, for each identity.
    pub(crate) prompts: Vec<u64>,
    /// The same number when the last logins were wanted.
    pub(crate) asked_at_rest: Vec<u64>,
    /// All faults are over, and nothing is under way.
    pub(crate) at_rest: bool,
    extra: Vec<Stimulus>,
    pub(crate) planted_answers: Vec<(Pid, FlightId, Op, Changed)>,
    pub(crate) store_troubles: Vec<(StoreTrouble, Millis)>,
    pub(crate) server_troubles: Vec<(ServerTrouble, Millis)>,
    pub(crate) equipment: Arc<Equipment>,
    pub(crate) login_equipment: Arc<LoginEquipment>,
    pub(crate) identities: Vec<ServerIdentity>,
    pub(crate) flights: u32,
    pub(crate) attempts: u32,
    pub(crate) truth: Truth,
    pub(crate) tally: Tally,
    pub(crate) story: Story,
    pub(crate) breach: Option<Breach>,
    pub(crate) healed: bool,
    /// The latest end of the schedule.
    last_call: Millis,
    finished: bool,
}

impl World {
    pub(crate) fn new(seed: u64, config: Config, plan: Plan, told: bool, planted: Option<Planted>) -> Self {
        let hosts: Vec<Host> =
            (0u32..).zip(&config.hosts).map(|(i, (offset, drift))| Host::new(i, *offset, *drift)).collect();
        let store = SimStore::new(config.store, config.identities);
        let equipment = Equipment {
            profiles: config.profiles(),
            sources: config.plans().map(|plan| (plan.source, plan.spending)).into(),
            timeouts: config.timeouts,
            digests: store.key.clone(),
        };
        let login_equipment =
            LoginEquipment { timeouts: config.timeouts, digests: store.key.clone(), limits: config.login_limits };
        let mut world = Self {
            seed,
            server: Server::new(config.server.clone()),
            queue: crate::queue::Queue::new(Rng::new(seed, For::Tie, 0).next()),
            processes: Vec::new(),
            callers: Vec::new(),
            ops: BTreeMap::new(),
            next_op: 0,
            connects: Vec::new(),
            requests: Vec::new(),
            lost_answers: Vec::new(),
            traps: Vec::new(),
            session_traps: Vec::new(),
            login_traps: Vec::new(),
            seekers: Vec::new(),
            tabs: Vec::new(),
            askings: Vec::new(),
            codes: Vec::new(),
            exchanges: Vec::new(),
            local_answers: Vec::new(),
            cancels: Vec::new(),
            prompts: vec![0; config.identities],
            asked_at_rest: Vec::new(),
            at_rest: false,
            extra: Vec::new(),
            planted_answers: Vec::new(),
            store_troubles: Vec::new(),
            server_troubles: Vec::new(),
            equipment: Arc::new(equipment),
            login_equipment: Arc::new(login_equipment),
            identities: (0..config.identities).filter_map(identity).collect(),
            flights: 0,
            attempts: 0,
            truth: Truth::new(config.identities),
            tally: Tally::default(),
            story: Story::new(told),
            breach: None,
            healed: false,
            last_call: 0,
            finished: false,
            // The first event happens some time later, so that a token can have been requested and have expired before
            // it.
            t: 0,
            step: 0,
            hosts,
            store,
            config,
            plan,
            planted,
        };
        for index in 0..world.config.processes.len() {
            let process = world.new_process(index, 0);
            world.processes.push(process);
        }
        world.furnish();
        world
    }

    /// Runs until the end, or until the first breach of a law.
    pub(crate) fn run(&mut self) {
        for index in 0..self.plan.events.len() {
            self.queue.push(self.plan.events[index].at + crate::PRELUDE, Item::Stimulus(index));
        }
        self.queue.push(self.plan.heals + crate::PRELUDE, Item::Heal);
        while !self.finished && self.breach.is_none() {
            let Some((due, item)) = self.queue.pop() else { break };
            self.t = self.t.max(due);
            self.take(item);
        }
        self.tally.steps += self.step;
    }

    fn take(&mut self, item: Item) {
        self.step += 1;
        if self.step > STEPS_MOST {
            let last = format!("{item:?}");
            return self.breach("7", "the machines run in circles", || last);
        }
        match self.hindrance(item) {
            Hindrance::None => {}
            Hindrance::Gone => return,
            Hindrance::Until(until) => return self.queue.push(until, item),
        }
        self.story.stamp(join(self.t, item.code()));
        match item {
            Item::Stimulus(index) => self.stimulus(self.plan.events[index].what),
            Item::Extra(index) => self.stimulus(self.extra[index]),
            Item::Birth(pid, identity) => self.birth(pid, identity),
            Item::Mail(actor) => self.take_mail(actor),
            Item::ActorTick(actor, tick) => self.actor_tick(actor, tick),
            Item::Continue(pid, flight) => self.go_on(pid, flight),
            Item::FlightTick(pid, flight, tick) => self.flight_tick(pid, flight, tick),
            Item::Permit(pid, flight, op) => self.permit(pid, flight, op),
            Item::StoreEffect(op) => self.store_effect(op),
            Item::StoreDone(op) => self.store_done(op),
            Item::Check(request) => self.check_clock(request),
            Item::Send(request) => self.send(request),
            Item::Arrive(request) => self.arrive(request),
            Item::Connected(connect) => self.connected(connect),
            Item::Evidence(request) => self.evidence(request),
            Item::Revoke(rt) => self.revocation_arrives(rt),
            Item::Attempt(pid, attempt) => self.drain_attempt(pid, attempt),
            Item::AttemptTick(pid, attempt, tick) => self.attempt_tick(pid, attempt, tick),
            Item::LocalAnswer(index) => self.local_answer(index),
            Item::ExchangeArrives(index) => self.exchange_arrives(index),
            Item::Exchanged(index) => self.exchanged(index),
            Item::Person(tab) => self.person_answers(tab),
            Item::Cancel(index) => self.cancel_login(index),
            Item::Seeker(seeker, turn) => self.seeker_acts(seeker, turn),
            Item::Caller(caller, turn) => self.caller_acts(caller, turn),
            Item::Restart(process, life) => self.restart(process, life),
            Item::Wake(host) => self.wake(host),
            Item::Exit(pid) => self.exit(pid),
            Item::StoreEvent(pid, identity) => self.news(pid, identity),
            Item::Planted(index) => self.planted_answer(index),
            Item::Heal => self.heal(),
            Item::Probe => self.probe(),
            Item::Finish => self.finish(),
        }
    }

    /// Whether an item's process can take a step now.
    fn hindrance(&self, item: Item) -> Hindrance {
        let pid = match item {
            Item::Birth(pid, _) | Item::Continue(pid, _) | Item::FlightTick(pid, ..) | Item::Permit(pid, ..) => pid,
            Item::Attempt(pid, _) | Item::AttemptTick(pid, ..) => pid,
            Item::LocalAnswer(index) => self.local_answers[index].0,
            Item::Exchanged(index) => self.exchanges[index].pid,
            Item::Seeker(seeker, _) => self.seekers[seeker].pid,
            Item::Mail(actor) | Item::ActorTick(actor, _) => actor.pid,
            Item::StoreEvent(pid, _) | Item::Exit(pid) => pid,
            Item::StoreEffect(op) | Item::StoreDone(op) => match self.ops.get(&op) {
                None => return Hindrance::Gone,
                Some(op) if matches!(item, Item::StoreEffect(_)) && self.config.is_leased() && op.left => {
                    return Hindrance::None;
                }
                Some(op) => op.asker.pid(),
            },
            Item::Check(request) | Item::Send(request) | Item::Evidence(request) => self.requests[request].pid,
            Item::Connected(connect) => self.connects[connect].pid,
            Item::Caller(caller, _) => self.callers[caller].pid,
            _ => return Hindrance::None,
        };
        let process = &self.processes[pid.process];
        if !process.up || process.life != pid.life {
            return Hindrance::Gone;
        }
        match self.still_until(pid.process) {
            Some(until) => Hindrance::Until(until),
            None => Hindrance::None,
        }
    }

    /// The time until which a process stands still, if it does.
    pub(crate) fn still_until(&self, process: usize) -> Option<Millis> {
        let process = &self.processes[process];
        let asleep = self.hosts[process.host].asleep_until;
        process.paused_until.max(asleep).filter(|until| *until > self.t)
    }

    /// Whether a process is up and takes steps.
    pub(crate) fn runs(&self, pid: Pid) -> bool {
        let process = &self.processes[pid.process];
        process.up && process.life == pid.life && self.still_until(pid.process).is_none()
    }

    pub(crate) fn pid(&self, process: usize) -> Pid {
        Pid { process, life: self.processes[process].life }
    }

    pub(crate) fn moment(&self, process: usize) -> Moment {
        self.hosts[self.processes[process].host].moment(self.t)
    }

    pub(crate) fn now(&self, process: usize) -> Now {
        let roll = Rng::new(self.seed, For::Jitter, join(self.step, process as u64)).next();
        Now { moment: self.moment(process), jitter: Jitter::new((roll & 0xffff) as u16) }
    }

    pub(crate) fn rng(&self, what: For, key: u64) -> Rng {
        Rng::new(self.seed, what, key)
    }

    pub(crate) fn weather(&self) -> Weather {
        if self.healed || !self.plan.weather { Weather::CALM } else { self.config.weather }
    }

    pub(crate) fn new_process(&self, index: usize, life: u32) -> Process {
        let mut rng = self.rng(For::Names, join(index as u64, u64::from(life)));
        Process {
            host: self.config.processes[index],
            life,
            up: true,
            paused_until: None,
            stood: (0, 0),
            nonce: Nonce(rng.next() | 1),
            slots: (0..self.config.identities).map(|_| Slot::default()).collect(),
            flights: BTreeMap::new(),
            attempts: BTreeMap::new(),
            permits: Permits::default(),
            stopping: false,
            deaf_until: None,
            begun: 0,
        }
    }

    fn planted_answer(&mut self, index: usize) {
        let (pid, flight, op, changed) = self.planted_answers[index].clone();
        if self.runs(pid) {
            self.tell_flight(pid, flight, FlightEvent::Changed(op, Ok(changed)));
        }
    }

    pub(crate) fn binding(&self, identity: usize, issuer: u8, client: u32) -> Binding {
        Binding {
            issuer: issuer_name(issuer),
            client: Client {
                id: format!("client-{client}"),
                secret: None,
                auth: ClientAuth::None,
                secret_expires_at: None,
            },
            token_endpoint: format!("{}/token", issuer_name(issuer).0),
            revocation_endpoint: Some(format!("{}/revoke", issuer_name(issuer).0)),
            resource: Some(format!("https://mcp.example/{identity}")),
        }
    }

    pub(crate) fn scopes() -> Scopes {
        Scopes::new(["tools"])
    }

    pub(crate) fn flight_name(&self, pid: Pid, flight: FlightId) -> String {
        let run = self.processes[pid.process].flights.get(&flight);
        run.map_or_else(|| "f?".to_owned(), |run| format!("f{}", run.name))
    }

    /// Adds a line to the story, if one is kept.
    pub(crate) fn tell(&mut self, who: impl FnOnce() -> String, what: impl FnOnce(&Self) -> String) {
        if self.story.is_told() {
            let (who, what) = (who(), what(self));
            self.story.line(self.t, &who, &what);
        }
    }

    pub(crate) fn count(&mut self, kind: Kind) {
        self.tally.count(kind);
    }

    /// Records the breach of a law. The first breach ends the schedule.
    pub(crate) fn breach(&mut self, law: &'static str, what: &'static str, detail: impl FnOnce() -> String) {
        if self.breach.is_none() {
            let detail = detail();
            self.tell(|| format!("LAW {law}"), |_| format!("BROKEN: {what}: {detail}"));
            self.breach = Some(Breach { law, what, detail, at: self.t });
        }
    }
}

enum Hindrance {
    None,
    Gone,
    Until(Millis),
}

pub(crate) fn issuer_name(issuer: u8) -> Issuer {
    Issuer(format!("https://as{issuer}.example"))
}

pub(crate) fn issuer_number(binding: &Binding) -> u8 {
    u8::from(binding.token_endpoint != format!("{}/token", issuer_name(0).0))
}

pub(crate) fn client_number(client: &Client) -> u32 {
    client.id.strip_prefix("client-").and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn identity(index: usize) -> Option<ServerIdentity> {
    let account = Account::new(format!("account-{index}")).ok()?;
    Some(ServerIdentity::new(account, Target::mcp(&format!("https://mcp.example/{index}")).ok()?))
}

/// The number of the record's refresh token at the server.
pub(crate) fn rt_of(record: &Record) -> Option<usize> {
    Server::number(record.held()?.credential.token().expose())
}

impl Asked {
    pub(crate) fn nothing(identity: usize, flight: FlightId) -> Self {
        Self { identity, rt: None, issuer: 0, client: 0, sent: 0, boot: Default::default(), flight }
    }
}
