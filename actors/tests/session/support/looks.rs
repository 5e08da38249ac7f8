//! Looks at values as they are shown.

use std::fmt::{Debug, Display};

use super::Witness;

impl Witness {
    /// Looks at what a program would print of this value for its author.
    pub(crate) fn sees(&mut self, value: &impl Debug) {
        self.reads(&format!("{value:?}"));
        self.reads(&format!("{value:#?}"));
    }

    /// The same in a hurry: on one line, which shows no less.
    pub(crate) fn glances(&mut self, value: &impl Debug) {
        self.reads(&format!("{value:?}"));
    }

    /// Looks at what a program would print of this value for its user.
    pub(crate) fn hears(&mut self, value: &impl Display) {
        self.reads(&format!("{value} {value:#}"));
    }
}
