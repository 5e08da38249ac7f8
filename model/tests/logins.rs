//! Explores two processes with login attempts completely, at the smallest bounds. `cargo run --release -p tokenkeeper-model`
//! explores the larger ones.

use tokenkeeper_model::{LoginBounds, check_logins};

#[test]
fn every_law_of_logins_holds() {
    for (bounds, states) in [(LoginBounds::CALM, 41_774), (LoginBounds::LOST, 58_530)] {
        let report = check_logins(bounds, 2);
        assert!(report.is_good(), "{report}");
        assert_eq!(report.states, states, "{report}");
    }
}
