//! Faults in removals.

use tokenkeeper_actors::law::ledger::{Change, remove};
use tokenkeeper_actors::ports::store::{Removal, TokenStore};
use tokenkeeper_actors::values::record::Content;
use tokenkeeper_actors::values::{Moment, ServerIdentity, StoreFault, Version};

use super::Fault;
use super::store::Faulty;

impl Faulty {
    pub(super) async fn removed(&self, identity: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault> {
        let current = self.inner().load(identity).await?;
        let version = current.as_ref().map_or(expected, |record| record.version());
        match self.shared.fault {
            Some(Fault::RemovalIsNothing) => match remove(current.as_deref(), expected) {
                Ok(()) => Ok(Removal::Done),
                Err(_) => Ok(Removal::Conflict { current }),
            },
            Some(Fault::RemovalKeepsTheLogins) => {
                let logins = self.inner().pending_logins(Moment::default()).await?;
                let removal = self.inner().remove(identity, expected).await?;
                for (key, login) in logins {
                    self.inner().put_login(key, login).await?;
                }
                Ok(removal)
            }
            Some(Fault::RemovalTakesAll) => {
                for other in self.inner().list().await?.iter().filter(|other| *other != identity) {
                    self.remove_anyway(other).await?;
                }
                self.inner().remove(identity, expected).await
            }
            Some(Fault::RemovalComparesNothing) => self.remove_anyway(identity).await,
            Some(Fault::RemovalIgnoresTheVersion) => self.inner().remove(identity, version).await,
            Some(Fault::RemovalReadsThenRemoves) if remove(current.as_deref(), expected).is_ok() => {
                self.read_beside_another().await;
                self.remove_anyway(identity).await
            }
            Some(Fault::RemovalShowsNothing) => match self.inner().remove(identity, expected).await? {
                Removal::Conflict { .. } => Ok(Removal::Conflict { current: None }),
                Removal::Done => Ok(Removal::Done),
            },
            _ => self.inner().remove(identity, expected).await,
        }
    }

    /// Removes an identity. Its login, if it has one, is ended first.
    async fn remove_anyway(&self, identity: &ServerIdentity) -> Result<Removal, StoreFault> {
        let Some(record) = self.inner().load(identity).await? else { return Ok(Removal::Conflict { current: None }) };
        if record.content != Content::Tombstone || record.prompt.is_some() {
            self.inner().change(identity, Change::Clear { epoch: record.epoch }).await?;
        }
        let cleared = self.inner().load(identity).await?;
        self.inner().remove(identity, cleared.unwrap_or(record).version()).await
    }
}
