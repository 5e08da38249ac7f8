//! The effects of a flight that wait for no answer, and its reports.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{FlightEffect, Landing, Outcome, Report, Revocation};
use tokenkeeper_actors::ports::observer::EffectName;
use tokenkeeper_actors::ports::store::ClaimEnding;
use tokenkeeper_actors::values::Lease;
use tokenkeeper_actors::values::record::View;

use super::fixtures::{self, ME, mark_of};
use super::story::Story;

impl Story {
    /// The permit is returned, without a `Retry-After`.
    pub(crate) fn permit_back(&mut self) {
        self.permit_back_with(None);
    }

    pub(crate) fn permit_back_with(&mut self, wanted: Option<Duration>) {
        match self.next(EffectName::ReturnPermit) {
            FlightEffect::ReturnPermit { throttle } => assert_eq!(throttle, wanted),
            other => panic!("{other:?}"),
        }
    }

    /// The issuer's limiter learns of a `Retry-After`, and the permit stays.
    pub(crate) fn throttles(&mut self, wanted: Duration) {
        match self.next(EffectName::Throttle) {
            FlightEffect::Throttle(span) => assert_eq!(span, wanted),
            other => panic!("{other:?}"),
        }
    }

    /// The claim ends without a mark of this flight in the record.
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

    /// Tokens of the story's issuer are revoked. Returns the refresh token.
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

    /// The flight lands. Returns the whole landing.
    pub(crate) fn landing(&mut self) -> Landing {
        match self.report() {
            Report::Landed(landing) => landing,
            other => panic!("{other:?}"),
        }
    }

    /// The flight lands with nothing to save, with a view of the stored record.
    pub(crate) fn lands(&mut self, outcome: Outcome) {
        self.lands_seeing(outcome, self.view());
    }

    /// The flight lands with nothing to save, without a view.
    pub(crate) fn lands_blind(&mut self, outcome: Outcome) {
        self.lands_seeing(outcome, None);
    }

    /// The flight lands with nothing to save, with `view`.
    pub(crate) fn lands_seeing(&mut self, outcome: Outcome, view: Option<View>) {
        let landing = self.landing();
        assert_eq!(landing.outcome, outcome);
        assert_eq!(landing.view.as_deref(), view.as_ref());
        assert!(!landing.keeping, "there is nothing to keep");
    }

    /// The flight lands with an unsaved pair and goes on, with a view of the stored record.
    pub(crate) fn lands_keeping(&mut self, outcome: Outcome) {
        assert_eq!(Some(self.landed_keeping(outcome)), self.view());
    }

    /// The flight lands with an unsaved pair and goes on. Returns its view.
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

    /// The flight lands with a new token that the store does not hold, and is over.
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

    /// A flight that landed before has nothing to save any more. Its view is of the stored record.
    pub(crate) fn settles(&mut self) {
        match self.report() {
            Report::Settled(view) => assert_eq!(Some(*view), self.view()),
            other => panic!("{other:?}"),
        }
    }

    /// The pair is lost. `noted` states whether the mark was turned to spent.
    pub(crate) fn loses(&mut self, wanted: bool) {
        match self.report() {
            Report::Lost { noted } => assert_eq!(noted, wanted),
            other => panic!("{other:?}"),
        }
    }

    /// The flight withdraws its mark before a request was sent, releases its claim, and lands.
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
