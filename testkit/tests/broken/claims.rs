//! Faults in claims.

use std::time::Duration;

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimEnding, ClaimScope, Predecessor, Renewed, TokenStore};
use tokenkeeper_actors::values::{Account, Epoch, FlightId, ResourceUri, ServerIdentity, StoreFault, Target};

use super::Fault;
use super::store::Faulty;

impl Faulty {
    pub(super) async fn claimed(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        let seat = self.seat(identity, scope);
        let taken = self.notes().holders.get(&seat).map(|claim| claim.holder);
        let forged = Claim { holder, scope, remaining: Some(at_least), predecessor: Predecessor::Gone };
        match self.shared.fault {
            Some(Fault::HonestlyGivesNoClaims) => return Ok(ClaimAnswer::Unsupported),
            Some(Fault::HolderHindersItself) if taken == Some(holder) => {
                return Ok(ClaimAnswer::Contended);
            }
            Some(Fault::ClaimIsOfOneProcess) => return self.alone.claim(identity, scope, holder, at_least).await,
            Some(Fault::ClaimLooksThenTakes) => {
                self.read_beside_another().await;
                if taken.is_some_and(|taken| taken != holder) {
                    return Ok(ClaimAnswer::Contended);
                }
                self.notes().holders.insert(seat, forged.clone());
                return Ok(ClaimAnswer::Granted(forged));
            }
            _ => {}
        }
        let mut claim = match self.inner().claim(&seat.0, seat.1, holder, at_least).await? {
            ClaimAnswer::Contended if self.has(Fault::ClaimIsNotExclusive) => forged,
            ClaimAnswer::Granted(claim) => claim,
            answer => return Ok(answer),
        };
        claim.scope = scope;
        self.notes().holders.insert(seat.clone(), claim.clone());
        let doubted = claim.predecessor == Predecessor::MayLive;
        let told = doubted && self.notes().doubts.get(&seat).copied().unwrap_or(false);
        match self.shared.fault {
            Some(Fault::PredecessorsAlwaysLive) => claim.predecessor = Predecessor::MayLive,
            Some(Fault::PredecessorsNeverLive) => claim.predecessor = Predecessor::Gone,
            Some(Fault::TellsTheNextOnly | Fault::AnyWriteSettlesALoss) if told => {
                claim.predecessor = Predecessor::Gone
            }
            Some(Fault::LossIsNeverSettled) if self.notes().doubts.contains_key(&seat) => {
                claim.predecessor = Predecessor::MayLive;
            }
            Some(Fault::ClaimIsTooShort) => claim.remaining = claim.remaining.map(|left| left.min(at_least / 2)),
            _ => {}
        }
        if doubted && !self.has(Fault::AnyWriteSettlesALoss) {
            self.notes().doubts.insert(seat, true);
        }
        Ok(ClaimAnswer::Granted(claim))
    }

    pub(super) async fn renewed(
        &self,
        identity: &ServerIdentity,
        claim: &Claim,
        at_least: Duration,
    ) -> Result<Renewed, StoreFault> {
        let seat = self.seat(identity, claim.scope);
        match self.shared.fault {
            Some(Fault::RenewalIsAlwaysGranted | Fault::ClaimLooksThenTakes) => Ok(Renewed::Until(Some(at_least))),
            Some(Fault::ClaimIsOfOneProcess) => self.alone.renew(identity, claim, at_least).await,
            Some(Fault::RenewalIsTooShort) => Ok(Renewed::Until(Some(at_least / 2))),
            _ => self.inner().renew(&seat.0, &Claim { scope: seat.1, ..claim.clone() }, at_least).await,
        }
    }

    pub(super) async fn ended(
        &self,
        identity: &ServerIdentity,
        claim: &Claim,
        ending: ClaimEnding,
    ) -> Result<(), StoreFault> {
        let seat = self.seat(identity, claim.scope);
        let abandoned = ending == ClaimEnding::Abandoned;
        let mut ended = Claim { scope: seat.1, ..claim.clone() };
        match self.shared.fault {
            Some(Fault::EndIsIgnored) => return Ok(()),
            Some(Fault::AbandonedIsKept) if abandoned => return Ok(()),
            Some(Fault::ClaimIsOfOneProcess) => return self.alone.end_claim(identity, claim, ending).await,
            Some(Fault::EndsByName) => {
                if let Some(holder) = self.notes().holders.get(&seat) {
                    ended.holder = holder.holder;
                }
            }
            Some(Fault::AbandonedTakesItsMark) if abandoned => self.take_the_mark(identity, claim).await?,
            _ => {}
        }
        self.notes().holders.remove(&seat);
        self.inner().end_claim(&seat.0, &ended, ending).await
    }

    /// Whether a holder had the claim of this epoch and has lost it.
    pub(super) async fn is_lost(&self, identity: &ServerIdentity, epoch: Epoch) -> Result<bool, StoreFault> {
        let held = self.notes().holders.get(&(identity.clone(), ClaimScope::Spend(epoch))).cloned();
        match held {
            Some(claim) => Ok(self.inner().renew(identity, &claim, Duration::ZERO).await? == Renewed::Lost),
            None => Ok(false),
        }
    }

    /// The effect of writes on claims in a faulty store.
    pub(super) async fn written(&self, identity: &ServerIdentity, settles: bool) -> Result<(), StoreFault> {
        if self.has(Fault::WriteEndsTheClaim) {
            let held = std::mem::take(&mut self.notes().holders);
            for ((whose, _), claim) in held.into_iter().filter(|((whose, _), _)| whose == identity) {
                self.inner().end_claim(&whose, &claim, ClaimEnding::Released).await?;
            }
        }
        if self.has(Fault::AnyWriteSettlesALoss) && settles {
            let seats: Vec<_> = self.notes().holders.keys().filter(|(whose, _)| whose == identity).cloned().collect();
            self.notes().doubts.extend(seats.into_iter().map(|seat| (seat, true)));
        }
        Ok(())
    }

    async fn take_the_mark(&self, identity: &ServerIdentity, claim: &Claim) -> Result<(), StoreFault> {
        let record = self.inner().load(identity).await?;
        if let Some(record) = record
            && let Some(held) = record.held()
        {
            let sent = held.credential.digest();
            let (epoch, flight) = (record.epoch, claim.holder);
            let withdraw = Change::Withdraw { epoch, flight, sent, earlier: None, park: None };
            self.inner().change(identity, withdraw).await?;
        }
        Ok(())
    }

    /// The key of a claim.
    fn seat(&self, identity: &ServerIdentity, scope: ClaimScope) -> (ServerIdentity, ClaimScope) {
        match self.shared.fault {
            Some(Fault::ClaimKnowsNoEpoch) if scope != ClaimScope::Login => {
                (identity.clone(), ClaimScope::Spend(Epoch::default()))
            }
            Some(Fault::ClaimKnowsNoScope) => (identity.clone(), ClaimScope::Spend(Epoch::new(1))),
            Some(Fault::ClaimKnowsNoIdentity) => (anybody(), scope),
            _ => (identity.clone(), scope),
        }
    }
}

fn anybody() -> ServerIdentity {
    let resource = ResourceUri::parse("https://any.example.com/").unwrap();
    ServerIdentity::new(Account::new("anybody").unwrap(), Target::Mcp(resource))
}
