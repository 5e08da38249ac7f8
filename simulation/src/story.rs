//! The story of a schedule, one line a step. It is identical to the byte in each run.

use std::fmt::Write;

use crate::Millis;
use crate::rng::join;

/// The lines, if they were requested, and a digest of every step in any case.
#[derive(Debug)]
pub(crate) struct Story {
    text: Option<String>,
    digest: u64,
}

impl Story {
    pub(crate) fn new(told: bool) -> Self {
        Self { text: told.then(String::new), digest: 0 }
    }

    /// Whether lines are kept.
    pub(crate) fn is_told(&self) -> bool {
        self.text.is_some()
    }

    pub(crate) fn line(&mut self, t: Millis, who: &str, what: &str) {
        if let Some(text) = &mut self.text {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:>9}.{:03}  {who:<12}  {what}", t / 1000, t % 1000);
        }
    }

    /// Adds a step to the digest.
    pub(crate) fn stamp(&mut self, word: u64) {
        self.digest = join(self.digest, word);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn into_text(self) -> String {
        self.text.unwrap_or_default()
    }
}
