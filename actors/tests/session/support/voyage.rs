//! A flight on a virtual clock over the same store. Every question of the machine is kept until a test answers it.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::flight::{
    Adopt, ConnectFault, Equipment, Flight, FlightEffect, FlightEvent, Op, Order, Report, Spending, StoreTimeouts,
    TokenRequest, Urgency,
};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent, Profile, Refused, Tokens};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed};
use tokenkeeper_actors::values::record::Subject;
use tokenkeeper_actors::values::{
    AccessToken, Cause, Epoch, FlightId, Generation, Moment, Nonce, RefreshToken, RenewalPlan, SourceName, StoreFault,
    TokenKind, Validity,
};

use super::{Store, binding, digests, now};

/// A question of the machine that is not answered yet.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Permit(Op),
    Load(Op),
    Claim(Op, Epoch),
    Renew(Op),
    Change(Op, Change),
    Connect(Op),
    Send(Op, Box<TokenRequest>),
}

/// The answer to a question.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Well,
    /// The store failed and changed nothing.
    Failed,
    /// The store timed out, and yet the operation took effect.
    TimedOut,
    /// Another answer that the question allows.
    Otherwise(u8),
}

#[derive(Debug)]
pub(crate) struct Voyage {
    pub(crate) flight: Flight,
    pub(crate) store: Store,
    pub(crate) at: Moment,
    pub(crate) jitter: u16,
    pub(crate) questions: Vec<Question>,
    /// The machine's earlier events, to be repeated.
    pub(crate) past: Vec<FlightEvent>,
    /// All of its effects.
    pub(crate) effects: Vec<FlightEffect>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) spending: Spending,
    landed: bool,
    ended: bool,
    marked: bool,
    requests: u32,
    nonces: u32,
    too_late: u32,
}

pub(crate) const NAME: FlightId = FlightId(77);

impl Voyage {
    /// A flight for this cause has been ordered by a session that knows the record.
    pub(crate) fn begins(mut store: Store, cause: Cause, spending: Spending, profile: Profile) -> Self {
        let renewal = RenewalPlan { spending, ..RenewalPlan::default() };
        store.renew_by(&renewal);
        let known = store.record.as_ref().map(|record| Generation::stored(record.epoch, record.number));
        let order = Order {
            flight: NAME,
            cause,
            epoch: known.unwrap_or_default().epoch,
            adopt: match cause {
                Cause::Force => Adopt::Since { since: super::beginning(), margin: Duration::from_secs(1) },
                _ => Adopt::Above { floor: known, margin: Duration::from_secs(1) },
            },
            issuer: store.record.as_ref().and_then(|record| record.grant()).map(|_| binding().issuer),
            renewal,
            known: known.unwrap_or_default(),
            nonce: Nonce(0xabc),
            doubt: None,
            urgency: Urgency::Callers,
        };
        let equipment = Equipment {
            profiles: profile.into(),
            sources: [(SourceName::default(), spending)].into(),
            timeouts: StoreTimeouts::default(),
            digests: digests(),
        };
        let (flight, effects) = Flight::start(order, Arc::new(equipment));
        let mut voyage = Self {
            flight,
            store,
            at: super::beginning(),
            jitter: 0,
            questions: Vec::new(),
            past: Vec::new(),
            effects: Vec::new(),
            claims: Vec::new(),
            spending,
            landed: false,
            ended: false,
            marked: false,
            requests: 0,
            nonces: 0,
            too_late: 0,
        };
        voyage.take(effects);
        voyage
    }

    /// Any one event.
    pub(crate) fn happens(&mut self, event: FlightEvent) {
        let was_over = self.flight.is_over();
        let tick = matches!(event, FlightEvent::Tick);
        self.past.push(event.clone());
        let now = now(self.at, self.jitter);
        let effects = self.flight.handle(event, now);
        assert!(!was_over || effects.is_empty(), "a flight that is over went on");
        self.take(effects);
        let due = self.flight.next_wake().is_some_and(|next| next <= now.elapsed());
        if tick && due {
            // After the first tick, something may be due at once. After the second, nothing may be.
            let effects = self.flight.handle(FlightEvent::Tick, now);
            self.take(effects);
            assert!(self.flight.next_wake().is_none_or(|next| next > now.elapsed()), "ticks without end");
        }
    }

    fn take(&mut self, effects: Vec<FlightEffect>) {
        effects.iter().for_each(|effect| self.takes(effect));
        self.effects.extend(effects);
    }

    fn takes(&mut self, effect: &FlightEffect) {
        let question = match effect {
            FlightEffect::AskPermit { op, .. } => Question::Permit(*op),
            FlightEffect::Load(op) => Question::Load(*op),
            FlightEffect::Claim { op, epoch, .. } => Question::Claim(*op, *epoch),
            FlightEffect::Renew { op, .. } => Question::Renew(*op),
            FlightEffect::Change(op, change) => Question::Change(*op, change.clone()),
            FlightEffect::Connect(op, _) => Question::Connect(*op),
            FlightEffect::Send { op, request, .. } => {
                let resends = self.nonces.min(1) + self.too_late;
                // A flight that lost an answer presents its token once more.
                assert!(self.requests <= resends + 1, "a refresh token is presented twice at most");
                let spends = self.spending == Spending::SingleUse;
                assert_eq!(request.refresh.is_some(), spends);
                assert!(!spends || (self.marked && !self.claims.is_empty()), "sent without a mark or a claim");
                self.requests += 1;
                Question::Send(*op, request.clone())
            }
            FlightEffect::EndClaim { claim, .. } => {
                // A claim that timed out, and may have been granted, may be ended too.
                assert_eq!(claim.holder, NAME);
                self.claims.retain(|held| held.scope != claim.scope);
                return;
            }
            FlightEffect::Report(Report::Landed(_)) => {
                assert!(!self.landed, "landed twice");
                self.landed = true;
                return;
            }
            FlightEffect::Report(Report::Settled(_) | Report::Lost { .. }) => {
                assert!(self.landed && !self.ended, "settled before it landed, or twice");
                self.ended = true;
                return;
            }
            FlightEffect::ReturnPermit { .. } | FlightEffect::Throttle(_) | FlightEffect::Revoke(_) => return,
        };
        self.questions.push(question);
    }

    /// Answers the open question with this number.
    pub(crate) fn answers(&mut self, number: usize, answer: Answer) {
        let event = match self.questions.remove(number) {
            Question::Permit(op) => match answer {
                Answer::Otherwise(n) => FlightEvent::Held(op, Duration::from_secs(n.into())),
                _ => FlightEvent::Permitted(op),
            },
            Question::Load(op) => match answer {
                Answer::Failed => FlightEvent::Loaded(op, Err(StoreFault::Failed)),
                Answer::TimedOut => FlightEvent::Loaded(op, Err(StoreFault::TimedOut)),
                _ => FlightEvent::Loaded(op, Ok(self.store.record.clone().map(Box::new))),
            },
            Question::Claim(op, epoch) => FlightEvent::Claimed(op, self.claim(epoch, answer)),
            Question::Renew(op) => FlightEvent::Renewed(op, self.renewal(answer)),
            Question::Change(op, change) => FlightEvent::Changed(op, self.change(&change, answer)),
            Question::Connect(op) => FlightEvent::Connected(op, self.connection(answer)),
            Question::Send(op, request) => FlightEvent::Sent(op, self.evidence(&request, answer)),
        };
        self.happens(event);
    }

    fn claim(&mut self, epoch: Epoch, answer: Answer) -> Result<ClaimAnswer, StoreFault> {
        let (remaining, predecessor) = match answer {
            Answer::Failed => return Err(StoreFault::Failed),
            Answer::TimedOut => return Err(StoreFault::TimedOut),
            Answer::Otherwise(0) => return Ok(ClaimAnswer::Unsupported),
            Answer::Otherwise(n) if n % 3 == 0 => return Ok(ClaimAnswer::Contended),
            Answer::Otherwise(n) => (Some(Duration::from_secs(n.into())), Predecessor::MayLive),
            Answer::Well => (None, Predecessor::Gone),
        };
        let claim = Claim { holder: NAME, scope: ClaimScope::Spend(epoch), remaining, predecessor };
        self.claims.push(claim.clone());
        Ok(ClaimAnswer::Granted(claim))
    }

    fn renewal(&mut self, answer: Answer) -> Result<Renewed, StoreFault> {
        match answer {
            Answer::Failed => Err(StoreFault::Failed),
            Answer::TimedOut => Err(StoreFault::TimedOut),
            Answer::Otherwise(0) => Ok(Renewed::Lost),
            Answer::Otherwise(n) => Ok(Renewed::Until(Some(Duration::from_secs(n.into())))),
            Answer::Well => Ok(Renewed::Until(None)),
        }
    }

    fn connection(&self, answer: Answer) -> Result<(), ConnectFault> {
        match answer {
            Answer::Well | Answer::TimedOut => Ok(()),
            Answer::Failed => Err(ConnectFault::NotSent(NotSent::Unreachable)),
            Answer::Otherwise(n) if n % 2 == 0 => Err(ConnectFault::Throttled(Duration::from_secs(n.into()))),
            Answer::Otherwise(_) => Err(ConnectFault::NotSent(NotSent::Unbuildable)),
        }
    }

    fn change(
        &mut self,
        change: &Change,
        answer: Answer,
    ) -> Result<tokenkeeper_actors::law::ledger::Changed, StoreFault> {
        match answer {
            Answer::Failed => return Err(StoreFault::Failed),
            Answer::Otherwise(_) => return Err(StoreFault::TimedOut),
            Answer::Well | Answer::TimedOut => {}
        }
        let changed = self.store.change(change);
        self.marked |= matches!(change, Change::Mark { .. });
        match answer {
            Answer::TimedOut => Err(StoreFault::TimedOut),
            _ => Ok(changed),
        }
    }

    fn evidence(&mut self, request: &TokenRequest, answer: Answer) -> Evidence {
        let refused = |status, error: &str| {
            Evidence::Refused(Refused { status, error: Some(error.to_owned()), retry_after: None })
        };
        match answer {
            Answer::Well => Evidence::Tokens(Box::new(self.tokens(request, None))),
            Answer::Failed => Evidence::NotSent(NotSent::Unreachable),
            Answer::TimedOut => Evidence::Lost(Lost::TimedOut),
            Answer::Otherwise(n) => match n % 9 {
                0 => {
                    self.nonces += 1;
                    refused(400, "use_dpop_nonce")
                }
                1 => {
                    self.too_late += 1;
                    Evidence::NotSent(NotSent::TooLate)
                }
                2 => refused(400, "invalid_grant"),
                3 => refused(401, "invalid_client"),
                4 => refused(429, "slow_down"),
                5 => refused(503, "sorry"),
                6 => Evidence::Lost(Lost::Broken),
                7 => Evidence::Tokens(Box::new(self.tokens(request, Some("somebody else")))),
                _ => Evidence::NotSent(NotSent::Unbuildable),
            },
        }
    }

    fn tokens(&mut self, request: &TokenRequest, subject: Option<&str>) -> Tokens {
        Tokens {
            access: AccessToken::new(format!("{}new", self.store.marks.access)),
            kind: TokenKind::Bearer,
            validity: Validity::new(self.at, Some(Duration::from_secs(3_600))),
            refresh: request.refresh.as_ref().map(|_| RefreshToken::new(self.store.new_refresh())),
            granted: None,
            subject: subject.map(|name| Subject(name.to_owned())),
            binding: Some(Box::new(binding())),
        }
    }

    /// Answers every question without faults until the flight is over.
    pub(crate) fn comes_home(&mut self) {
        for _ in 0..400 {
            if !self.questions.is_empty() {
                self.answers(0, Answer::Well);
            } else if self.flight.is_over() {
                assert!(self.landed, "a flight has a result");
                assert!(self.claims.is_empty(), "a claim was left behind: {:?}", self.claims);
                return;
            } else {
                self.at.elapsed = self.flight.next_wake().expect("something is waited for").max(self.at.elapsed);
                self.happens(FlightEvent::Tick);
            }
        }
        panic!("the flight does not end: {:?}", self.flight);
    }
}
