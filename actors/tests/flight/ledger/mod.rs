//! The writes to a record. Every change is applied to every record.

mod closing;
mod committing;
mod configuring;
mod marking;
mod prompting;
mod removing;

use tokenkeeper_actors::law::ledger::{Commit, Conflict, Login, apply};
use tokenkeeper_actors::values::record::{Access, MarkState, Parked, Record, Refresh};
use tokenkeeper_actors::values::{
    AccessToken, FlightId, ProviderName, RenewalPlan, Revision, SourceName, Spending, TokenKind, Validity,
};

use crate::support::*;

/// The mark of `flight`, on `record`'s token, as its first presentation.
fn marked_by(flight: FlightId, record: &Record) -> Record {
    marked(record, flight, 1, START)
}

fn with_mark_spent(record: &Record) -> Record {
    let spent = Change::Spent { epoch: EPOCH, flight: ME, sent: rt("rt-1").digest() };
    changed(Some(&marked_by(ME, record)), &spent)
}

fn with_refresh(refresh: Refresh) -> Record {
    let mut record = signed_in();
    grant_of(&mut record).refresh = refresh;
    record
}

/// The tokens that `ME` obtained for `rt-1` in epoch 1, as token number 2.
fn commit() -> Commit {
    Commit {
        renewal: RenewalPlan::default(),
        epoch: EPOCH,
        sent: Some(rt("rt-1").digest()),
        repeated: false,
        access: Access {
            token: AccessToken::new("at-2"),
            kind: TokenKind::Bearer,
            validity: Validity::new(START, Some(HOUR)),
            number: 2,
            cause: Cause::Expiry,
            flight: Some(ME),
        },
        refresh: Some(rt("rt-2")),
        granted: None,
        subject: None,
        binding: None,
        at: START,
    }
}

fn kept() -> Commit {
    Commit { refresh: None, ..commit() }
}

fn repeatable() -> Commit {
    Commit { sent: None, refresh: None, binding: Some(binding()), ..commit() }
}

fn new_login(refresh: &str) -> Login {
    login(Some(refresh), "at-new", START, HOUR)
}

fn commits(commit: Commit) -> Change {
    Change::Commit(Box::new(commit))
}

fn installs(login: Login) -> Change {
    Change::Install(Box::new(login))
}

/// Another provider, no replay, and this source.
fn configures(source: &str) -> Change {
    let renewal = RenewalPlan {
        source: SourceName::new(source.to_owned()).unwrap(),
        provider: ProviderName::new("notion").ok(),
        never_replay: true,
        server_named: true,
        ..RenewalPlan::default()
    };
    Change::Configure { epoch: EPOCH, renewal }
}

fn withdraws() -> Change {
    Change::Withdraw { epoch: EPOCH, flight: ME, sent: rt("rt-1").digest(), earlier: None, park: None }
}

/// The records of the table's columns, in their order.
fn records() -> [Option<Record>; 11] {
    let plain = signed_in();
    let parked = changed(Some(&plain), &Change::Park { epoch: EPOCH, why: Parked::IssuerChanged });
    let ended = changed(Some(&plain), &Change::End { epoch: EPOCH, sent: rt("rt-1").digest() });
    let tombstone = changed(Some(&plain), &Change::Clear { epoch: EPOCH });
    let rotated = refreshed_by_sibling(&plain, "at-s", "rt-s", START);
    [
        None,
        Some(plain.clone()),
        Some(marked_by(ME, &plain)),
        Some(marked_by(SIBLING, &plain)),
        Some(with_mark_spent(&plain)),
        Some(with_refresh(Refresh::None)),
        Some(ended),
        Some(parked),
        Some(tombstone),
        Some(changed(Some(&plain), &installs(new_login("rt-new")))),
        Some(rotated),
    ]
}

#[test]
fn every_change_meets_every_record() {
    let sent = rt("rt-1").digest();
    let mark = mark(&signed_in(), ME, 1, START);
    let marks = |record: Option<&Record>| Change::Mark {
        expected: record.map(Record::version).unwrap_or_default(),
        mark: mark.clone(),
    };
    let always = |change: Change| move |_: Option<&Record>| change.clone();
    type Row<'a> = (&'a str, Box<dyn Fn(Option<&Record>) -> Change + 'a>, &'a str);
    // Columns: no record, `rt-1` unmarked, marked by us, by a sibling, spent, no refresh token, ended, parked,
    // tombstone, another login, `rt-1` rotated away by a sibling.
    // `+` applies, `m` moved, `r` refused, `p` replaced, `d` dead, `k` marked.
    let rows: Vec<Row<'_>> = vec![
        ("mark", Box::new(marks), "m++++mm+mmm"),
        ("withdraw", Box::new(always(withdraws())), "m++++mm+mmm"),
        ("commit", Box::new(always(commits(commit()))), "m++++m++mmm"),
        ("commit, token kept", Box::new(always(commits(kept()))), "m++++mm+mmm"),
        ("commit, repeatable", Box::new(always(commits(repeatable()))), "++++++++mmm"),
        ("end", Box::new(always(Change::End { epoch: EPOCH, sent })), "m++++mm+mmm"),
        ("discard", Box::new(always(Change::Discard { epoch: EPOCH, number: 1 })), "m+++++++mmm"),
        ("spent", Box::new(always(Change::Spent { epoch: EPOCH, flight: ME, sent })), "mm+m+mmmmmm"),
        ("park", Box::new(always(Change::Park { epoch: EPOCH, why: Parked::SubjectChanged })), "m+++++++mm+"),
        ("configure", Box::new(always(configures("refresh_token"))), "m+++++++mm+"),
        ("configure, another source", Box::new(always(configures("another"))), "m+kkk+++mm+"),
        ("install", Box::new(always(installs(new_login("rt-other")))), "+++++++++++"),
        ("install, the same token", Box::new(always(installs(new_login("rt-1")))), "++kkk+r+++p"),
        ("install, no token", Box::new(always(installs(login(None, "at", START, HOUR)))), "+++++++++++"),
        ("clear", Box::new(always(Change::Clear { epoch: EPOCH })), "++++++++mm+"),
        ("unpark", Box::new(always(Change::Unpark { epoch: EPOCH, why: Parked::IssuerChanged })), "mmmmmmm+mmm"),
    ];
    for (name, change, wanted) in rows {
        let found: String = records()
            .iter()
            .map(|record| match apply(record.as_ref(), &change(record.as_ref())) {
                Ok(next) => {
                    assert_successor(record.as_ref(), &next);
                    '+'
                }
                Err(Conflict::Moved) => 'm',
                Err(Conflict::Refused) => 'r',
                Err(Conflict::Replaced) => 'p',
                Err(Conflict::Dead) => 'd',
                Err(Conflict::Marked) => 'k',
                Err(Conflict::OtherSubject) => 's',
            })
            .collect();
        assert_eq!(found, wanted, "{name}");
    }
}

/// Epoch, revision and number never restart, and the revision grows by one with each write.
fn assert_successor(before: Option<&Record>, after: &Record) {
    let (epoch, revision, number) = before.map_or_else(
        || (Epoch::default(), Revision::default(), 0),
        |record| (record.epoch, record.revision, record.number),
    );
    assert_eq!(after.revision, revision.next());
    assert!(after.epoch >= epoch && after.epoch <= EPOCH.next().next());
    assert!(after.number >= number);
    if let Some(access) = after.grant().and_then(|grant| grant.access.as_ref()) {
        assert!(access.number <= after.number);
    }
}

/// The change that `make` returns for epoch 1 applies there, and in no other epoch.
fn only_in_its_epoch(record: &Record, make: impl Fn(Epoch) -> Change) {
    for epoch in [0, 1, 2].map(Epoch::new) {
        let applied = apply(Some(record), &make(epoch));
        assert_eq!(applied.is_ok(), epoch == EPOCH, "{epoch:?}");
    }
}

fn state(record: &Record) -> Option<MarkState> {
    mark_of(Some(record)).map(|mark| mark.state)
}
