//! When a token in doubt may be presented again (law 10).

use tokenkeeper_actors::law::flight::Doubt;
use tokenkeeper_actors::law::profile::{Evidence, Profile, Reuse};
use tokenkeeper_actors::values::record::{Mark, Record, Refresh};
use tokenkeeper_actors::values::{BootId, FlightId, Moment};

use crate::support::*;

/// A doubt about `rt-1`, and the flight that resolves it.
#[derive(Clone)]
struct Case {
    profile: Profile,
    predecessor: Predecessor,
    mark: Mark,
    /// When this process first saw a mark, and which flight made it.
    doubt: Option<(FlightId, Duration)>,
    /// Whether the mark it saw was the one before.
    seen_before: bool,
}

/// A sibling presented the token once, `age` ago, in this boot. Its request might take 30 s. The sibling is gone.
fn once(profile: Profile, age: Duration) -> Case {
    let mark = mark(&signed_in(), SIBLING, 1, before(START, age));
    Case { profile, predecessor: Predecessor::Gone, mark, doubt: None, seen_before: false }
}

/// The default: a reuse ends the lineage at most.
fn lineage() -> Profile {
    profile()
}

/// A reuse ends more than the lineage.
fn never() -> Profile {
    Profile { reuse: Reuse::EndsMore, ..profile() }
}

/// A reuse ends more than the lineage, except within this time of the first presentation.
fn within(span: u64) -> Profile {
    Profile { grace: Some(secs(span)), ..never() }
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
        let mut setup = Setup { profile: self.profile.clone(), record: Some(self.record()), ..Setup::default() };
        let presentations = self.mark.presentations - u32::from(self.seen_before);
        let seen = |span| before(START, span).elapsed;
        setup.order.doubt = self.doubt.map(|(flight, span)| Doubt { flight, presentations, seen: seen(span) });
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

#[test]
fn the_token_of_a_holder_that_is_gone_is_presented_at_once() {
    for age in [millis(1), secs(29), secs(30), HOUR] {
        once(lineage(), age).presents();
        once(lineage(), age).elsewhere().presents();
        once(Profile { rotates: false, ..lineage() }, age).presents();
    }
}

#[test]
fn the_pauses_between_presentations_grow_with_their_number_and_never_end_the_grant() {
    let pauses = [(2, 500), (3, 1_000), (4, 2_000), (5, 4_000), (6, 5_000), (8, 5_000)];
    let longer = [(9, 10_000), (10, 20_000), (11, 40_000), (12, 60_000), (1_000, 60_000), (u32::MAX - 1, 60_000)];
    for (presentations, pause) in pauses.into_iter().chain(longer) {
        let case = |age| once(lineage(), age).presented(presentations);
        case(millis(1)).waits(millis(pause - 1));
        case(millis(pause - 1)).waits(millis(1));
        case(millis(pause)).presents();
        case(HOUR).presents();
    }
}

#[test]
fn a_holder_that_may_live_is_waited_for_and_then_presented_over() {
    once(lineage(), secs(10)).may_live().waits(secs(20));
    once(lineage(), millis(29_999)).may_live().waits(millis(1));
    once(lineage(), secs(30)).may_live().presents();
    once(lineage(), HOUR).may_live().presents();
    // The longer of the two waits counts.
    once(lineage(), secs(29)).presented(12).may_live().waits(secs(31));
    once(Profile { rotates: false, ..lineage() }, secs(10)).may_live().waits(secs(20));
}

#[test]
fn an_issuer_that_forgives_nothing_is_shown_no_token_twice() {
    once(never(), HOUR).refuses();
    once(never(), secs(10)).refuses();
    // The holder may still commit, which would end the doubt.
    once(never(), secs(10)).may_live().waits(secs(20));
    once(never(), secs(30)).may_live().refuses();
    // There is no doubt at an issuer that never rotates, whatever a reuse would cost.
    once(Profile { rotates: false, ..never() }, secs(10)).presents();
}

#[test]
fn a_mark_of_another_boot_counts_from_when_this_process_first_saw_it() {
    // The wall clock shows another age, which does not count.
    let case = |known: Duration| once(lineage(), HOUR).elsewhere().may_live().known_for(known);
    once(lineage(), HOUR).elsewhere().may_live().waits(secs(30));
    case(millis(29_999)).waits(millis(1));
    case(secs(30)).presents();
    once(lineage(), HOUR).elsewhere().presented(3).waits(secs(1));
    once(lineage(), HOUR).elsewhere().presented(3).known_for(secs(1)).presents();
}

#[test]
fn a_sight_of_another_flights_mark_does_not_age_this_one() {
    let mut case = once(lineage(), HOUR).elsewhere().may_live();
    case.doubt = Some((FlightId(0xDEAD), HOUR));
    case.waits(secs(30));
    // Nor does a sight of the flight's own first mark age its second.
    let mut case = once(lineage(), HOUR).elsewhere().presented(2).may_live().known_for(HOUR);
    case.seen_before = true;
    case.waits(secs(30));
}

#[test]
fn in_the_same_boot_the_mark_has_its_own_age() {
    once(lineage(), secs(10)).may_live().known_for(HOUR).waits(secs(20));
    once(lineage(), secs(40)).may_live().known_for(secs(0)).presents();
}

#[test]
fn within_an_issuers_grace_period_a_token_is_presented_again_where_reuse_costs_more() {
    for presentations in [1, 2, 7] {
        once(within(60), secs(30)).presented(presentations).presents();
        once(within(60), secs(30)).presented(presentations).may_live().presents();
    }
}

#[test]
fn a_grace_period_makes_no_profile_stricter() {
    let lax = Profile { grace: Some(secs(60)), ..lineage() };
    once(lax.clone(), HOUR).presents();
    once(lax.clone(), HOUR).elsewhere().presents();
    once(lax, HOUR).presented(7).may_live().presents();
}

#[test]
fn the_repeat_must_arrive_before_the_grace_period_ends_the_two_seconds_to_send_included() {
    once(within(60), millis(57_999)).presents();
    once(within(60), secs(58)).refuses();
    once(within(60), HOUR).refuses();
    once(within(60), secs(58)).may_live().refuses();
}

#[test]
fn the_grace_period_counts_from_the_first_presentation_and_the_wait_from_the_last() {
    once(within(60), secs(31)).first(secs(57)).presents();
    once(within(60), secs(31)).first(secs(58)).refuses();
    once(within(60), secs(10)).first(secs(37)).may_live().waits(secs(20));
    // The wait lasts until the grace period is over. The holder's own answer may still come.
    once(within(60), secs(10)).first(secs(38)).may_live().waits(secs(20));
    once(within(60), secs(1)).first(secs(56)).presented(4).waits(secs(1));
    once(within(60), secs(1)).first(secs(57)).presented(4).refuses();
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
fn a_repeat_that_missed_the_grace_period_is_not_sent_and_the_doubt_is_put_back() {
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
fn a_repeat_just_within_the_grace_period_is_sent() {
    let mut flight = once(within(60), millis(56_000)).decided();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.pass(millis(1_999));
    flight.written(op, &change);
    flight.send();
}

#[test]
fn without_a_grace_period_a_repeat_needs_no_haste() {
    let mut flight = once(lineage(), HOUR).decided();
    let (op, change) = flight.change_asked(EffectName::Mark);
    flight.step_wall(7_200_000);
    flight.written(op, &change);
    flight.send();
}

/// Presents a token for the second time or later, and loses the answer `span` after the send.
fn lost_again(profile: Profile, presentations: u32, span: Duration, evidence: Evidence) -> Outcome {
    let mut flight = once(profile, HOUR).first(secs(20)).presented(presentations).decided();
    flight.change(EffectName::Mark);
    flight.send();
    flight.pass(span);
    let told = match &evidence {
        Evidence::Refused(refused) => refused.retry_after,
        _ => None,
    };
    flight.answer(evidence);
    flight.permit_back_with(told);
    flight.abandoned();
    let landing = flight.landing();
    flight.over_now();
    assert_eq!(landing.requests, 1);
    let mark = mark_of(flight.record.as_ref()).expect("the mark stays");
    assert_eq!((mark.flight, mark.presentations), (ME, presentations + 1));
    landing.outcome
}

#[test]
fn a_doubt_stays_however_often_the_answer_is_lost() {
    for presentations in [1, 2, 30] {
        let pause = if presentations == 1 {
            500
        } else if presentations == 2 {
            1_000
        } else {
            60_000
        };
        let outcome = |evidence| lost_again(lineage(), presentations, Duration::ZERO, evidence);
        assert_eq!(outcome(ANSWER_LOST), failed_for(Reason::InDoubt, millis(pause)));
        assert_eq!(outcome(refused(502, "")), failed_for(Reason::InDoubt, millis(pause)));
        assert_eq!(outcome(refused(403, "")), failed_for(Reason::InDoubt, millis(pause)));
        // The server has refused the request in the words of the protocol.
        assert_eq!(outcome(refused(400, "invalid_request")), failed_for(Reason::RequestRefused, millis(pause)));
    }
}

#[test]
fn the_longer_of_the_pause_and_the_servers_retry_after_counts() {
    let outcome = |span, told| lost_again(lineage(), 3, span, refused_until(503, "", told));
    assert_eq!(outcome(Duration::ZERO, secs(1)), failed_for(Reason::InDoubt, secs(2)));
    assert_eq!(outcome(Duration::ZERO, secs(9)), failed_for(Reason::InDoubt, secs(9)));
    assert_eq!(outcome(millis(1_500), secs(1)), failed_for(Reason::InDoubt, secs(1)));
    assert_eq!(outcome(secs(30), secs(1)), failed_for(Reason::InDoubt, secs(1)));
    assert_eq!(lost_again(lineage(), 3, secs(30), ANSWER_LOST), failed(Reason::InDoubt));
}

#[test]
fn an_answer_lost_outside_the_grace_period_asks_for_a_login_where_reuse_costs_more() {
    // Presented first 20 s before it was sent now.
    assert_eq!(lost_again(within(60), 1, secs(37), ANSWER_LOST), failed(Reason::InDoubt));
    assert_eq!(lost_again(within(60), 1, secs(38), ANSWER_LOST), login_required(Reason::MaybeConsumed));
}
