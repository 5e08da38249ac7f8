//! Logins by a code that the person enters on another device. A poll may bring the tokens.

use crate::support::*;

fn issued() -> Polled {
    Polled::Issued(Box::new(tokens("device", "alice", START)))
}

#[test]
fn the_server_is_polled_until_the_person_has_answered() {
    let mut world = World::new();
    world.begins('A', asks_by_device());
    world.passes(secs(16));
    assert_eq!((world.server.polled, world.waits('A')), (3, true));
    world.server.polls.push_back(issued());
    world.passes(secs(5));
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-device")));
    assert_eq!((world.server.polled, world.counts().as_str()), (4, "1 shown, 0 codes, 0 pending, 0 claims"));
    world.is_at_rest();
}

#[test]
fn a_server_that_names_no_pause_is_not_flooded() {
    let mut world = World::new();
    world.server.interval = secs(0);
    world.begins('A', asks_by_device());
    world.passes(secs(15));
    assert_eq!(world.server.polled, 15);
}

#[test]
fn each_pause_after_a_slow_down_is_five_seconds_longer() {
    let mut world = World::new();
    world.server.polls.extend([Polled::SlowDown, Polled::Pending, Polled::SlowDown, Polled::Pending]);
    world.begins('A', asks_by_device());
    let mut polls = Vec::new();
    for second in 1..=60 {
        world.passes(secs(1));
        if world.server.polled > polls.len() as u32 {
            polls.push(second);
        }
    }
    assert_eq!(polls, [5, 15, 25, 40, 55]);
}

#[test]
fn a_no_on_the_other_device_is_shared() {
    let mut world = World::new();
    world.begins('A', asks_by_device());
    world.begins('B', asks_by_device());
    world.server.polls.push_back(Polled::Ended(LoginReason::Denied));
    world.passes(secs(6));
    assert_eq!((world.result('A'), world.result('B')), (Err(LoginReason::Denied), Err(LoginReason::Denied)));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn tokens_of_a_poll_in_flight_are_kept_or_revoked_whatever_ends_the_request() {
    let until = START.elapsed.after(secs(60));
    let events = [
        (LoginEvent::Cancel, Ok(())),
        (LoginEvent::Shutdown(until), Ok(())),
        (LoginEvent::LoggedOut(Epoch::default()), Err(LoginReason::LoggedOut)),
    ];
    for (event, wanted) in events {
        let mut world = World::new();
        world.begins('A', asks_by_device());
        world.rule('A', "poll", Rule::AnswerLate);
        world.server.polls.push_back(issued());
        world.passes(secs(5));
        world.tells('A', event.clone());
        world.passes(secs(5));
        assert!(world.waits('A'), "{event:?}");
        world.delivers('A');
        assert_eq!(world.result('A'), wanted, "{event:?}");
        let revoked = usize::from(wanted.is_err());
        assert_eq!((world.stored().is_some(), world.revoked.len()), (wanted.is_ok(), revoked), "{event:?}");
        world.is_at_rest();
    }
}

#[test]
fn a_request_ends_once_the_poll_in_flight_has_brought_nothing() {
    let until = START.elapsed.after(secs(60));
    let events = [
        (LoginEvent::Cancel, LoginReason::Cancelled),
        (LoginEvent::Shutdown(until), LoginReason::ShuttingDown),
        (LoginEvent::LoggedOut(Epoch::default()), LoginReason::LoggedOut),
    ];
    for (event, wanted) in events {
        let mut world = World::new();
        world.begins('A', asks_by_device());
        world.rule('A', "poll", Rule::AnswerLate);
        world.passes(secs(5));
        world.tells('A', event);
        assert!(world.waits('A'));
        world.delivers('A');
        assert_eq!(world.result('A'), Err(wanted));
        world.is_at_rest();
    }
}

#[test]
fn a_request_times_out_after_the_poll_in_flight() {
    let mut world = World::new();
    world.begins('A', asks_by_device());
    world.passes(secs(592));
    world.rule('A', "poll", Rule::AnswerLate);
    world.server.polls.push_back(issued());
    world.passes(secs(20));
    assert!(world.waits('A'));
    world.delivers('A');
    assert_eq!((world.result('A'), world.stored()), (Ok(()), Some("rt-device")));
}

#[test]
fn a_login_of_another_process_ends_the_request_after_the_poll_in_flight() {
    let mut world = World::new();
    world.begins('A', asks_by_device());
    world.rule('A', "poll", Rule::AnswerLate);
    world.passes(secs(5));
    world.imports("host");
    assert!(world.waits('A'));
    world.delivers('A');
    assert_eq!((world.result('A'), world.stored()), (Err(LoginReason::Superseded), Some("rt-host")));
    assert_eq!(world.counts(), "1 shown, 0 codes, 0 pending, 0 claims");
}

#[test]
fn a_poll_whose_answer_arrives_twice_is_slowed_down_once() {
    let mut world = World::new();
    world.rule('A', "poll", Rule::AnswerTwice);
    world.server.polls.push_back(Polled::SlowDown);
    world.begins('A', asks_by_device());
    world.passes(secs(14));
    assert_eq!(world.server.polled, 1);
    world.passes(secs(1));
    assert_eq!(world.server.polled, 2);
}
