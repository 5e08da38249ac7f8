//! Verdicts, reports and the time limit of a check, which all contracts share.

use std::fmt::{self, Debug};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The time limit of one check. A longer check counts as hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// The result of a check.
pub type Verdict = Result<Outcome, Breach>;

/// The outcome of a check that found no breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The contract was kept.
    Kept,
    /// The check showed nothing, because the harness cannot produce the situation, for this reason.
    NotShown(&'static str),
}

/// A breach of the contract, as a text. It contains no secret.
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

/// The results of a contract's checks. It displays as a list of the breaches and of the checks that showed nothing.
#[derive(Clone, Debug)]
pub struct Report {
    whose: &'static str,
    findings: Vec<(&'static str, Verdict)>,
}

impl Report {
    /// A report on the contract of `whose`, with the name and verdict of each check.
    pub(crate) fn new(whose: &'static str, findings: Vec<(&'static str, Verdict)>) -> Self {
        Self { whose, findings }
    }

    /// The checks that found a breach, each with its breach.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, &Breach)> {
        self.findings.iter().filter_map(|(name, verdict)| verdict.as_ref().err().map(|breach| (*name, breach)))
    }

    /// The checks that showed nothing, each with the reason.
    pub fn not_shown(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.findings.iter().filter_map(|(name, verdict)| match verdict {
            Ok(Outcome::NotShown(why)) => Some((*name, *why)),
            Ok(Outcome::Kept) | Err(_) => None,
        })
    }

    /// Panics with the report if there was a breach.
    #[allow(clippy::panic, reason = "it is an assertion")]
    pub(crate) fn assert_kept(&self) {
        if self.failed().next().is_some() {
            panic!("{self}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, all) = (self.failed().count(), self.findings.len());
        write!(f, "the {} breaks its contract in {failed} of {all} checks", self.whose)?;
        for (name, breach) in self.failed() {
            write!(f, "\n- {name}: {breach}")?;
        }
        for (name, why) in self.not_shown() {
            write!(f, "\n  (not shown: {name}: {why})")?;
        }
        Ok(())
    }
}

/// The verdict of `check`, or a breach if it exceeds the time limit.
pub(crate) async fn timed(check: impl Future<Output = Verdict>) -> Verdict {
    let hangs = || Err(Breach::new(format!("it was not done within {LIMIT:?}")));
    within(LIMIT, check).await.unwrap_or_else(hangs)
}

/// Returns a breach with this text unless `holds`.
pub(crate) fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach(words())) }
}

/// Returns a breach unless `got` equals `due`.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: T, due: T) -> Result<(), Breach> {
    ensure(got == due, || format!("{what} is {got:?}, and not {due:?}"))
}

/// The result of `work`, or `None` if it takes longer than `span`. The timer is a thread, so that checks need no
/// particular runtime's clock and a test's paused clock cannot stop it. It ends with the wait.
#[expect(clippy::disallowed_methods, reason = "a real time-out in tests, where no machine keeps timers")]
pub(crate) async fn within<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (ring, over) = oneshot::channel::<()>();
    let (finished, wait) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if wait.recv_timeout(span) == Err(RecvTimeoutError::Timeout) {
            let _ = ring.send(());
        }
    });
    let result = tokio::select! {
        biased;
        result = work => Some(result),
        _ = over => None,
    };
    drop(finished);
    result
}
