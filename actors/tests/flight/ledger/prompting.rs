//! Requests to a person, the condition of the login that follows, and the end of a parking.

use tokenkeeper_actors::law::ledger::BegunOn;
use tokenkeeper_actors::values::record::{Content, Prompt, PromptEnd, PromptState};
use tokenkeeper_actors::values::{AttemptId, InstallError, LoginKey, LoginReason, Version};

use super::*;

const MINE: AttemptId = AttemptId(1);
const OTHERS: AttemptId = AttemptId(2);
const KEY: LoginKey = LoginKey([1; 32]);
const OTHER_KEY: LoginKey = LoginKey([2; 32]);

/// A request of `attempt`, whose state and revision the write has to set.
fn request(attempt: AttemptId, key: LoginKey) -> Box<Prompt> {
    let state = PromptState::Ended(PromptEnd::Failed);
    let expires = START.wall.after(secs(600));
    Box::new(Prompt { attempt, key, state, at: START, revision: Revision::new(77), expires })
}

fn asks(expected: Version) -> Change {
    Change::Prompt { expected, prompt: request(MINE, KEY) }
}

fn answers(epoch: Epoch) -> Change {
    Change::AnswerPrompt { epoch, prompt: request(MINE, KEY) }
}

fn ends(key: LoginKey, end: PromptEnd) -> Change {
    Change::EndPrompt { key, end, at: after(START, secs(9)) }
}

/// `record` with an open request of this attempt.
fn open(record: Option<&Record>) -> Record {
    changed(record, &asks(record.map(Record::version).unwrap_or_default()))
}

fn prompt(record: &Record) -> &Prompt {
    record.prompt.as_ref().unwrap()
}

fn login_over(epoch: Epoch, same_subject: bool) -> Login {
    Login { begun_on: Some(BegunOn { epoch, attempt: MINE, same_subject }), ..new_login("rt-new") }
}

#[test]
fn a_request_changes_nothing_else_and_notes_its_revision() {
    for before in records().iter().map(Option::as_ref) {
        let after = open(before);
        let revision = before.map_or(Revision::default(), |record| record.revision).next();
        assert_eq!((after.revision, prompt(&after).revision), (revision, revision));
        assert_eq!(*prompt(&after), Prompt { state: PromptState::Open, revision, ..*request(MINE, KEY) });
        match before {
            Some(before) => assert_eq!(Record { prompt: None, revision: before.revision, ..after }, *before),
            None => assert_eq!((after.epoch, after.number, after.content), (Epoch::default(), 0, Content::Vacant)),
        }
    }
}

#[test]
fn a_request_compares_the_whole_version() {
    let record = signed_in();
    let Version { epoch, revision } = record.version();
    for expected in [
        Version::default(),
        Version { epoch: epoch.next(), revision },
        Version { epoch, revision: revision.next() },
        Version { epoch: Epoch::default(), revision },
    ] {
        assert_eq!(apply(Some(&record), &asks(expected)), Err(Conflict::Moved), "{expected:?}");
    }
    assert_eq!(apply(None, &asks(record.version())), Err(Conflict::Moved));
    // Two attempts that have read the same record do not both ask.
    let other = Change::Prompt { expected: record.version(), prompt: request(OTHERS, OTHER_KEY) };
    assert_eq!(apply(Some(&open(Some(&record))), &other), Err(Conflict::Moved));
    // A refresh has marked its token since.
    assert_eq!(apply(Some(&marked_by(ME, &record)), &asks(record.version())), Err(Conflict::Moved));
}

#[test]
fn an_answer_compares_the_epoch_and_no_revision() {
    let asked = open(Some(&signed_in()));
    for record in [signed_in(), asked.clone(), marked_by(ME, &asked)] {
        only_in_its_epoch(&record, answers);
        let after = changed(Some(&record), &answers(EPOCH));
        let revision = record.revision.next();
        assert_eq!(*prompt(&after), Prompt { state: PromptState::Answered, revision, ..*request(MINE, KEY) });
        assert_eq!(Record { prompt: record.prompt.clone(), revision: record.revision, ..after }, record);
    }
    // Before the first login.
    let vacant = open(None);
    assert_eq!(prompt(&changed(Some(&vacant), &answers(Epoch::default()))).state, PromptState::Answered);
    assert_eq!(apply(Some(&vacant), &answers(EPOCH)), Err(Conflict::Moved));
}

#[test]
fn one_answer_is_redeemed_at_a_time() {
    let answered = changed(Some(&open(Some(&signed_in()))), &answers(EPOCH));
    let other = Change::AnswerPrompt { epoch: EPOCH, prompt: request(OTHERS, OTHER_KEY) };
    assert_eq!(apply(Some(&answered), &other), Err(Conflict::Moved));
    let same_attempt = Change::AnswerPrompt { epoch: EPOCH, prompt: request(MINE, OTHER_KEY) };
    assert_eq!(
        apply(Some(&answered), &same_attempt),
        Err(Conflict::Moved),
        "an attempt may have made several requests"
    );
    // A repeated write finds its own note.
    let again = changed(Some(&answered), &answers(EPOCH));
    assert_eq!((prompt(&again).state, prompt(&again).revision), (PromptState::Answered, again.revision));
    // Once the redemption has failed, the other answer counts. So does one to a request that was replaced or has ended.
    let failed = changed(Some(&answered), &ends(KEY, PromptEnd::Aborted));
    let replaced = changed(
        Some(&signed_in()),
        &Change::Prompt { expected: signed_in().version(), prompt: request(OTHERS, OTHER_KEY) },
    );
    for record in [failed, open(Some(&signed_in()))] {
        assert_eq!(prompt(&changed(Some(&record), &other)).attempt, OTHERS);
    }
    assert_eq!(prompt(&changed(Some(&replaced), &answers(EPOCH))).attempt, MINE);
}

#[test]
fn the_end_of_a_request_compares_its_key_and_is_written_once() {
    let all = [PromptEnd::Denied, PromptEnd::Cancelled, PromptEnd::TimedOut, PromptEnd::Failed, PromptEnd::Aborted];
    for asked in [open(Some(&signed_in())), open(None)] {
        for end in all {
            let after = changed(Some(&asked), &ends(KEY, end));
            let wanted = Prompt {
                state: PromptState::Ended(end),
                at: super::super::support::after(START, secs(9)),
                revision: asked.revision.next(),
                ..prompt(&asked).clone()
            };
            assert_eq!(*prompt(&after), wanted);
            assert_eq!(apply(Some(&asked), &ends(OTHER_KEY, end)), Err(Conflict::Moved));
            for again in all {
                assert_eq!(apply(Some(&after), &ends(KEY, again)), Err(Conflict::Moved), "{end:?} {again:?}");
            }
        }
    }
    assert_eq!(apply(Some(&signed_in()), &ends(KEY, PromptEnd::Denied)), Err(Conflict::Moved));
    assert_eq!(apply(None, &ends(KEY, PromptEnd::Denied)), Err(Conflict::Moved));
}

#[test]
fn an_answer_that_is_being_redeemed_neither_times_out_nor_is_cancelled() {
    let answered = changed(Some(&open(Some(&signed_in()))), &answers(EPOCH));
    for end in [PromptEnd::TimedOut, PromptEnd::Cancelled] {
        assert_eq!(apply(Some(&answered), &ends(KEY, end)), Err(Conflict::Moved));
    }
    for end in [PromptEnd::Denied, PromptEnd::Failed, PromptEnd::Aborted] {
        assert_eq!(prompt(&changed(Some(&answered), &ends(KEY, end))).state, PromptState::Ended(end));
    }
}

#[test]
fn an_end_answers_those_who_waited_when_it_was_written() {
    let asked = open(Some(&signed_in()));
    let ended = changed(Some(&asked), &ends(KEY, PromptEnd::Denied));
    assert_eq!(prompt(&asked).ended_after(Revision::default()), None);
    assert_eq!(prompt(&ended).ended_after(asked.revision), Some(PromptEnd::Denied));
    assert_eq!(prompt(&ended).ended_after(ended.revision), None);
    // A refresh goes on in the same epoch, and the end is no newer for it.
    let marked = marked_by(ME, &ended);
    assert_eq!(prompt(&marked).ended_after(ended.revision), None);
    assert_eq!(PromptEnd::Denied.reason(), LoginReason::Denied);
}

#[test]
fn a_login_replaces_the_session_that_it_was_begun_on_and_no_other() {
    for same_subject in [false, true] {
        only_in_its_epoch(&signed_in(), |epoch| installs(login_over(epoch, same_subject)));
    }
    // A refresh, a mark, a refusal or a parking within the epoch does not matter.
    for record in records().iter().take(8).flatten() {
        changed(Some(record), &installs(login_over(EPOCH, true)));
    }
    // A logout, and another login.
    for record in records().iter().skip(8).take(2).flatten() {
        assert_eq!(apply(Some(record), &installs(login_over(EPOCH, false))), Err(Conflict::Moved));
    }
    // The first login of an identity. Its request has made the record.
    let asked = open(None);
    assert_eq!(changed(Some(&asked), &installs(login_over(Epoch::default(), true))).epoch, EPOCH);
    for (record, epoch) in [(Some(&asked), EPOCH), (None, EPOCH), (None, Epoch::default())] {
        assert_eq!(apply(record, &installs(login_over(epoch, false))), Err(Conflict::Moved));
    }
    assert_eq!(InstallError::from(Conflict::Moved), InstallError::Superseded);
}

#[test]
fn only_the_same_subject_replaces_where_that_is_asked_for() {
    let named = |known, name, same_subject| {
        let mut record = signed_in();
        grant_of(&mut record).subject = known;
        let login = Login { subject: name, ..login_over(EPOCH, same_subject) };
        apply(Some(&record), &installs(login)).map(|_| ())
    };
    assert_eq!(named(subject("alice"), subject("bob"), true), Err(Conflict::OtherSubject));
    assert_eq!(named(subject("alice"), subject("bob"), false), Ok(()));
    assert_eq!(named(subject("alice"), subject("alice"), true), Ok(()));
    // A server that names no subject passes.
    assert_eq!(named(subject("alice"), None, true), Ok(()));
    assert_eq!(named(None, subject("bob"), true), Ok(()));
    assert_eq!(InstallError::from(Conflict::OtherSubject), InstallError::OtherSubject);
    // After a logout there is no subject to compare, but the epoch is.
    let cleared = changed(Some(&signed_in()), &Change::Clear { epoch: EPOCH });
    let login = Login { subject: subject("bob"), ..login_over(EPOCH.next(), true) };
    assert_eq!(changed(Some(&cleared), &installs(login)).epoch, EPOCH.next().next());
}

#[test]
fn logins_imports_and_logouts_remove_the_request() {
    let asked = open(Some(&signed_in()));
    for change in [installs(new_login("rt-new")), installs(login_over(EPOCH, true)), Change::Clear { epoch: EPOCH }] {
        assert_eq!(changed(Some(&asked), &change).prompt, None, "{change:?}");
    }
    let vacant = open(None);
    let cleared = changed(Some(&vacant), &Change::Clear { epoch: Epoch::default() });
    assert_eq!((cleared.epoch, cleared.content, cleared.prompt), (EPOCH, Content::Tombstone, None));
    assert_eq!(apply(Some(&vacant), &Change::Clear { epoch: EPOCH }), Err(Conflict::Moved));
}

#[test]
fn writes_within_the_epoch_keep_the_request() {
    let asked = open(Some(&signed_in()));
    let sent = rt("rt-1").digest();
    let kept = [
        Change::Park { epoch: EPOCH, why: Parked::IssuerChanged },
        Change::End { epoch: EPOCH, sent },
        commits(commit()),
        configures("refresh_token"),
        withdraws(),
    ];
    for change in kept {
        assert_eq!(changed(Some(&asked), &change).prompt, asked.prompt, "{change:?}");
    }
}

#[test]
fn the_first_token_of_a_repeatable_source_begins_a_record_that_a_request_has_made() {
    let first = |epoch| commits(Commit { epoch, ..repeatable() });
    let asked = open(None);
    let after = changed(Some(&asked), &first(Epoch::default()));
    assert_eq!((after.epoch, after.revision, after.number), (Epoch::default(), asked.revision.next(), 2));
    assert_eq!((access_of(Some(&after)).as_deref(), &after.prompt), (Some("at-2"), &asked.prompt));
    // A flight of an older or newer session does not.
    assert_eq!(apply(Some(&asked), &first(EPOCH)), Err(Conflict::Moved));
    // Without a record any epoch begins it, as before.
    assert_eq!(changed(None, &first(EPOCH)).epoch, EPOCH);
    // Only a source that needs no login begins a record, and it has to name what it is bound to.
    let unbound = Commit { binding: None, epoch: Epoch::default(), ..repeatable() };
    assert_eq!(apply(Some(&asked), &commits(unbound)), Err(Conflict::Moved));
    let spent = Commit { sent: Some(rt("rt-1").digest()), epoch: Epoch::default(), ..repeatable() };
    assert_eq!(apply(Some(&asked), &commits(spent)), Err(Conflict::Moved));
    // A number that was reserved before is not gone below.
    let mut numbered = asked;
    numbered.number = 7;
    assert_eq!(changed(Some(&numbered), &first(Epoch::default())).number, 7);
}

#[test]
fn a_vacant_record_takes_no_other_write() {
    let asked = open(None);
    let (epoch, sent) = (Epoch::default(), rt("rt-1").digest());
    let mark = mark(&signed_in(), ME, 1, START);
    for change in [
        Change::Mark { expected: asked.version(), mark },
        Change::Withdraw { epoch, flight: ME, sent, earlier: None, park: None },
        Change::End { epoch, sent },
        Change::Discard { epoch, number: 1 },
        Change::Spent { epoch, flight: ME, sent },
        Change::Park { epoch, why: Parked::IssuerChanged },
        Change::Unpark { epoch, why: Parked::IssuerChanged },
        Change::Configure { epoch, renewal: RenewalPlan::default() },
    ] {
        assert_eq!(apply(Some(&asked), &change), Err(Conflict::Moved), "{change:?}");
    }
}

#[test]
fn a_grant_is_taken_back_that_was_parked_for_this_reason_and_no_other() {
    let reasons = [Parked::IssuerChanged, Parked::ClientRejected, Parked::SubjectChanged];
    for parked in reasons {
        let record = changed(Some(&signed_in()), &Change::Park { epoch: EPOCH, why: parked });
        for why in reasons {
            let change = |epoch| Change::Unpark { epoch, why };
            if why == parked {
                only_in_its_epoch(&record, change);
                let after = changed(Some(&record), &change(EPOCH));
                assert_eq!(Record { revision: signed_in().revision, ..after }, signed_in());
            } else {
                assert_eq!(apply(Some(&record), &change(EPOCH)), Err(Conflict::Moved));
            }
        }
    }
    let unpark = Change::Unpark { epoch: EPOCH, why: Parked::IssuerChanged };
    assert_eq!(apply(Some(&signed_in()), &unpark), Err(Conflict::Moved));
}
