//! Processes that sign in over one store, in one thread, as a test directs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::flight::StoreTimeouts;
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::login::{
    LoginAttempt, LoginConclusion, LoginEffect, LoginEquipment, LoginEvent, LoginLimits, LoginOrder, LoginReport,
    LoginTask,
};
use tokenkeeper_actors::ports::store::{ClaimScope, PendingLogin};
use tokenkeeper_actors::values::record::{PromptState, Record};
use tokenkeeper_actors::values::{
    ElapsedTime, Epoch, FlightId, Generation, Jitter, KeyedDigest, LoginKey, LoginReason, Nonce, Now, Revision,
    StoreFault,
};

use super::fixtures::{START, attempt, callback, digests, identity, secs};
use super::rules::Rule;
use super::server::Server;

/// How long a person has to answer.
pub(crate) const PROMPT: Duration = Duration::from_secs(600);

/// Processes over one store. Each runs one attempt, which is named after it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) record: Option<Record>,
    /// Whether the record is damaged.
    pub(crate) unreadable: bool,
    /// The fault of all operations of the store, while it has one.
    pub(crate) down: Option<StoreFault>,
    /// The length of leased claims. Without it a claim ends with its process.
    pub(crate) lease: Option<Duration>,
    pub(crate) claims: BTreeMap<ClaimScope, (FlightId, Option<ElapsedTime>)>,
    pub(crate) logins: BTreeMap<LoginKey, PendingLogin>,
    /// Refresh tokens that another identity holds.
    pub(crate) held_elsewhere: BTreeSet<KeyedDigest>,
    pub(crate) server: Server,
    /// The refresh tokens that were issued, each to the process that got it.
    pub(crate) issued: Vec<(char, String)>,
    /// The refresh tokens that were stored at any time.
    pub(crate) ever_stored: BTreeSet<String>,
    /// The refresh tokens that were revoked.
    pub(crate) revoked: Vec<String>,
    pub(crate) processes: BTreeMap<char, Process>,
    /// Processes that get no news of the store.
    pub(crate) deaf: BTreeSet<char>,
    pub(crate) rules: Vec<(char, &'static str, Rule)>,
    /// Draws the fates of effects, if the test leaves them to chance.
    pub(crate) tape: std::vec::IntoIter<u8>,
    pub(crate) queue: VecDeque<(char, Item)>,
    /// The requests that were shown, by processes that have died too.
    pub(crate) shown: Vec<(char, LoginKey)>,
}

/// The next step of a process.
#[derive(Debug)]
pub(crate) enum Item {
    Effect(LoginEffect),
    Event(LoginEvent),
}

/// One process and its attempt.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) machine: LoginAttempt,
    pub(crate) held: Vec<LoginEffect>,
    pub(crate) late: Vec<LoginEvent>,
    pub(crate) reports: Vec<LoginReport>,
    /// The names of the effects so far.
    pub(crate) done: Vec<&'static str>,
    /// Whether it is suspended.
    stopped: bool,
}

impl World {
    /// A store without a record.
    pub(crate) fn new() -> Self {
        Self {
            now: Now { moment: START, jitter: Jitter::new(32_768) },
            record: None,
            unreadable: false,
            down: None,
            lease: None,
            claims: BTreeMap::new(),
            logins: BTreeMap::new(),
            held_elsewhere: BTreeSet::new(),
            server: Server { interval: secs(5), ..Server::default() },
            issued: Vec::new(),
            ever_stored: BTreeSet::new(),
            revoked: Vec::new(),
            processes: BTreeMap::new(),
            deaf: BTreeSet::new(),
            rules: Vec::new(),
            tape: Vec::new().into_iter(),
            queue: VecDeque::new(),
            shown: Vec::new(),
        }
    }

    /// A store whose record holds `rt-0` of alice, in epoch 1.
    pub(crate) fn signed_in() -> Self {
        let mut world = Self::new();
        world.writes(Change::Install(Box::new(super::fixtures::import("0", START))));
        world
    }

    pub(crate) fn leased(mut self, length: Duration) -> Self {
        self.lease = Some(length);
        self
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.record.as_ref().map_or(Epoch::default(), |record| record.epoch)
    }

    // Processes.

    /// `who` begins an attempt on the record as it is.
    pub(crate) fn begins(&mut self, who: char, task: LoginTask) {
        self.starts(who, task);
        self.run();
    }

    /// `who` begins an attempt before it has read the record, as a session does to which an answer comes first.
    pub(crate) fn begins_unread(&mut self, who: char, task: LoginTask) {
        self.starts_at(who, task, Epoch::default());
        self.run();
    }

    /// As [`begins`](Self::begins), without any step after the first.
    pub(crate) fn starts(&mut self, who: char, task: LoginTask) {
        self.starts_at(who, task, self.epoch());
    }

    fn starts_at(&mut self, who: char, task: LoginTask, epoch: Epoch) {
        let number = self.record.as_ref().map_or(0, |record| record.number);
        let order = LoginOrder {
            attempt: attempt(who),
            epoch,
            task,
            known: Generation::stored(epoch, number),
            nonce: Nonce(u64::from(u32::from(who))),
        };
        let equipment = LoginEquipment {
            timeouts: StoreTimeouts::default(),
            digests: digests(),
            limits: LoginLimits { prompt: PROMPT, ..LoginLimits::default() },
        };
        let (machine, effects) = LoginAttempt::start(identity(), order, Arc::new(equipment), self.now);
        let process = Process { machine, held: vec![], late: vec![], reports: vec![], done: vec![], stopped: false };
        assert!(self.processes.insert(who, process).is_none(), "{who} runs already");
        self.queue.extend(effects.into_iter().map(|effect| (who, Item::Effect(effect))));
    }

    /// `who` dies. Claims that are no leases end with it.
    pub(crate) fn dies(&mut self, who: char) {
        self.processes.remove(&who).unwrap_or_else(|| panic!("{who} does not run"));
        self.queue.retain(|(of, _)| *of != who);
        if self.lease.is_none() {
            self.claims.retain(|_, (holder, _)| *holder != attempt(who).holder());
        }
        self.run();
    }

    /// `who` is suspended. Its events wait.
    pub(crate) fn stops(&mut self, who: char) {
        self.process(who).stopped = true;
    }

    pub(crate) fn resumes(&mut self, who: char) {
        self.process(who).stopped = false;
        self.run();
    }

    pub(crate) fn process(&mut self, who: char) -> &mut Process {
        self.processes.get_mut(&who).unwrap_or_else(|| panic!("{who} does not run"))
    }

    /// The next effect of `who` with this name meets this rule.
    pub(crate) fn rule(&mut self, who: char, name: &'static str, rule: Rule) {
        self.rules.push((who, name, rule));
    }

    /// Carries out the effects of `who` that were held.
    pub(crate) fn releases(&mut self, who: char) {
        for effect in std::mem::take(&mut self.process(who).held) {
            self.carry_out_now(who, effect);
        }
        self.run();
    }

    /// Carries out the effects of `who` that were held twice, as a store does that has lost its connection meanwhile.
    /// Only the second answers arrive.
    pub(crate) fn repeats(&mut self, who: char) {
        let held = self.process(who).held.clone();
        self.releases_unanswered(who);
        self.process(who).held = held;
        self.releases(who);
    }

    /// Carries out the effects of `who` that were held, and keeps their answers from it.
    pub(crate) fn releases_unanswered(&mut self, who: char) {
        for effect in std::mem::take(&mut self.process(who).held) {
            self.perform(who, effect);
        }
    }

    /// Hands `who` the answers that are late.
    pub(crate) fn delivers(&mut self, who: char) {
        for event in std::mem::take(&mut self.process(who).late) {
            self.queue.push_back((who, Item::Event(event)));
        }
        self.run();
    }

    pub(crate) fn tells(&mut self, who: char, event: LoginEvent) {
        self.queue.push_back((who, Item::Event(event)));
        self.run();
    }

    /// The person's browser answers the request with this number, and `who` gets the answer.
    pub(crate) fn answers(&mut self, who: char, number: u8, answer: &str) {
        self.tells(who, LoginEvent::Callback(callback(number, answer)));
    }

    /// Carries out all effects and hands over all events, until nothing is left to do but to wait.
    pub(crate) fn run(&mut self) {
        let mut waiting = VecDeque::new();
        let mut steps = 0;
        while let Some((who, item)) = self.queue.pop_front() {
            steps += 1;
            assert!(steps < 10_000, "it goes on for ever: {who} {item:?}");
            let Some(process) = self.processes.get_mut(&who) else { continue };
            match item {
                item if process.stopped => waiting.push_back((who, item)),
                Item::Effect(effect) => self.carry_out(who, effect),
                Item::Event(event) => self.hands(who, event),
            }
        }
        self.queue = waiting;
    }

    fn hands(&mut self, who: char, event: LoginEvent) {
        let now = self.now;
        let process = self.process(who);
        let was_over = process.machine.is_over();
        let effects = process.machine.handle(event.clone(), now);
        assert!(!was_over || effects.is_empty(), "{event:?} of an attempt that is over has {effects:?}");
        self.queue.extend(effects.into_iter().map(|effect| (who, Item::Effect(effect))));
    }

    // Time.

    /// Both clocks go on for `span`, and each process gets its ticks.
    pub(crate) fn passes(&mut self, span: Duration) {
        let end = self.now.elapsed().after(span);
        let mut ticks = 0;
        self.run();
        while let Some(due) = self.due().filter(|due| *due <= end) {
            if due > self.now.elapsed() {
                ticks = 0;
            }
            self.moves_to(due.max(self.now.elapsed()));
            ticks += 1;
            assert!(ticks < 100, "ticks without progress: {:?}", self.processes);
            self.ticks();
        }
        self.moves_to(end);
        self.ticks();
    }

    /// The wall clock alone is set forward.
    pub(crate) fn steps_forward(&mut self, span: Duration) {
        self.now.moment.wall = self.now.moment.wall.after(span);
        self.ticks();
    }

    /// The wall clock alone is set back.
    pub(crate) fn steps_back(&mut self, span: Duration) {
        self.now.moment.wall = self.now.moment.wall.before(span);
        self.ticks();
    }

    fn due(&self) -> Option<ElapsedTime> {
        let running = self.processes.values().filter(|process| !process.stopped);
        running.filter_map(|process| process.machine.next_wake()).min()
    }

    fn moves_to(&mut self, time: ElapsedTime) {
        let span = time.since(self.now.elapsed());
        self.now.moment.elapsed = time;
        self.now.moment.wall = self.now.moment.wall.after(span);
    }

    /// Each process looks at the clock.
    fn ticks(&mut self) {
        let running: Vec<char> =
            self.processes.iter().filter(|(_, process)| !process.stopped).map(|(who, _)| *who).collect();
        for who in running {
            self.queue.push_back((who, Item::Event(LoginEvent::Tick)));
        }
        self.run();
    }

    // The results.

    /// The result of `who`, which must have exactly one.
    pub(crate) fn result(&mut self, who: char) -> Result<(), LoginReason> {
        self.conclusion(who).result
    }

    pub(crate) fn conclusion(&mut self, who: char) -> LoginConclusion {
        let mut conclusions = self.conclusions(who);
        assert_eq!(conclusions.len(), 1, "{who} has concluded {} times: {:?}", conclusions.len(), self.process(who));
        conclusions.remove(0)
    }

    fn conclusions(&mut self, who: char) -> Vec<LoginConclusion> {
        let reports = self.process(who).reports.iter();
        let concluded = |report: &LoginReport| match report {
            LoginReport::Concluded(conclusion) => Some((**conclusion).clone()),
            _ => None,
        };
        reports.filter_map(concluded).collect()
    }

    /// Whether `who` has no result yet.
    pub(crate) fn waits(&mut self, who: char) -> bool {
        self.conclusions(who).is_empty() && !self.process(who).machine.is_over()
    }

    /// The number of times that `who` has carried out the effects of this name.
    pub(crate) fn did(&mut self, who: char, name: &str) -> usize {
        self.process(who).done.iter().filter(|done| **done == name).count()
    }

    /// Requests shown, codes presented, pending logins that have not expired, and claims held.
    pub(crate) fn counts(&mut self) -> String {
        let (now, wall) = (self.now.elapsed(), self.now.moment.wall);
        self.claims.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        let codes: u32 = self.server.presented.values().sum();
        let pending = self.logins.values().filter(|login| login.expires > wall).count();
        format!("{} shown, {codes} codes, {pending} pending, {} claims", self.shown.len(), self.claims.len())
    }

    /// The state of the request in the record.
    pub(crate) fn prompt(&self) -> Option<PromptState> {
        self.record.as_ref()?.prompt.as_ref().map(|prompt| prompt.state)
    }

    /// The refresh token in the record.
    pub(crate) fn stored(&self) -> Option<&str> {
        Some(self.record.as_ref()?.held()?.credential.token().expose())
    }

    pub(crate) fn revision(&self) -> Revision {
        self.record.as_ref().map_or(Revision::default(), |record| record.revision)
    }

    /// Every attempt is over, and no claim is left.
    #[track_caller]
    pub(crate) fn is_at_rest(&mut self) {
        for (who, process) in &self.processes {
            assert!(process.machine.is_over(), "{who} is not over: {process:?}");
        }
        self.counts();
        assert_eq!(self.claims.len(), 0, "{:?}", self.claims);
    }
}
