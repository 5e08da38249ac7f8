//! What all contracts have in common: what a check finds, how long it may take, and how it is told.

use std::fmt::{self, Debug};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long one check may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(60);

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

/// What the checks of a contract found. It displays as a list of the breaches, and of what was not shown.
#[derive(Clone, Debug)]
pub struct Report {
    whose: &'static str,
    findings: Vec<(&'static str, Verdict)>,
}

impl Report {
    /// A report on the contract of `whose`, with what each check found, by its name.
    pub(crate) fn new(whose: &'static str, findings: Vec<(&'static str, Verdict)>) -> Self {
        Self { whose, findings }
    }

    /// The checks that found a breach, with the breach.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, &Breach)> {
        self.findings.iter().filter_map(|(name, verdict)| verdict.as_ref().err().map(|breach| (*name, breach)))
    }

    /// The checks that showed nothing, with the reason.
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

/// What `check` finds, or that it hangs.
pub(crate) async fn timed(check: impl Future<Output = Verdict>) -> Verdict {
    let hangs = || Err(Breach::new(format!("it was not done within {LIMIT:?}")));
    within(LIMIT, check).await.unwrap_or_else(hangs)
}

/// A breach in these words, unless it `holds`.
pub(crate) fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach(words())) }
}

/// A breach, unless `got` is what is `due`.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: T, due: T) -> Result<(), Breach> {
    ensure(got == due, || format!("{what} is {got:?}, and not {due:?}"))
}

/// What `work` comes to, or `None` when it takes longer than `span`. The timer is a thread, so that checks need no
/// particular runtime's clock and no test's paused one can stop it. It ends with the wait.
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
