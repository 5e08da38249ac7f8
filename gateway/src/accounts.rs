//! The accounts of the sessions at the first upstream, and the sweep, which forgets those whose logins were not completed.
//!
//! Each login at the first upstream has an account of its own. The account's name contains the time at which the login began,
//! so that each replica can find the logins that another replica began and did not complete.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokenkeeper::LogoutError;
use tokenkeeper::engine::values::WallTime;

use crate::gateway::{Gateway, Inner, LOGIN_LIFETIME, count};

/// The prefix of the accounts of logins.
const PREFIX: &str = "login-";

/// The age from which a login that was not completed never will be. It is more than the login's lifetime, because the clocks
/// of replicas differ, and because an answer that arrives at the end of the lifetime is still redeemed.
const OVER: Duration = LOGIN_LIFETIME.saturating_mul(2);

/// The account of a login that begins now. `number` is random.
pub(crate) fn of_login(now: WallTime, number: [u8; 16]) -> String {
    format!("{PREFIX}{}-{}", now.as_millis(), URL_SAFE_NO_PAD.encode(number))
}

/// When the login with this account began. `None` for an account that the host [enrolled](Gateway::enroll), which the gateway
/// never forgets.
pub(crate) fn began(account: &str) -> Option<WallTime> {
    let (began, number) = account.strip_prefix(PREFIX)?.split_once('-')?;
    let is_number = URL_SAFE_NO_PAD.decode(number).is_ok_and(|number| number.len() == 16);
    is_number.then(|| began.parse().ok().map(WallTime::from_millis))?
}

/// Remembers which logins the sweeps have checked. Each login is checked once, when it can no longer be completed.
#[derive(Debug, Default)]
pub(crate) struct Sweeps(Mutex<Swept>);

/// The state of [`Sweeps`].
#[derive(Debug, Default)]
struct Swept {
    /// All logins that began before this time were checked.
    until: WallTime,
    /// The time from which a sign-in starts the next sweep.
    next: WallTime,
}

impl Sweeps {
    /// Whether a sign-in is to start a sweep now. If so, the next one is due after a login's lifetime.
    pub(crate) fn are_due(&self, now: WallTime) -> bool {
        let mut swept = self.swept();
        let is_due = swept.next <= now;
        if is_due {
            swept.next = now.after(LOGIN_LIFETIME);
        }
        is_due
    }

    /// The first time at which a login that was not checked yet may have begun.
    pub(crate) fn from(&self) -> WallTime {
        self.swept().until
    }

    /// The time before which a login must have begun, so that it can no longer be completed.
    pub(crate) fn until(now: WallTime) -> WallTime {
        let over = u64::try_from(OVER.as_millis()).unwrap_or(u64::MAX);
        WallTime::from_millis(now.as_millis().saturating_sub(over))
    }

    /// Notes that all logins that began before `until` were checked.
    pub(crate) fn done(&self, until: WallTime) {
        let mut swept = self.swept();
        swept.until = swept.until.max(until);
    }

    fn swept(&self) -> MutexGuard<'_, Swept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Forgets the logins at the first upstream that were begun and not completed within twenty minutes, also those of replicas
    /// that are gone. Returns how many there were.
    ///
    /// Sign-ins start this, at most once in ten minutes. A gateway at which few persons sign in may call it from a timer.
    ///
    /// # Errors
    ///
    /// The error of the runtime's store. The logins that it concerns are checked again the next time.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. Each login is forgotten or not.
    pub async fn sweep(&self) -> Result<usize, LogoutError> {
        let Some(first) = self.0.upstreams.first() else { return Ok(0) };
        let (from, until) = (self.0.sweeps.from(), Sweeps::until(self.0.now()));
        let (mut forgotten, mut failed) = (0, None);
        for identity in self.0.runtime.identities().await.map_err(LogoutError::NotDurable)? {
            let account = identity.account().as_str();
            if !began(account).is_some_and(|began| from <= began && began < until) {
                continue;
            }
            let session = self.0.session(first, account).ok();
            let Some(session) = session.filter(|session| *session.identity() == identity) else { continue };
            match session.forget_unless_signed_in().await {
                Ok(true) => {
                    count(&self.0.counters.forgotten);
                    forgotten += 1;
                }
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => {
                self.0.sweeps.done(until);
                Ok(forgotten)
            }
        }
    }
}

impl Inner {
    /// Forgets a session at the first upstream that will not be used again, unless the host enrolled its account.
    pub(crate) async fn forget(&self, account: &str) {
        let first = self.upstreams.first().filter(|_| began(account).is_some());
        let Some(session) = first.and_then(|first| self.session(first, account).ok()) else { return };
        match session.forget().await {
            Ok(()) => count(&self.counters.forgotten),
            Err(error) => tracing::warn!(%error, "an earlier upstream session was not forgotten"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_the_time_at_which_its_login_began_and_others_have_none() {
        let now = WallTime::from_millis(1_800_000_000_000);
        let account = of_login(now, [255; 16]);
        assert_eq!(began(&account), Some(now));
        let others = ["alice", "login-", "login-1", "login-x-AAAAAAAAAAAAAAAAAAAAAA", "login-1-AAAA", "u-1-2"];
        for other in others.into_iter().chain([&account[1..], &account[..account.len() - 1]]) {
            assert_eq!(began(other), None, "{other}");
        }
    }

    #[test]
    fn a_login_is_looked_at_once_and_not_before_it_is_over() {
        let (sweeps, now) = (Sweeps::default(), WallTime::from_millis(1_800_000_000_000));
        assert!(sweeps.are_due(now));
        assert!(!sweeps.are_due(now.after(LOGIN_LIFETIME - Duration::from_millis(1))));
        assert!(sweeps.are_due(now.after(LOGIN_LIFETIME)));
        let until = Sweeps::until(now);
        assert_eq!(until.after(OVER), now);
        sweeps.done(until);
        sweeps.done(WallTime::default());
        assert_eq!(sweeps.from(), until);
    }
}
