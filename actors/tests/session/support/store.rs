//! A store of one record that uses the real ledger. Sessions, flights and siblings read and write it.

use std::fmt;
use std::time::Duration;

use tokenkeeper_actors::law::ledger::{Change, Changed, Commit, Login, LoginAccess, apply};
use tokenkeeper_actors::values::record::{
    Access, Binding, Client, ClientAuth, Content, Issuer, Mark, MarkState, Record, RefreshCredential, View,
};
use tokenkeeper_actors::values::{
    AccessToken, Cause, ClientSecret, DigestKey, DpopKey, FlightId, Lease, Moment, RefreshToken, RenewalPlan, Scopes,
    TokenKind, Validity,
};

/// The issuer of every login in these tests.
pub(crate) const ISSUER: &str = "https://as.example.com";

/// The key of the store's digests.
pub(crate) fn digests() -> DigestKey {
    DigestKey::new([7; 32])
}

/// The binding of every grant in these tests.
pub(crate) fn binding() -> Binding {
    Binding {
        issuer: Issuer(ISSUER.to_owned()),
        client: Client { id: "client".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
        token_endpoint: format!("{ISSUER}/token"),
        revocation_endpoint: Some(format!("{ISSUER}/revoke")),
        resource: Some("https://mcp.example.com/mcp".to_owned()),
    }
}

/// The beginnings of a store's secrets. A number follows, which makes each access and refresh token different.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) access: &'static str,
    pub(crate) refresh: &'static str,
    pub(crate) client: Option<&'static str>,
    pub(crate) key: Option<&'static str>,
}

/// The secrets must not be shown by the test itself.
impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks(…)")
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { access: "at-", refresh: "rt-", client: None, key: None }
    }
}

/// A login like one of a host, with a refresh token of this name, and an access token for `lifetime` from `at` on.
pub(crate) fn login(refresh: &str, lifetime: Option<Duration>, at: Moment) -> Login {
    Login {
        binding: binding(),
        requested: Scopes::default(),
        granted: Scopes::default(),
        subject: None,
        dpop_key: None,
        renewal: RenewalPlan::default(),
        refresh: Some(RefreshCredential::new(RefreshToken::new(refresh), &digests())),
        access: Some(LoginAccess {
            token: AccessToken::new("at-login"),
            kind: TokenKind::Bearer,
            validity: Validity::new(at, lifetime),
        }),
        at,
        begun_on: None,
    }
}

/// The one record, and the names of the refresh tokens given out so far.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) record: Option<Record>,
    pub(crate) marks: Marks,
    /// The plan of the logins and mints to come.
    pub(crate) renewal: RenewalPlan,
    refreshes: u32,
}

impl Store {
    /// An empty store whose secrets will begin like this.
    pub(crate) fn marked(marks: Marks) -> Self {
        Self { marks, ..Self::default() }
    }

    /// Everything stored, now and later, is renewed by `plan`.
    pub(crate) fn renew_by(&mut self, plan: &RenewalPlan) {
        self.renewal = plan.clone();
        if let Some(Record { content: Content::Grant(grant), .. }) = &mut self.record {
            grant.renewal = plan.clone();
        }
    }

    /// One atomic write, as in every store.
    pub(crate) fn change(&mut self, change: &Change) -> Changed {
        match apply(self.record.as_ref(), change) {
            Ok(after) => {
                let before = self.record.replace(after.clone()).map(Box::new);
                Changed::Applied { before, after: Box::new(after) }
            }
            Err(why) => Changed::Conflict { why, current: self.record.clone().map(Box::new) },
        }
    }

    pub(crate) fn view(&self) -> Option<Box<View>> {
        self.record.as_ref().map(|record| Box::new(record.view()))
    }

    /// The identity signs in, here or elsewhere.
    pub(crate) fn sign_in(&mut self, lifetime: Option<Duration>, at: Moment) {
        let login = self.login(lifetime, at);
        assert!(matches!(self.change(&Change::Install(Box::new(login))), Changed::Applied { .. }));
    }

    /// A login with secrets of its own.
    pub(crate) fn login(&mut self, lifetime: Option<Duration>, at: Moment) -> Login {
        let mut login = login(&self.new_refresh(), lifetime, at);
        if let Some(access) = &mut login.access {
            access.token = AccessToken::new(format!("{}login", self.marks.access));
        }
        login.binding.client.secret = self.marks.client.map(ClientSecret::new);
        login.dpop_key = self.marks.key.map(DpopKey::new);
        login.renewal = self.renewal.clone();
        login
    }

    /// The identity logs out, here or elsewhere.
    pub(crate) fn sign_out(&mut self) {
        let epoch = self.record.as_ref().map(|record| record.epoch).unwrap_or_default();
        assert!(matches!(self.change(&Change::Clear { epoch }), Changed::Applied { .. }));
    }

    /// The mark that a flight writes before it presents the refresh token.
    pub(crate) fn mark(&mut self, flight: FlightId, at: Moment) {
        let record = self.record.as_ref().expect("a record");
        let digest = record.held().expect("a refresh token").credential.digest();
        let mark = Mark {
            flight,
            digest,
            presentations: 1,
            number: record.number + 1,
            first: at,
            latest: at,
            timeout: Duration::from_secs(30),
            state: MarkState::Open,
        };
        let expected = record.version();
        assert!(matches!(self.change(&Change::Mark { expected, mark }), Changed::Applied { .. }));
    }

    /// The commit of a flight after its mark, to be written now, later or never.
    pub(crate) fn commit(&mut self, flight: FlightId, cause: Cause, validity: Validity) -> Commit {
        let refresh = self.new_refresh();
        let record = self.record.as_ref().expect("a record");
        Commit {
            epoch: record.epoch,
            sent: record.held().map(|held| held.credential.digest()),
            repeated: false,
            access: self.access(record.number, flight, cause, validity),
            refresh: Some(RefreshCredential::new(RefreshToken::new(refresh), &digests())),
            granted: None,
            subject: None,
            binding: None,
            renewal: RenewalPlan::default(),
            at: validity.anchored(),
        }
    }

    /// A whole refresh by any process: marked, answered and stored.
    pub(crate) fn refresh(&mut self, flight: FlightId, cause: Cause, validity: Validity) -> Lease {
        self.mark(flight, validity.anchored());
        let commit = self.commit(flight, cause, validity);
        assert!(matches!(self.change(&Change::Commit(Box::new(commit))), Changed::Applied { .. }));
        self.lease()
    }

    /// A whole mint of a repeatable source, without a mark or a rotation.
    pub(crate) fn mint(&mut self, flight: FlightId, cause: Cause, validity: Validity) -> Lease {
        let record = self.record.as_ref();
        let commit = Commit {
            epoch: record.map(|record| record.epoch).unwrap_or_default(),
            sent: None,
            repeated: false,
            access: self.access(record.map_or(0, |record| record.number) + 1, flight, cause, validity),
            refresh: None,
            granted: None,
            subject: None,
            binding: Some(binding()),
            renewal: self.renewal.clone(),
            at: validity.anchored(),
        };
        assert!(matches!(self.change(&Change::Commit(Box::new(commit))), Changed::Applied { .. }));
        self.lease()
    }

    pub(crate) fn lease(&self) -> Lease {
        self.record.as_ref().and_then(Record::lease).expect("a lease")
    }

    pub(crate) fn new_refresh(&mut self) -> String {
        self.refreshes += 1;
        format!("{}{}", self.marks.refresh, self.refreshes)
    }

    fn access(&self, number: u64, flight: FlightId, cause: Cause, validity: Validity) -> Access {
        let token = AccessToken::new(format!("{}{number}", self.marks.access));
        Access { token, kind: TokenKind::Bearer, validity, number, cause, flight: Some(flight) }
    }
}
