//! The ends of a grant or an epoch: refusals, logins and logouts.

use tokenkeeper_actors::law::ledger::{Conflict, Login, apply};
use tokenkeeper_actors::values::record::{Access, Content, DeadDigests, Held, Record, Refresh};
use tokenkeeper_actors::values::{DpopKey, InstallError, Revision, Version};

use super::{installs, marked_by, new_login, only_in_its_epoch};
use crate::support::*;

fn dead(record: &Record, token: &str) -> bool {
    record.dead.contains(&rt(token).digest())
}

#[test]
fn a_refused_token_is_remembered_and_gone() {
    let end = |epoch| Change::End { epoch, sent: rt("rt-1").digest() };
    let record = marked_by(ME, &signed_in());
    let after = changed(Some(&record), &end(EPOCH));
    assert_eq!(after.grant().unwrap().refresh, Refresh::Ended(rt("rt-1").digest()));
    assert!(dead(&after, "rt-1"));
    assert_eq!(access_of(Some(&after)).as_deref(), Some("at-1"), "the access token may live a little longer");
    only_in_its_epoch(&record, end);
    let other = Change::End { epoch: EPOCH, sent: rt("rt-2").digest() };
    assert_eq!(apply(Some(&record), &other), Err(Conflict::Moved));
}

#[test]
fn a_refused_access_token_goes_and_everything_else_stays() {
    let ended = changed(Some(&signed_in()), &Change::End { epoch: EPOCH, sent: rt("rt-1").digest() });
    let discard = |epoch, number| Change::Discard { epoch, number };
    let after = changed(Some(&ended), &discard(EPOCH, 1));
    let mut expected = ended.clone();
    expected.revision = ended.revision.next();
    grant_of(&mut expected).access = None;
    assert_eq!(after, expected);
    only_in_its_epoch(&ended, |epoch| discard(epoch, 1));
    // Another token than the refused one, and one that has gone already.
    assert_eq!(apply(Some(&ended), &discard(EPOCH, 2)), Err(Conflict::Moved));
    assert_eq!(apply(Some(&after), &discard(EPOCH, 1)), Err(Conflict::Moved));
}

#[test]
fn a_login_begins_an_epoch_whatever_is_there() {
    let login = Login { subject: subject("bob"), dpop_key: Some(DpopKey::new("key")), ..new_login("rt-new") };
    let mut record = signed_in();
    (record.revision, record.number) = (Revision::new(6), 9);
    let after = changed(Some(&record), &installs(login.clone()));
    assert_eq!(after.version(), Version { epoch: Epoch::new(2), revision: Revision::new(7) });
    assert_eq!(after.number, 10);
    let grant = after.grant().unwrap();
    assert_eq!((&grant.binding, &grant.requested), (&login.binding, &login.requested));
    assert_eq!((&grant.granted, &grant.subject, &grant.dpop_key), (&login.granted, &login.subject, &login.dpop_key));
    assert_eq!(grant.refresh, Refresh::Held(Held { credential: rt("rt-new"), since: START, mark: None }));
    assert_eq!(grant.parked, None);
    let access = login.access.unwrap();
    let wanted = Access {
        token: access.token,
        kind: access.kind,
        validity: access.validity,
        number: 10,
        cause: Cause::Login,
        flight: None,
    };
    assert_eq!(grant.access, Some(wanted));
}

#[test]
fn the_first_login_is_of_epoch_one() {
    let record = changed(None, &installs(new_login("rt-new")));
    assert_eq!(record.version(), Version { epoch: Epoch::new(1), revision: Revision::new(1) });
    let mut dead = DeadDigests::default();
    dead.came_with_login(rt("rt-new").digest());
    assert_eq!((record.number, record.dead), (1, dead));
}

#[test]
fn a_login_without_tokens_has_none() {
    let login = Login { access: None, refresh: None, ..new_login("") };
    let record = changed(Some(&signed_in()), &installs(login));
    let grant = record.grant().unwrap();
    assert_eq!((&grant.refresh, &grant.access), (&Refresh::None, &None));
    assert_eq!(record.number, 2);
}

#[test]
fn a_token_that_is_dead_or_marked_is_not_installed() {
    let ended = changed(Some(&signed_in()), &Change::End { epoch: EPOCH, sent: rt("rt-1").digest() });
    assert_eq!(apply(Some(&ended), &installs(new_login("rt-1"))), Err(Conflict::Refused));
    let marked = marked_by(SIBLING, &signed_in());
    assert_eq!(apply(Some(&marked), &installs(new_login("rt-1"))), Err(Conflict::Marked));
    // Another token may be installed, and so may the same one if it is not in doubt.
    assert!(apply(Some(&marked), &installs(new_login("rt-2"))).is_ok());
    assert!(apply(Some(&signed_in()), &installs(new_login("rt-1"))).is_ok());
}

#[test]
fn a_refresh_token_that_was_replaced_is_told_from_one_that_was_refused_as_long_as_the_record_knows() {
    let install = |record: &Record, token| apply(Some(record), &installs(new_login(token))).map(|record| record.epoch);
    let login = changed(None, &installs(new_login("rt-1")));
    let rotated = refreshed_by_sibling(&login, "at-2", "rt-2", START);
    assert_eq!(install(&rotated, "rt-1"), Err(Conflict::Replaced));
    let ended = changed(Some(&rotated), &Change::End { epoch: EPOCH, sent: rt("rt-2").digest() });
    assert_eq!(install(&ended, "rt-1"), Err(Conflict::Replaced));
    assert_eq!(install(&ended, "rt-2"), Err(Conflict::Refused));
    // The next login inherits both digests, and not what became of them.
    let next = changed(Some(&ended), &installs(new_login("rt-3")));
    assert_eq!(install(&next, "rt-1"), Err(Conflict::Dead));
    assert_eq!(install(&next, "rt-2"), Err(Conflict::Dead));
    let tombstone = changed(Some(&rotated), &Change::Clear { epoch: EPOCH });
    assert_eq!(install(&tombstone, "rt-1"), Err(Conflict::Dead));
    assert_eq!(install(&next, "rt-4"), Ok(Epoch::new(3)));
}

/// `record` after this many refreshes. Its token then is `<name>-<refreshes>`.
fn refreshed(record: &Record, name: &str, refreshes: u32) -> Record {
    (1..=refreshes).fold(record.clone(), |record, round| {
        refreshed_by_sibling(&record, &format!("at-{round}"), &format!("{name}-{round}"), START)
    })
}

#[test]
fn a_token_that_a_login_came_with_is_known_as_dead_after_any_number_of_refreshes() {
    let first = refreshed(&changed(None, &installs(new_login("seed-1"))), "a", 40);
    assert_eq!(apply(Some(&first), &installs(new_login("seed-1"))), Err(Conflict::Replaced));
    // Of the others, the last sixteen are known. `a-40` is held.
    let known = |record: &Record, name: &str| (1..=40).filter(|n| dead(record, &format!("{name}-{n}"))).count();
    assert_eq!(known(&first, "a"), 16);
    assert!(dead(&first, "a-24") && !dead(&first, "a-23"));
    // The server refuses the last one, and another login takes its place.
    let ended = changed(Some(&first), &Change::End { epoch: EPOCH, sent: rt("a-40").digest() });
    let second = refreshed(&changed(Some(&ended), &installs(new_login("seed-2"))), "b", 40);
    let tombstone = changed(Some(&second), &Change::Clear { epoch: Epoch::new(2) });
    for record in [&second, &tombstone] {
        assert_eq!((known(record, "a"), known(record, "b")), (0, 16));
        for seed in ["seed-1", "seed-2"] {
            assert_eq!(apply(Some(record), &installs(new_login(seed))), Err(Conflict::Dead), "{seed}");
        }
    }
    // A server that issues it again makes it usable.
    let issued = refreshed_by_sibling(&second, "at-41", "seed-1", START);
    assert!(!dead(&issued, "seed-1"));
    assert!(apply(Some(&issued), &installs(new_login("seed-1"))).is_ok());
}

#[test]
fn the_tokens_of_the_last_sixty_four_logins_are_known() {
    let login = |record: &Record, round: u32| {
        let record = changed(Some(record), &installs(new_login(&format!("seed-{round}"))));
        refreshed_by_sibling(&record, "at", &format!("next-{round}"), START)
    };
    let mut record = (2..=64).fold(login(&signed_in(), 1), |record, round| login(&record, round));
    assert!((1..=64).all(|round| dead(&record, &format!("seed-{round}"))));
    // The seventeenth login after them takes the oldest of the sixteen other ones along.
    record = (65..=80).fold(record, |record, round| login(&record, round));
    assert!((17..=80).all(|round| dead(&record, &format!("seed-{round}"))));
    assert_eq!((record.dead.logins().count(), record.dead.iter().count()), (64, 80));
    record = refreshed(&record, "a", 17);
    assert!(!dead(&record, "seed-16") && dead(&record, "seed-17"));
    assert_eq!((record.dead.logins().count(), record.dead.iter().count()), (64, 80));
}

#[test]
fn what_was_dead_or_in_doubt_stays_out_over_logins_and_logouts() {
    for change in [installs(new_login("rt-new")), Change::Clear { epoch: EPOCH }] {
        let mut record = marked_by(ME, &signed_in());
        record.dead.remember(rt("rt-0").digest());
        let after = changed(Some(&record), &change);
        assert!(dead(&after, "rt-0") && dead(&after, "rt-1"));
        assert_eq!(apply(Some(&after), &installs(new_login("rt-1"))), Err(Conflict::Dead));
        // An unmarked token may be installed again, so that an import can be repeated.
        let after = changed(Some(&signed_in()), &change);
        assert!(!dead(&after, "rt-1"));
    }
}

#[test]
fn a_logout_leaves_a_tombstone_that_forgets_no_counter() {
    let mut record = signed_in();
    (record.revision, record.number) = (Revision::new(6), 9);
    let after = changed(Some(&record), &Change::Clear { epoch: EPOCH });
    assert_eq!(after.version(), Version { epoch: Epoch::new(2), revision: Revision::new(7) });
    assert_eq!((after.number, &after.content), (10, &Content::Tombstone));
    only_in_its_epoch(&record, |epoch| Change::Clear { epoch });
}

#[test]
fn a_loser_never_clears_a_winners_tokens_and_a_tombstone_is_not_cleared_again() {
    let cleared = changed(Some(&signed_in()), &Change::Clear { epoch: EPOCH });
    for epoch in [EPOCH, EPOCH.next()] {
        assert_eq!(apply(Some(&cleared), &Change::Clear { epoch }), Err(Conflict::Moved));
    }
    let again = changed(Some(&cleared), &installs(new_login("rt-new")));
    assert_eq!(again.epoch, Epoch::new(3));
    assert_eq!(apply(Some(&again), &Change::Clear { epoch: EPOCH }), Err(Conflict::Moved));
}

#[test]
fn what_never_was_stored_can_be_logged_out_of() {
    let record = changed(None, &Change::Clear { epoch: Epoch::default() });
    assert_eq!(record.version(), Version { epoch: Epoch::new(1), revision: Revision::new(1) });
    assert_eq!((record.number, record.content), (1, Content::Tombstone));
}

#[test]
fn an_install_says_why_it_was_refused() {
    assert_eq!(InstallError::from(Conflict::Refused), InstallError::Refused);
    assert_eq!(InstallError::from(Conflict::Replaced), InstallError::Replaced);
    assert_eq!(InstallError::from(Conflict::Dead), InstallError::Dead);
    assert_eq!(InstallError::from(Conflict::Marked), InstallError::Marked);
    assert_eq!(InstallError::from(Conflict::OtherSubject), InstallError::OtherSubject);
    assert_eq!(InstallError::from(Conflict::Moved), InstallError::Superseded);
}
