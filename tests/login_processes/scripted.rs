//! The scripted server, which is a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};
use tokenkeeper::callback::key_of_state;
use tokenkeeper::engine::law::ledger::LoginAccess;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::login::{
    AuthorizationCode, IssuedLogin, LoginSource, Polled, Preparation, Prepared, Redeemed, Redemption,
};
use tokenkeeper::engine::ports::store::PendingLogin;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer};
use tokenkeeper::{
    AccessToken, Callback, LoginOffer, LoginReason, LoginUrl, OfferedPrompt, RefreshToken, RenewalPlan, Scopes,
    ServerIdentity, TokenKind, Validity,
};

use crate::crew::{Crew, Requests, at_each_effect};

/// A login source whose server is a file.
#[derive(Debug)]
pub(crate) struct FileLogins {
    pub(crate) log: PathBuf,
    pub(crate) clock: Arc<SystemClock>,
}

impl FileLogins {
    fn note(&self, line: &str) {
        let mut log = OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
        // One write, so that lines of several processes do not mix.
        log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// The `state` of a pending login.
fn state_of(pending: &PendingLogin) -> String {
    String::from_utf8(pending.sealed.expose_secret().to_vec()).unwrap()
}

#[async_trait::async_trait]
impl LoginSource for FileLogins {
    async fn prepare(&self, _: &ServerIdentity, preparation: Preparation) -> Result<Prepared, LoginReason> {
        let state = format!("{:032x}", preparation.attempt.0);
        self.note(&format!("prepare {state}"));
        let sealed = SecretSlice::from(state.clone().into_bytes());
        Ok(Prepared { key: key_of_state(&state), expires: preparation.expires, sealed })
    }

    fn offer(&self, pending: &PendingLogin) -> Result<LoginOffer, LoginReason> {
        let url = LoginUrl::new(format!("https://as.example.com/authorize?state={}", state_of(pending)));
        Ok(LoginOffer { prompt: OfferedPrompt::Browser { url }, expires: pending.expires })
    }

    async fn read(&self, _: &PendingLogin, _: &Callback) -> Result<AuthorizationCode, LoginReason> {
        Ok(AuthorizationCode::new("code"))
    }

    async fn redeem(&self, _: &ServerIdentity, redemption: Redemption) -> Redeemed {
        let state = state_of(&redemption.pending);
        self.note(&format!("redeem {state}"));
        let client = Client { id: "c".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
        Redeemed::Issued(Box::new(IssuedLogin {
            binding: Binding {
                issuer: Issuer("https://as.example.com".to_owned()),
                client,
                token_endpoint: "https://as.example.com/token".to_owned(),
                revocation_endpoint: None,
                resource: None,
            },
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: Some(RefreshToken::new(format!("rt-{state}"))),
            access: Some(LoginAccess {
                token: AccessToken::new(format!("at-{state}")),
                kind: TokenKind::Bearer,
                validity: Validity::new(self.clock.now(), Some(Duration::from_secs(3_600))),
            }),
        }))
    }

    async fn poll(&self, _: &ServerIdentity, _: &PendingLogin) -> Polled {
        Polled::Ended(LoginReason::Refused)
    }
}

/// The number of times that each request was made, by its name. Checks that no code was presented twice.
fn counts(folder: &Path) -> BTreeMap<String, usize> {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let mut lines = BTreeMap::new();
    log.lines().for_each(|line| *lines.entry(line).or_insert(0) += 1);
    assert!(lines.values().all(|times| *times == 1), "a request was repeated: {log}");
    let mut counts = BTreeMap::new();
    lines.keys().for_each(|line| *counts.entry(line[..line.find(' ').unwrap()].to_owned()).or_insert(0) += 1);
    counts
}

/// The answer of a page.
async fn allow(page: String) -> String {
    format!("code=code&{}", page.split_once('?').unwrap().1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_with_fifty_callers_each_lead_to_one_prompt_and_one_code() {
    let folder = tempfile::tempdir().unwrap();
    let (offered, token) = Crew { folder: folder.path(), server: None }.all_sign_in(allow).await;
    assert_eq!(offered.len(), 1, "one caller opened a page");
    assert_eq!(token, format!("at-{}", offered[0].split_once("state=").unwrap().1));
    assert_eq!(counts(folder.path()), BTreeMap::from([("prepare".to_owned(), 1), ("redeem".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_effect_costs_a_prompt_at_most_and_the_next_process_signs_in() {
    at_each_effect(|death| async {
        let folder = tempfile::tempdir().unwrap();
        let opened = Mutex::new(BTreeSet::new());
        let open = |page: String| {
            // The tab that the first process opened is still there, if the prompt is the same.
            let is_known = !opened.lock().unwrap().insert(page.clone());
            assert!(!is_known || !counts(folder.path()).contains_key("redeem"));
            allow(page)
        };
        Crew { folder: folder.path(), server: None }.outlives(death, open).await;
        let counts = counts(folder.path());
        let count = |request: &str| counts.get(request).copied().unwrap_or_default();
        let found: Requests = (count("prepare"), count("redeem"));
        found
    })
    .await;
}
