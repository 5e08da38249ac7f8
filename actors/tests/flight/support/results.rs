//! The effects of a flight that await no answer, and what a flight reports.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{FlightEffect, Landing, Outcome, Report, Revocation};
use tokenkeeper_actors::ports::observer::EffectName;
use tokenkeeper_actors::ports::store::ClaimEnding;
use tokenkeeper_actors::values::Lease;
use tokenkeeper_actors::values::record::View;

use super::fixtures::{self, ME, mark_of};
use super::story::Story;

impl Story {
    /// The issuer's leave is given back, with nothing to say about the issuer.
    pub(crate) fn permit_back(&mut self) {
        self.permit_back_with(None);
    }

    pub(crate) fn permit_back_with(&mut self, wanted: Option<Duration>) {
        match self.next(EffectName::ReturnPermit) {
            FlightEffect::ReturnPermit { throttle } => assert_eq!(throttle, wanted),
            other => panic!("{other:?}"),
        }
    }

    /// The claim ends with nothing of this flight left behind.
    pub(crate) fn released(&mut self) {
        self.claim_ends(ClaimEnding::Released);
    }

    /// The claim ends, and a mark of this flight stays.
    pub(crate) fn abandoned(&mut self) {
        self.claim_ends(ClaimEnding::Abandoned);
    }

    fn claim_ends(&mut self, wanted: ClaimEnding) {
        match self.next(EffectName::EndClaim) {
            FlightEffect::EndClaim { claim, ending } => {
                assert_eq!((claim.holder, ending), (ME, wanted));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Tokens are revoked: gives the refresh token. They belong to the story's issuer.
    pub(crate) fn revoked(&mut self) -> String {
        match self.next(EffectName::Revoke) {
            FlightEffect::Revoke(revocation) => {
                let Revocation { binding, refresh, .. } = *revocation;
                assert_eq!(binding, fixtures::binding());
                refresh.expect("a refresh token to revoke").token().expose().to_owned()
            }
            other => panic!("{other:?}"),
        }
    }

    fn report(&mut self) -> Report {
        match self.next(EffectName::Report) {
            FlightEffect::Report(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// The flight lands: the whole of it.
    pub(crate) fn landing(&mut self) -> Landing {
        match self.report() {
            Report::Landed(landing) => landing,
            other => panic!("{other:?}"),
        }
    }

    /// The flight lands with nothing to save, having seen what the store holds.
    pub(crate) fn lands(&mut self, outcome: Outcome) {
        self.lands_seeing(outcome, self.view());
    }

    /// The flight lands with nothing to save, having seen what the store holds: gives the outcome.
    pub(crate) fn lands_somehow(&mut self) -> Outcome {
        let landing = self.landing();
        assert_eq!(landing.view.as_deref(), self.view().as_ref());
        assert!(!landing.keeping, "there is nothing to keep");
        landing.outcome
    }

    /// The flight lands with nothing to save, having seen nothing.
    pub(crate) fn lands_blind(&mut self, outcome: Outcome) {
        self.lands_seeing(outcome, None);
    }

    /// The flight lands with nothing to save, having seen `view`.
    pub(crate) fn lands_seeing(&mut self, outcome: Outcome, view: Option<View>) {
        let landing = self.landing();
        assert_eq!(landing.outcome, outcome);
        assert_eq!(landing.view.as_deref(), view.as_ref());
        assert!(!landing.keeping, "there is nothing to keep");
    }

    /// The flight lands with something unsaved, and goes on. It has seen what the store holds.
    pub(crate) fn lands_keeping(&mut self, outcome: Outcome) {
        assert_eq!(Some(self.landed_keeping(outcome)), self.view());
    }

    /// The flight lands with something unsaved, and goes on: gives what it has seen.
    pub(crate) fn landed_keeping(&mut self, outcome: Outcome) -> View {
        let landing = self.landing();
        assert_eq!(landing.outcome, outcome);
        assert!(landing.keeping, "something is to be kept");
        *landing.view.expect("it has seen a record")
    }

    /// The flight lands with a new token, stored.
    pub(crate) fn mints(&mut self) -> Lease {
        let landing = self.landing();
        assert_eq!(landing.view.as_deref(), self.view().as_ref());
        assert!(!landing.keeping, "there is nothing to keep");
        minted(landing.outcome)
    }

    /// The flight lands with a new token that the store does not know, and has nothing to keep.
    pub(crate) fn mints_unstored(&mut self) -> Lease {
        let landing = self.landing();
        assert_eq!(landing.view, None);
        assert!(!landing.keeping, "there is nothing to keep");
        minted(landing.outcome)
    }

    /// The flight lands with a new token that could not be stored, and goes on.
    pub(crate) fn mints_keeping(&mut self) -> Lease {
        let landing = self.landing();
        assert!(landing.keeping, "the pair is to be kept");
        minted(landing.outcome)
    }

    /// A flight that landed before has nothing to keep any more; the store is seen as it is.
    pub(crate) fn settles(&mut self) {
        match self.report() {
            Report::Settled(view) => assert_eq!(Some(*view), self.view()),
            other => panic!("{other:?}"),
        }
    }

    /// The pair is lost; `noted` says whether the mark tells so.
    pub(crate) fn loses(&mut self, wanted: bool) {
        match self.report() {
            Report::Lost { noted } => assert_eq!(noted, wanted),
            other => panic!("{other:?}"),
        }
    }

    /// The flight takes its mark back before anything was sent, releases its claim, and lands.
    pub(crate) fn takes_its_mark_back(&mut self, outcome: Outcome) {
        self.change(EffectName::Withdraw);
        self.released();
        self.permit_back();
        self.lands(outcome);
        self.over_now();
        assert_eq!(mark_of(self.record.as_ref()), None);
    }

    /// The pair `at-2`, `rt-2` is saved, the claim released, and the new token reported.
    pub(crate) fn saves(&mut self) {
        self.change(EffectName::Commit);
        self.released();
        assert_eq!(self.mints().token().expose(), "at-2");
        self.over_now();
    }
}

fn minted(outcome: Outcome) -> Lease {
    match outcome {
        Outcome::Minted(lease) => lease,
        other => panic!("{other:?}"),
    }
}
