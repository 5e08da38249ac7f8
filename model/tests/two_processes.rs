//! Explores two processes over one store and one strict authorization server completely, at small sizes.
//!
//! All checks at the stated bounds take minutes without optimisation. `cargo run --release -p tokenkeeper-model` runs
//! them, as CI does. These tests also run them with `--release`.

use tokenkeeper_actors::law::profile::Reuse::{self, EndsLineage, EndsMore};
use tokenkeeper_model::{Bounds, Claims, Config, Fault, Law, Report, check};

/// Bounds for small runs, each with a few kinds of event.
const SMALL: [Bounds; 5] = [
    Bounds::CALM,
    Bounds { flights: 1, crashes: 1, lost_answers: 1, failed_saves: 1, ..Bounds::CALM },
    Bounds { flights: 1, claim_losses: 1, lost_answers: 1, pauses: 1, ..Bounds::CALM },
    Bounds { flights: 1, logins: 1, lost_answers: 1, lessons: 1, ..Bounds::CALM },
    Bounds { flights: 1, timeouts: 1, lulls: 1, unsent: 1, ..Bounds::CALM },
];

#[expect(clippy::print_stdout, reason = "the number of states, and the way to a broken law")]
fn explore(config: Config) -> Report {
    let report = check(config, 2);
    println!("{report}");
    assert!(report.complete, "{report}");
    report
}

fn all_is_well(config: Config) {
    let report = explore(config);
    assert!(report.broken.is_empty(), "{report}");
}

/// With `faults` planted, `law` is broken. Without them it is not.
fn is_noticed(config: Config, faults: &[Fault], law: Law) {
    assert!(!explore(config.clone()).broke(law));
    let report = explore(config.with(faults));
    assert!(report.broke(law), "{faults:?} went unnoticed: {report}");
}

fn kernel(reuse: Reuse, bounds: Bounds) -> Config {
    Config::new(reuse, Claims::Kernel, bounds)
}

fn leased(reuse: Reuse, bounds: Bounds) -> Config {
    Config::new(reuse, Claims::LEASED, bounds)
}

#[test]
fn every_law_holds_on_kernel_locks() {
    for bounds in SMALL {
        for reuse in [EndsLineage, EndsMore] {
            all_is_well(kernel(reuse, bounds));
        }
    }
}

#[test]
fn every_law_holds_on_leases() {
    for bounds in SMALL {
        for reuse in [EndsLineage, EndsMore] {
            all_is_well(leased(reuse, bounds));
        }
    }
}

#[test]
fn a_long_lease_that_was_lost_says_nothing_about_later_marks() {
    // The claim's answer about its predecessor covers only marks that were there before. Either the time of a mark or the
    // read before the claim shows that a mark came later. Two hosts cannot compare the times, and a mark with a wrong time
    // looks covered.
    let bounds = Bounds { flights: 1, claim_losses: 1, pauses: 1, ..Bounds::CALM };
    let config = Config::new(EndsLineage, Claims::LONG, bounds);
    all_is_well(config.clone());
    all_is_well(config.clone().together());
    all_is_well(config.together().with(&[Fault::MarkBackdated]));
}

#[test]
fn a_store_that_ignores_the_version_of_a_mark_is_noticed() {
    let bounds = Bounds { flights: 1, claim_losses: 1, ..Bounds::CALM };
    is_noticed(leased(EndsLineage, bounds), &[Fault::MarkAnywhere], Law::OneSpend);
}

#[test]
fn a_driver_that_does_not_read_again_is_held_by_the_version_of_its_mark_alone() {
    let one_crash = kernel(EndsMore, Bounds { flights: 1, crashes: 1, ..Bounds::CALM });
    all_is_well(one_crash.clone().with(&[Fault::StaleReread]));
    all_is_well(one_crash.clone().with(&[Fault::MarkAnywhere]));
    is_noticed(one_crash, &[Fault::StaleReread, Fault::MarkAnywhere], Law::Presentations);
}

#[test]
fn a_mark_that_is_not_written_is_noticed() {
    let bounds = Bounds { flights: 1, ..Bounds::CALM };
    is_noticed(kernel(EndsLineage, bounds), &[Fault::MarkUnwritten], Law::MarkedFirst);
}

#[test]
fn a_mark_that_ends_before_its_request_is_noticed() {
    let bounds = Bounds { flights: 1, claim_losses: 1, lulls: 1, waits: 1, ..Bounds::CALM };
    is_noticed(leased(EndsLineage, bounds).together(), &[Fault::MarkTooShort], Law::ReplayInTime);
}

#[test]
fn a_doubt_that_ends_with_a_withdrawn_mark_is_noticed() {
    let bounds = Bounds { flights: 1, lost_answers: 1, unsent: 1, ..Bounds::CALM };
    is_noticed(kernel(EndsLineage, bounds), &[Fault::WithdrawnWhole], Law::DoubtStays);
}

#[test]
fn a_send_that_comes_too_late_is_noticed() {
    let bounds = Bounds { flights: 1, claim_losses: 1, pauses: 1, ..Bounds::CALM };
    is_noticed(leased(EndsLineage, bounds), &[Fault::SendLate], Law::OneSpend);
}

#[test]
fn a_claim_that_is_granted_late_and_forgotten_is_noticed() {
    let bounds = Bounds { flights: 1, timeouts: 1, lulls: 1, ..Bounds::CALM };
    is_noticed(kernel(EndsLineage, bounds), &[Fault::OrphanForgotten], Law::NothingHangs);
}

#[test]
fn a_claim_that_two_hold_is_noticed() {
    let bounds = Bounds { flights: 1, ..Bounds::CALM };
    is_noticed(kernel(EndsLineage, bounds), &[Fault::SharedClaim], Law::OneClaim);
}

#[test]
fn a_lost_holder_that_passes_for_gone_is_noticed() {
    let bounds = Bounds { flights: 1, claim_losses: 1, pauses: 1, ..Bounds::CALM };
    is_noticed(leased(EndsLineage, bounds).together(), &[Fault::LostIsGone], Law::ReplayInTime);
}

#[test]
fn a_commit_that_compares_nothing_is_noticed() {
    let bounds = Bounds { flights: 1, logins: 1, ..Bounds::CALM };
    is_noticed(kernel(EndsLineage, bounds), &[Fault::CommitAnywhere], Law::Epochs);
}

#[test]
fn an_end_that_compares_nothing_is_noticed() {
    let bounds = Bounds { flights: 1, lost_answers: 1, logins: 1, ..Bounds::CALM };
    is_noticed(kernel(EndsLineage, bounds), &[Fault::EndAnywhere], Law::WinnersStay);
}

#[test]
fn a_claim_that_is_never_ended_is_noticed() {
    is_noticed(kernel(EndsLineage, Bounds::CALM), &[Fault::ClaimLeft], Law::NothingHangs);
}
