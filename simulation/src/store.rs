//! The simulated store. It makes atomic changes to records with the shipped ledger, and grants claims of two kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenkeeper_actors::law::ledger::{self, Change, Changed};
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, PendingLogin, Predecessor, Renewed};
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{BootId, DigestKey, FlightId, KeyedDigest, LoginKey, ServerIdentity, WallTime};

use crate::Millis;
use crate::config::StoreKind;

/// The process that asks for a claim, as far as the store can identify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) flight: FlightId,
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) host: usize,
    pub(crate) boot: BootId,
}

#[derive(Clone, Debug)]
struct Held {
    by: Holder,
    /// The expiry of the lease by the store's clock, which is true. `None` for a kernel lock.
    until: Option<Millis>,
}

/// The stored state of one identity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) record: Option<Record>,
    claims: BTreeMap<ClaimScope, Held>,
    /// Holders whose lease expired, and that have not contacted the store since.
    lost: BTreeMap<ClaimScope, Vec<Holder>>,
}

#[derive(Debug)]
pub(crate) struct SimStore {
    pub(crate) kind: StoreKind,
    pub(crate) key: DigestKey,
    pub(crate) rows: Vec<Row>,
    /// Refresh tokens reserved for an identity, each with the end of its reservation. Tokens in records are not
    /// listed.
    reserved: BTreeMap<KeyedDigest, (usize, Millis)>,
    /// The order in which flights got their claims.
    claimed: BTreeMap<FlightId, u64>,
    /// Logins that wait for a person.
    pending: BTreeMap<LoginKey, PendingLogin>,
    /// Flights that lost their claim through a fault of the store.
    pub(crate) robbed: BTreeSet<FlightId>,
}

/// The duration of a reservation, for the install that follows.
const RESERVED_FOR: Millis = 600_000;

impl SimStore {
    pub(crate) fn new(kind: StoreKind, identities: usize) -> Self {
        Self {
            kind,
            key: DigestKey::new([7; 32]),
            rows: vec![Row::default(); identities],
            reserved: BTreeMap::new(),
            claimed: BTreeMap::new(),
            pending: BTreeMap::new(),
            robbed: BTreeSet::new(),
        }
    }

    pub(crate) fn record(&self, identity: usize) -> Option<&Record> {
        self.rows[identity].record.as_ref()
    }

    /// Reads, judges and writes in one step.
    pub(crate) fn change(&mut self, identity: usize, change: &Change) -> Changed {
        let row = &mut self.rows[identity];
        match ledger::apply(row.record.as_ref(), change) {
            Ok(next) => {
                if let Change::Commit(commit) = change {
                    // It settles what earlier holders did. One that claimed later may still act.
                    let order = |flight: &FlightId| self.claimed.get(flight).copied().unwrap_or_default();
                    let by = commit.access.flight.map_or(u64::MAX, |flight| order(&flight));
                    if let Some(lost) = row.lost.get_mut(&ClaimScope::Spend(commit.epoch)) {
                        lost.retain(|holder| order(&holder.flight) > by);
                    }
                }
                let before = row.record.replace(next.clone());
                Changed::Applied { before: before.map(Box::new), after: Box::new(next) }
            }
            Err(why) => Changed::Conflict { why, current: row.record.clone().map(Box::new) },
        }
    }

    pub(crate) fn claim(
        &mut self,
        identity: usize,
        scope: ClaimScope,
        by: Holder,
        at_least: Duration,
        now: Millis,
    ) -> ClaimAnswer {
        let leased = self.kind != StoreKind::Kernel;
        let knows_boots = self.kind == StoreKind::Leased { knows_boots: true };
        let row = &mut self.rows[identity];
        let lost = row.lost.entry(scope).or_default();
        if let Some(held) = row.claims.get(&scope)
            && held.by.flight != by.flight
        {
            if held.until.is_none_or(|until| until > now) {
                return ClaimAnswer::Contended;
            }
            lost.push(held.by);
        }
        lost.retain(|other| other.flight != by.flight);
        if knows_boots {
            // A holder on this host from an earlier boot is gone for good.
            lost.retain(|other| other.host != by.host || other.boot == by.boot);
        }
        let number = self.claimed.len() as u64;
        self.claimed.insert(by.flight, number + 1);
        let predecessor = if lost.is_empty() { Predecessor::Gone } else { Predecessor::MayLive };
        let until = leased.then(|| now + at_least.as_millis() as Millis);
        let until = until.max(row.claims.get(&scope).and_then(|held| held.until));
        row.claims.insert(scope, Held { by, until });
        let remaining = until.map(|until| Duration::from_millis(until - now));
        ClaimAnswer::Granted(Claim { holder: by.flight, scope, remaining, predecessor })
    }

    pub(crate) fn renew(&mut self, identity: usize, claim: &Claim, at_least: Duration, now: Millis) -> Renewed {
        match self.rows[identity].claims.get_mut(&claim.scope) {
            Some(held) if held.by.flight == claim.holder => match &mut held.until {
                None => Renewed::Until(None),
                Some(until) if *until > now => {
                    *until = (*until).max(now + at_least.as_millis() as Millis);
                    Renewed::Until(Some(Duration::from_millis(*until - now)))
                }
                Some(_) => Renewed::Lost,
            },
            _ => Renewed::Lost,
        }
    }

    pub(crate) fn end_claim(&mut self, identity: usize, claim: &Claim) {
        let row = &mut self.rows[identity];
        if row.claims.get(&claim.scope).is_some_and(|held| held.by.flight == claim.holder) {
            row.claims.remove(&claim.scope);
        }
        if let Some(lost) = row.lost.get_mut(&claim.scope) {
            lost.retain(|other| other.flight != claim.holder);
        }
    }

    /// Whether `flight` holds the claim now.
    pub(crate) fn holds(&self, identity: usize, scope: ClaimScope, flight: FlightId, now: Millis) -> bool {
        self.lasts(identity, scope, flight).is_some_and(|until| until.is_none_or(|until| until > now))
    }

    /// The expiry of the claim that `flight` holds. The inner `None` means that it lasts as long as the process.
    pub(crate) fn lasts(&self, identity: usize, scope: ClaimScope, flight: FlightId) -> Option<Option<Millis>> {
        self.rows[identity].claims.get(&scope).filter(|held| held.by.flight == flight).map(|held| held.until)
    }

    /// The holders of claims, with their scopes.
    pub(crate) fn holders(&self, identity: usize) -> impl Iterator<Item = (ClaimScope, Holder, Option<Millis>)> {
        self.rows[identity].claims.iter().map(|(scope, held)| (*scope, held.by, held.until))
    }

    /// Adds a holder of unknown fate, for worlds that begin in doubt.
    pub(crate) fn lose(&mut self, identity: usize, scope: ClaimScope, by: Holder) {
        self.rows[identity].lost.entry(scope).or_default().push(by);
    }

    /// A process died. The kernel frees its locks, while leases last until they expire.
    pub(crate) fn process_died(&mut self, process: usize, life: u32) {
        if self.kind == StoreKind::Kernel {
            for row in &mut self.rows {
                row.claims.retain(|_, held| (held.by.process, held.by.life) != (process, life));
            }
        }
    }

    /// The store forgets the holders of its claims. It remembers that they may be alive.
    pub(crate) fn forget_claims(&mut self) -> u64 {
        let mut robbed = 0;
        for row in &mut self.rows {
            for (scope, held) in std::mem::take(&mut row.claims) {
                self.robbed.insert(held.by.flight);
                row.lost.entry(scope).or_default().push(held.by);
                robbed += 1;
            }
        }
        robbed
    }

    pub(crate) fn put_login(&mut self, key: LoginKey, login: PendingLogin) {
        self.pending.insert(key, login);
    }

    /// A pending login, unless it has expired by the clock of the one who asks.
    pub(crate) fn peek_login(&self, key: LoginKey, now: WallTime) -> Option<PendingLogin> {
        self.pending.get(&key).filter(|login| login.expires > now).cloned()
    }

    pub(crate) fn take_login(&mut self, key: LoginKey, now: WallTime) -> Option<PendingLogin> {
        let found = self.peek_login(key, now)?;
        self.pending.remove(&key);
        Some(found)
    }

    pub(crate) fn drop_logins(&mut self, identity: &ServerIdentity) {
        self.pending.retain(|_, login| login.identity != *identity);
    }

    /// Reserves a refresh token. Returns the identity that already holds it, if another one does.
    pub(crate) fn reserve(&mut self, identity: usize, digest: KeyedDigest, now: Millis) -> Option<usize> {
        let holds = |row: &Row| {
            row.record.as_ref().and_then(Record::held).is_some_and(|held| held.credential.digest() == digest)
        };
        let holder = self.rows.iter().position(holds).filter(|holder| *holder != identity);
        let reserved = self.reserved.get(&digest).filter(|(other, until)| *other != identity && *until > now);
        let holder = holder.or(reserved.map(|(other, _)| *other));
        if holder.is_none() {
            self.reserved.insert(digest, (identity, now + RESERVED_FOR));
        }
        holder
    }
}
