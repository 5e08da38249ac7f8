//! The environment of a scripted session. It has a store of one record and a script of the token endpoint's answers.

use std::collections::VecDeque;

use tokenkeeper_actors::law::ledger::{self, Change, Changed, Login};
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer, Record, RefreshCredential, RenewalPlan};
use tokenkeeper_actors::values::{DigestKey, Epoch, Moment, RefreshToken, Scopes, StoreFault};

use super::step::{Step, token};

/// A store of one record, which fails while `broken`.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) digests: DigestKey,
    pub(super) broken: bool,
    record: Option<Record>,
    refresh_tokens: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        Self { digests: DigestKey::new([7; 32]), broken: false, record: None, refresh_tokens: 0 }
    }

    pub(super) fn load(&self) -> Result<Option<Record>, StoreFault> {
        self.answer(self.record.clone())
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<Changed, StoreFault> {
        self.answer(())?;
        let before = self.record.clone();
        Ok(match ledger::apply(before.as_ref(), change) {
            Ok(after) => {
                self.record = Some(after.clone());
                Changed::Applied { before: before.map(Box::new), after: Box::new(after) }
            }
            Err(why) => Changed::Conflict { why, current: before.map(Box::new) },
        })
    }

    pub(super) fn answer<T>(&self, answer: T) -> Result<T, StoreFault> {
        if self.broken { Err(StoreFault::Failed) } else { Ok(answer) }
    }

    /// Signs in, with a refresh token and no access token yet.
    pub(super) fn sign_in(&mut self, resource: Option<String>, now: Moment) {
        let refresh = RefreshCredential::new(self.next_refresh_token(), &self.digests);
        let login = Login {
            binding: binding(resource),
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: Some(refresh),
            access: None,
            at: now,
            begun_on: None,
        };
        self.write_elsewhere(&Change::Install(Box::new(login)));
    }

    /// Logs out.
    pub(super) fn logout(&mut self) {
        let epoch = self.record.as_ref().map_or(Epoch::default(), |record| record.epoch);
        self.write_elsewhere(&Change::Clear { epoch });
    }

    /// A new refresh token.
    pub(super) fn next_refresh_token(&mut self) -> RefreshToken {
        self.refresh_tokens += 1;
        RefreshToken::new(format!("refresh-token-{}", self.refresh_tokens))
    }

    /// Writes from another process, whose store is not broken. An inapplicable change has no effect.
    fn write_elsewhere(&mut self, change: &Change) {
        if let Ok(record) = ledger::apply(self.record.as_ref(), change) {
            self.record = Some(record);
        }
    }
}

/// The unused steps. The last one repeats for ever.
#[derive(Debug, Default)]
pub(super) struct Script {
    steps: VecDeque<Step>,
    last: Option<Step>,
}

impl Script {
    pub(super) fn push(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    /// The next step, without using it.
    pub(super) fn peek(&self) -> Step {
        self.steps.front().or(self.last.as_ref()).cloned().unwrap_or_else(|| token("access-token").into())
    }

    /// Uses the next step.
    pub(super) fn next(&mut self) -> Step {
        let step = self.peek();
        self.steps.pop_front();
        self.last = Some(step.clone());
        step
    }

    pub(super) fn left(&self) -> usize {
        self.steps.len()
    }
}

fn binding(resource: Option<String>) -> Binding {
    const ISSUER: &str = "https://as.example.com";
    Binding {
        issuer: Issuer(ISSUER.to_owned()),
        client: Client { id: "scripted".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
        token_endpoint: format!("{ISSUER}/token"),
        revocation_endpoint: Some(format!("{ISSUER}/revoke")),
        resource,
    }
}
