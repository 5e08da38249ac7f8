//! Helpers of the checks.

use std::sync::Arc;

use tokenkeeper_actors::values::WallTime;
use tokenkeeper_gateway::store::{Entry, Expiring, GatewayStore, Key, Person, Revision, StoreTrouble, Stored, Swapped};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

pub(super) use crate::contract::{Breach, ensure, same};
use crate::contract::{Outcome, Verdict};

/// The number of contenders in a race, and the number of its rounds.
pub(super) const CONTENDERS: usize = 16;
pub(super) const ROUNDS: usize = 8;

pub(super) const KEPT: Verdict = Ok(Outcome::Kept);

/// The wall time of most changes, and the end of most entries, which is an hour later.
pub(super) const NOW: u64 = 1_700_000_000_000;
pub(super) const END: u64 = NOW + 3_600_000;

/// A store under test has no reason to fail, so that trouble is a breach.
impl From<StoreTrouble> for Breach {
    fn from(_: StoreTrouble) -> Self {
        Self::new("an operation failed with StoreTrouble")
    }
}

pub(super) fn at(millis: u64) -> WallTime {
    WallTime::from_millis(millis)
}

pub(super) fn person(account: impl Into<String>) -> Entry {
    Entry::Person(Person { account: account.into(), former: None, signed_out: None, families: Vec::new() })
}

/// A store with the times of the checks.
#[derive(Clone)]
pub(super) struct Handle(pub(super) Arc<dyn GatewayStore>);

impl Handle {
    pub(super) async fn load(&self, key: &Key) -> Result<Option<Stored>, Breach> {
        Ok(self.0.load(key, at(NOW)).await?)
    }

    pub(super) async fn swap(
        &self,
        key: &Key,
        expected: Option<Revision>,
        next: Option<Entry>,
    ) -> Result<Swapped, StoreTrouble> {
        let next = next.map(|entry| Expiring { entry, expires: at(END) });
        self.0.swap(key, expected, next, at(NOW)).await
    }

    /// Makes a change that must be made, and returns the entry's revision.
    pub(super) async fn put(&self, key: &Key, expected: Option<Revision>, entry: Entry) -> Result<Revision, Breach> {
        self.put_until(key, expected, entry, END).await
    }

    /// The same, for an entry that ends at `end`.
    pub(super) async fn put_until(
        &self,
        key: &Key,
        expected: Option<Revision>,
        entry: Entry,
        end: u64,
    ) -> Result<Revision, Breach> {
        let next = Some(Expiring { entry: entry.clone(), expires: at(end) });
        let swapped = self.0.swap(key, expected, next, at(NOW)).await?;
        same("the answer to a change from the present revision", swapped, Swapped::Done)?;
        let stored = self.load(key).await?;
        let stored = stored.ok_or_else(|| Breach::new("an entry was stored, and is not there"))?;
        same("what is loaded after a change", stored.entry, entry)?;
        Ok(stored.revision)
    }

    /// Makes a change that must be refused.
    pub(super) async fn moved(&self, key: &Key, expected: Option<Revision>, next: Option<Entry>) -> Result<(), Breach> {
        let shown = format!("the answer to a change from the revision {expected:?}");
        same(&shown, self.swap(key, expected, next).await?, Swapped::Moved)
    }

    /// The entry at `key` must be this one, at this revision.
    pub(super) async fn holds(&self, key: &Key, entry: Entry, revision: Revision) -> Result<(), Breach> {
        same("the stored entry", self.load(key).await?, Some(Stored { entry, revision }))
    }
}

/// The results of contenders that begin at the same moment, in their order.
#[expect(clippy::disallowed_methods, reason = "a race needs tasks; the set owns them")]
pub(super) async fn at_once<F>(contenders: impl IntoIterator<Item = F>) -> Result<Vec<Swapped>, Breach>
where
    F: Future<Output = Result<Swapped, StoreTrouble>> + Send + 'static,
{
    let contenders: Vec<F> = contenders.into_iter().collect();
    let gate = Arc::new(Barrier::new(contenders.len()));
    let mut tasks = JoinSet::new();
    for (place, contender) in contenders.into_iter().enumerate() {
        let gate = Arc::clone(&gate);
        tasks.spawn(async move {
            gate.wait().await;
            (place, contender.await)
        });
    }
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        let (place, result) = result.map_err(|error| Breach::new(format!("an operation broke off: {error}")))?;
        results.push((place, result?));
    }
    results.sort_by_key(|(place, _)| *place);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// The place of the one contender whose change was made. For all others, the entry must have moved.
pub(super) fn one_winner(results: &[Swapped]) -> Result<usize, Breach> {
    let done: Vec<_> = (0..results.len()).filter(|place| results[*place] == Swapped::Done).collect();
    let moved = results.iter().filter(|result| **result == Swapped::Moved).count();
    match done.as_slice() {
        [winner] if moved == results.len() - 1 => Ok(*winner),
        _ => Err(Breach::new(format!(
            "of {} changes at once, {} were made and {moved} moved",
            results.len(),
            done.len()
        ))),
    }
}
