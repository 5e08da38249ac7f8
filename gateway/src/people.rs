//! Persons. [`Identify`] turns a login at the first upstream into a subject of the gateway, [`Upstream`] is a provider at which
//! persons have sessions, and `People` stores which session belongs to which subject.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::{AuthSession, IdentityError, SessionSpec};

use crate::law::FamilyId;
use crate::store::{Entry, Expiring, GatewayStore, Key, Person, StoreTrouble, Swapped};

/// The maximum number of attempts at a change of a person. An attempt fails if another request changed the person meanwhile.
const TRIES: usize = 8;

/// Names the person of an upstream session that has just signed in.
///
/// A gateway asks it once for each login at its first upstream. Object safe.
#[async_trait]
pub trait Identify: fmt::Debug + Send + Sync + 'static {
    /// Returns the person whom the provider names for the session's token.
    ///
    /// The answer decides whose data the gateway serves. It therefore comes from the provider itself, over the session's own
    /// token, and never from a claim that the person can change, such as an e-mail address.
    ///
    /// # Errors
    ///
    /// [`IdentifyError`] if the provider does not answer, or names no person.
    async fn identify(&self, session: &AuthSession) -> Result<UpstreamUser, IdentifyError>;
}

/// Names persons by their [`UserContext`](tokenkeeper::user::UserContext), which comes from the provider's userinfo endpoint or by
/// its mapping.
#[derive(Clone, Debug)]
pub struct IdentifyByUser {
    issuer: String,
}

impl IdentifyByUser {
    /// Names persons under `issuer`, which is the provider's issuer or another name of the provider that never changes.
    pub fn at(issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into() }
    }
}

#[async_trait]
impl Identify for IdentifyByUser {
    async fn identify(&self, session: &AuthSession) -> Result<UpstreamUser, IdentifyError> {
        // Each login at the first upstream has an account, and so a session, of its own. `user` therefore asks the provider,
        // and cannot return the person of an earlier login.
        let user = session.user().await.map_err(|error| match error.is_transient() {
            true => IdentifyError::Unavailable { retry_after: error.retry_after() },
            // With each other error, this token will not name the person, and trying again does not help.
            false => IdentifyError::NoPerson,
        })?;
        Ok(UpstreamUser { issuer: self.issuer.clone(), subject: user.subject().to_owned() })
    }
}

/// A person, as a provider names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamUser {
    /// The issuer, or another name of the provider that never changes.
    pub issuer: String,
    /// The provider's identifier of the person, which it never gives to another one.
    pub subject: String,
}

impl UpstreamUser {
    /// The subject under which the gateway knows the person. It is the same in all replicas and after each restart.
    pub fn subject(&self) -> String {
        let mut digest = Sha256::new();
        digest.update((self.issuer.len() as u64).to_le_bytes());
        digest.update(&self.issuer);
        digest.update(&self.subject);
        let digest = digest.finalize();
        ["u-", &URL_SAFE_NO_PAD.encode(&digest[..18])].concat()
    }
}

/// Why a person could not be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {
    /// The provider does not answer now.
    #[error("the provider does not answer now: try again later")]
    Unavailable {
        /// The time after which trying again makes sense.
        retry_after: Option<Duration>,
    },
    /// The provider names no person for the token, or refuses to. Trying again does not help.
    #[error("the provider names no person for this sign-in: check the scopes that are asked for")]
    NoPerson,
}

/// An upstream provider at which each person has a session.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) spec: SessionSpec,
    pub(crate) scopes: Vec<String>,
}

impl Upstream {
    /// The provider of `spec`, under a name that the host chooses. The name is a part of URLs. The gateway replaces the account
    /// of `spec` by one for each person.
    pub fn new(name: impl Into<String>, spec: SessionSpec) -> Self {
        let name = name.into();
        Self { label: name.clone(), name, spec, scopes: Vec::new() }
    }

    /// The name that persons see. Default: the name that [`new`](Self::new) was given.
    #[must_use]
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// The scopes that logins ask for. Default: those that the session's target asks for.
    #[must_use]
    pub fn scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }

    /// The session of `account` at this upstream.
    pub(crate) fn session(&self, account: &str) -> Result<SessionSpec, IdentityError> {
        self.spec.clone().account(account)
    }
}

/// The persons in the store.
#[derive(Clone, Debug)]
pub(crate) struct People {
    store: Arc<dyn GatewayStore>,
}

/// Why a person could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeopleError {
    /// The store cannot be used, or other requests changed the person during each of the attempts.
    Trouble,
    /// The store has no room for a further person.
    Full,
}

impl From<StoreTrouble> for PeopleError {
    fn from(_: StoreTrouble) -> Self {
        Self::Trouble
    }
}

impl People {
    pub(crate) fn new(store: Arc<dyn GatewayStore>) -> Self {
        Self { store }
    }

    /// The stored person of a subject. [`Person::account`] is the account of the session at the first upstream. The sessions at
    /// other upstreams have the subject as their account.
    pub(crate) async fn person(&self, subject: &str, now: WallTime) -> Result<Option<Person>, StoreTrouble> {
        let stored = self.store.load(&Key::Person(subject.to_owned()), now).await?;
        Ok(stored.and_then(|stored| match stored.entry {
            Entry::Person(person) => Some(person),
            _ => None,
        }))
    }

    /// Makes `account` the person's account at the first upstream, and keeps the person until `expires`. A person who is not
    /// stored is added. Without an `account`, only a stored person is kept. Returns an account that the person no longer uses,
    /// which is neither the present one nor the one before.
    pub(crate) async fn settle(
        &self,
        subject: &str,
        account: Option<&str>,
        expires: WallTime,
        now: WallTime,
    ) -> Result<Option<String>, PeopleError> {
        let next = |present: Option<Person>| match (present, account.map(str::to_owned)) {
            // The person's session is another one from now on, because of a sign-in or an enrolment.
            (Some(present), Some(account)) if present.account != account => {
                let former = Some(present.account);
                Some(Person { account, former, ..present })
            }
            (None, Some(account)) => Some(Person { account, former: None, signed_out: None, families: Vec::new() }),
            // Nothing but the expiry changes.
            (present, _) => present,
        };
        let before = self.change(subject, next, expires, now).await?;
        let moved = before.filter(|before| account.is_some_and(|account| account != before.account));
        // A host may enroll an account again that the person had before the last one. It is then in use.
        Ok(moved.and_then(|before| before.former).filter(|former| Some(former.as_str()) != account))
    }

    /// Adds a family to [`Person::families`], and removes those in `gone`. A person who is not stored is not added. The person is
    /// kept until `expires`.
    pub(crate) async fn begins(
        &self,
        subject: &str,
        family: FamilyId,
        gone: &[FamilyId],
        expires: WallTime,
        now: WallTime,
    ) -> Result<(), PeopleError> {
        let next = |present: Option<Person>| {
            let mut person = present?;
            person.families.retain(|known| !gone.contains(known));
            person.families.push(family);
            Some(person)
        };
        self.change(subject, next, expires, now).await.map(drop)
    }

    /// Notes that the subject has signed out now. Each later use of a cookie or token that began until now is refused
    /// ([`Person::has_ended`]). For a subject who is not stored, nothing is written.
    pub(crate) async fn sign_out(&self, subject: &str, expires: WallTime, now: WallTime) -> Result<(), PeopleError> {
        let next = |present: Option<Person>| Some(Person { signed_out: Some(now.as_millis()), ..present? });
        self.change(subject, next, expires, now).await.map(drop)
    }

    /// Makes a change, and returns the person as stored before it. `next` computes the person to be stored, or `None` if nothing
    /// is to be written.
    async fn change(
        &self,
        subject: &str,
        next: impl Fn(Option<Person>) -> Option<Person>,
        expires: WallTime,
        now: WallTime,
    ) -> Result<Option<Person>, PeopleError> {
        let key = Key::Person(subject.to_owned());
        for _ in 0..TRIES {
            let stored = self.store.load(&key, now).await?;
            let revision = stored.as_ref().map(|stored| stored.revision);
            let present = stored.and_then(|stored| match stored.entry {
                Entry::Person(person) => Some(person),
                _ => None,
            });
            let Some(person) = next(present.clone()) else { return Ok(present) };
            let entry = Some(Expiring { entry: Entry::Person(person), expires });
            match self.store.swap(&key, revision, entry, now).await? {
                Swapped::Done => return Ok(present),
                Swapped::Full => return Err(PeopleError::Full),
                Swapped::Moved => {}
            }
        }
        Err(PeopleError::Trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryGatewayStore;

    #[tokio::test]
    async fn a_person_has_a_present_and_a_former_account_and_older_ones_are_of_no_use() {
        let people = People::new(Arc::new(MemoryGatewayStore::default()));
        let (now, expires) = (WallTime::from_millis(1), WallTime::from_millis(1_000));
        let settle = async |account| people.settle("u-1", account, expires, now).await.unwrap();
        assert_eq!(settle(Some("one")).await, None);
        assert_eq!(settle(Some("one")).await, None);
        assert_eq!(settle(Some("two")).await, None);
        assert_eq!(settle(Some("two")).await, None, "a repetition moves nothing");
        assert_eq!(settle(None).await, None);
        assert_eq!(settle(Some("one")).await, None, "a host enrolls the former account again");
        assert_eq!(settle(Some("three")).await, Some("two".to_owned()));
        let person = people.person("u-1", now).await.unwrap().unwrap();
        assert_eq!((person.account.as_str(), person.former.as_deref()), ("three", Some("one")));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    #[expect(clippy::disallowed_methods, reason = "a race needs tasks; the set owns them")]
    async fn replicas_that_settle_one_person_at_once_find_no_account_in_use_to_be_of_no_use() {
        let people = People::new(Arc::new(MemoryGatewayStore::default()));
        let (now, expires) = (WallTime::from_millis(1), WallTime::from_millis(1_000));
        let mut replicas = tokio::task::JoinSet::new();
        for number in 0..6 {
            let people = people.clone();
            let account = format!("login-{number}");
            replicas.spawn(async move { people.settle("u-1", Some(&account), expires, now).await.unwrap() });
        }
        let unused: Vec<Option<String>> = replicas.join_all().await;
        let mut known: Vec<String> = unused.into_iter().flatten().collect();
        let person = people.person("u-1", now).await.unwrap().unwrap();
        known.extend([person.account, person.former.unwrap()]);
        known.sort();
        let each: Vec<String> = (0..6).map(|number| format!("login-{number}")).collect();
        assert_eq!(known, each, "each account is in use or of no use, and none is both");
    }

    #[test]
    fn a_subject_belongs_to_one_issuer() {
        let user = |issuer: &str, subject: &str| {
            UpstreamUser { issuer: issuer.to_owned(), subject: subject.to_owned() }.subject()
        };
        assert_eq!(user("https://a.example", "1"), user("https://a.example", "1"));
        assert_ne!(user("https://a.example", "1"), user("https://b.example", "1"));
        assert_ne!(user("https://a.example/1", "2"), user("https://a.example/", "12"));
    }
}
