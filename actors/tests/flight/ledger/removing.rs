//! Removals, and the results that come too late for them.

use tokenkeeper_actors::law::ledger::{BegunOn, remove};
use tokenkeeper_actors::values::record::Content;
use tokenkeeper_actors::values::{AttemptId, Version};

use super::*;

#[test]
fn only_a_tombstone_without_a_request_is_removed_and_only_as_it_was_read() {
    let mut removable = 0;
    for record in records().iter() {
        let Some(record) = record else {
            assert_eq!(remove(None, Version::default()), Err(Conflict::Moved));
            continue;
        };
        let is_over = record.content == Content::Tombstone && record.prompt.is_none();
        assert_eq!(remove(Some(record), record.version()).is_ok(), is_over, "{record:?}");
        removable += usize::from(is_over);
        let Version { epoch, revision } = record.version();
        for other in [Version { epoch: epoch.next(), revision }, Version { epoch, revision: revision.next() }] {
            assert_eq!(remove(Some(record), other), Err(Conflict::Moved));
        }
    }
    assert!(removable > 0);
}

#[test]
fn a_login_that_a_person_was_asked_for_needs_the_record_in_which_it_began() {
    let begun_on = BegunOn { epoch: Epoch::default(), attempt: AttemptId(1), same_subject: false };
    let login = Login { begun_on: Some(begun_on), ..new_login("rt-new") };
    assert_eq!(apply(None, &Change::Install(Box::new(login.clone()))), Err(Conflict::Moved));
    // An import asks no person, and replaces anything.
    let import = Login { begun_on: None, ..login };
    assert!(apply(None, &Change::Install(Box::new(import))).is_ok());
}
