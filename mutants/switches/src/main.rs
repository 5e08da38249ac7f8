//! Judges all mutants that cargo-mutants lists with one build.
//!
//! cargo-mutants builds the tests anew for each mutant. This tool writes all mutants into one tree, each behind a switch that
//! an environment variable turns on. It works in phases, whose results are kept in a folder, so that an interrupted run goes on
//! where it ended:
//!
//! - `plant` writes the mutants into the tree and takes out those that do not compile (`plant`, `places`, `switch` and `compile`).
//! - `trace` builds all tests, and runs each alone to learn which mutants it reaches (`trace`).
//! - `judge` runs the tests that reach a mutant against it until one fails (`judge`).
//! - `report` writes a line for each mutant, and prints the survivors (`report`).
//!
//! The tree is changed. It must be a copy, such as a worktree of git.

mod compile;
mod failure;
mod judge;
mod mutant;
mod places;
mod plant;
mod process;
mod report;
mod switch;
mod trace;
mod workers;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use compile::Planting;
use failure::{Failure, Result, While};
use mutant::Mutant;

/// Judges all mutants that cargo-mutants lists with one build
#[derive(Parser)]
#[command(name = "tokenkeeper-switches", version)]
struct Options {
    /// The phases to run; all of them if none is named. A phase that is done is not repeated
    #[arg(value_enum)]
    phases: Vec<Phase>,
    /// The copy of the repository that is mutated, never the working tree itself
    #[arg(long)]
    tree: PathBuf,
    /// The folder for the results of the phases
    #[arg(long)]
    work: PathBuf,
    /// A file with the output of `cargo mutants --list --json`; may be repeated
    #[arg(long = "list")]
    lists: Vec<PathBuf>,
    /// Leaves out the tests whose name (`target::module::test`) contains this; may be repeated
    #[arg(long)]
    skip: Vec<String>,
    /// The number of test processes at a time
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// The seconds of tests for one mutant, as long as the tests take without it
    #[arg(long, default_value_t = 30.0)]
    budget: f64,
    /// Judges the undecided mutants once more, with another budget
    #[arg(long)]
    again: bool,
    /// The address space of one test process in MiB
    #[arg(long, default_value_t = 12_000)]
    memory_mib: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// Write the mutants into the tree
    Plant,
    /// Build the tests and learn which mutants each reaches
    Trace,
    /// Run the tests against each mutant
    Judge,
    /// Print the survivors, and write `report.txt` with a line for each mutant
    Report,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.phases.is_empty() {
        options.phases = Phase::value_variants().to_vec();
    }
    match run(&mut options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &mut Options) -> Result<()> {
    // Tests run in other folders, and a worktree has a file of this name.
    if options.tree.join(".git").is_dir() {
        let advice = "give a copy, which `git worktree add --detach FOLDER` makes";
        return Err(Failure(format!(
            "{} is a repository of its own and would be changed: {advice}",
            options.tree.display()
        )));
    }
    fs::create_dir_all(&options.work).during(format_args!("make {}", options.work.display()))?;
    options.work = fs::canonicalize(&options.work).during(format_args!("find {}", options.work.display()))?;
    let (planted, traced) = (options.work.join("planted.json"), options.work.join("tests.json"));
    let results = options.work.join("results.jsonl");
    for phase in &options.phases {
        match phase {
            Phase::Plant => {
                let mutants = listed(&options.lists)?;
                if mutants.is_empty() && !planted.exists() {
                    return Err(Failure("there are no mutants: name a list of them with --list".into()));
                }
                if planted.exists() {
                    let same = load::<Planting>(&planted)?
                        .mutants
                        .iter()
                        .map(|it| &it.name)
                        .eq(mutants.iter().map(|it| &it.name));
                    if !same && !options.lists.is_empty() {
                        return Err(Failure("the folder of results is one of other mutants: name another one".into()));
                    }
                    continue;
                }
                let planting = compile::compile(&options.tree, &options.work.join("originals"), mutants)?;
                say(&format!("{} of {} mutants have no switch", planting.left.len(), planting.mutants.len()));
                save(&planted, &planting)?;
            }
            Phase::Trace if traced.exists() => {}
            Phase::Trace => {
                let tests = trace::trace(&load::<Planting>(&planted)?.packages(), options)?;
                let seconds: f64 = tests.iter().map(|it| it.seconds).sum();
                say(&format!("{} tests reach a mutant, and take {seconds:.0} s in all", tests.len()));
                save(&traced, &tests)?;
            }
            Phase::Judge => judge::judge(&load(&planted)?, &load::<Vec<_>>(&traced)?, &results, options)?,
            Phase::Report => {
                let report = report::report(&load(&planted)?, &results);
                let file = options.work.join("report.txt");
                fs::write(&file, report.lines).during(format_args!("write {}", file.display()))?;
                io::stdout().write_all(report.summary.as_bytes()).during("print the report")?;
            }
        }
    }
    Ok(())
}

/// The mutants of some lists.
fn listed(lists: &[PathBuf]) -> Result<Vec<Mutant>> {
    let lists: Vec<Vec<Mutant>> = lists.iter().map(|list| load(list)).collect::<Result<_>>()?;
    Ok(lists.concat())
}

fn load<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = fs::read(file).during(format_args!("read {} (the phase before writes it)", file.display()))?;
    serde_json::from_slice(&text).during(format_args!("read {}", file.display()))
}

/// Writes the whole file or none of it.
fn save(file: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).during(format_args!("write {}", file.display()))?;
    let draft = file.with_extension("draft");
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, file)).during(format_args!("write {}", file.display()))
}

/// Reports progress. It is of no use where standard error is closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
