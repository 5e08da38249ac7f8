//! The authorization server and the source that speaks to it. Answers are scripted, and every code is counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};
use tokenkeeper_actors::ports::login::{AuthorizationCode, Polled, Preparation, Prepared, Redeemed, Redemption};
use tokenkeeper_actors::ports::store::PendingLogin;
use tokenkeeper_actors::values::{Callback, LoginMethod, LoginOffer, LoginReason, LoginUrl, Moment, OfferedPrompt};

use super::fixtures::{key, tokens};

#[derive(Debug, Default)]
pub(crate) struct Server {
    /// The requests that were prepared.
    pub(crate) prepared: Vec<Preparation>,
    /// The next refusals of a preparation.
    pub(crate) unprepared: VecDeque<LoginReason>,
    /// How long the server keeps a request open, if it bounds that.
    pub(crate) keeps: Option<Duration>,
    /// The number of times that each code was presented.
    pub(crate) presented: BTreeMap<String, u32>,
    /// The next answers to codes. Without one, tokens of alice are issued.
    pub(crate) answers: VecDeque<Redeemed>,
    /// The next answers to polls. Without one, the person has not answered.
    pub(crate) polls: VecDeque<Polled>,
    pub(crate) polled: u32,
    /// The pause between polls that the server names.
    pub(crate) interval: Duration,
    /// Whether the answers to the requests of other processes cannot arrive here.
    pub(crate) no_foreign_answers: bool,
}

impl Server {
    pub(crate) fn prepare(&mut self, preparation: &Preparation) -> Result<Prepared, LoginReason> {
        if let Some(reason) = self.unprepared.pop_front() {
            return Err(reason);
        }
        self.prepared.push(preparation.clone());
        let bound = self.keeps.map(|keeps| preparation.expires.before(super::world::PROMPT).after(keeps));
        let device = matches!(preparation.method, LoginMethod::Device);
        Ok(Prepared {
            key: key(u8::try_from(self.prepared.len()).unwrap()),
            expires: bound.map_or(preparation.expires, |bound| bound.min(preparation.expires)),
            sealed: SecretSlice::from(vec![u8::from(device)]),
        })
    }

    pub(crate) fn offer(&self, pending: &PendingLogin, is_own: bool) -> Result<LoginOffer, LoginReason> {
        if !is_own && self.no_foreign_answers {
            return Err(LoginReason::UnknownLogin);
        }
        let url = LoginUrl::new("https://as.example.com/authorize");
        let prompt = match pending.sealed.expose_secret() {
            [1] => OfferedPrompt::Device { url, complete: None, user_code: "ABCD".to_owned(), interval: self.interval },
            _ => OfferedPrompt::Browser { url },
        };
        Ok(LoginOffer { prompt, expires: pending.expires })
    }

    pub(crate) fn read(callback: &Callback) -> Result<AuthorizationCode, LoginReason> {
        match callback.expose() {
            "no" => Err(LoginReason::Denied),
            "forged" => Err(LoginReason::Forged),
            code => Ok(AuthorizationCode::new(code)),
        }
    }

    pub(crate) fn redeem(&mut self, redemption: &Redemption, now: Moment) -> Redeemed {
        let code = redemption.code.expose();
        let answer = self.answers.pop_front();
        let answer = answer.unwrap_or_else(|| Redeemed::Issued(Box::new(tokens(code, "alice", now))));
        if !matches!(answer, Redeemed::NotSent) {
            let presented = self.presented.entry(code.to_owned()).or_default();
            *presented += 1;
            assert_eq!(*presented, 1, "{code} is presented again");
        }
        answer
    }

    pub(crate) fn poll(&mut self) -> Polled {
        self.polled += 1;
        self.polls.pop_front().unwrap_or(Polled::Pending)
    }
}
