//! The text forms of values, for the search for secrets.

use std::fmt::{Debug, Display};

use super::Witness;

impl Witness {
    /// Searches the value's pretty `Debug` output.
    pub(crate) fn sees(&mut self, value: &impl Debug) {
        self.reads(&format!("{value:?}"));
        self.reads(&format!("{value:#?}"));
    }

    /// Searches the value's `Debug` output on one line, which is faster and shows no less.
    pub(crate) fn glances(&mut self, value: &impl Debug) {
        self.reads(&format!("{value:?}"));
    }

    /// Searches the value's `Display` output.
    pub(crate) fn hears(&mut self, value: &impl Display) {
        self.reads(&format!("{value} {value:#}"));
    }
}
