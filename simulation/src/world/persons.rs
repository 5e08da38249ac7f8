//! People who answer requests, and the programs that want logins for them.

use std::time::Duration;

use tokenkeeper_actors::law::login::LoginWish;
use tokenkeeper_actors::law::session::{LoginCause, LoginProgress, LoginRequest, LoginRequestKind, OperationKey};
use tokenkeeper_actors::values::{
    Callback, LoginKey, LoginMethod, LoginOffer, LoginReason, OfferedPrompt, Scopes, SignInError,
};

use super::authorizing::{asking_of, subject_name};
use super::{Item, World};
use crate::Millis;
use crate::attempt::{Answering, Seeker, Seeking, Tab};
use crate::plan::{SeekerSpec, Want};
use crate::process::{Mail, Pid};
use crate::rng::{For, join};
use crate::tally::Kind;

/// How long a browser waits for the page after its callback.
const PAGE: Millis = 90_000;

/// How late the callback of a browser comes that was asleep. Codes live shorter.
const LATE_CALLBACK: Millis = 70_000;

/// The difference of two wall clocks by which a request expires no earlier than its person needs.
const CLOCKS_AGREE: Millis = 20_000;

/// How long a person takes after all faults have ended.
const WILLING: Millis = 2_000;

impl World {
    /// A request is shown to a person, by the process that prepared it or by one that took it over.
    pub(crate) fn show(&mut self, pid: Pid, identity: usize, key: LoginKey, offer: &LoginOffer) {
        let key_number = asking_of(key) as u64;
        let mut rng = self.rng(For::Person, join(key_number, self.tabs.len() as u64));
        let is_device = matches!(offer.prompt, OfferedPrompt::Device { .. });
        let fate = match self.at_rest {
            true => Answering::Yes,
            false if is_device => {
                rng.weigh(&[(60, Answering::Yes), (12, Answering::No), (8, Answering::Late), (20, Answering::Closed)])
            }
            false => rng.weigh(&[
                (44, Answering::Yes),
                (16, Answering::No),
                (7, Answering::Late),
                (11, Answering::Twice),
                (8, Answering::Forged),
                (14, Answering::Closed),
            ]),
        };
        self.tabs.push(Tab { identity, key, shown_by: pid, fate });
        let tab = self.tabs.len() - 1;
        let left = offer.expires.since(self.moment(pid.process).wall).as_millis() as Millis;
        let delay = match fate {
            _ if self.at_rest => WILLING,
            Answering::Closed => {
                self.count(Kind::TabClosed);
                return;
            }
            Answering::Late => left + rng.pick(&[1, 800, 30_000]),
            _ => rng.weigh(&[(3, rng.clone().between(2, 60)), (5, rng.clone().between(500, 9_000)), (2, left * 3 / 4)]),
        };
        self.queue.push(self.t + delay, Item::Person(tab));
    }

    /// A person answers a request.
    pub(crate) fn person_answers(&mut self, tab: usize) {
        let Tab { key, fate, shown_by, identity } = self.tabs[tab].clone();
        let mut rng = self.rng(For::Person, join(asking_of(key) as u64, 1_000 + tab as u64));
        self.tell(|| "person".to_owned(), |_| format!("answers the request {}: {fate:?}", asking_of(key)));
        let Some(asking) = self.asking(key) else { return };
        let (is_device, answered) = (asking.is_device, asking.answer.is_some());
        self.count(match fate {
            Answering::Yes => Kind::SaidYes,
            Answering::No => Kind::SaidNo,
            Answering::Late => Kind::SaidLate,
            Answering::Twice => Kind::SaidTwice,
            Answering::Forged => Kind::AnswerForged,
            Answering::Closed => Kind::TabClosed,
        });
        if fate == Answering::Forged {
            let text = rng.pick(&["9999999 code-1", "nothing"]);
            return self.call_back(shown_by, identity, key, text.to_owned(), &mut rng);
        }
        let what = match fate {
            Answering::No => Err(()),
            // A page that was answered before shows so, and starts no other authorization.
            _ if answered && !is_device && rng.chance(700) => return,
            _ => {
                // The last request may be one that only the person may answer who is signed in.
                let known = self.store.record(identity).and_then(|record| record.grant()?.subject.clone());
                let stays = self.at_rest && known == Some(subject_name(1));
                let subject = u8::from(stays || !self.at_rest && rng.chance(120));
                match self.authorize(key, subject) {
                    Some(code) => Ok(code),
                    None => return,
                }
            }
        };
        if let Some(asking) = self.askings.get_mut(asking_of(key)) {
            asking.answer = Some(what);
        }
        if is_device {
            return;
        }
        let text = match what {
            Ok(code) => format!("{} code-{code}", asking_of(key)),
            Err(()) => format!("{} denied", asking_of(key)),
        };
        self.call_back(shown_by, identity, key, text.clone(), &mut rng);
        if fate == Answering::Twice {
            self.call_back(shown_by, identity, key, text, &mut rng);
        }
    }

    /// A browser brings an answer to one of the processes that serve the callback.
    fn call_back(&mut self, shown_by: Pid, identity: usize, key: LoginKey, text: String, rng: &mut crate::rng::Rng) {
        // By a clock that is minutes ahead the request has expired, which only matters at rest.
        let wall = |process: usize| self.moment(process).wall.as_millis();
        let agrees = |process: usize| !self.at_rest || wall(process).abs_diff(wall(shown_by.process)) < CLOCKS_AGREE;
        let serves = |other: &usize| self.runs(self.pid(*other)) && self.takes(*other) && agrees(*other);
        let others: Vec<usize> = (0..self.processes.len()).filter(serves).collect();
        let own = self.runs(shown_by) && self.takes(shown_by.process);
        let process = match others.len() {
            _ if own && (rng.chance(650) || others.len() == 1) => shown_by.process,
            0 => return self.count(Kind::CallbackLost),
            count => others[rng.below(count as u64) as usize],
        };
        if process != shown_by.process {
            self.count(Kind::CallbackElsewhere);
        }
        let kind = LoginRequestKind::Complete(Callback::new(key, text));
        let id = self.new_seeker(process, identity, kind, PAGE, 0);
        if !self.healed && rng.chance(40) {
            // The browser was asleep meanwhile, and the code has expired.
            self.seek_after(id, LATE_CALLBACK);
        }
    }

    fn takes(&self, process: usize) -> bool {
        !self.processes[process].stopping
    }

    /// A program or a person wants a login.
    pub(crate) fn seek(&mut self, spec: SeekerSpec) {
        let process = &self.processes[spec.process];
        if !process.up || process.stopping || self.config.repeatable() {
            return;
        }
        self.count(match spec.want {
            Want::Person => Kind::LoginWanted,
            Want::Again => Kind::LoginWantedAgain,
            Want::Operation(_) => Kind::StepUpWanted,
        });
        let kind = self.login_request(&spec);
        let id = self.new_seeker(spec.process, spec.identity, kind, spec.patience, spec.rounds);
        self.seekers[id].cancels_after = spec.cancels_after;
    }

    fn login_request(&self, spec: &SeekerSpec) -> LoginRequestKind {
        let method = match spec.is_device {
            true => LoginMethod::Device,
            false => LoginMethod::Redirect("http://127.0.0.1/callback".to_owned()),
        };
        let (scopes, cause) = match spec.want {
            Want::Person => (Self::scopes(), LoginCause::Person),
            Want::Again => (Self::scopes(), LoginCause::Again),
            Want::Operation(operation) => {
                let slot = &self.processes[spec.process].slots[spec.identity];
                let refused = slot.published.hit.as_ref().map(|hit| hit.lease.generation());
                let cause = LoginCause::Operation { refused, operation: OperationKey(u64::from(operation)) };
                (Scopes::new([format!("scope-{operation}")]), cause)
            }
        };
        let extends = matches!(spec.want, Want::Operation(_));
        LoginRequestKind::Begin(LoginWish { scopes, method, same_subject: spec.same_subject, extends }, cause)
    }

    fn new_seeker(
        &mut self,
        process: usize,
        identity: usize,
        kind: LoginRequestKind,
        patience: Millis,
        rounds: u8,
    ) -> usize {
        let pid = self.pid(process);
        let deadline = self.moment(process).elapsed.after(Duration::from_millis(patience));
        let request = LoginRequest { kind, deadline };
        let begins = matches!(request.kind, LoginRequestKind::Begin(..)).then(|| request.clone());
        self.seekers.push(Seeker {
            pid,
            identity,
            request,
            doing: Seeking::Idle,
            asked_at: self.t,
            patience,
            cancels_after: None,
            rounds,
            begins,
            turn: 0,
            at_rest: self.at_rest,
            result: None,
        });
        let id = self.seekers.len() - 1;
        self.seek_after(id, 0);
        id
    }

    fn seek_after(&mut self, id: usize, wait: Millis) {
        let seeker = &mut self.seekers[id];
        seeker.turn += 1;
        let turn = seeker.turn;
        self.queue.push(self.t + wait, Item::Seeker(id, turn));
    }

    pub(crate) fn seeker_acts(&mut self, id: usize, turn: u32) {
        let seeker = &self.seekers[id];
        if seeker.turn != turn || seeker.doing != Seeking::Idle {
            return;
        }
        let (pid, identity, patience) = (seeker.pid, seeker.identity, seeker.patience);
        if self.processes[pid.process].stopping {
            self.seekers[id].doing = Seeking::Done;
            return;
        }
        let deadline = self.moment(pid.process).elapsed.after(Duration::from_millis(patience));
        let seeker = &mut self.seekers[id];
        (seeker.doing, seeker.asked_at, seeker.request.deadline) = (Seeking::Waiting, self.t, deadline);
        self.tell(
            || format!("p{} i{identity}", pid.process),
            |world| format!("s{id} asks: {:?}", world.seekers[id].request.kind),
        );
        self.mail(pid, identity, Mail::Login(id));
    }

    /// The actor ended that was to answer. The request goes to the next one.
    pub(crate) fn seeker_dropped(&mut self, id: usize) {
        let seeker = &self.seekers[id];
        if seeker.doing == Seeking::Waiting {
            let (pid, identity) = (seeker.pid, seeker.identity);
            self.count(Kind::CallerDropped);
            self.mail(pid, identity, Mail::Login(id));
        }
    }

    pub(crate) fn seeker_answered(&mut self, id: usize, answer: Result<LoginProgress, SignInError>) {
        if self.seekers[id].doing != Seeking::Waiting {
            return;
        }
        self.seekers[id].doing = Seeking::Done;
        match answer {
            Ok(LoginProgress::SignedIn) => {
                self.count(Kind::SeekerSignedIn);
                self.seekers[id].result = Some(Ok(()));
            }
            Ok(LoginProgress::Cancelled) => {
                self.count(Kind::SeekerCancelled);
                self.seekers[id].result = Some(Err(SignInError::new(LoginReason::Cancelled)));
            }
            Ok(LoginProgress::Offered { attempt, key, offer, .. }) => {
                let (pid, identity) = (self.seekers[id].pid, self.seekers[id].identity);
                if self.at_rest
                    && !self.tabs.iter().rev().take(64).any(|tab| tab.key == key && tab.fate == Answering::Yes)
                {
                    self.show(pid, identity, key, &offer);
                }
                self.await_attempt(id, attempt);
            }
            Ok(LoginProgress::Elsewhere { attempt }) => {
                self.count(Kind::AskedElsewhere);
                self.await_attempt(id, attempt);
            }
            Err(error) => {
                match error.reason() {
                    LoginReason::ResourceRefuses => self.count(Kind::StepUpBounded),
                    LoginReason::ScopeDenied => self.count(Kind::StepUpDeclined),
                    LoginReason::DeadlinePassed => self.count(Kind::LoginDeadline),
                    LoginReason::Denied => self.count(Kind::SeekerDenied),
                    LoginReason::UnknownLogin => self.count(Kind::UnknownLogin),
                    _ => {}
                }
                let seeker = &mut self.seekers[id];
                seeker.result = Some(Err(error));
                // At rest, a request of the time before may end without a login. A willing person asks again.
                let again = (error.is_transient() || seeker.at_rest) && seeker.rounds > 0;
                let again = seeker.begins.clone().filter(|_| again);
                if let Some(request) = again {
                    seeker.rounds -= 1;
                    (seeker.request, seeker.doing) = (request, Seeking::Idle);
                    let wait = error.retry_after().map_or(1_500, |span| span.as_millis() as Millis);
                    self.seek_after(id, wait);
                }
            }
        }
    }

    /// The seeker has seen the request, and waits for its end. Some cancel it.
    fn await_attempt(&mut self, id: usize, attempt: tokenkeeper_actors::values::AttemptId) {
        let seeker = &mut self.seekers[id];
        (seeker.request.kind, seeker.doing) = (LoginRequestKind::Await(attempt), Seeking::Idle);
        let cancels = seeker.cancels_after.take();
        let (pid, identity) = (seeker.pid, seeker.identity);
        self.seek_after(id, 0);
        if let Some(after) = cancels {
            self.cancels.push((pid, identity));
            self.queue.push(self.t + after, Item::Cancel(self.cancels.len() - 1));
        }
    }

    /// A person cancels the login that is under way in a process.
    pub(crate) fn cancel_login(&mut self, index: usize) {
        let (pid, identity) = self.cancels[index];
        if self.runs(pid) && self.takes(pid.process) {
            self.count(Kind::SaidCancel);
            self.new_seeker(pid.process, identity, LoginRequestKind::Cancel, PAGE, 0);
        }
    }

    /// After all faults have ended, and everything is at rest, a willing person and four callers in up to three processes
    /// sign in.
    pub(super) fn seek_at_rest(&mut self) {
        self.at_rest = true;
        self.server.wrong_subject = false;
        self.tell(|| "*".to_owned(), |_| "four callers of each identity want a login".to_owned());
        for identity in 0..self.config.identities {
            self.asked_at_rest.push(self.prompts[identity]);
            let signed_out = self.processes[0].slots[identity].published.standing.login_required.is_some();
            // A session with a bound on its waiters would refuse the fourth one.
            for caller in 0..4.min(self.config.policy.max_waiters) {
                let process = caller % self.processes.len().min(3);
                let want = if signed_out { Want::Person } else { Want::Again };
                let spec = SeekerSpec {
                    process,
                    identity,
                    want,
                    is_device: false,
                    same_subject: false,
                    patience: 1_500_000,
                    cancels_after: None,
                    rounds: 12,
                };
                let kind = self.login_request(&spec);
                self.new_seeker(process, identity, kind, spec.patience, spec.rounds);
            }
        }
    }

    /// Whether a seeker still waits, or a login attempt still runs.
    pub(super) fn logins_run(&self) -> bool {
        self.seekers.iter().any(|seeker| seeker.doing != Seeking::Done && self.is_there(seeker.pid))
            || self.processes.iter().any(|process| !process.attempts.is_empty())
    }

    pub(crate) fn is_there(&self, pid: Pid) -> bool {
        let process = &self.processes[pid.process];
        process.up && process.life == pid.life
    }
}
