//! Plants all mutants into the tree, and takes out those that do not compile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Failure, Result, While};
use crate::mutant::Mutant;
use crate::plant::plant;
use crate::say;
use crate::switch::{self, Blame, ON};

/// Why a mutant has no switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Left {
    /// The mutant does not compile, with the compiler's message.
    Unviable(String),
    /// The switch cannot express the mutant, which may compile by itself.
    Untried(String),
}

/// A list of mutants, planted. The index of a mutant is its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Planting {
    pub(crate) mutants: Vec<Mutant>,
    pub(crate) left: BTreeMap<usize, Left>,
}

impl Planting {
    /// The packages with mutants.
    pub(crate) fn packages(&self) -> BTreeSet<&str> {
        self.mutants.iter().map(|it| it.package.as_str()).collect()
    }
}

/// Cargo in `tree`. Planted code breaks lints, which are of no interest.
pub(crate) fn cargo(tree: &Path, arguments: &[&str], packages: &BTreeSet<&str>) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    cargo.args(arguments).args(packages.iter().flat_map(|it| ["-p", it]));
    cargo.current_dir(tree).env("RUSTFLAGS", format!("{flags} --cap-lints=allow").trim()).stdin(Stdio::null());
    cargo
}

/// The root files of the libraries of `packages`, relative to `tree`.
fn roots(tree: &Path, packages: &BTreeSet<&str>) -> Result<BTreeSet<String>> {
    let arguments = ["metadata", "--no-deps", "--format-version=1"];
    let out =
        cargo(tree, &arguments, &BTreeSet::new()).stderr(Stdio::inherit()).output().during("run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&out.stdout).during("read the answer of cargo metadata")?;
    let tree = fs::canonicalize(tree).during(format_args!("find {}", tree.display()))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let root = |package: &str| {
        let all = list(&metadata["packages"]);
        let targets = all.iter().find(|it| it["name"] == package).map(|it| list(&it["targets"]))?;
        let library = targets.iter().find(|it| list(&it["kind"]).contains(&"lib".into()))?;
        Some(Path::new(library["src_path"].as_str()?).strip_prefix(&tree).ok()?.to_string_lossy().into_owned())
    };
    let missing =
        |package: &str| Failure(format!("{package} has no library in this tree, and only libraries are mutated"));
    packages.iter().map(|package| root(package).ok_or_else(|| missing(package))).collect()
}

/// The content of each file before it was changed, which an interrupted run has kept in `kept`.
fn originals<'a>(tree: &Path, kept: &Path, files: impl Iterator<Item = &'a str>) -> Result<BTreeMap<&'a str, String>> {
    let mut originals = BTreeMap::new();
    for file in files {
        let copy = kept.join(file);
        if !copy.exists() {
            let folder: PathBuf = copy.parent().unwrap_or(kept).into();
            fs::create_dir_all(&folder).during(format_args!("make {}", folder.display()))?;
            fs::copy(tree.join(file), &copy).during(format_args!("keep {file}"))?;
        }
        originals.insert(file, fs::read_to_string(&copy).during(format_args!("read {file}"))?);
    }
    Ok(originals)
}

/// Plants `mutants` into the files of `tree`, whose original content is kept in `kept`.
pub(crate) fn compile(tree: &Path, kept: &Path, mutants: Vec<Mutant>) -> Result<Planting> {
    let mut planting = Planting { mutants, left: BTreeMap::new() };
    let Planting { mutants, left } = &mut planting;
    let packages: BTreeSet<&str> = mutants.iter().map(|it| it.package.as_str()).collect();
    let roots = roots(tree, &packages)?;
    let files = mutants.iter().map(|it| it.file.as_str()).chain(roots.iter().map(String::as_str));
    let originals = originals(tree, kept, files)?;
    let mut constant = BTreeSet::new();
    // The libraries come first, because their tests take longer to check and add only uses of `const` functions.
    for targets in [["--lib"].as_slice(), &["--lib", "--tests"]] {
        loop {
            let mut planted = BTreeMap::new();
            for (file, text) in &originals {
                let here =
                    mutants.iter().enumerate().filter(|(number, it)| it.file == *file && !left.contains_key(number));
                let done =
                    plant(text, &here.collect::<Vec<_>>(), &constant).during(format_args!("read {file} as Rust"))?;
                left.extend(done.left.into_iter().map(|(number, why)| (number, Left::Untried(why.into()))));
                let module = if roots.contains(*file) { switch::module(mutants.len()) } else { String::new() };
                let text = done.text + &module;
                if fs::read_to_string(tree.join(file)).is_ok_and(|it| it != text) {
                    fs::write(tree.join(file), &text).during(format_args!("write {file}"))?;
                }
                planted.insert((*file).to_owned(), text);
            }
            let arguments = [&["check", "-q", "--all-features", "--message-format=json"], targets].concat();
            let out = cargo(tree, &arguments, &packages).stderr(Stdio::null()).output().during("run cargo check")?;
            if out.status.success() {
                break;
            }
            let faults = read(&String::from_utf8_lossy(&out.stdout), &planted);
            if faults.mutants.is_empty() && faults.constant.is_subset(&constant) {
                let unexplained = faults.unexplained.join("\n  ");
                return Err(Failure(format!("the tree does not compile, and no mutant is to blame:\n  {unexplained}")));
            }
            say(&format!(
                "{} mutants and {} const functions do not compile",
                faults.mutants.len(),
                faults.constant.len()
            ));
            left.extend(faults.mutants);
            constant.extend(faults.constant);
        }
    }
    Ok(planting)
}

/// The meaning of the errors of one build.
#[derive(Default)]
struct Faults {
    mutants: BTreeMap<usize, Left>,
    /// The functions that must remain `const`.
    constant: BTreeSet<String>,
    unexplained: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    message: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    is_primary: bool,
}

/// Reads the output of a build of the `planted` files, of which each has its content.
fn read(output: &str, planted: &BTreeMap<String, String>) -> Faults {
    let mut faults = Faults::default();
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()?.message);
    for mut error in lines.filter(|it| it.level == "error" && !it.spans.is_empty()) {
        if error.message.contains("non-const") && !error.message.contains(ON.trim_start_matches("crate::")) {
            let path = error.message.split('`').nth(1).unwrap_or_default();
            faults.constant.insert(path.rsplit("::").next().unwrap_or_default().to_owned());
            continue;
        }
        error.spans.sort_by_key(|span| !span.is_primary);
        let blame = error.spans.iter().find_map(|span| switch::blame(planted.get(&span.file_name)?, span.byte_start));
        match blame {
            Some(Blame::Branch(mutant)) => {
                faults.mutants.insert(mutant, Left::Unviable(error.message));
            }
            Some(Blame::Place(mutants)) => {
                faults.mutants.extend(mutants.into_iter().map(|it| (it, Left::Untried(error.message.clone()))));
            }
            None => faults.unexplained.push(format!("{}: {}", error.spans[0].file_name, error.message)),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str, spans: &[(usize, bool)]) -> String {
        let spans: Vec<Value> = spans
            .iter()
            .map(|(at, primary)| serde_json::json!({ "file_name": "f.rs", "byte_start": at, "is_primary": primary }))
            .collect();
        serde_json::json!({ "message": { "level": "error", "message": message, "spans": spans } }).to_string()
    }

    #[test]
    fn errors_are_attributed_by_their_first_place() {
        let (open, own) = (switch::open_place(&[1, 2]), switch::branch(2, "own"));
        let text = format!("{open}{own}{} plain", switch::CLOSE);
        let at = |word: &str| text.find(word).expect("a word");
        let output = [
            "not JSON".to_owned(),
            error("mismatched types", &[(at("plain"), true), (at("own"), false)]),
            error("cannot call non-const method `S::f` in constants", &[(at("plain"), true)]),
            error("aborting", &[(at("plain"), true)]),
        ];
        let faults = read(&output.join("\n"), &BTreeMap::from([("f.rs".to_owned(), text)]));
        assert!(matches!(faults.mutants.iter().next(), Some((2, Left::Unviable(why))) if why == "mismatched types"));
        assert_eq!((faults.mutants.len(), faults.unexplained), (1, vec!["f.rs: aborting".to_owned()]));
        assert_eq!(faults.constant, BTreeSet::from(["f".to_owned()]));
    }
}
