//! The reason for which the command fails.

use std::fmt::{self, Display};

/// A sentence with the failure, and with the remedy where it is not plain.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names the work that an error ended.
pub(crate) trait While<T> {
    fn during(self, work: impl Display) -> Result<T>;
}

impl<T, E: Display> While<T> for std::result::Result<T, E> {
    fn during(self, work: impl Display) -> Result<T> {
        self.map_err(|error| Failure(format!("cannot {work}: {error}")))
    }
}
