//! The members of a usable answer, one by one.

use tokenkeeper_actors::law::profile::Tokens;
use tokenkeeper_actors::values::record::{Binding, Grant, Issuer, Parked};
use tokenkeeper_actors::values::{Lease, TokenKind};

use crate::support::*;

/// Runs a flight that gets `answer` and stores it. Returns the lease and the stored grant.
fn stored(mut flight: Story, answer: Tokens) -> (Lease, Grant) {
    flight.answer(usable(answer));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    let lease = flight.mints();
    flight.over_now();
    let mut record = flight.record.clone().unwrap();
    (lease, grant_of(&mut record).clone())
}

fn sent() -> Story {
    Story::ordinary().until_sent()
}

/// A flight whose grant names `alice`.
fn sent_for_alice() -> Story {
    let mut record = signed_in();
    grant_of(&mut record).subject = subject("alice");
    Story::over(record).until_sent()
}

#[test]
fn a_refresh_token_that_is_left_out_is_kept_and_its_mark_is_not() {
    let mut flight = sent();
    flight.answer(usable(tokens("at-2", None)));
    flight.permit_back();
    flight.saves();
    let record = flight.record.clone().unwrap();
    let held = record.held().unwrap();
    assert_eq!((held.credential.token().expose(), held.mark.clone()), ("rt-1", None));
    assert_eq!(held.since, START, "it was of use just now");
}

#[test]
fn scopes_that_are_left_out_are_as_before_and_scopes_that_are_named_are_stored() {
    let (lease, grant) = stored(sent(), tokens("at-2", Some("rt-2")));
    assert_eq!((lease.scopes(), &grant.granted), (&scopes(&["read"]), &scopes(&["read"])));
    let narrowed = Some(scopes(&["list"]));
    let (lease, grant) = stored(sent(), Tokens { granted: narrowed, ..tokens("at-2", Some("rt-2")) });
    assert_eq!((lease.scopes(), &grant.granted), (&scopes(&["list"]), &scopes(&["list"])));
    assert_eq!(grant.requested, scopes(&["read", "write"]), "what was asked for is kept apart");
}

#[test]
fn the_lease_is_presented_as_the_answer_says() {
    let (lease, grant) = stored(sent(), Tokens { kind: TokenKind::Dpop, ..tokens("at-2", None) });
    assert_eq!((lease.kind(), grant.access.map(|access| access.kind)), (TokenKind::Dpop, Some(TokenKind::Dpop)));
    assert_eq!(lease.validity(), tokens("at-2", None).validity);
}

#[test]
fn a_grants_binding_is_never_changed_by_an_answer() {
    let other = Binding { issuer: Issuer("https://evil.example.com".to_owned()), ..binding() };
    let (_, grant) = stored(sent(), Tokens { binding: Some(Box::new(other)), ..tokens("at-2", Some("rt-2")) });
    assert_eq!(grant.binding, binding());
}

#[test]
fn a_subject_is_stored_when_it_is_first_named_and_kept_when_it_is_left_out() {
    let (_, grant) = stored(sent(), Tokens { subject: subject("alice"), ..tokens("at-2", None) });
    assert_eq!(grant.subject, subject("alice"));
    let (_, grant) = stored(sent_for_alice(), tokens("at-2", None));
    assert_eq!(grant.subject, subject("alice"));
    let (_, grant) = stored(sent_for_alice(), Tokens { subject: subject("alice"), ..tokens("at-2", None) });
    assert_eq!(grant.subject, subject("alice"));
}

#[test]
fn an_answer_for_another_subject_parks_the_grant_and_revokes_the_new_pair() {
    let mut flight = sent_for_alice();
    flight.answer(usable(Tokens { subject: subject("mallory"), ..tokens("at-2", Some("rt-2")) }));
    flight.permit_back();
    assert_eq!(flight.revoked(), "rt-2");
    flight.change(EffectName::Close);
    // The old token was spent for the new pair, so its mark stays.
    flight.abandoned();
    flight.lands(login_required(Reason::SubjectChanged));
    flight.over_now();
    let mut record = flight.record.clone().unwrap();
    assert!(mark_of(Some(&record)).is_some());
    let grant = grant_of(&mut record);
    assert_eq!((grant.parked, grant.subject.clone()), (Some(Parked::SubjectChanged), subject("alice")));
    assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-1"));
}

#[test]
fn another_subjects_answer_without_a_refresh_token_leaves_nothing_to_revoke() {
    let mut flight = sent_for_alice();
    flight.answer(usable(Tokens { subject: subject("mallory"), ..tokens("at-2", None) }));
    flight.permit_back();
    flight.change(EffectName::Close);
    flight.abandoned();
    flight.lands(login_required(Reason::SubjectChanged));
    flight.over_now();
}

#[test]
fn a_grant_that_could_not_be_parked_is_kept_at() {
    let mut flight = sent_for_alice();
    flight.answer(usable(Tokens { subject: subject("mallory"), ..tokens("at-2", None) }));
    flight.permit_back();
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.lands_keeping(login_required(Reason::SubjectChanged));
    flight.wake_after(millis(250));
    flight.change(EffectName::Close);
    flight.abandoned();
    flight.settles();
    flight.over_now();
}

#[test]
fn a_grant_that_was_parked_meanwhile_keeps_the_new_tokens_and_serves_none() {
    let mut flight = sent();
    flight.meanwhile(Change::Park { epoch: EPOCH, why: Parked::IssuerChanged });
    flight.answer(new_pair());
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    flight.lands(login_required(Reason::IssuerChanged));
    flight.over_now();
    assert_eq!(refresh_of(flight.record.as_ref()).as_deref(), Some("rt-2"));
    assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-2"));
}
