//! The README's host is this package: the same manifest, the same program, and the program runs. And the page of the features
//! is complete.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

const README: &str = include_str!("../../../README.md");
const MANIFEST: &str = include_str!("../Cargo.toml");
const PROGRAM: &str = include_str!("../src/main.rs");
const CRATE: &str = include_str!("../../../Cargo.toml");
const FEATURES: &str = include_str!("../../../docs/features.md");

/// The README's blocks in this language under the heading "In a host".
fn blocks(language: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once("\n## In a host\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let opened = format!("```{language}\n");
    section.split(&opened).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_readme_has_this_program_and_no_other() {
    assert_eq!(blocks("rust"), [PROGRAM]);
}

#[test]
fn the_readme_names_the_dependencies_that_the_program_is_built_with() {
    let (_, dependencies) = MANIFEST.split_once("\n[dependencies]\n").unwrap();
    let beside_the_checkout =
        dependencies.replace("\"../..\"", "\"../tokenkeeper\"").replace("../../", "../tokenkeeper/");
    assert_eq!(blocks("toml"), [format!("[dependencies]\n{beside_the_checkout}")]);
}

#[test]
fn the_program_gets_a_token_that_the_server_takes_and_ends_well() {
    let output = Command::new(env!("CARGO_BIN_EXE_tokenkeeper-example-host")).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{err}");
    assert_eq!(out, "the MCP server answers 200 OK\n");
}

#[test]
fn the_page_of_the_features_has_all_of_them_and_no_others() {
    let (_, section) = CRATE.split_once("\n[features]\n").unwrap();
    let section = section.split("\n[").next().unwrap();
    let is_name =
        |name: &&str| *name != "default" && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let names = section.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    let rows = FEATURES.lines().filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0));
    let (mut names, mut rows): (Vec<_>, Vec<_>) = (names.filter(is_name).collect(), rows.collect());
    names.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, names);
}
