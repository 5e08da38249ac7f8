//! Commits: the tokens of a flight are stored beside, or instead of, those in the record.

use tokenkeeper_actors::law::ledger::{Commit, Conflict, apply};
use tokenkeeper_actors::values::record::{Access, Binding, Held, Mark, Record, Refresh, Subject};
use tokenkeeper_actors::values::{Revision, Version};

use super::{commit, commits, kept, marked_by, only_in_its_epoch, repeatable, with_refresh};
use crate::support::*;

fn after(record: &Record, commit: Commit) -> Record {
    changed(Some(record), &commits(commit))
}

fn moved(record: &Record, commit: Commit) {
    assert_eq!(apply(Some(record), &commits(commit)), Err(Conflict::Moved));
}

#[test]
fn a_commit_replaces_the_pair_and_clears_the_mark() {
    let record = after(&marked_by(ME, &signed_in()), commit());
    let grant = record.grant().unwrap();
    assert_eq!(grant.refresh, Refresh::Held(Held { credential: rt("rt-2"), since: START, mark: None }));
    assert_eq!(grant.access, Some(commit().access));
    assert_eq!((&grant.granted, &grant.requested), (&scopes(&["read"]), &scopes(&["read", "write"])));
    assert_eq!((record.number, record.epoch), (2, EPOCH));
}

#[test]
fn a_token_that_was_replaced_is_not_used_again() {
    let dead = |record: &Record| record.dead.iter().copied().collect::<Vec<_>>();
    assert_eq!(dead(&after(&signed_in(), commit())), [rt("rt-1").digest()]);
    // No token is replaced if the server kept it, if it issued the same one again, or if none was sent.
    for commit in [kept(), Commit { refresh: Some(rt("rt-1")), ..commit() }, repeatable()] {
        assert_eq!(dead(&after(&signed_in(), commit)), []);
    }
}

#[test]
fn a_token_that_the_server_issues_again_is_alive() {
    let mut record = signed_in();
    record.dead.remember(rt("rt-0").digest());
    record.dead.remember(rt("rt-2").digest());
    let record = after(&record, commit());
    assert_eq!(record.dead.iter().copied().collect::<Vec<_>>(), [rt("rt-0").digest(), rt("rt-1").digest()]);
}

#[test]
fn a_commit_compares_the_epoch_but_not_the_revision() {
    let mut record = marked_by(ME, &signed_in());
    only_in_its_epoch(&record, |epoch| commits(Commit { epoch, ..commit() }));
    record.revision = Revision::new(77);
    assert_eq!(after(&record, commit()).revision, Revision::new(78));
}

#[test]
fn a_commit_compares_the_token_that_was_sent() {
    moved(&signed_in(), Commit { sent: Some(rt("rt-0").digest()), ..commit() });
    moved(&with_refresh(Refresh::Ended(rt("rt-0").digest())), commit());
    moved(&with_refresh(Refresh::None), commit());
}

#[test]
fn a_success_outranks_a_refusal_of_the_same_token_if_it_brought_another_one() {
    let ended = with_refresh(Refresh::Ended(rt("rt-1").digest()));
    assert_eq!(refresh_of(Some(&after(&ended, commit()))).as_deref(), Some("rt-2"));
    moved(&ended, kept());
}

#[test]
fn an_older_or_equal_token_replaces_nothing() {
    let numbered = |number| Commit { access: Access { number, ..commit().access }, ..commit() };
    moved(&signed_in(), numbered(0));
    moved(&signed_in(), numbered(1));
    assert_eq!(after(&signed_in(), numbered(9)).number, 9);
    let mut reserved = signed_in();
    reserved.number = 40;
    assert_eq!(after(&reserved, numbered(9)).number, 40, "what was reserved meanwhile stays reserved");
    let mut without = signed_in();
    grant_of(&mut without).access = None;
    assert_eq!(access_of(Some(&after(&without, numbered(0)))).as_deref(), Some("at-2"));
}

#[test]
fn a_token_that_is_kept_was_of_use_just_now() {
    let record = after(&marked_by(ME, &signed_in()), kept());
    assert_eq!(record.held(), Some(&Held { credential: rt("rt-1"), since: START, mark: None }));
    assert_eq!(access_of(Some(&record)).as_deref(), Some("at-2"));
}

#[test]
fn a_commit_that_keeps_the_token_clears_no_later_mark() {
    let numbered = |number| Commit { access: Access { number, ..kept().access }, ..kept() };
    let mut record = marked_by(SIBLING, &signed_in());
    record.number = 5;
    if let Refresh::Held(held) = &mut grant_of(&mut record).refresh {
        held.mark = held.mark.take().map(|mark| Mark { number: 5, ..mark });
    }
    assert_eq!(mark_of(Some(&after(&record, numbered(4)))), mark_of(Some(&record)));
    assert_eq!(mark_of(Some(&after(&record, numbered(5)))), None);
    assert_eq!(mark_of(Some(&after(&record, numbered(6)))), None);
}

#[test]
fn a_commit_that_presented_nothing_clears_no_mark() {
    let record = marked_by(SIBLING, &signed_in());
    let after = after(&record, repeatable());
    assert_eq!(mark_of(Some(&after)), mark_of(Some(&record)));
    assert_eq!(access_of(Some(&after)).as_deref(), Some("at-2"));
}

#[test]
fn scopes_are_replaced_where_the_answer_names_them() {
    let named = Commit { granted: Some(scopes(&["list"])), ..commit() };
    assert_eq!(after(&signed_in(), named).grant().unwrap().granted, scopes(&["list"]));
}

#[test]
fn the_first_subject_stays_and_another_one_is_refused() {
    let for_subject = |name| Commit { subject: Some(Subject(String::from(name))), ..commit() };
    let alice = after(&signed_in(), for_subject("alice"));
    assert_eq!(alice.grant().unwrap().subject, subject("alice"));
    let mut record = signed_in();
    grant_of(&mut record).subject = subject("alice");
    moved(&record, for_subject("mallory"));
    for welcome in [for_subject("alice"), commit()] {
        assert_eq!(after(&record, welcome).grant().unwrap().subject, subject("alice"));
    }
}

#[test]
fn a_binding_is_never_changed_by_a_commit() {
    let other = Binding { token_endpoint: "https://evil.example.com".to_owned(), ..binding() };
    for commit in [commit(), repeatable()] {
        let record = after(&signed_in(), Commit { binding: Some(other.clone()), ..commit });
        assert_eq!(record.grant().unwrap().binding, binding());
    }
}

#[test]
fn the_first_commit_of_a_source_that_needs_no_login_makes_the_record() {
    let first = Commit { epoch: Epoch::new(4), subject: subject("robot"), ..repeatable() };
    let record = changed(None, &commits(first.clone()));
    let grant = record.grant().unwrap();
    assert_eq!(record.version(), Version { epoch: Epoch::new(4), revision: Revision::new(1) });
    assert_eq!((record.number, record.dead.iter().count()), (2, 0));
    assert_eq!((&grant.binding, &grant.refresh, &grant.subject), (&binding(), &Refresh::None, &subject("robot")));
    assert_eq!((&grant.access, grant.parked, &grant.dpop_key), (&Some(first.access.clone()), None, &None));
    assert!(grant.granted.is_empty() && grant.requested.is_empty());
    let named = Commit { granted: Some(scopes(&["list"])), ..first };
    assert_eq!(changed(None, &commits(named)).grant().unwrap().granted, scopes(&["list"]));
}

#[test]
fn no_other_commit_makes_a_record() {
    for commit in [commit(), Commit { binding: Some(binding()), ..commit() }, Commit { binding: None, ..repeatable() }]
    {
        assert_eq!(apply(None, &commits(commit)), Err(Conflict::Moved));
    }
}
