//! Families of tokens in the store. A request reads the family, is judged by it, and writes the change only if the family is
//! still the one that was read. Of several requests at once, one changes the family, and the others read it again. No process
//! holds a lock.

use std::sync::Arc;

use tokenkeeper::engine::values::WallTime;

use crate::law::{Change, Family, FamilyId, Grant, Issue, Limits, Phase, Question, Refusal};
use crate::people::People;
use crate::store::{Entry, Expiring, GatewayStore, Key, Person, Revision, StoreTrouble, Swapped};

/// The maximum number of families of one person, so that one person cannot fill the store.
const MAX_OF_PERSON: usize = 100;

/// The maximum number of times that a request reads the family. It reads again after each change by another request. Within
/// [`Limits::grace`] one change is enough for all, because the refreshes after it are answered without a change.
const TRIES: usize = 16;

/// The families in the store, with the rules that judge requests by them.
#[derive(Clone, Debug)]
pub(crate) struct Families {
    store: Arc<dyn GatewayStore>,
    people: People,
    limits: Limits,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FamilyError {
    /// The request was judged, and refused.
    Refused(Refusal),
    /// The family is not in the store, because it has ended or was never stored, or its person has signed out since it began.
    Ended,
    /// The store has no room for a further family.
    Full,
    /// The store cannot be used, or other requests changed the family at each attempt.
    Trouble,
}

impl From<StoreTrouble> for FamilyError {
    fn from(_: StoreTrouble) -> Self {
        Self::Trouble
    }
}

impl Families {
    pub(crate) fn new(store: Arc<dyn GatewayStore>, limits: Limits) -> Self {
        Self { people: People::new(Arc::clone(&store)), store, limits }
    }

    /// Stores a new family, before its code is issued.
    pub(crate) async fn offer(
        &self,
        id: FamilyId,
        grant: Grant,
        challenge: String,
        redirect: String,
        now: WallTime,
    ) -> Result<(), FamilyError> {
        let family = Family { grant, began: now.as_millis(), phase: Phase::Offered { challenge, redirect } };
        let expires = family.expires(&self.limits);
        let next = Some(Expiring { entry: Entry::Family(family), expires });
        match self.store.swap(&Key::Family(id), None, next, now).await? {
            Swapped::Done => Ok(()),
            Swapped::Full => Err(FamilyError::Full),
            // Identifiers are 128 random bits, so that no other family has this one.
            Swapped::Moved => Err(FamilyError::Trouble),
        }
    }

    /// Makes room for a further family of a person, if the person has [`MAX_OF_PERSON`]. The families that were not used for the
    /// longest are removed. Returns those, and the families in [`Person::families`] that had ended before.
    pub(crate) async fn make_room(&self, subject: &str, now: WallTime) -> Result<Vec<FamilyId>, StoreTrouble> {
        let known = self.people.person(subject, now).await?.map(|person| person.families).unwrap_or_default();
        let (mut gone, mut alive) = (Vec::new(), Vec::new());
        if known.len() < MAX_OF_PERSON {
            return Ok(gone);
        }
        for id in known {
            match self.load(&Key::Family(id), now).await? {
                Some((family, revision)) => alive.push((family.used(), id, revision)),
                None => gone.push(id),
            }
        }
        alive.sort_by_key(|(used, id, _)| (*used, *id));
        let spare = alive.len().saturating_sub(MAX_OF_PERSON - 1);
        for (_, id, revision) in alive.into_iter().take(spare) {
            // A family that changes at this moment stays, and may be removed the next time.
            if self.store.swap(&Key::Family(id), Some(revision), None, now).await? == Swapped::Done {
                gone.push(id);
            }
        }
        Ok(gone)
    }

    /// Judges a request by the family ([`Family::judge`]), and stores the change before it returns the answer.
    pub(crate) async fn ask(
        &self,
        id: FamilyId,
        question: Question<'_>,
        now: WallTime,
    ) -> Result<(Issue, Grant), FamilyError> {
        let key = Key::Family(id);
        for _ in 0..TRIES {
            let (family, revision) = self.load(&key, now).await?.ok_or(FamilyError::Ended)?;
            let person = self.people.person(&family.grant.subject, now).await?;
            if person.is_some_and(|person| person.has_ended(family.began)) {
                return Err(FamilyError::Ended);
            }
            let verdict = family.judge(question, now, &self.limits);
            let next = match verdict.change {
                Change::None => return answer(verdict.answer, family),
                Change::Remove => None,
                Change::Store(next) => {
                    let expires = next.expires(&self.limits);
                    Some(Expiring { entry: Entry::Family(next), expires })
                }
            };
            match self.store.swap(&key, Some(revision), next, now).await? {
                Swapped::Done => return answer(verdict.answer, family),
                Swapped::Moved => {}
                Swapped::Full => return Err(FamilyError::Full),
            }
        }
        Err(FamilyError::Trouble)
    }

    /// The grant and the person of the family's access token with this number. `None` if `resource` does not accept the token
    /// now, if the family or the person is not in the store, or if the person has signed out since the family began.
    pub(crate) async fn admitted(
        &self,
        id: FamilyId,
        number: u32,
        resource: &str,
        now: WallTime,
    ) -> Result<Option<(Grant, Person)>, StoreTrouble> {
        let family = self.load(&Key::Family(id), now).await?.map(|(family, _)| family);
        let Some(family) = family.filter(|family| family.admits(number, resource, now, &self.limits)) else {
            return Ok(None);
        };
        let person = self.people.person(&family.grant.subject, now).await?;
        Ok(person.filter(|person| !person.has_ended(family.began)).map(|person| (family.grant, person)))
    }

    async fn load(&self, key: &Key, now: WallTime) -> Result<Option<(Family, Revision)>, StoreTrouble> {
        Ok(self.store.load(key, now).await?.and_then(|stored| match stored.entry {
            Entry::Family(family) => Some((family, stored.revision)),
            _ => None,
        }))
    }
}

fn answer(answer: Result<Issue, Refusal>, family: Family) -> Result<(Issue, Grant), FamilyError> {
    answer.map(|issue| (issue, family.grant)).map_err(FamilyError::Refused)
}
