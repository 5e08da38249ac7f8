//! Each known provider against a server that behaves as the vendor documents it. The servers know nothing of the rows. A row
//! without a server fails the test, so that none is added without one.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "tasks of tests")]

mod apis;
mod refreshes;
mod server;
mod table;
#[path = "../../actors/tests/common/within.rs"]
mod within;

use std::collections::BTreeSet;

use tokenkeeper::issuers::providers::Providers;

#[test]
fn every_row_has_a_server() {
    let builtin = Providers::builtin();
    let rows: BTreeSet<_> = builtin.iter().map(|(name, _)| name.as_str()).collect();
    let servers: BTreeSet<_> = table::ALL.iter().map(|vendor| vendor.name).collect();
    assert_eq!(rows, servers);
    let with_login: BTreeSet<_> = builtin
        .iter()
        .filter(|(_, facts)| facts.authorization_server().is_some())
        .map(|(name, _)| name.as_str())
        .collect();
    let pages: BTreeSet<_> =
        table::ALL.iter().filter(|vendor| vendor.page.is_some()).map(|vendor| vendor.name).collect();
    assert_eq!(with_login, pages);
}

#[test]
fn the_tests_of_the_page_exist() {
    let page = std::fs::read_to_string("docs/providers.md").unwrap();
    let named: BTreeSet<_> = page.split('`').filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() > 20, "{named:?}");
    for (file, test) in named {
        let text = std::fs::read_to_string(format!("{file}.rs")).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{file}.rs::{test}");
    }
    let rows = Providers::builtin();
    let cited = page.split("## Tests").nth(1).unwrap().to_lowercase();
    // Those of which a report from the field exists.
    for name in [
        "asana",
        "atlassian",
        "cloudflare",
        "entra",
        "github",
        "google",
        "hubspot",
        "keycloak",
        "linear",
        "notion",
        "okta",
    ] {
        assert!(rows.named(name).is_some() && cited.contains(name), "{name}");
    }
}
