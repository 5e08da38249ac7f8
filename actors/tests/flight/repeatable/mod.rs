//! A source that spends nothing. There is no mark, and it mints without a claim if the store cannot be used (law 10).

mod refusing;
mod storing;

use tokenkeeper_actors::law::profile::Tokens;
use tokenkeeper_actors::values::record::Record;

use crate::support::*;

/// An answer with the binding of its tokens, as from a repeatable source.
fn minted(access: &str) -> Tokens {
    Tokens { binding: Some(Box::new(binding())), granted: Some(scopes(&["read"])), ..tokens(access, None) }
}

/// The record after a first mint, with epoch 0 and number 1. Its token is good for an hour, counted from an hour before
/// [`START`].
fn known_client() -> Record {
    let mut flight = Story::begin(Setup { record: None, ..first() }).until_sent_unmarked();
    let answer = minted("at-1");
    let validity = tokenkeeper_actors::values::Validity::new(before(START, HOUR), Some(HOUR));
    flight.answer(usable(Tokens { validity, ..answer }));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    flight.mints();
    let mut record = flight.record.clone().unwrap();
    grant_of(&mut record).access.as_mut().unwrap().flight = Some(SIBLING);
    record
}

/// The first flight of an identity, without a record.
fn first() -> Setup {
    let mut setup = Setup { spending: Spending::Repeatable, record: None, ..Setup::default() };
    setup.order.epoch = Epoch::default();
    setup.order.issuer = None;
    setup.order.known = Generation::default();
    setup.order.adopt = Adopt::Above { floor: None, margin: secs(30) };
    setup
}

/// A later flight, with a record.
fn later() -> Setup {
    let mut setup = Setup { record: Some(known_client()), ..first() };
    setup.order.issuer = Some(issuer());
    setup.order.known = Generation::stored(Epoch::default(), 1);
    setup
}

impl Story {
    fn until_sent_unmarked(self) -> Self {
        let mut flight = self.until_claimed();
        flight.claim();
        flight.load();
        flight.send();
        flight
    }
}
