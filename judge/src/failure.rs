//! The ways in which the command can fail.

use std::{fmt, io};

/// The last section of each help text.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done: every law held
  1  failed: a law broke (the last line says which), or the storm or soak could not be run
  2  usage: an argument is missing, unknown or not acceptable";

/// Why the command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The storm or soak could not be run.
    NotRun(io::Error),
    /// Laws broke.
    LawsBroke(Vec<String>),
}

impl Failure {
    /// A failure if any law broke.
    pub(crate) fn unless_held(broken: &[String]) -> Result<(), Self> {
        if broken.is_empty() { Ok(()) } else { Err(Self::LawsBroke(broken.to_vec())) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(error) => error.fmt(f),
            Self::LawsBroke(broken) => write!(f, "a law broke: {}", broken.join("; ")),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::NotRun(error)
    }
}
