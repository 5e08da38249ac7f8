//! The results of all mutants as text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::compile::{Left, Planting};
use crate::judge::{Kind, Verdict, verdicts};

/// The results of all mutants.
pub(crate) struct Report {
    /// A line for each mutant with the kind, two spaces and the name, sorted by kind.
    pub(crate) lines: String,
    /// The numbers of each kind, and the mutants that tests should have caught.
    pub(crate) summary: String,
}

pub(crate) fn report(planting: &Planting, results: &Path) -> Report {
    let verdicts = verdicts(results);
    let mut all = Vec::new();
    for (number, mutant) in planting.mutants.iter().enumerate() {
        let kind = match planting.left.get(&number) {
            Some(Left::Unviable(_)) => Kind::Unviable,
            Some(Left::Untried(_)) => Kind::Untried,
            None => verdicts.get(&number).map_or(Kind::Untried, |it| it.kind),
        };
        all.push((kind, number, mutant));
    }
    all.sort_by_key(|(kind, number, _)| (*kind, *number));
    let mut count = BTreeMap::<Kind, usize>::new();
    let mut report = Report { lines: String::new(), summary: String::new() };
    for (kind, number, mutant) in &all {
        *count.entry(*kind).or_default() += 1;
        let _ = writeln!(report.lines, "{kind}  {}", mutant.name);
        if let Some(Verdict { ran, of, .. }) = verdicts.get(number)
            && matches!(kind, Kind::Missed | Kind::Undecided | Kind::Unreached)
        {
            let _ = writeln!(report.summary, "{kind}  {}  (mutant {number}, {ran} of {of} tests)", mutant.name);
        }
    }
    let _ = writeln!(report.summary, "\n{:6} mutants", all.len());
    for (kind, count) in count {
        let _ = writeln!(report.summary, "{count:6} {kind}");
    }
    report
}
