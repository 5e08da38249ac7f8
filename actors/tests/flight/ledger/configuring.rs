//! The renewal plan. A login or a first mint stores it, and only a configuration changes it.

use super::*;

fn plan_of(record: &Record) -> RenewalPlan {
    record.grant().expect("a grant").renewal.clone()
}

#[test]
fn a_configuration_changes_the_plan_and_nothing_else() {
    for before in [signed_in(), marked_by(SIBLING, &signed_in()), with_refresh(Refresh::None)] {
        let change = configures("refresh_token");
        let Change::Configure { renewal, .. } = &change else { unreachable!() };
        let mut wanted = before.clone();
        wanted.revision = wanted.revision.next();
        grant_of(&mut wanted).renewal = renewal.clone();
        assert_eq!(changed(Some(&before), &change), wanted);
    }
    only_in_its_epoch(&signed_in(), |epoch| Change::Configure { epoch, renewal: RenewalPlan::default() });
}

#[test]
fn under_a_mark_neither_source_nor_spending_changes() {
    let record = marked_by(SIBLING, &signed_in());
    let other = RenewalPlan { spending: Spending::Repeatable, ..RenewalPlan::default() };
    for change in [Change::Configure { epoch: EPOCH, renewal: other }, configures("another")] {
        assert_eq!(apply(Some(&record), &change), Err(Conflict::Marked));
        changed(Some(&signed_in()), &change);
    }
}

#[test]
fn a_login_brings_its_own_plan() {
    let record = changed(Some(&signed_in()), &configures("refresh_token"));
    let renewal = RenewalPlan::repeatable(SourceName::new("a-command").unwrap());
    let login = Login { renewal: renewal.clone(), ..new_login("rt-new") };
    assert_eq!(plan_of(&changed(Some(&record), &installs(login))), renewal);
    assert_eq!(plan_of(&changed(Some(&record), &installs(new_login("rt-new")))), RenewalPlan::default());
}

#[test]
fn a_first_mint_stores_its_plan_and_a_later_one_leaves_it() {
    let renewal = RenewalPlan::repeatable(SourceName::new("a-command").unwrap());
    let first = Commit { renewal: renewal.clone(), ..repeatable() };
    let record = changed(None, &commits(first.clone()));
    assert_eq!(plan_of(&record), renewal);
    let access = Access { number: first.access.number + 1, ..first.access.clone() };
    let later = Commit { access, renewal: RenewalPlan::default(), ..first };
    assert_eq!(plan_of(&changed(Some(&record), &commits(later))), renewal);
}
