//! Flights with random faults: no panic, one result, one presentation, no claim left behind, and an end.

use proptest::prelude::*;
use proptest::sample::Index;

use tokenkeeper_actors::law::flight::{FlightEvent, Spending};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::profile::{Profile, Reuse};
use tokenkeeper_actors::values::record::Subject;
use tokenkeeper_actors::values::{Cause, FlightId, Validity};

use super::support::{Answer, Store, Voyage, beginning, epoch, ms, s};

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(Index, Answer),
    Again(Index),
    Wake,
    Pass(u32),
    StepWall(i32),
    Entropy(u16),
    SiblingMints,
    SiblingMarks,
    SignIn,
    SignOut,
    Park,
    LoggedOut(u8),
    Shutdown,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Well),
        1 => Just(Answer::Failed),
        1 => Just(Answer::TimedOut),
        2 => (0..200_u8).prop_map(Answer::Otherwise),
    ]
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => (any::<Index>(), answer()).prop_map(|(which, answer)| Act::Answer(which, answer)),
        2 => any::<Index>().prop_map(Act::Again),
        8 => Just(Act::Wake),
        2 => (0..100_000_u32).prop_map(Act::Pass),
        1 => (-100_000..100_000_i32).prop_map(Act::StepWall),
        1 => any::<u16>().prop_map(Act::Entropy),
        1 => Just(Act::SiblingMints),
        1 => Just(Act::SiblingMarks),
        1 => Just(Act::SignIn),
        1 => Just(Act::SignOut),
        1 => Just(Act::Park),
        1 => (0..3_u8).prop_map(Act::LoggedOut),
        1 => Just(Act::Shutdown),
    ]
}

pub(crate) fn plays(voyage: &mut Voyage, act: Act) {
    match act {
        Act::Answer(which, answer) => {
            let open = voyage.questions.len();
            if open > 0 {
                voyage.answers(which.index(open), answer);
            }
        }
        Act::Again(which) => {
            // A claim or a permit is granted once. All other completions may come twice.
            let past = || voyage.past.iter().filter(|event| !matches!(event, FlightEvent::Claimed(..)));
            if past().count() > 0 {
                let event = past().nth(which.index(past().count())).cloned();
                event.into_iter().for_each(|event| voyage.happens(event));
            }
        }
        Act::Wake => {
            let wake = voyage.flight.next_wake().unwrap_or(voyage.at.elapsed);
            voyage.at.elapsed = wake.max(voyage.at.elapsed);
            voyage.happens(FlightEvent::Tick);
        }
        Act::Pass(millis) => {
            voyage.at.elapsed = voyage.at.elapsed.after(ms(millis.into()));
            voyage.happens(FlightEvent::Tick);
        }
        Act::StepWall(millis) => {
            let wall = voyage.at.wall.as_millis().saturating_add_signed(millis.into());
            voyage.at.wall = tokenkeeper_actors::values::WallTime::from_millis(wall);
        }
        Act::Entropy(jitter) => voyage.jitter = jitter,
        Act::SiblingMints | Act::SiblingMarks | Act::SignIn | Act::SignOut | Act::Park => sibling(voyage, &act),
        Act::LoggedOut(number) => voyage.happens(FlightEvent::LoggedOut(epoch(number.into()))),
        Act::Shutdown => voyage.happens(FlightEvent::Shutdown(voyage.at.elapsed)),
    }
}

fn sibling(voyage: &mut Voyage, act: &Act) {
    let (at, store) = (voyage.at, &mut voyage.store);
    let Some(record) = &store.record else { return store.sign_in(Some(s(60)), at) };
    let (epoch, held) = (record.epoch, record.held().is_some());
    match act {
        Act::SiblingMints if held => {
            store.refresh(FlightId(5), Cause::Expiry, Validity::new(at, Some(s(600))));
        }
        Act::SiblingMarks if held => store.mark(FlightId(5), at),
        Act::SignIn => store.sign_in(Some(s(60)), at),
        Act::SignOut => drop(store.change(&Change::Clear { epoch })),
        Act::Park => {
            let why = tokenkeeper_actors::values::record::Parked::IssuerChanged;
            store.change(&Change::Park { epoch, why });
        }
        _ => {}
    }
}

pub(crate) fn profile() -> impl Strategy<Value = Profile> {
    let reuse = prop::sample::select(vec![Reuse::EndsLineage, Reuse::EndsMore]);
    let grace = prop::sample::select(vec![None, Some(s(60))]);
    (reuse, grace, any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(reuse, grace, revocation_confined, rotates)| {
        Profile { reuse, grace, revocation_confined, rotates, ..Profile::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_weather_a_flight_has_one_result_presents_once_and_comes_to_an_end(
        spending in prop::sample::select(&[Spending::SingleUse, Spending::SingleUse, Spending::Repeatable][..]),
        cause in prop::sample::select(&[Cause::Expiry, Cause::Force, Cause::Refusal][..]),
        profile in profile(),
        (signed_in, named, marked) in (prop::bool::weighted(0.9), any::<bool>(), prop::bool::weighted(0.2)),
        acts in prop::collection::vec(act(), 1..80),
    ) {
        let mut store = Store::default();
        if signed_in {
            let mut login = store.login(Some(s(1)), beginning());
            login.subject = named.then(|| Subject("the one who signed in".to_owned()));
            store.change(&Change::Install(Box::new(login)));
        }
        if signed_in && marked {
            store.mark(FlightId(5), beginning());
        }
        let mut voyage = Voyage::begins(store, cause, spending, profile);
        for act in acts {
            plays(&mut voyage, act);
        }
        voyage.comes_home();
    }
}
