//! When a token in doubt may be presented again (law 10).

use tokenkeeper_actors::law::flight::Doubt;
use tokenkeeper_actors::law::profile::{Profile, Reuse};
use tokenkeeper_actors::values::record::{Mark, Record, Refresh};
use tokenkeeper_actors::values::{BootId, FlightId, Moment};

use crate::support::*;

/// A doubt about `rt-1`, and the flight that resolves it.
#[derive(Clone)]
struct Case {
    policy: InDoubt,
    predecessor: Predecessor,
    mark: Mark,
    /// When this process first saw a mark, and which flight made it.
    doubt: Option<(FlightId, Duration)>,
}

/// A sibling presented the token once, `age` ago, in this boot. Its request might take 30 s. The sibling is gone.
fn once(policy: InDoubt, age: Duration) -> Case {
    let mark = mark(&signed_in(), SIBLING, 1, before(START, age));
    Case { policy, predecessor: Predecessor::Gone, mark, doubt: None }
}

impl Case {
    fn presented(mut self, presentations: u32) -> Self {
        self.mark.presentations = presentations;
        self
    }

    fn first(mut self, age: Duration) -> Self {
        self.mark.first = before(START, age);
        self
    }

    fn may_live(mut self) -> Self {
        self.predecessor = Predecessor::MayLive;
        self
    }

    /// The mark was written in another boot, or on another host.
    fn elsewhere(mut self) -> Self {
        for moment in [&mut self.mark.first, &mut self.mark.latest] {
            *moment = Moment { boot: BootId(2), ..*moment };
        }
        self
    }

    fn known_for(mut self, span: Duration) -> Self {
        self.doubt = Some((SIBLING, span));
        self
    }

    fn record(&self) -> Record {
        let mut record = signed_in();
        if let Refresh::Held(held) = &mut grant_of(&mut record).refresh {
            held.mark = Some(self.mark.clone());
        }
        record
    }

    /// The flight under its claim, having read the record twice.
    fn decided(&self) -> Story {
        let profile = Profile { reuse: self.policy, ..Profile::default() };
        let mut setup = Setup { profile, record: Some(self.record()), ..Setup::default() };
        setup.order.doubt = self.doubt.map(|(flight, span)| Doubt { flight, seen: before(START, span).elapsed });
        let mut flight = Story::begin(setup).until_claimed();
        flight.claim_after(self.predecessor);
        flight.load();
        flight
    }

    fn presents(self) {
        let mut flight = self.decided();
        let (_, change) = flight.change_asked(EffectName::Mark);
        let Change::Mark { mark, .. } = change else { panic!("{change:?}") };
        assert_eq!((mark.flight, mark.presentations), (ME, self.mark.presentations + 1));
        assert_eq!(
            (mark.first, mark.latest),
            (self.mark.first, START),
            "the first presentation is the one that counts"
        );
    }

    fn waits(self, span: Duration) {
        self.ends(failed_for(Reason::InDoubt, span));
    }

    fn refuses(self) {
        self.ends(login_required(Reason::MaybeConsumed));
    }

    fn ends(self, outcome: Outcome) {
        let mut flight = self.decided();
        flight.released();
        flight.permit_back();
        flight.lands(outcome);
        flight.over_now();
    }
}

const ONCE: InDoubt = Reuse::EndsLineage;
const NEVER: InDoubt = Reuse::EndsMore;

const fn within(span: u64) -> InDoubt {
    InDoubt::RetryWithin(secs(span))
}

#[test]
fn nobody_presents_a_marked_token_before_the_marked_request_is_over() {
    once(ONCE, millis(1)).waits(millis(29_999));
    once(ONCE, millis(29_999)).waits(millis(1));
    once(ONCE, secs(30)).presents();
    once(ONCE, HOUR).presents();
}

#[test]
fn by_default_a_token_is_presented_twice_and_no_more() {
    once(ONCE, HOUR).presented(1).presents();
    once(ONCE, HOUR).presented(2).refuses();
    once(ONCE, HOUR).presented(3).refuses();
    // The wait would end in a refusal, so the refusal comes at once.
    once(ONCE, secs(1)).presented(2).refuses();
}

#[test]
fn a_holder_that_may_live_may_yet_commit_and_after_its_time_the_token_is_not_replayed() {
    for policy in [ONCE, NEVER] {
        once(policy, secs(10)).may_live().waits(secs(20));
        once(policy, millis(29_999)).may_live().waits(millis(1));
        once(policy, secs(30)).may_live().refuses();
        once(policy, HOUR).may_live().refuses();
    }
}

#[test]
fn an_issuer_that_forgives_nothing_is_shown_no_token_twice() {
    once(NEVER, HOUR).refuses();
    once(NEVER, secs(10)).refuses();
}

#[test]
fn a_mark_of_another_boot_counts_from_when_this_process_first_saw_it() {
    // The wall clock shows another age, which does not count.
    once(ONCE, HOUR).elsewhere().waits(secs(30));
    once(ONCE, HOUR).elsewhere().known_for(millis(29_999)).waits(millis(1));
    once(ONCE, HOUR).elsewhere().known_for(secs(30)).presents();
    once(ONCE, HOUR).elsewhere().may_live().known_for(secs(30)).refuses();
    once(ONCE, HOUR).elsewhere().may_live().known_for(secs(10)).waits(secs(20));
}

#[test]
fn having_seen_another_flights_mark_says_nothing_about_this_one() {
    let mut case = once(ONCE, HOUR).elsewhere();
    case.doubt = Some((FlightId(0xDEAD), HOUR));
    case.waits(secs(30));
}

#[test]
fn in_the_same_boot_the_mark_itself_says_how_old_it_is() {
    once(ONCE, secs(10)).known_for(HOUR).waits(secs(20));
    once(ONCE, secs(40)).known_for(secs(0)).presents();
}

#[test]
fn within_an_issuers_grace_period_a_token_is_replayed_whoever_lives() {
    for presentations in [1, 2, 7] {
        once(within(60), secs(30)).presented(presentations).presents();
        once(within(60), secs(30)).presented(presentations).may_live().presents();
    }
}

#[test]
fn the_replay_must_arrive_before_the_grace_period_ends_the_two_seconds_to_send_included() {
    once(within(60), millis(57_999)).presents();
    once(within(60), secs(58)).refuses();
    once(within(60), HOUR).refuses();
    once(within(60), secs(58)).may_live().refuses();
}

#[test]
fn the_grace_period_counts_from_the_first_presentation_and_the_wait_from_the_last() {
    once(within(60), secs(31)).first(secs(57)).presents();
    once(within(60), secs(31)).first(secs(58)).refuses();
    once(within(60), secs(10)).first(secs(37)).waits(secs(20));
    // The wait would last until the grace period is over.
    once(within(60), secs(10)).first(secs(38)).refuses();
    once(within(60), secs(10)).first(secs(38)).may_live().waits(secs(20));
}

#[test]
fn the_grace_period_counts_on_the_clock_that_shows_more() {
    let wall_ahead_by = |millis: i64| {
        let mut case = once(within(60), secs(40));
        for moment in [&mut case.mark.first, &mut case.mark.latest] {
            let wall = moment.wall.as_millis().checked_add_signed(-millis).unwrap();
            moment.wall = tokenkeeper_actors::values::WallTime::from_millis(wall);
        }
        case
    };
    wall_ahead_by(17_999).presents();
    wall_ahead_by(18_000).refuses();
    // A wall clock that stepped back does not make the mark younger.
    wall_ahead_by(-3_600_000).presents();
}

#[test]
fn a_reboot_ends_the_grace_period() {
    once(within(3_600), secs(40)).elsewhere().refuses();
    once(within(3_600), secs(40)).elsewhere().known_for(secs(40)).refuses();
    once(within(3_600), secs(40)).elsewhere().may_live().waits(secs(30));
    once(within(3_600), secs(40)).elsewhere().may_live().known_for(secs(40)).refuses();
}

#[test]
fn a_replay_that_missed_the_grace_period_is_not_sent_and_the_doubt_is_put_back() {
    let miss: [fn(&mut Story); 2] = [|flight| flight.pass(secs(2)), |flight| flight.step_wall(2_000)];
    for miss in miss {
        let case = once(within(60), millis(56_000));
        let mut flight = case.decided();
        let (op, change) = flight.change_asked(EffectName::Mark);
        miss(&mut flight);
        flight.written(op, &change);
        flight.change(EffectName::Withdraw);
        flight.released();
        flight.permit_back();
        flight.lands(failed(Reason::InDoubt));
        flight.over_now();
        assert_eq!(mark_of(flight.record.as_ref()), Some(case.mark));
    }
}

#[test]
fn a_replay_just_within_the_grace_period_is_sent() {
    let mut flight = once(within(60), millis(56_000)).decided();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.pass(millis(1_999));
    flight.written(op, &change);
    flight.send();
}

#[test]
fn without_a_grace_period_a_replay_needs_no_haste() {
    let mut flight = once(ONCE, HOUR).decided();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.step_wall(7_200_000);
    flight.written(op, &change);
    flight.send();
}

/// Runs a flight whose answer is lost `span` after the send. The token was presented `presentations` times before.
fn lost_after(policy: InDoubt, presentations: u32, span: Duration, told: Option<Duration>) -> Outcome {
    let mut flight = match presentations {
        0 => {
            let profile = Profile { reuse: policy, ..Profile::default() };
            Story::begin(Setup { profile, ..Setup::default() }).until_marked()
        }
        presentations => once(policy, secs(30)).presented(presentations).decided(),
    };
    flight.change(EffectName::Mark);
    flight.send();
    flight.pass(span);
    let evidence = told.map_or(ANSWER_LOST, |told| refused_until(500, "", told));
    flight.answer(evidence);
    flight.permit_back_with(told);
    flight.abandoned();
    let outcome = flight.lands_somehow();
    flight.over_now();
    let mark = mark_of(flight.record.as_ref()).expect("the mark stays");
    assert_eq!((mark.flight, mark.presentations), (ME, presentations + 1));
    outcome
}

#[test]
fn a_lost_answer_leaves_the_mark_and_tells_when_the_token_may_be_presented_again() {
    assert_eq!(lost_after(ONCE, 0, secs(30), None), failed_for(Reason::InDoubt, secs(9)));
    assert_eq!(lost_after(ONCE, 0, secs(30), Some(secs(8))), failed_for(Reason::InDoubt, secs(9)));
    assert_eq!(lost_after(ONCE, 0, secs(30), Some(secs(10))), failed_for(Reason::InDoubt, secs(10)));
    assert_eq!(lost_after(ONCE, 0, secs(39), None), failed(Reason::InDoubt));
    assert_eq!(lost_after(ONCE, 0, secs(39), Some(secs(8))), failed_for(Reason::InDoubt, secs(8)));
}

#[test]
fn an_answer_lost_for_good_asks_for_a_login_at_once() {
    assert_eq!(lost_after(ONCE, 1, secs(1), None), login_required(Reason::MaybeConsumed));
    assert_eq!(lost_after(NEVER, 0, secs(1), None), login_required(Reason::MaybeConsumed));
}

#[test]
fn an_answer_lost_within_a_grace_period_may_be_asked_for_again_if_time_remains() {
    assert_eq!(lost_after(within(60), 0, secs(30), None), failed_for(Reason::InDoubt, secs(9)));
    assert_eq!(lost_after(within(42), 0, secs(30), None), failed_for(Reason::InDoubt, secs(9)));
    assert_eq!(lost_after(within(41), 0, secs(30), None), login_required(Reason::MaybeConsumed));
    // Presented first 30 s before it was sent now.
    assert_eq!(lost_after(within(72), 3, secs(1), None), failed_for(Reason::InDoubt, secs(38)));
    assert_eq!(lost_after(within(71), 3, secs(1), None), login_required(Reason::MaybeConsumed));
    assert_eq!(lost_after(within(60), 0, secs(39), None), failed(Reason::InDoubt));
}
