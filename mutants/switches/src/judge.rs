//! Runs the tests that reach a mutant against it, until one fails.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};

use crate::compile::Planting;
use crate::failure::{Result, While};
use crate::process::{self, End};
use crate::switch::SWITCHED;
use crate::trace::Test;
use crate::workers::share;
use crate::{Options, say};

/// The result of a mutant. The words are those of cargo-mutants where it has one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Caught,
    Timeout,
    Unviable,
    /// All tests that reach it passed.
    Missed,
    /// The tests passed that fit into the time, and others reach it too.
    Undecided,
    /// No test reaches it.
    Unreached,
    /// It has no switch, or was not judged yet.
    Untried,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// The result of a mutant, which is a line of the file of results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) mutant: usize,
    pub(crate) kind: Kind,
    /// The number of tests that were run, of those that reach it.
    pub(crate) ran: usize,
    pub(crate) of: usize,
    name: String,
}

/// The results in a file, by the number of the mutant. Of two, the later one holds.
pub(crate) fn verdicts(results: &Path) -> BTreeMap<usize, Verdict> {
    let text = fs::read_to_string(results).unwrap_or_default();
    let verdicts = text.lines().filter_map(|line| serde_json::from_str::<Verdict>(line).ok());
    verdicts.map(|it| (it.mutant, it)).collect()
}

/// Judges each mutant that has no verdict yet and, on demand, each undecided one. Appends a line for each to `results`.
pub(crate) fn judge(planting: &Planting, tests: &[Test], results: &Path, options: &Options) -> Result<()> {
    let mut reached = BTreeMap::<usize, Vec<usize>>::new();
    for (index, test) in tests.iter().enumerate() {
        test.reaches.iter().for_each(|number| reached.entry(*number).or_default().push(index));
    }
    let known = verdicts(results);
    let is_known = |number: &usize| known.get(number).is_some_and(|it| it.kind != Kind::Undecided || !options.again);
    let numbers = 0..planting.mutants.len();
    let all: Vec<usize> = numbers.filter(|it| !planting.left.contains_key(it) && !is_known(it)).collect();
    let file = fs::File::options().append(true).create(true).open(results);
    let file = Mutex::new((file.during(format_args!("open {}", results.display()))?, 0_usize));
    // How often each test has caught a mutant of a file.
    let catches = Mutex::new(BTreeMap::<&str, BTreeMap<usize, u32>>::new());
    share(&all, options.workers, |worker, number| {
        let mutant = &planting.mutants[*number];
        let here =
            catches.lock().unwrap_or_else(PoisonError::into_inner).get(&*mutant.file).cloned().unwrap_or_default();
        let mut by = reached.get(number).cloned().unwrap_or_default();
        let weight = |index: &usize| weight(&tests[*index]) / f64::from(1 + 20 * here.get(index).unwrap_or(&0));
        by.sort_by(|a, b| weight(a).total_cmp(&weight(b)).then(a.cmp(b)));
        let output = options.work.join(format!("output-{worker}"));
        let (kind, ran, failed) = run(*number, &by, tests, &output, options)?;
        let mut catches = catches.lock().unwrap_or_else(PoisonError::into_inner);
        for index in failed {
            *catches.entry(&mutant.file).or_default().entry(index).or_default() += 1;
        }
        drop(catches);
        let verdict = Verdict { mutant: *number, kind, ran, of: by.len(), name: mutant.name.clone() };
        let line = serde_json::to_string(&verdict).during("write a result")? + "\n";
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.0.write_all(line.as_bytes()).during(format_args!("write {}", results.display()))?;
        file.1 += 1;
        if file.1.is_multiple_of(100) || file.1 == all.len() {
            say(&format!("{} of {} mutants are judged", file.1, all.len()));
        }
        Ok(())
    })
}

/// Quick tests come first, and of tests that take equally long those that reach fewer mutants. The start of a process
/// takes a while too.
#[expect(clippy::cast_precision_loss, reason = "mutants are few")]
fn weight(test: &Test) -> f64 {
    (0.05 + test.seconds) * (30 + test.reaches.len()) as f64
}

/// Runs the tests `by` in ever larger groups until one fails. Returns how many were tried, and which failed.
fn run(
    number: usize,
    by: &[usize],
    tests: &[Test],
    output: &Path,
    options: &Options,
) -> Result<(Kind, usize, Vec<usize>)> {
    if by.is_empty() {
        return Ok((Kind::Unreached, 0, Vec::new()));
    }
    let (mut ran, mut most, mut spent) = (0, 6, 0.0);
    while ran < by.len() {
        let mut group = BTreeMap::<&Path, Vec<usize>>::new();
        let (mut size, mut seconds) = (0, 0.0);
        for index in by[ran..].iter().take(most) {
            let test = &tests[*index];
            if size > 0 && seconds + test.seconds > 3.0 {
                break;
            }
            (size, seconds) = (size + 1, seconds + test.seconds);
            group.entry(&test.binary).or_default().push(*index);
        }
        if spent + seconds > options.budget {
            return Ok((Kind::Undecided, ran, Vec::new()));
        }
        spent += seconds;
        for (binary, indices) in group {
            let names: Vec<&str> = indices.iter().map(|it| tests[*it].name_within()).collect();
            let seconds: f64 = indices.iter().map(|it| tests[*it].seconds).sum();
            // Several workers and a mutant make tests slower, which is no fault.
            let limit = Duration::from_secs_f64(6.0 + 8.0 * seconds);
            let mut command = process::tests(binary, &tests[indices[0]].folder, &names, options.memory_mib, limit);
            let file = fs::File::create(output).during(format_args!("write {}", output.display()))?;
            match process::run(command.env(SWITCHED, number.to_string()).stdout(file), limit)?.0 {
                End::Passed => {}
                End::TimedOut => return Ok((Kind::Timeout, ran + size, Vec::new())),
                End::Failed => {
                    let text = fs::read(output).during(format_args!("read {}", output.display()))?;
                    let failed = failures(&String::from_utf8_lossy(&text));
                    let indices =
                        indices.into_iter().filter(|it| failed.iter().any(|name| name == tests[*it].name_within()));
                    return Ok((Kind::Caught, ran + size, indices.collect()));
                }
            }
        }
        ran += size;
        most = (most * 3).min(200);
    }
    Ok((Kind::Missed, ran, Vec::new()))
}

/// The names at the end of a test binary's output, which are those of the failed tests.
fn failures(output: &str) -> Vec<String> {
    let names = output.rsplit_once("failures:\n").map_or("", |(_, names)| names);
    names.lines().filter_map(|it| it.strip_prefix("    ")).map(str::to_owned).collect()
}
