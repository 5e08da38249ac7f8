//! Laws 17, 19 and 20 at the store. Each write of a request to a person, and of its login, is judged again, independently
//! of the ledger.

use tokenkeeper_actors::law::ledger::{Change, Login};
use tokenkeeper_actors::values::record::{Prompt, PromptEnd, PromptState, Record};
use tokenkeeper_actors::values::{Epoch, LoginKey};

use crate::attempt::AttemptRun;
use crate::tally::Kind;
use crate::world::{Asker, World};

impl World {
    /// A write of an attempt took effect. It is judged again, independently of the ledger.
    pub(crate) fn check_prompt_written(
        &mut self,
        asker: Asker,
        identity: usize,
        change: &Change,
        before: Option<&Record>,
        after: &Record,
    ) {
        let prompt_before = before.and_then(|before| before.prompt.as_ref());
        match change {
            Change::Prompt { prompt, .. } => self.check_asked(asker, identity, prompt_before, prompt),
            Change::AnswerPrompt { epoch, prompt } => {
                if before.map_or_else(Epoch::default, |before| before.epoch) != *epoch {
                    self.breach("19", "an answer is noted in another epoch", || format!("{epoch:?}"));
                }
                let theirs = prompt_before.filter(|known| known.state == PromptState::Answered);
                if theirs.is_some_and(|known| known.attempt != prompt.attempt) {
                    self.breach("19", "an answer is noted over the redemption of another", || format!("{prompt:?}"));
                }
                let is_late = prompt_before.is_none_or(|known| {
                    known.attempt != prompt.attempt || matches!(known.state, PromptState::Ended(_))
                });
                if is_late {
                    self.count(Kind::LateYes);
                }
                if let Asker::Attempt(pid, id) = asker
                    && let Some(run) = self.attempt_mut(pid, id)
                {
                    run.facts.noted = true;
                }
            }
            Change::EndPrompt { key, end, .. } => {
                let stale = prompt_before.is_some_and(|known| known.state == PromptState::Answered)
                    && self.attempt_of(asker).is_some_and(|run| run.facts.taken != Some(*key));
                if stale {
                    self.count(Kind::StaleEnded);
                    self.check_stale_ended(identity, *key, prompt_before);
                }
                self.count(match end {
                    PromptEnd::Denied => Kind::EndedDenied,
                    PromptEnd::Cancelled => Kind::EndedCancelled,
                    PromptEnd::TimedOut => Kind::EndedTimedOut,
                    PromptEnd::Failed => Kind::EndedFailed,
                    PromptEnd::Aborted => Kind::EndedAborted,
                });
            }
            Change::Install(login) => self.check_login_written(asker, login, before, after),
            _ => {}
        }
    }

    /// Law 17: a request is written only where no other one waits, is being redeemed, or was answered since this attempt
    /// looked first.
    fn check_asked(&mut self, asker: Asker, identity: usize, before: Option<&Prompt>, prompt: &Prompt) {
        self.count(Kind::Asked);
        self.prompts[identity] += 1;
        let Some(known) = before else { return };
        if known.state == PromptState::Answered {
            self.breach("17", "a person is asked over the redemption of an answer", || format!("{prompt:?}"));
        }
        self.check_taken_over(asker, identity, known);
        let certain = |run: &&AttemptRun| !run.facts.unsure_read;
        let since = self.attempt_of(asker).filter(certain).and_then(|run| run.facts.first_read);
        let shared =
            matches!(known.state, PromptState::Ended(_)) && since.is_some_and(|since| known.revision.number() > since);
        let own = self.truth.stale_ends.contains(&(identity, known.revision.number()));
        if shared && !own {
            self.breach("17", "a person is asked again though the question was answered", || {
                format!("{:?} of {} at {:?}, read since {since:?}", known.state, known.attempt, known.revision)
            });
        }
    }

    /// Law 17: the open request of an asker that is gone is taken over with its address, until it expires.
    fn check_taken_over(&mut self, asker: Asker, identity: usize, known: &Prompt) {
        let Some(run) = self.attempt_of(asker) else { return };
        let (name, epoch, cannot_show) = (run.name, run.order.epoch, run.facts.cannot_show);
        let wall = self.moment(asker.pid().process).wall;
        let waits = self.store.peek_login(known.key, wall).is_some_and(|pending| pending.epoch == epoch);
        // The clock may have been set since the attempt looked.
        let stepped = self.hosts.iter().any(|host| host.stepped.is_some());
        if known.state == PromptState::Open && known.expires > wall && waits && !cannot_show && !stepped {
            self.breach("17", "an open request is replaced by another one", || format!("a{name} i{identity}"));
        }
    }

    /// Law 17: the redeemer of an answer is given up only when its request can last no longer.
    fn check_stale_ended(&mut self, identity: usize, key: LoginKey, before: Option<&Prompt>) {
        let revision = self.store.record(identity).map_or(0, |record| record.revision.number());
        self.truth.stale_ends.insert((identity, revision));
        let Some(known) = before else { return };
        let lives = self.processes.iter().any(|process| {
            process.up && process.attempts.values().any(|run| run.facts.redeeming && run.facts.taken == Some(known.key))
        });
        let stepped = self.hosts.iter().any(|host| host.stepped.is_some()) || self.hosts.len() > 1;
        let stood = self.processes.iter().any(|process| process.stood.1 > 0);
        if lives && !stepped && !stood {
            self.breach("17", "a redeemer is given up that may still bring tokens", || format!("{key:?}"));
        }
    }

    /// Laws 12 and 20: a login replaces only what it was begun on.
    fn check_login_written(&mut self, asker: Asker, login: &Login, before: Option<&Record>, after: &Record) {
        let Some(begun_on) = login.begun_on else { return };
        if before.map_or_else(Epoch::default, |before| before.epoch) != begun_on.epoch {
            self.breach("20", "a login replaces what it was not begun on", || {
                format!("begun on {:?}, {:?}", begun_on.epoch, after.version())
            });
        }
        let known = before.and_then(Record::grant).and_then(|grant| grant.subject.clone());
        if begun_on.same_subject && known.zip(login.subject.clone()).is_some_and(|(known, named)| known != named) {
            self.breach("20", "another person's login replaces a grant", || format!("{:?}", after.version()));
        }
        if let Asker::Attempt(pid, id) = asker
            && let Some(run) = self.attempt_mut(pid, id)
        {
            let late = run.facts.unstored;
            if let Some(issued) = &mut run.facts.issued {
                issued.stored = true;
            }
            self.count(Kind::LoginStored);
            if late {
                self.count(Kind::LoginStoredLate);
            }
        }
    }
}
