//! Writes the mutants of a file into it, each behind its switch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use crate::mutant::{Bytes, Genre, Mutant};
use crate::places::Places;
use crate::switch::{self, CLOSE, ON};

/// Some mutants, each with its number.
type Numbered<'a> = [(usize, &'a Mutant)];

/// A part of the file that is written anew.
struct Node {
    all: Bytes,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    /// A part of the file as it is, except for the nodes within.
    Source(Bytes),
}
use Part::{Source, Text};

/// A file with its mutants.
pub(crate) struct Planted {
    pub(crate) text: String,
    /// The mutants that no switch can express, with the reason.
    pub(crate) left: Vec<(usize, &'static str)>,
}

/// Writes `mutants` into `text`, the content of their file.
///
/// A `const` function can read no switch, so it loses the word. Those named in `constant` keep it, and their mutants are left.
pub(crate) fn plant(text: &str, mutants: &Numbered<'_>, constant: &BTreeSet<String>) -> syn::Result<Planted> {
    let mut places = Places::of(text)?;
    let mut nodes = Vec::new();
    for function in mem::take(&mut places.const_fns) {
        if constant.contains(&function.name) {
            places.constants.push(function.all);
        } else {
            nodes.push(Node { all: function.word, parts: Vec::new() });
        }
    }
    let mut left = Vec::new();
    let mut at = BTreeMap::<(Genre, usize), Vec<(usize, &Mutant)>>::new();
    for &(number, mutant) in mutants {
        let start = mutant.replaced(text).start;
        if places.constants.iter().any(|it| it.start < start && start < it.end) {
            left.push((number, "it is evaluated when the program is built"));
        } else if mutant.genre == Genre::FnValue && mutant.returns_unnamed_type() {
            left.push((number, "the function returns a type without a name"));
        } else {
            at.entry((mutant.genre, start)).or_default().push((number, mutant));
        }
    }
    for ((genre, start), mutants) in at {
        let all = if genre == Genre::FnValue { Some(start..start) } else { places.at.remove(&(genre, start)) };
        match all {
            Some(all) => nodes.push(Node { parts: parts(text, genre, &all, &mutants), all }),
            None => left.extend(mutants.iter().map(|(number, _)| (*number, "there is no switch for such a place"))),
        }
    }
    // A node comes before the nodes within it, and an insertion before the nodes that start there.
    nodes.sort_by_key(|node| (node.all.start, !node.all.is_empty(), Reverse(node.all.end)));
    let nodes: Vec<&Node> = nodes.iter().collect();
    Ok(Planted { text: render(text, 0..text.len(), &nodes), left })
}

/// The code for `all` that chooses between `mutants` and the original.
fn parts(text: &str, genre: Genre, all: &Bytes, mutants: &Numbered<'_>) -> Vec<Part> {
    let numbers: Vec<usize> = mutants.iter().map(|(number, _)| *number).collect();
    let branch = |number: usize, code: &str| format!("if {ON}({number}) {{ {} }} ", switch::branch(number, code));
    match genre {
        // Another value is returned before the body begins.
        Genre::FnValue => {
            let returns = mutants.iter().map(|(number, it)| branch(*number, &format!("return {};", it.replacement)));
            vec![Text(switch::open_place(&numbers) + &returns.collect::<String>() + CLOSE)]
        }
        Genre::MatchArm => {
            let is_on: Vec<String> = numbers.iter().map(|number| format!("{ON}({number})")).collect();
            vec![Text(format!(" {}if !({}){CLOSE}", switch::open_place(&numbers), is_on.join(" || ")))]
        }
        // Only one of the copies runs, so that nothing happens twice. Without parentheses, one that begins with `match` would
        // end with it.
        _ => {
            let branches = mutants.iter().map(|(number, mutant)| {
                let Bytes { start, end } = mutant.replaced(text);
                let code = ["(", &text[all.start..start], &mutant.replacement, &text[end..all.end], ")"].concat();
                branch(*number, &code) + "else "
            });
            let before = format!("({}{}{{ (", switch::open_place(&numbers), branches.collect::<String>());
            vec![Text(before), Source(all.clone()), Text(format!(") }}{CLOSE})"))]
        }
    }
}

/// The bytes `range` of `text` with `nodes`, which are sorted, in their places.
fn render(text: &str, range: Bytes, nodes: &[&Node]) -> String {
    let mut out = String::new();
    let mut at = range.start;
    let mut rest = nodes;
    while let [node, after @ ..] = rest {
        let within = after.iter().take_while(|it| is_inside(&it.all, &node.all)).count();
        let (inner, after) = after.split_at(within);
        out += &text[at..node.all.start];
        for part in &node.parts {
            match part {
                Text(text) => out += text,
                Source(range) => {
                    let inner: Vec<&Node> = inner.iter().copied().filter(|it| is_inside(&it.all, range)).collect();
                    out += &render(text, range.clone(), &inner);
                }
            }
        }
        at = node.all.end;
        rest = after;
    }
    out + &text[at..range.end]
}

fn is_inside(inner: &Bytes, outer: &Bytes) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && !outer.is_empty()
}

#[cfg(test)]
#[path = "plant_tests.rs"]
mod tests;
