//! What a check finds.

use std::fmt::{self, Debug};

use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_actors::values::record::Record;

/// What a check found: how it ended, or the breach it met.
pub type Verdict = Result<Outcome, Breach>;

/// How a check ended that met no breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The contract was kept.
    Kept,
    /// Nothing was shown: the harness cannot bring the situation about, for this reason.
    NotShown(&'static str),
}

/// How what was checked broke its contract, in words. It names no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach(String);

impl Breach {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Breach {}

/// A store under test has no reason to fail.
impl From<StoreFault> for Breach {
    fn from(fault: StoreFault) -> Self {
        Self(format!("an operation failed: {fault}"))
    }
}

/// A breach in these words, unless it `holds`.
pub(crate) fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach(words())) }
}

/// A breach, unless `got` is what is `due`.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: T, due: T) -> Result<(), Breach> {
    ensure(got == due, || format!("{what} is {got:?}, and not {due:?}"))
}

/// A breach, unless both records are the same to the last secret: the refresh token itself is compared too, which
/// `Record`'s own equality leaves to its digest.
pub(super) fn same_record(what: &str, got: Option<&Record>, due: Option<&Record>) -> Result<(), Breach> {
    same(what, got, due)?;
    let token = |record: Option<&Record>| record?.held().map(|held| held.credential.token().clone());
    ensure(token(got) == token(due), || format!("{what} holds another refresh token under the same digest"))
}
