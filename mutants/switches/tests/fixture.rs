//! A small crate whose mutants are planted, traced, judged and reported.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

const SOURCE: &str = "\
//! A fixture.
pub fn is_more(a: u8, b: u8) -> bool {
    a > b
}
pub fn half(a: u8) -> u8 {
    a / 2
}
pub const LIMIT: u8 = 1 + 2;
#[cfg(test)]
mod tests {
    #[test]
    fn seven_is_more_than_three() {
        assert!(super::is_more(7, 3));
        assert!(!super::is_more(3, 7));
    }
    #[test]
    fn skipped() {
        super::half(2);
    }
}
";

/// The line of cargo-mutants' list for a mutant that is on `line`, from `column` to before `end`.
fn mutant(genre: &str, (line, column, end): (u8, u8, u8), name: &str, replacement: &str) -> String {
    format!(
        r#"{{"package": "fixture", "file": "src/lib.rs", "genre": "{genre}", "name": "{name}", "replacement": "{replacement}",
            "function": {{"return_type": "-> bool"}}, "span": {{"start": {{"line": {line}, "column": {column}}}, "end": {{"line": {line}, "column": {end}}}}}}}"#
    )
}

fn switches(folder: &Path, phases: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenkeeper-switches"));
    command.args(phases).args(["--skip", "skipped", "--workers", "2", "--tree"]).arg(folder.join("tree"));
    command.arg("--work").arg(folder.join("work")).arg("--list").arg(folder.join("list.json"));
    command.env("CARGO_TARGET_DIR", folder.join("target")).output()
}

#[test]
fn a_caught_a_missed_and_an_unreached_mutant() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, tree) = (folder.path(), folder.path().join("tree"));
    fs::create_dir_all(tree.join("src")).expect("a folder");
    let manifest = "[package]\nname = \"fixture\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(tree.join("Cargo.toml"), manifest).expect("write");
    fs::write(tree.join("src/lib.rs"), SOURCE).expect("write");
    let list = [
        mutant("BinaryOperator", (3, 7, 8), "> with <", "<"),
        mutant("BinaryOperator", (3, 7, 8), "> with >=", ">="),
        mutant("BinaryOperator", (6, 7, 8), "/ with *", "*"),
        mutant("FnValue", (3, 5, 10), "is_more with 1", "1"),
        mutant("BinaryOperator", (8, 25, 26), "+ with -", "-"),
    ];
    fs::write(folder.join("list.json"), format!("[{}]", list.join(","))).expect("write");

    let first = switches(folder, &["plant", "trace", "judge", "--budget=0"]).expect("run");
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let second = switches(folder, &["--again"]).expect("run");
    let (said, summary) = (String::from_utf8_lossy(&second.stderr), String::from_utf8_lossy(&second.stdout));
    assert_eq!((&*said, second.status.success()), ("2 of 2 mutants are judged\n", true));
    let survivors = "missed  > with >=  (mutant 1, 1 of 1 tests)\nunreached  / with *  (mutant 2, 0 of 0 tests)\n";
    assert!(summary.starts_with(survivors), "{summary}");
    let expected =
        "caught  > with <\nunviable  is_more with 1\nmissed  > with >=\nunreached  / with *\nuntried  + with -\n";
    assert_eq!(fs::read_to_string(folder.join("work/report.txt")).expect("the report"), expected);
}

#[test]
fn a_repository_is_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("tree/.git")).expect("a folder");
    let refused = switches(folder.path(), &[]).expect("run");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("git worktree add --detach"));
}
