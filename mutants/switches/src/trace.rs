//! Builds the tests, and runs each alone to learn which mutants it reaches.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compile::cargo;
use crate::failure::{Failure, Result, While};
use crate::process::{self, End};
use crate::switch::TRACE;
use crate::workers::share;
use crate::{Options, say};

/// A test that takes longer without a mutant is left out.
const LIMIT: Duration = Duration::from_secs(60);

/// A test that passes without a mutant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Test {
    pub(crate) binary: PathBuf,
    /// The folder of the package.
    pub(crate) folder: PathBuf,
    /// The name of the target and of the test, as `target::module::test`.
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// The numbers of the mutants.
    pub(crate) reaches: BTreeSet<usize>,
}

impl Test {
    /// The name within the binary.
    pub(crate) fn name_within(&self) -> &str {
        self.name.split_once("::").map_or(&self.name, |(_, name)| name)
    }
}

/// The tests of `packages` that reach a mutant.
pub(crate) fn trace(packages: &BTreeSet<&str>, options: &Options) -> Result<Vec<Test>> {
    let tests = list(packages, options)?;
    say(&format!("{} tests are run one by one", tests.len()));
    let traces = options.work.join("traces");
    fs::create_dir_all(&traces).during(format_args!("make {}", traces.display()))?;
    let reaching = Mutex::new(Vec::new());
    share(&tests, options.workers, |worker, test| {
        let trace = traces.join(worker.to_string());
        fs::write(&trace, "").during(format_args!("write {}", trace.display()))?;
        let mut command = process::tests(&test.binary, &test.folder, &[test.name_within()], options.memory_mib, LIMIT);
        let (end, seconds) = process::run(command.env(TRACE, &trace), LIMIT)?;
        if end != End::Passed {
            say(&format!("left out ({end:?} without a mutant): {}", test.name));
            return Ok(());
        }
        let text = fs::read_to_string(&trace).during(format_args!("read {}", trace.display()))?;
        let reaches: BTreeSet<usize> = text.lines().filter_map(|it| it.parse().ok()).collect();
        if !reaches.is_empty() {
            let test = Test { seconds, reaches, ..test.clone() };
            reaching.lock().unwrap_or_else(PoisonError::into_inner).push(test);
        }
        Ok(())
    })?;
    let mut reaching = reaching.into_inner().unwrap_or_else(PoisonError::into_inner);
    reaching.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reaching)
}

fn list(packages: &BTreeSet<&str>, options: &Options) -> Result<Vec<Test>> {
    let arguments = ["test", "--no-run", "--all-features", "--message-format=json"];
    let out = cargo(&options.tree, &arguments, packages).stderr(Stdio::inherit()).output().during("run cargo test")?;
    if !out.status.success() {
        return Err(Failure("the tests of the planted tree do not build, for the reason above".into()));
    }
    let output = String::from_utf8_lossy(&out.stdout);
    let mut tests = Vec::new();
    for built in output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some(binary), Some(manifest)) = (built["executable"].as_str(), built["manifest_path"].as_str()) else {
            continue;
        };
        if built["profile"]["test"] != true {
            continue;
        }
        let folder = Path::new(manifest).parent().unwrap_or(&options.tree);
        let mut command = Command::new(binary);
        let out = command.args(["--list", "--format", "terse"]).current_dir(folder).stdin(Stdio::null()).output();
        let listed = out.during(format_args!("list the tests of {binary}"))?.stdout;
        for name in String::from_utf8_lossy(&listed).lines().filter_map(|line| line.strip_suffix(": test")) {
            let name = format!("{}::{name}", built["target"]["name"].as_str().unwrap_or_default());
            if !options.skip.iter().any(|skip| name.contains(skip.as_str())) {
                let (binary, folder) = (binary.into(), folder.to_owned());
                tests.push(Test { binary, folder, name, seconds: 0.0, reaches: BTreeSet::new() });
            }
        }
    }
    Ok(tests)
}
