//! Faults in issuers' entries.

use std::time::Duration;

use tokenkeeper_actors::law::ledger::{EntryChange, EntryChanged, apply_entry};
use tokenkeeper_actors::ports::store::{StoreEvent, TokenStore};
use tokenkeeper_actors::values::issuer::{EntryContent, EntryKind, IssuerEntry, IssuerKey, RegistrationName};
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{Account, BootId, Revision, ServerIdentity, StoreFault, Target};
use tokio::task::yield_now;

use super::Fault;
use super::store::Faulty;

impl Faulty {
    pub(super) async fn loaded_entry(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        let entry = self.behind().load_issuer(&self.filed(key.clone())).await?;
        Ok(self.spoiled_entry(entry))
    }

    pub(super) async fn listed_entries(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        let mut list = self.behind().list_issuers().await?;
        if self.has(Fault::EntryListForgetsRemoved) {
            let mut alive = Vec::new();
            for key in list {
                let entry = self.behind().load_issuer(&key).await?;
                if entry.is_some_and(|entry| entry.content.is_some()) {
                    alive.push(key);
                }
            }
            list = alive;
        }
        if self.has(Fault::EntryListRepeats) {
            list.extend(list.first().cloned());
        }
        Ok(list)
    }

    /// The issuers with an entry, as listed by a store that keeps entries among the records.
    pub(super) async fn issuers_as_identities(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        let keys = self.behind().list_issuers().await?;
        let targets = keys.iter().filter_map(|key| Target::idp(&key.issuer.0).ok());
        Ok(targets.map(|target| ServerIdentity::new(Account::default(), target)).collect())
    }

    pub(super) async fn entry_changed(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        let told = IssuerKey { issuer: issuer.clone(), kind: change.kind() };
        let removal = matches!(change, EntryChange::Remove { .. });
        if let EntryChange::Put { content: EntryContent::Registration(registration), .. } = &change
            && self.has(Fault::ShowsAClientSecret)
            && let Some(secret) = &registration.client.secret
        {
            self.notes().seen = secret.expose().to_owned();
        }
        let comes_first = self.has(Fault::EntryNewsComesFirst);
        if comes_first {
            self.tell(StoreEvent::IssuerChanged(told.clone()), removal);
            for _ in 0..4 {
                yield_now().await;
            }
        }
        let answer = self.write_entry(issuer, change).await?;
        if matches!(answer, EntryChanged::Applied(_)) && !comes_first {
            self.tell(StoreEvent::IssuerChanged(told), removal);
        }
        Ok(match answer {
            EntryChanged::Applied(entry) => match self.spoiled_entry(Some(entry.clone())) {
                Some(spoiled) => EntryChanged::Applied(spoiled),
                None => EntryChanged::Applied(entry),
            },
            EntryChanged::Conflict(_) if self.has(Fault::EntryConflictShowsNothing) => EntryChanged::Conflict(None),
            EntryChanged::Conflict(current) => EntryChanged::Conflict(self.spoiled_entry(current)),
        })
    }

    async fn write_entry(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        let key = self.filed(IssuerKey { issuer: issuer.clone(), kind: change.kind() });
        let mut change = renamed(change, &key.kind);
        let current = self.behind().load_issuer(&key).await?;
        let Some(entry) = current.as_deref() else {
            if let EntryChange::Put { expected, .. } = &mut change
                && self.has(Fault::EntryComparesNothing)
            {
                *expected = None;
            }
            return self.behind().change_issuer(&key.issuer, change).await;
        };
        let creates = matches!(change, EntryChange::Put { expected: None, .. });
        let over = match self.shared.fault {
            Some(Fault::EntryComparesNothing) => true,
            Some(Fault::EntryIsCreatedTwice) => creates && entry.content.is_some(),
            Some(Fault::RemovalForgetsTheRevision | Fault::CreatesOverARemovedEntry) => {
                creates && entry.content.is_none()
            }
            _ => false,
        };
        let judged = apply_entry(Some(entry), &change);
        if self.has(Fault::EntryReadsThenWrites) {
            let Ok(after) = judged else { return Ok(EntryChanged::Conflict(current)) };
            self.read_beside_another().await;
            while let Some(entry) = self.behind().load_issuer(&key).await? {
                let write = at_revision(change.clone(), entry.revision);
                if let EntryChanged::Applied(_) = self.behind().change_issuer(&key.issuer, write).await? {
                    break;
                }
            }
            return Ok(EntryChanged::Applied(Box::new(after)));
        }
        if self.has(Fault::EntryRefusalMovesTheRevision)
            && judged.is_err()
            && let Some(content) = &entry.content
        {
            let put = EntryChange::Put { expected: Some(entry.revision), content: content.clone() };
            self.behind().change_issuer(&key.issuer, put).await?;
            return Ok(EntryChanged::Conflict(current));
        }
        let change = if over { at_revision(change, entry.revision) } else { change };
        self.behind().change_issuer(&key.issuer, change).await
    }

    /// The entry as this store returns it.
    fn spoiled_entry(&self, entry: Option<Box<IssuerEntry>>) -> Option<Box<IssuerEntry>> {
        let Some(mut entry) = entry else {
            let made_up = || Box::new(IssuerEntry { revision: Revision::new(1), content: None });
            return self.has(Fault::MakesEntriesUp).then(made_up);
        };
        match (self.shared.fault, &mut entry.content) {
            (Some(Fault::RemovalForgetsTheRevision), None) => return None,
            (Some(Fault::EntryLosesItsManagement), Some(EntryContent::Registration(registration))) => {
                registration.management = None;
            }
            (Some(Fault::EntryTakesStaleForUnknown), Some(EntryContent::Metadata(metadata))) => {
                metadata.fresh_for = metadata.fresh_for.filter(|span| *span > Duration::ZERO);
            }
            (Some(Fault::CooldownLosesItsBoot), Some(EntryContent::Cooldown(cooldown))) => {
                cooldown.began.boot = BootId::default();
            }
            (Some(Fault::EntryLosesSignsBeyondAscii), Some(EntryContent::Metadata(metadata))) => {
                metadata.document.retain(|c| c.is_ascii());
            }
            _ => {}
        }
        Some(entry)
    }

    /// The store that keeps the entries.
    fn behind(&self) -> &dyn TokenStore {
        if self.has(Fault::EntryIsOfOneProcess) { &self.alone } else { self.inner() }
    }

    /// The key under which this store keeps the entry.
    fn filed(&self, mut key: IssuerKey) -> IssuerKey {
        match self.shared.fault {
            Some(Fault::EntryKnowsNoIssuer) => key.issuer.0.clear(),
            Some(Fault::EntryFoldsCase) => key.issuer.0.make_ascii_lowercase(),
            Some(Fault::EntryKnowsNoKind) if key.kind == EntryKind::Cooldown => key.kind = EntryKind::Metadata,
            Some(Fault::EntryKnowsNoName) if matches!(key.kind, EntryKind::Registration(_)) => {
                key.kind = EntryKind::Registration(RegistrationName::new("any").unwrap());
            }
            _ => {}
        }
        key
    }
}

/// The same change at another revision.
fn at_revision(mut change: EntryChange, revision: Revision) -> EntryChange {
    match &mut change {
        EntryChange::Put { expected, .. } => *expected = Some(revision),
        EntryChange::Remove { expected, .. } => *expected = revision,
    }
    change
}

/// The same change to the entry of this kind.
fn renamed(mut change: EntryChange, to: &EntryKind) -> EntryChange {
    match (&mut change, to) {
        (EntryChange::Remove { kind, .. }, to) => *kind = to.clone(),
        (EntryChange::Put { content: EntryContent::Registration(registration), .. }, EntryKind::Registration(name)) => {
            registration.name = name.clone();
        }
        (EntryChange::Put { .. }, _) => {}
    }
    change
}
