//! The two claims of a login attempt. The login claim is the right to prompt a person. The spend claim is the right to spend
//! the refresh token that the login replaces.

use std::time::Duration;

use super::LoginEffect;
use super::machine::AttemptCore;
use super::phase::{HeldClaim, Phase, SpendStep};
use crate::law::flight::Op;
use crate::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed};
use crate::values::{ElapsedTime, Epoch, Now, StoreFault};

impl AttemptCore {
    pub(super) fn claim_login(&mut self, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.next_store_op(now);
        let at_least = self.claim_length();
        self.claiming.insert(op, ClaimScope::Login);
        out.push(LoginEffect::Claim { op, scope: ClaimScope::Login, at_least });
        Phase::Claiming { op }
    }

    pub(super) fn claim_spend(&mut self, epoch: Epoch, out: &mut Vec<LoginEffect>) -> Op {
        let op = self.next_op();
        self.claiming.insert(op, ClaimScope::Spend(epoch));
        let limits = self.equipment.limits;
        let at_least = limits.redeem.saturating_add(self.equipment.timeouts.store_timeout);
        out.push(LoginEffect::Claim { op, scope: ClaimScope::Spend(epoch), at_least });
        op
    }

    /// The store has answered [`LoginEffect::Claim`].
    pub(super) fn claim_answered(
        &mut self,
        phase: Phase,
        op: Op,
        answer: Result<ClaimAnswer, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        let Some(scope) = self.claiming.remove(&op) else { return phase };
        // An attempt that follows another process's prompt asks for the claim again. It does not end a claim that is granted
        // late, because the store might carry out that end after it has granted the claim anew.
        let follows = match phase {
            Phase::Following { .. } => true,
            Phase::Claiming { .. } => self.elsewhere,
            _ => false,
        };
        let asks_again = scope == ClaimScope::Login && follows;
        let is_awaited = match &phase {
            Phase::Claiming { op: asked } | Phase::ClaimingSpend { step: SpendStep::Asked(asked), .. } => *asked == op,
            _ => false,
        };
        let is_granted = matches!(answer, Ok(ClaimAnswer::Granted(_)));
        if is_granted && is_awaited {
            self.stray.remove(&scope);
        } else {
            if is_granted || matches!(answer, Err(StoreFault::TimedOut)) {
                self.stray.insert(scope);
            }
            if !asks_again {
                self.end_stray_claims(out);
            }
        }
        match phase {
            Phase::Claiming { .. } if is_awaited => {
                self.limit = None;
                self.claimed(answer, now, out)
            }
            Phase::ClaimingSpend { code, until, .. } if is_awaited => self.spend_claimed(answer, code, until, now, out),
            Phase::Following { .. } if is_granted && asks_again => {
                self.stray.remove(&scope);
                self.claimed(answer, now, out)
            }
            phase => phase,
        }
    }

    /// Ends the stray claims, which were granted too late, or may have been granted. A claim that the attempt holds, or asks
    /// for again, is not ended, because the store does not tell two claims of one holder and scope apart.
    fn end_stray_claims(&mut self, out: &mut Vec<LoginEffect>) {
        let held = [&self.login_claim, &self.spend_claim].map(|held| held.as_ref().map(|held| held.claim.scope));
        let (holder, claiming) = (self.order.attempt.holder(), &self.claiming);
        self.stray.retain(|scope| {
            if held.contains(&Some(*scope)) {
                return false;
            }
            let is_asked_for = claiming.values().any(|asked| asked == scope);
            if !is_asked_for {
                let claim = Claim { holder, scope: *scope, remaining: None, predecessor: Predecessor::MayLive };
                out.push(LoginEffect::EndClaim(claim));
            }
            is_asked_for
        });
    }

    /// `claim`, which was granted just now, with the time until which it lasts.
    pub(super) fn hold(claim: Claim, now: Now) -> HeldClaim {
        let until = claim.remaining.map(|remaining| now.elapsed().after(remaining));
        HeldClaim { claim, until, asked: now.elapsed(), renewal: None, lost: false }
    }

    /// The minimum time for which the login claim is asked for, and for which both claims are renewed.
    fn claim_length(&self) -> Duration {
        self.equipment.timeouts.store_timeout.saturating_mul(6)
    }

    fn claims(&mut self) -> impl Iterator<Item = &mut HeldClaim> {
        self.login_claim.iter_mut().chain(&mut self.spend_claim)
    }

    /// When the next claim is to be renewed.
    pub(super) fn renewal_due(&self) -> Option<ElapsedTime> {
        let (at_least, store_timeout) = (self.claim_length(), self.equipment.timeouts.store_timeout);
        let held = self.login_claim.iter().chain(&self.spend_claim);
        held.filter_map(|held| held.renewal_due(at_least, store_timeout)).min()
    }

    /// Renews the claims whose renewal is due.
    pub(super) fn renew(&mut self, now: Now, out: &mut Vec<LoginEffect>) {
        let (at_least, store_timeout) = (self.claim_length(), self.equipment.timeouts.store_timeout);
        let mut ops = self.ops;
        for held in self.claims() {
            if held.renewal_due(at_least, store_timeout).is_some_and(|due| due <= now.elapsed()) {
                ops = Op(ops.0 + 1);
                (held.renewal, held.asked) = (Some(ops), now.elapsed());
                out.push(LoginEffect::Renew { op: ops, claim: held.claim.clone(), at_least });
            }
        }
        self.ops = ops;
    }

    /// The store has answered a renewal. A lost claim is not renewed again. The attempt finishes its work all the same,
    /// because each of its writes is compared with the record.
    pub(super) fn renewed(&mut self, op: Op, answer: Result<Renewed, StoreFault>) {
        for held in self.claims() {
            if held.renewal == Some(op) {
                held.renewal = None;
                match answer {
                    Ok(Renewed::Until(remaining)) => {
                        held.until = remaining.map(|remaining| held.asked.after(remaining));
                    }
                    Ok(Renewed::Lost) => held.lost = true,
                    Err(_) => {}
                }
            }
        }
    }

    pub(super) fn end_claims(&mut self, out: &mut Vec<LoginEffect>) {
        for held in [self.spend_claim.take(), self.login_claim.take()].into_iter().flatten() {
            out.push(LoginEffect::EndClaim(held.claim));
        }
        self.end_stray_claims(out);
    }
}
