//! The error of a table of providers.

use std::fmt;
use std::path::PathBuf;

/// The reason why a table of providers cannot be used, with the place and the remedy. It repeats no value of the table, and
/// nothing that acts on a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvidersError {
    file: Option<PathBuf>,
    fault: Fault,
}

/// The fault of a table, as the error reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file cannot be read.
    File(String),
    /// The text at this place is not what the format has there.
    Text { line: usize, column: usize, member: String, message: String },
    /// A provider contradicts itself or another one.
    Provider { name: String, message: String },
}

impl ProvidersError {
    /// The error for one provider.
    pub(super) fn provider(name: &str, message: impl Into<String>) -> Self {
        Fault::Provider { name: plain(name), message: message.into() }.into()
    }

    /// The error for a file that cannot be read.
    pub(super) fn file(message: impl Into<String>) -> Self {
        Fault::File(message.into()).into()
    }

    /// The error for a text that serde refuses, with the path of the member.
    pub(super) fn text(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let member = plain(&error.path().to_string());
        let error = error.into_inner();
        let (line, column) = (error.line(), error.column());
        let message = in_words(&error.to_string());
        Fault::Text { line, column, member, message }.into()
    }

    /// The error for a text that is no JSON.
    pub(super) fn syntax(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Fault::Text { line, column, member: ".".to_owned(), message: in_words(&error.to_string()) }.into()
    }

    /// The same error, of a table in this file.
    pub(super) fn of_file(self, file: PathBuf) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The line of the fault, counted from 1. `None` if the fault has no place of its own.
    pub fn line(&self) -> Option<usize> {
        match self.fault {
            Fault::Text { line, .. } => Some(line),
            _ => None,
        }
    }

    /// The column of the fault, counted from 1. `None` if the fault has no place of its own.
    pub fn column(&self) -> Option<usize> {
        match self.fault {
            Fault::Text { column, .. } => Some(column),
            _ => None,
        }
    }
}

impl From<Fault> for ProvidersError {
    fn from(fault: Fault) -> Self {
        Self { file: None, fault }
    }
}

impl fmt::Display for ProvidersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "the providers in {}", plain_path(&file.display().to_string()))?,
            None => f.write_str("the providers")?,
        }
        match &self.fault {
            Fault::File(message) => write!(f, " cannot be read: {message}"),
            Fault::Text { line, column, member, message } => {
                write!(f, ", line {line}, column {column}")?;
                if member != "." {
                    write!(f, ", at {member}")?;
                }
                write!(f, ": {message}; correct it there (docs/providers.md lists the members)")
            }
            Fault::Provider { name, message } => write!(f, ", at providers.{name}: {message}"),
        }
    }
}

impl std::error::Error for ProvidersError {}

/// A serde message without the value that was found, which may be a secret, and without the place, which is stated apart.
fn in_words(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let is_of_value = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "];
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if is_of_value.iter().any(|start| message.starts_with(start)) => {
            format!("expected {expected}")
        }
        Some((found, expected)) if found.starts_with("unknown field ") => {
            format!("{}, expected {expected}", plain(found))
        }
        _ => plain(message),
    }
}

/// The text without characters that act on a terminal, and not longer than a line.
fn plain(text: &str) -> String {
    const MAX: usize = 160;
    let text: String = text.chars().take(MAX).collect();
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// The path of a file, which may have letters of any language.
fn plain_path(path: &str) -> String {
    path.chars().map(|c| if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
