//! The reservations of the store in memory. No two identities may hold the same refresh token.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ports::store::Reservation;
use crate::values::record::Record;
use crate::values::{KeyedDigest, ServerIdentity, WallTime};

/// The time for which a reservation waits for its install.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The reservations whose tokens are not in a record yet. The tokens that identities hold are found in the records themselves.
#[derive(Default)]
pub(super) struct Reservations(BTreeMap<KeyedDigest, Waiting>);

struct Waiting {
    identity: ServerIdentity,
    since: WallTime,
}

impl Reservations {
    /// Reserves `digest` for `identity`, unless another identity waits for it or holds it.
    pub(super) fn reserve(
        &mut self,
        records: &BTreeMap<ServerIdentity, Record>,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: WallTime,
    ) -> Reservation {
        self.0.retain(|_, waiting| now.since(waiting.since) < TIMEOUT);
        // Checks each record, because only logins reserve tokens, and logins are rare.
        let mut holders = records.iter().filter(|(_, record)| held(record) == Some(digest)).map(|(holder, _)| holder);
        let waiting = self.0.get(&digest).map(|waiting| &waiting.identity);
        if let Some(other) = holders.find(|holder| *holder != identity).or(waiting.filter(|other| *other != identity)) {
            return Reservation::HeldBy(other.clone());
        }
        self.0.insert(digest, Waiting { identity: identity.clone(), since: now });
        Reservation::Reserved
    }

    /// Notes a write. The reservations of tokens that the record holds, or held until now, do not wait any longer.
    pub(super) fn written(&mut self, identity: &ServerIdentity, before: Option<&Record>, after: &Record) {
        for digest in [before.and_then(held), held(after)].into_iter().flatten() {
            if self.0.get(&digest).is_some_and(|waiting| waiting.identity == *identity) {
                self.0.remove(&digest);
            }
        }
    }

    /// Notes the removal of an identity, which waits for nothing any more.
    pub(super) fn removed(&mut self, identity: &ServerIdentity) {
        self.0.retain(|_, waiting| waiting.identity != *identity);
    }
}

fn held(record: &Record) -> Option<KeyedDigest> {
    record.held().map(|held| held.credential.digest())
}
