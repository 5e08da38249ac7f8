//! The claims of the store in memory. They include the holders that lost a claim without ending it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::law::ledger::Change;
use crate::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed};
use crate::values::{ElapsedTime, Epoch, FlightId};

/// All claims of a store on identities, or on issuers' entries.
pub(super) struct Claims<K>(BTreeMap<K, BTreeMap<ClaimScope, Entry>>);

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// A holder of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimant {
    /// The flight, or the login attempt or the registration, which have a number of the same type.
    pub(super) holder: FlightId,
    /// The handle on the store that it uses, which counts as a process of its own. Zero for leased claims, which do not end with
    /// a process.
    pub(super) process: u64,
}

/// The time that a claim lasts from now on, when it is granted or renewed.
pub(super) enum Tenure {
    /// Until it is ended, or its process dies.
    Unlimited,
    /// For `length` from `now` on.
    Lease { now: ElapsedTime, length: Duration },
}

/// The state of one claim, with at most one holder.
#[derive(Default)]
struct Entry {
    taken: Option<Taken>,
    /// Holders whose leased claim ran out and that have not ended it since.
    lost: BTreeSet<FlightId>,
}

struct Taken {
    by: Claimant,
    until: Option<ElapsedTime>,
}

impl<K: Ord + Clone> Claims<K> {
    /// Grants the claim, unless another holder has it.
    pub(super) fn claim(&mut self, key: &K, scope: ClaimScope, by: Claimant, tenure: &Tenure) -> ClaimAnswer {
        let entry = self.0.entry(key.clone()).or_default().entry(scope).or_default();
        entry.expire(tenure);
        let had_until = match &entry.taken {
            Some(taken) if taken.by != by => return ClaimAnswer::Contended,
            Some(taken) => taken.until,
            None => None,
        };
        // Asking again never makes a claim shorter.
        let until = tenure.end().max(had_until);
        entry.taken = Some(Taken { by, until });
        entry.lost.remove(&by.holder);
        let predecessor = if entry.lost.is_empty() { Predecessor::Gone } else { Predecessor::MayLive };
        ClaimAnswer::Granted(Claim { holder: by.holder, scope, remaining: tenure.left(until), predecessor })
    }

    /// Renews a claim that is still held.
    pub(super) fn renew(&mut self, key: &K, scope: ClaimScope, by: Claimant, tenure: &Tenure) -> Renewed {
        let Some(entry) = self.0.get_mut(key).and_then(|entries| entries.get_mut(&scope)) else {
            return Renewed::Lost;
        };
        entry.expire(tenure);
        match &mut entry.taken {
            Some(taken) if taken.by == by => {
                taken.until = tenure.end().max(taken.until);
                Renewed::Until(tenure.left(taken.until))
            }
            _ => Renewed::Lost,
        }
    }

    /// Ends a claim, or notes that the holder of a lost claim no longer acts.
    pub(super) fn end(&mut self, key: &K, scope: ClaimScope, by: Claimant) {
        let Some(entry) = self.0.get_mut(key).and_then(|entries| entries.get_mut(&scope)) else { return };
        entry.taken.take_if(|taken| taken.by == by);
        entry.lost.remove(&by.holder);
        self.tidy(key);
    }

    /// Notes a write. After a commit the refresh token that a lost holder of this epoch may still present is used up, so that the
    /// next holder has nothing to wait for. After a move to another epoch the same holds for the holders of all other epochs, and
    /// for those of a login claim, who present nothing.
    pub(super) fn written(&mut self, key: &K, change: &Change, epoch: Epoch, tenure: &Tenure) {
        let Some(entries) = self.0.get_mut(key) else { return };
        let current = ClaimScope::Spend(epoch);
        let commits = matches!(change, Change::Commit(_));
        let moves = matches!(change, Change::Install(_) | Change::Clear { .. });
        for (scope, entry) in entries.iter_mut() {
            if moves && *scope != current || commits && *scope == current {
                // A claim that ran out before this write counts as lost, even if no other flight has asked for it since.
                entry.expire(tenure);
                entry.lost.clear();
            }
        }
        self.tidy(key);
    }

    /// Frees the claims of a dead process.
    pub(super) fn process_died(&mut self, process: u64) {
        self.0.retain(|_, entries| {
            for entry in entries.values_mut() {
                entry.taken.take_if(|taken| taken.by.process == process);
            }
            entries.retain(|_, entry| entry.is_in_use());
            !entries.is_empty()
        });
    }

    fn tidy(&mut self, key: &K) {
        if let Some(entries) = self.0.get_mut(key) {
            entries.retain(|_, entry| entry.is_in_use());
            if entries.is_empty() {
                self.0.remove(key);
            }
        }
    }
}

impl Entry {
    /// Ends a leased claim that has run out, and remembers its holder.
    fn expire(&mut self, tenure: &Tenure) {
        let Tenure::Lease { now, .. } = tenure else { return };
        if let Some(lost) = self.taken.take_if(|taken| taken.until.is_some_and(|until| until <= *now)) {
            self.lost.insert(lost.by.holder);
        }
    }

    fn is_in_use(&self) -> bool {
        self.taken.is_some() || !self.lost.is_empty()
    }
}

impl Tenure {
    fn end(&self) -> Option<ElapsedTime> {
        match self {
            Tenure::Unlimited => None,
            Tenure::Lease { now, length } => Some(now.after(*length)),
        }
    }

    fn left(&self, until: Option<ElapsedTime>) -> Option<Duration> {
        match self {
            Tenure::Unlimited => None,
            Tenure::Lease { now, .. } => until.map(|until| until.since(*now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::ledger::Login;
    use crate::values::record::{Binding, Client, ClientAuth, Issuer};
    use crate::values::{Account, Moment, RenewalPlan, ResourceUri, Scopes, ServerIdentity, Target};

    const SPEND: ClaimScope = ClaimScope::Spend(Epoch::new(1));

    fn identity() -> ServerIdentity {
        let resource = ResourceUri::parse("https://mcp.example.com/mcp").unwrap();
        ServerIdentity::new(Account::new("work").unwrap(), Target::Mcp(resource))
    }

    fn flight(number: u128) -> Claimant {
        Claimant { holder: FlightId(number), process: 0 }
    }

    fn at(millis: u64) -> Tenure {
        Tenure::Lease { now: ElapsedTime::from_millis(millis), length: Duration::from_millis(100) }
    }

    fn granted(answer: ClaimAnswer) -> (Option<u128>, Predecessor) {
        match answer {
            ClaimAnswer::Granted(claim) => (claim.remaining.map(|left| left.as_millis()), claim.predecessor),
            other => panic!("{other:?}"),
        }
    }

    fn login() -> Change {
        let client = Client { id: "c".into(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
        let binding = Binding {
            issuer: Issuer("https://as.example.com".into()),
            client,
            token_endpoint: String::new(),
            revocation_endpoint: None,
            resource: None,
        };
        let (requested, granted) = (Scopes::default(), Scopes::default());
        let at = Moment::default();
        let login = Login {
            renewal: RenewalPlan::default(),
            binding,
            requested,
            granted,
            subject: None,
            dpop_key: None,
            refresh: None,
            access: None,
            at,
            begun_on: None,
        };
        Change::Install(Box::new(login))
    }

    #[test]
    fn a_lease_ends_at_its_last_millisecond_and_its_holder_is_remembered() {
        let (mut claims, who) = (Claims::default(), identity());
        assert_eq!(granted(claims.claim(&who, SPEND, flight(1), &at(0))), (Some(100), Predecessor::Gone));
        assert_eq!(claims.claim(&who, SPEND, flight(2), &at(99)), ClaimAnswer::Contended);
        assert_eq!(granted(claims.claim(&who, SPEND, flight(2), &at(100))), (Some(100), Predecessor::MayLive));
        assert_eq!(claims.renew(&who, SPEND, flight(1), &at(101)), Renewed::Lost);
        assert_eq!(claims.renew(&who, SPEND, flight(2), &at(150)), Renewed::Until(Some(Duration::from_millis(100))));
        claims.end(&who, SPEND, flight(2));
        assert_eq!(granted(claims.claim(&who, SPEND, flight(3), &at(151))).1, Predecessor::MayLive);
        claims.end(&who, SPEND, flight(1));
        assert_eq!(granted(claims.claim(&who, SPEND, flight(3), &at(152))).1, Predecessor::Gone);
    }

    #[test]
    fn asking_again_never_makes_a_claim_shorter() {
        let (mut claims, who) = (Claims::default(), identity());
        let long = Tenure::Lease { now: ElapsedTime::from_millis(0), length: Duration::from_millis(1_000) };
        assert_eq!(granted(claims.claim(&who, SPEND, flight(1), &long)).0, Some(1_000));
        assert_eq!(granted(claims.claim(&who, SPEND, flight(1), &at(10))).0, Some(990));
        assert_eq!(claims.renew(&who, SPEND, flight(1), &at(20)), Renewed::Until(Some(Duration::from_millis(980))));
        // Too late. The claim is lost although no other flight has asked for it. If the same flight takes it again, it
        // has no predecessor.
        assert_eq!(claims.renew(&who, SPEND, flight(1), &at(1_000)), Renewed::Lost);
        assert_eq!(granted(claims.claim(&who, SPEND, flight(1), &at(1_000))), (Some(100), Predecessor::Gone));
    }

    #[test]
    fn a_login_settles_the_doubts_of_other_epochs_and_nothing_else() {
        let (mut claims, who) = (Claims::default(), identity());
        let old = ClaimScope::Spend(Epoch::default());
        for scope in [SPEND, old, ClaimScope::Login] {
            claims.claim(&who, scope, flight(1), &at(0));
        }
        claims.written(&who, &login(), Epoch::new(1), &at(100));
        assert_eq!(granted(claims.claim(&who, old, flight(2), &at(100))).1, Predecessor::Gone);
        assert_eq!(granted(claims.claim(&who, ClaimScope::Login, flight(2), &at(100))).1, Predecessor::Gone);
        assert_eq!(granted(claims.claim(&who, SPEND, flight(2), &at(100))).1, Predecessor::MayLive);
        // A write that is neither commit nor login settles nothing.
        claims.written(&who, &Change::End { epoch: Epoch::new(1), sent: digest() }, Epoch::new(1), &at(101));
        claims.end(&who, SPEND, flight(2));
        assert_eq!(granted(claims.claim(&who, SPEND, flight(3), &at(102))).1, Predecessor::MayLive);
    }

    #[test]
    fn a_claim_lives_with_its_process() {
        let (mut claims, who) = (Claims::default(), identity());
        let in_process = |process| Claimant { holder: FlightId(1), process };
        assert_eq!(granted(claims.claim(&who, SPEND, in_process(1), &Tenure::Unlimited)), (None, Predecessor::Gone));
        assert_eq!(claims.claim(&who, SPEND, in_process(2), &Tenure::Unlimited), ClaimAnswer::Contended);
        claims.end(&who, SPEND, in_process(2));
        assert_eq!(claims.renew(&who, SPEND, in_process(1), &Tenure::Unlimited), Renewed::Until(None));
        claims.process_died(2);
        assert_eq!(claims.renew(&who, SPEND, in_process(1), &Tenure::Unlimited), Renewed::Until(None));
        claims.process_died(1);
        assert!(claims.0.is_empty());
        assert_eq!(claims.renew(&who, SPEND, in_process(1), &Tenure::Unlimited), Renewed::Lost);
    }

    #[test]
    fn nothing_is_kept_of_settled_claims() {
        let (mut claims, who) = (Claims::default(), identity());
        claims.claim(&who, SPEND, flight(1), &at(0));
        claims.claim(&who, SPEND, flight(2), &at(100));
        claims.end(&who, SPEND, flight(2));
        assert!(!claims.0.is_empty(), "flight 1 may live");
        claims.end(&who, SPEND, flight(1));
        assert!(claims.0.is_empty());
    }

    fn digest() -> crate::values::KeyedDigest {
        crate::values::KeyedDigest::from_bytes([7; 32])
    }
}
