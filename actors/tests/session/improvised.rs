//! A random story. Each step is adapted to the state in which it is taken.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Landing, Op, Outcome, Report, Spending};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::session::{Ask, Policy, ReplyId, SessionEvent, WaiterId};
use tokenkeeper_actors::ports::store::Reservation;
use tokenkeeper_actors::values::record::{Parked, View};
use tokenkeeper_actors::values::{
    Account, ElapsedTime, FlightId, Generation, Nonce, ServerIdentity, StoreFault, Target, Validity,
};

use super::acts::{Act, Answer, Deed, Seen, WAITERS_MOST};
use super::support::{ISSUER, Question, Store, Story, beginning, s, unsaved};

/// A random story.
#[derive(Debug)]
pub(crate) struct Improvised {
    pub(crate) story: Story,
    first: Option<Box<View>>,
    waiters: u64,
    replies: u64,
    past: Vec<SessionEvent>,
    throttled: ElapsedTime,
    /// Whether this actor has read, or assumed, a record.
    knows: bool,
}

impl Improvised {
    pub(crate) fn begins(mut store: Store, signed_in: bool, policy: Policy) -> Self {
        if signed_in {
            store.sign_in(Some(s(3_600)), beginning());
        }
        let first = store.view();
        let story = Story::begins_over(store, policy);
        let throttled = ElapsedTime::default();
        Self { story, first, waiters: 0, replies: 0, past: Vec::new(), throttled, knows: false }
    }

    fn happens(&mut self, event: SessionEvent) {
        if matches!(event, SessionEvent::Loaded(..) | SessionEvent::Changed(..) | SessionEvent::Flight(..)) {
            // A restart forgets the read record, and a late answer to the previous actor is dropped.
            self.past.push(event.clone());
        }
        self.story.does(event);
        self.somebody_works();
        assert!(self.story.session.waiting() <= WAITERS_MOST, "more wait than may");
    }

    /// No caller waits in vain. A flight runs, a read is due, or a pause ends.
    fn somebody_works(&mut self) {
        let residue = &self.story.published().residue;
        let now = self.story.at.elapsed;
        let rests = residue.backoff.resting.is_some_and(|(_, until)| until > now) || self.throttled > now;
        let works = residue.flight.is_some() || rests || !self.knows;
        assert!(self.story.session.waiting() == 0 || works, "somebody waits, and nothing is done about it");
    }

    fn view(&self, seen: Seen) -> Option<Box<View>> {
        match seen {
            Seen::Now => self.story.store.view(),
            Seen::AtFirst => self.first.clone(),
            Seen::Nothing => None,
        }
    }

    fn reply(&mut self) -> u64 {
        self.replies += 1;
        self.replies
    }

    pub(crate) fn plays(&mut self, act: Act) {
        let story = &mut self.story;
        match act {
            Act::Ask { late, timeout, min_lifetime, force } => {
                self.waiters += 1;
                let asked = ElapsedTime::from_millis(story.at.elapsed.as_millis() - late);
                let timeout = Duration::from_millis(timeout);
                let ask = Ask { asked, timeout, min_lifetime: s(min_lifetime), force, fail_fast: false };
                let waiter = WaiterId(self.waiters);
                self.happens(SessionEvent::GetToken(waiter, ask));
            }
            Act::Leave(back) => {
                story.leaves(self.waiters.saturating_sub(back));
            }
            Act::Refuse { older_by, nonce, operation, challenge } => {
                let known = story.hit().unwrap_or(story.published().residue.known);
                let number = known.number.saturating_add_signed(older_by.into());
                let nonce = if nonce { Nonce(0xabc) } else { known.nonce };
                let generation = Generation { number, nonce, ..known };
                let reply = self.reply();
                self.story.refuses_for(reply, generation, operation, challenge);
                self.somebody_works();
            }
            Act::Used => self.happens(SessionEvent::Used),
            Act::Tick => self.happens(SessionEvent::Tick),
            Act::Wake => {
                let span = story.sleeps_for().unwrap_or(s(60));
                story.passes(span);
                self.happens(SessionEvent::Tick);
            }
            Act::Pass(millis) => {
                story.passes(Duration::from_millis(millis));
                self.happens(SessionEvent::Tick);
            }
            Act::StepWall(millis) => {
                story.wall_steps(millis.into());
            }
            Act::Sleep(millis) => {
                story.sleeps(Duration::from_millis(millis.into()));
                self.happens(SessionEvent::Tick);
            }
            Act::Entropy(jitter) => story.jitter = jitter,
            Act::StoreEvent => self.happens(SessionEvent::StoreChanged),
            Act::Read(answer) => self.read(answer),
            Act::Land(outcome, seen, keeping) => {
                let landing = Landing { outcome, view: self.view(seen), keeping, requests: 1 };
                self.report(Report::Landed(landing));
            }
            Act::Mint(lifetime, seen, keeping) => self.mint(s(lifetime), seen, keeping),
            Act::Settle => {
                if let Some(view) = story.store.view() {
                    self.report(Report::Settled(view));
                }
            }
            Act::Lost => self.report(Report::Lost { noted: true }),
            Act::BreakOff => {
                if let Some(flight) = story.flight() {
                    self.happens(SessionEvent::FlightOver(flight));
                }
            }
            Act::Throttle(seconds) => {
                let until = story.at.elapsed.after(s(seconds.into()));
                self.throttled = self.throttled.max(until);
                self.happens(SessionEvent::Throttled(until));
            }
            Act::Resume => self.happens(SessionEvent::Resumed),
            Act::Install { bare, lifetime } => {
                let mut login = story.store.login(Some(s(lifetime)), story.at);
                login.refresh.take_if(|_| bare);
                let reply = ReplyId(self.reply());
                self.happens(SessionEvent::Install(reply, Box::new(login)));
            }
            Act::Reserve(answer) => self.reserve(answer),
            Act::Logout => {
                let reply = ReplyId(self.reply());
                self.happens(SessionEvent::Logout(reply));
            }
            Act::List(bound) => {
                story.lists(&[if bound { ISSUER } else { "https://evil.example.com" }]);
                self.somebody_works();
            }
            Act::Write(answer) => self.write(answer),
            Act::Sibling(deed) => self.sibling(deed),
            Act::Repeat(which) => {
                if !self.past.is_empty() {
                    let event = which.get(&self.past).clone();
                    self.happens(event);
                }
            }
            Act::Stray(op) => self.stray(Op(1_000 + op)),
            Act::Restart => {
                self.story.restarts();
                self.past.retain(|event| matches!(event, SessionEvent::Flight(..)));
                // The new actor knows of no throttle, and has read nothing.
                self.throttled = ElapsedTime::default();
                self.knows = false;
            }
            Act::Shutdown => {
                self.happens(SessionEvent::Shutdown);
            }
        }
    }

    pub(crate) fn read(&mut self, answer: Answer) {
        let story = &mut self.story;
        let Some(Question { op, asked, then }) = story.takes_question() else { return };
        let took = story.at.elapsed.since(asked);
        let event = match answer {
            Answer::Given => SessionEvent::Loaded(op, Ok(story.store.view())),
            Answer::Failed(fault) => SessionEvent::Loaded(op, Err(fault)),
            // The record as it was when the read began, because the store answered late.
            Answer::Other => SessionEvent::Loaded(op, Ok(then)),
            Answer::Unheard => {
                return self.past.push(SessionEvent::Loaded(op, Ok(then)));
            }
        };
        // A late answer is ignored. A single-use source needs the record, a repeatable one does not.
        let learned = self.story.published().residue.plan.as_deref();
        let spending = learned.unwrap_or(&self.story.policy.renewal).spending;
        let enough = !matches!(answer, Answer::Failed(_)) || spending == Spending::Repeatable;
        self.knows |= took < s(5) && enough;
        self.happens(event);
    }

    fn reserve(&mut self, answer: Answer) {
        let other = || ServerIdentity::new(Account::default(), Target::mcp("https://b.example").expect("a target"));
        let answer = match answer {
            Answer::Given => Ok(Reservation::Reserved),
            Answer::Failed(fault) => Err(fault),
            Answer::Other => Ok(Reservation::HeldBy(other())),
            Answer::Unheard => return,
        };
        if self.story.is_reserving() {
            self.story.reserves(answer);
        }
    }

    fn write(&mut self, answer: Answer) {
        if !self.story.is_writing() {
            return;
        }
        let (op, change) = self.story.takes_write();
        let event = match answer {
            Answer::Failed(fault) => SessionEvent::Changed(op, Err(fault)),
            Answer::Given | Answer::Unheard | Answer::Other => {
                SessionEvent::Changed(op, Ok(self.story.store.change(&change)))
            }
        };
        match answer {
            Answer::Unheard => self.past.push(event),
            _ => self.happens(event),
        }
    }

    fn report(&mut self, report: Report) {
        if let Some(flight) = self.story.flight() {
            self.happens(SessionEvent::Flight(flight, report));
        }
    }

    /// The flight obtains a token, which is stored if the record allows it.
    fn mint(&mut self, lifetime: Duration, seen: Seen, keeping: bool) {
        let Some(flight) = self.story.flight() else { return };
        let order = self.story.order().clone();
        let validity = Validity::new(self.story.at, Some(lifetime));
        let record = self.story.store.record.as_ref();
        let may_store = record
            .is_some_and(|record| record.epoch == order.epoch && record.held().is_some_and(|held| held.mark.is_none()));
        let lease = if may_store && !keeping {
            self.story.store.refresh(flight, order.cause, validity)
        } else {
            let number = record.map_or(0, |record| record.number).max(order.known.number) + 1;
            let generation = Generation { epoch: order.epoch, number, nonce: order.nonce };
            unsaved(generation, validity, order.cause)
        };
        let landing = Landing { outcome: Outcome::Minted(lease), view: self.view(seen), keeping, requests: 1 };
        self.report(Report::Landed(landing));
    }

    fn sibling(&mut self, deed: Deed) {
        let at = self.story.at;
        let store = &mut self.story.store;
        let epoch = store.record.as_ref().map(|record| record.epoch);
        let held = store.record.as_ref().and_then(|record| record.held()).map(|held| held.credential.digest());
        match (deed, epoch, held) {
            (Deed::SignIn(lifetime), ..) => store.sign_in(Some(s(lifetime)), at),
            (Deed::Mint(lifetime, cause), _, Some(_)) => {
                store.refresh(FlightId(0xfeed), cause, Validity::new(at, Some(s(lifetime))));
            }
            (Deed::Mark, _, Some(_)) => store.mark(FlightId(0xfeed), at),
            (Deed::SignOut, Some(epoch), _) => drop(store.change(&Change::Clear { epoch })),
            (Deed::Park, Some(epoch), _) => {
                drop(store.change(&Change::Park { epoch, why: Parked::ClientRejected }));
            }
            (Deed::End, Some(epoch), Some(sent)) => drop(store.change(&Change::End { epoch, sent })),
            _ => {}
        }
    }

    fn stray(&mut self, op: Op) {
        self.happens(SessionEvent::Reserved(op, Ok(Reservation::Reserved)));
        self.happens(SessionEvent::Changed(op, Err(StoreFault::TimedOut)));
        self.happens(SessionEvent::Loaded(op, Ok(None)));
        self.happens(SessionEvent::FlightOver(FlightId(op.0.into())));
    }

    /// The longest timeout passes, then the runtime stops.
    pub(crate) fn ends(mut self) {
        self.story.passes(s(60));
        self.happens(SessionEvent::Tick);
        assert_eq!(self.story.session.waiting(), 0);
        self.happens(SessionEvent::Shutdown);
        let kept = format!("{:?}", self.story.published().residue.futility).matches("FutileOperation").count();
        assert!(kept <= 64, "{kept} futile operations are remembered");
    }
}
