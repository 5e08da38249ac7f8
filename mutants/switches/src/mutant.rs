//! The mutants that cargo-mutants lists.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One change to one place of a source file, as `cargo mutants --list --json` describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mutant {
    pub(crate) package: String,
    /// The file, relative to the root of the tree.
    pub(crate) file: String,
    pub(crate) genre: Genre,
    /// The name in cargo-mutants' reports, with file, line, column and change.
    pub(crate) name: String,
    pub(crate) replacement: String,
    span: Span,
    function: Option<Function>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Function {
    return_type: String,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Genre {
    /// The body of a function is replaced with a value.
    FnValue,
    /// The guard of an arm is replaced with `true` or `false`.
    MatchArmGuard,
    BinaryOperator,
    UnaryOperator,
    /// An arm is deleted.
    MatchArm,
    /// A field is deleted from a struct expression with a base.
    StructField,
    /// A kind that a later cargo-mutants has added.
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Span {
    start: Point,
    end: Point,
}

/// A line and a column, both counted in characters from 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Point {
    line: usize,
    column: usize,
}

impl Mutant {
    /// Whether the function returns a type without a name. Such a function cannot return another value before its own.
    pub(crate) fn returns_unnamed_type(&self) -> bool {
        self.function.as_ref().is_some_and(|it| it.return_type.contains("impl "))
    }

    /// The part of `text`, the file's content, that the mutant replaces.
    pub(crate) fn replaced(&self, text: &str) -> Bytes {
        byte(text, self.span.start)..byte(text, self.span.end)
    }

    /// A mutant that replaces `needle`, where it first occurs in `text`.
    #[cfg(test)]
    pub(crate) fn at(text: &str, genre: Genre, needle: &str, replacement: &str) -> Self {
        let start = text.find(needle).expect("the needle");
        let point = |at: usize| Point {
            line: text[..at].matches('\n').count() + 1,
            column: text[..at].rsplit('\n').next().map_or(0, |it| it.chars().count()) + 1,
        };
        Self {
            package: "p".into(),
            file: "f.rs".into(),
            genre,
            name: format!("f.rs: {needle}"),
            replacement: replacement.into(),
            span: Span { start: point(start), end: point(start + needle.len()) },
            function: None,
        }
    }
}

fn byte(text: &str, Point { line, column }: Point) -> usize {
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    before + text[before..].chars().take(column - 1).map(char::len_utf8).sum::<usize>()
}

/// The bytes of a part of a file.
pub(crate) type Bytes = Range<usize>;
